"""The plan of `adapt`, and the file `adapt.json` that records the plan and its progress."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model_store.network import LoadedNetwork
from rendersight import atomic
from rendersight.annotations import AnnotatedImage
from training.adapting.verdict import Verdict
from training.config import TrainConfig
from training.data.dataset import LabelledImages
from training.records.run_folder import RunError

ADAPT = "adapt.json"


@dataclass(frozen=True, eq=False)
class AdaptPlan:
    """The release to adapt, the photos to adapt it to, and the work folder. A work folder belongs to one plan.

    Attributes:
        loaded: the release to start from.
        source: its reference, such as `dice@6`.
        name: name of the new release.
        photos: the photos without labels, each once; no photo of `labelled` is among them.
        labelled: the photos with labels; empty if there are none.
        renders: labelled renders to repeat; None if there are none.
        store: folder of the model store.
        config: training configuration; its weights are the release.
        out: the work folder.
    """

    loaded: LoadedNetwork
    source: str
    name: str
    photos: tuple[AnnotatedImage, ...]
    labelled: LabelledImages
    renders: LabelledImages | None
    store: Path
    config: TrainConfig
    out: Path

    @property
    def class_names(self) -> tuple[str, ...]:
        """Label i is `class_names[i - 1]`."""
        return tuple(self.loaded.info.class_names)

    @property
    def report(self) -> Path:
        """The folder of the report."""
        return self.out / "report"

    def lessons(self, part: str) -> Path:
        """Return the folder of the images that a part of the training learns from."""
        return self.out / part / "lessons"

    def run(self, part: str) -> Path:
        """Return the run folder of a part of the training."""
        return self.out / part / "run"

    def recorded(self) -> dict[str, Any]:
        """Return, as JSON data, everything that must stay the same in a work folder."""
        return {
            "release": self.source,
            "sha256": self.loaded.info.sha256,
            "name": self.name,
            "photos": _told(self.photos),
            "labelled": _told(self.labelled.images),
            "labels": self.labelled.fingerprint()[:16],
            "renders": None if self.renders is None else self.renders.fingerprint()[:16],
            "store": str(self.store),
            **self.config.model_dump(mode="json"),
        }


def _told(photos: tuple[AnnotatedImage, ...]) -> str:
    """Return the number of photos, and a digest of their names and sizes."""
    digest = hashlib.sha256("\n".join(f"{photo.name} {photo.size_wh}" for photo in photos).encode())
    return f"{len(photos)} photos ({digest.hexdigest()[:12]})"


@dataclass(frozen=True)
class AdaptProgress:
    """Progress of a plan. Finished views, lessons and trainings show theirs in the work folder.

    Attributes:
        verdict: the verdict; None before it is found.
        is_publishing: whether publishing has begun.
        release: name@version; None before publication, and if the verdict keeps the old version.
    """

    verdict: Verdict | None = None
    is_publishing: bool = False
    release: str | None = None


def read_progress(plan: AdaptPlan) -> AdaptProgress:
    """Return the progress of a plan in its work folder, which need not exist.

    Raises:
        RunError: the folder belongs to another plan or holds other files. The message names the difference.
    """
    path = plan.out / ADAPT
    try:
        content = json.loads(path.read_text("utf-8"))
        before, done = content["job"], dict(content["done"])
        verdict = done.pop("verdict")
        progress = AdaptProgress(**done, verdict=None if verdict is None else Verdict(**verdict))
    except FileNotFoundError:
        if plan.out.is_dir() and any(not path.name.startswith(".") for path in plan.out.iterdir()):
            raise RunError(f"{plan.out} holds other files than those of `adapt`; choose another --out") from None
        return AdaptProgress()
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path} is broken: {error}") from error
    now = plan.recorded()
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if changed:
        told = ", ".join(f"{name} {before.get(name)} and not {now.get(name)}" for name in changed)
        raise RunError(f"{plan.out} was begun with {told}; repeat that, or choose another --name or --out")
    return progress


def write_progress(plan: AdaptPlan, progress: AdaptProgress) -> AdaptProgress:
    """Write `adapt.json` and return the progress."""
    text = json.dumps({"job": plan.recorded(), "done": asdict(progress)}, indent=2) + "\n"
    atomic.write_bytes(plan.out / ADAPT, text.encode())
    return progress
