"""The plan of `make`, and the file `make.json` that records the plan and its progress."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rendersight import atomic
from training.config import TrainConfig
from training.records.checkpoint import LAST
from training.records.run_folder import RunError
from training.synthetic.composites.parts import PartCounts
from training.synthetic.recipes import Draw, MeshObject
from training.synthetic.renderer import Workers

MAKE = "make.json"


@dataclass(frozen=True)
class MakePlan:
    """The release to make, its inputs, and the work folder. A work folder belongs to one plan.

    Attributes:
        sources: the recipe's name, or one line per mesh file with its label and sha256.
        class_names: label i is `class_names[i - 1]`.
        name: name of the release.
        count: number of scenes to render.
        parts: numbers of cut-outs and backdrops to render for composites; None for a recipe, which has none.
        backgrounds: photos without any of the objects, more backdrops of the composites.
        photos: folder of real photos, never trained on; None if there are none. Labelled photos measure the detector,
            others are only shown with detections.
        store: folder of the model store.
        config: training configuration.
        out: the work folder.
        draw: draws the scenes.
        objects: the mesh files; empty for a recipe.
        blender: the processes that render.
    """

    sources: tuple[str, ...]
    class_names: tuple[str, ...]
    name: str
    count: int
    parts: PartCounts | None
    backgrounds: tuple[Path, ...]
    photos: Path | None
    store: Path
    config: TrainConfig
    out: Path
    draw: Draw
    objects: tuple[MeshObject, ...]
    blender: Workers

    @property
    def renders(self) -> Path:
        """The folder of the rendered photos."""
        return self.out / "renders"

    @property
    def cutouts(self) -> Path:
        """The folder of the parts of composites."""
        return self.out / "cutouts"

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.out / "run"

    @property
    def report(self) -> Path:
        """The folder of the report."""
        return self.out / "report"

    @property
    def has_begun_to_train(self) -> bool:
        """Whether the run has a checkpoint. After that its renders must not change."""
        return (self.run / LAST).is_file()

    def recorded(self) -> dict[str, Any]:
        """Return, as JSON data, everything that must stay the same in a work folder."""
        return {
            "sources": list(self.sources),
            "class_names": list(self.class_names),
            "name": self.name,
            "count": self.count,
            **({} if self.parts is None else {"cutouts": asdict(self.parts)}),
            **({} if not self.backgrounds else {"backgrounds": [str(path) for path in self.backgrounds]}),
            "photos": None if self.photos is None else str(self.photos),
            "store": str(self.store),
            **self.config.model_dump(mode="json"),
        }


@dataclass(frozen=True)
class MakeProgress:
    """Progress of a plan. Rendering and training show theirs in `renders/` and `run/`.

    Attributes:
        photo: path of an image that shows an object, to try the release with; None before the report is written.
        photos_decide: whether the photos choose the score threshold. They do if any detection in them is correct.
        publishing_after: highest version in the store when publishing began; None before that.
        release: name@version; None before publication.
    """

    photo: str | None = None
    photos_decide: bool = False
    publishing_after: int | None = None
    release: str | None = None


def read_progress(plan: MakePlan) -> MakeProgress:
    """Return the progress of a plan in its work folder, which need not exist.

    Raises:
        RunError: the folder belongs to another plan or holds other files. The message names the difference.
    """
    path = plan.out / MAKE
    try:
        content = json.loads(path.read_text("utf-8"))
        before, progress = dict(content["job"]), MakeProgress(**content["done"])
    except FileNotFoundError:
        if plan.out.is_dir() and any(not path.name.startswith(".") for path in plan.out.iterdir()):
            raise RunError(
                f"{plan.out} holds other files than those of `make`; choose another folder with --out"
            ) from None
        return MakeProgress()
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path} is broken: {error}") from error
    now = plan.recorded()
    changed = [
        f"{name} {before.get(name)} and not {now.get(name)}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise RunError(
            f"{plan.out} was begun with {', '.join(changed)}; repeat that, or choose another folder with --out"
        )
    return progress


def write_progress(plan: MakePlan, progress: MakeProgress) -> MakeProgress:
    """Write `make.json` and return the progress."""
    text = json.dumps({"job": plan.recorded(), "done": asdict(progress)}, indent=2) + "\n"
    atomic.write_bytes(plan.out / MAKE, text.encode())
    return progress
