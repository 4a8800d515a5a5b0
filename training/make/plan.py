"""The plan of `make`, and the file `make.json` that records the plan and its progress."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rendersight import atomic
from training.config import TrainConfig
from training.records.checkpoint import LAST
from training.records.run_folder import RunError, read_metrics
from training.synthetic.composites.parts import PartCounts
from training.synthetic.piles import MeshObject
from training.synthetic.recipes import Recipe
from training.synthetic.renderer import Workers

MAKE = "make.json"


@dataclass(frozen=True)
class MakePlan:
    """The release to make, its inputs, and the work folder. A work folder belongs to one plan.

    Attributes:
        sources: the recipe's name, or one line per mesh file with its label and sha256.
        class_names: label i is `class_names[i - 1]`.
        name: name of the release.
        count: number of pictures of scenes to render.
        parts: numbers of cut-outs and backdrops to render for composites; None for a recipe, which has none.
        backgrounds: photos without any of the objects, more backdrops of the composites.
        photos: folder of real photos, never trained on; None if there are none. Labelled photos measure the detector,
            others are only shown with detections.
        store: folder of the model store.
        config: training configuration.
        out: the work folder.
        recipe: draws the scenes.
        objects: the mesh files; empty for a recipe.
        blender: the processes that render.
        time_s: the time budget that chose the numbers, s; None if the user or the preset chose them.
        cycle: number of the training cycle; a grown work folder has several, each from a new learning rate.
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
    recipe: Recipe
    objects: tuple[MeshObject, ...]
    blender: Workers
    time_s: int | None = None
    cycle: int = 1

    def at(self, progress: "MakeProgress") -> "MakePlan":
        """Return this plan in the training cycle of a progress."""
        return replace(self, cycle=len(progress.cycles))

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
        """The run folder of this cycle."""
        return self._run_of(self.cycle)

    @property
    def run_before(self) -> Path | None:
        """The run folder of the cycle before; None in the first."""
        return None if self.cycle == 1 else self._run_of(self.cycle - 1)

    def _run_of(self, cycle: int) -> Path:
        return self.out / ("run" if cycle == 1 else f"run-{cycle}")

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
            **({} if self.time_s is None else {"time_s": self.time_s}),
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
        cycles: epochs of each training cycle so far, the current one last.
    """

    photo: str | None = None
    photos_decide: bool = False
    publishing_after: int | None = None
    release: str | None = None
    cycles: tuple[int, ...] = ()


def read_progress(plan: MakePlan) -> MakeProgress:
    """Return the progress of a plan in its work folder, which need not exist.

    A plan with more epochs than the folder's begins another training cycle.

    Raises:
        RunError: the folder belongs to another plan or holds other files, or is to grow before its training has ended.
            The message names the difference.
    """
    recorded = _read(plan)
    if recorded is None:
        return MakeProgress(cycles=(plan.config.epochs,))
    before, progress = recorded
    now = plan.recorded()
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if not changed:
        return progress
    if not all(_has_grown(name, before.get(name), now.get(name)) for name in changed) or "epochs" not in changed:
        told = ", ".join(f"{name} {before.get(name)} and not {now.get(name)}" for name in changed)
        raise RunError(
            f"{plan.out} was begun with {told}; repeat that, or choose another folder with --out. "
            "A finished folder grows with a larger --time or --epochs, and then with a larger --count or --cutouts"
        )
    if len(read_metrics(plan.at(progress).run)) < progress.cycles[-1]:
        raise RunError(f"{plan.out} can grow once its training has ended; repeat the earlier command first")
    return MakeProgress(cycles=(*progress.cycles, plan.config.epochs - before["epochs"]))


def read_recorded(plan: MakePlan) -> dict[str, Any] | None:
    """Return what `MakePlan.recorded` gave for the plan of the work folder; None if the folder is new.

    Raises:
        RunError: the folder holds other files, or a broken `make.json`.
    """
    recorded = _read(plan)
    return None if recorded is None else recorded[0]


def _read(plan: MakePlan) -> tuple[dict[str, Any], MakeProgress] | None:
    path = plan.out / MAKE
    try:
        content = json.loads(path.read_text("utf-8"))
        # a hyperparameter that is newer than the file had its default
        before, progress = TrainConfig().model_dump(mode="json") | content["job"], MakeProgress(**content["done"])
        return before, replace(progress, cycles=tuple(progress.cycles) or (int(content["job"]["epochs"]),))
    except FileNotFoundError:
        if plan.out.is_dir() and any(not path.name.startswith(".") for path in plan.out.iterdir()):
            raise RunError(
                f"{plan.out} holds other files than those of `make`; choose another folder with --out"
            ) from None
        return None
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path} is broken: {error}") from error


def _has_grown(name: str, before: Any, now: Any) -> bool:
    """Return whether a value of a record only became larger, and may."""
    if name == "cutouts" and before and now:
        return all(now[key] >= before[key] for key in before)
    return name in ("count", "epochs", "time_s") and None not in (before, now) and now > before


def write_progress(plan: MakePlan, progress: MakeProgress) -> MakeProgress:
    """Write `make.json` and return the progress."""
    text = json.dumps({"job": plan.recorded(), "done": asdict(progress)}, indent=2) + "\n"
    atomic.write_bytes(plan.out / MAKE, text.encode())
    return progress
