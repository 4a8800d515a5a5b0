"""Files of a run folder: record, split lists and metrics. They suffice to repeat the run."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from rendersight import atomic
from rendersight.annotations import ReadOptions
from training.config import TrainConfig, validate
from training.errors import TrainingError
from training.records.checkpoint import BEST, LAST

RUN = "run.json"
METRICS = "metrics.jsonl"
TRAIN_LIST = "train.txt"
HOLD_OUT_LIST = "hold_out.txt"
PLOTS = "plots"
PAGE = "report.html"
WORK = "work"

_PACKAGES = ("torch", "torchvision", "numpy", "pillow", "pycocotools")


class RunError(TrainingError, ValueError):
    """A folder or file that does not fit the command. The message names it and what to do."""


@dataclass(frozen=True)
class RunRecord:
    """Inputs and environment of a run, written once at its start as `run.json`.

    Attributes:
        dataset: the dataset's folder, as given.
        dataset_fingerprint: see `LabelledImages.fingerprint`.
        class_names: label i is `class_names[i - 1]`.
        config: the resolved configuration.
        commit: commit of the code, followed by `+` if tracked files were changed; None outside a repository.
        library_versions: package -> version.
        weights: summary of the initial weights, as text.
        continued_from: `coco`, `imagenet`, a file's name, or a release as name@version; None for random weights.
        reading: how the dataset's files were read.
        composites_from: folder of the cut-outs and backdrops of the composites; None without composites.
        launchers: identifiers of the torchrun processes that began the run, see `torchrun.Process`; empty without
            torchrun.
    """

    dataset: str
    dataset_fingerprint: str
    class_names: tuple[str, ...]
    config: TrainConfig
    commit: str | None
    library_versions: dict[str, str]
    weights: str
    continued_from: str | None
    reading: ReadOptions = field(default_factory=ReadOptions)
    composites_from: str | None = None
    launchers: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the record of a run folder.

        Raises:
            RunError: the record is missing or broken.
        """
        path = folder / RUN
        try:
            data: dict[str, Any] = json.loads(path.read_text("utf-8"))
            config = validate(data.pop("config"))
            # older records lack these fields
            data.setdefault("continued_from", None if config.weights == "none" else Path(config.weights).name)
            # images without a label file were taken as images without objects
            reading = data.pop("reading", {"format": data.pop("dataset_format", None), "negatives": True})
            reading["class_names"] = tuple(reading.get("class_names", ()))
            lists = {name: tuple(data.get(name, ())) for name in ("class_names", "launchers")}
            return cls(**{**data, **lists}, config=config, reading=ReadOptions(**reading))
        except OSError as error:
            raise RunError(f"{folder} holds no run: {RUN}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RunError(f"{path} is broken: {error}") from error

    def write(self, folder: Path) -> None:
        """Write the record as `run.json` into a run folder."""
        content = {**asdict(self), "config": self.config.model_dump(mode="json")}
        atomic.write_bytes(folder / RUN, (json.dumps(content, indent=2) + "\n").encode())


def prepare(folder: Path, *, resume: bool) -> None:
    """Create a run folder, or check that its run can be resumed. Drafts left by a killed run are removed.

    A folder with a record but no checkpoint or metrics comes from a start that was cut short; a new run may use it.

    Raises:
        RunError: a new run is started in a folder that holds one, the run to resume is missing, or the folder cannot
            be created.
    """
    if resume:
        if not (folder / LAST).is_file():
            raise RunError(f"{folder} has no {LAST} to resume from; start without --resume")
    else:
        check_new(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be created: {error.strerror}") from error
    atomic.remove_abandoned(folder)


def check_new(folder: Path) -> None:
    """Check that a folder can hold a new run, without creating it.

    Raises:
        RunError: the folder holds a run, or cannot be created or written.
    """
    if any((folder / name).exists() for name in (LAST, BEST, METRICS)):
        raise RunError(f"{folder} already holds a run; continue it with --resume, or choose another folder with --out")
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """Check that a folder can be created and written, without creating it. Call this before long work.

    Raises:
        RunError: the folder cannot be created or written.
    """
    nearest = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    if not nearest.is_dir():
        raise RunError(f"{folder} cannot be created: {nearest} is not a folder")
    if not os.access(nearest, os.W_OK):
        raise RunError(f"{folder} cannot be written: no permission in {nearest}")


def check_file(path: Path) -> None:
    """Check that a file can be written, without creating it. Its folder may not exist yet.

    Raises:
        RunError: the path is a folder, or its folder cannot be created or written.
    """
    check_folder(path.parent)
    if path.is_dir():
        raise RunError(f"{path} is a folder; name a file")


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the metrics of each epoch logged so far."""
    path = folder / METRICS
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


def write_metrics(folder: Path, epochs: Sequence[Mapping[str, Any]]) -> None:
    """Write the metrics of all epochs atomically, one JSON line each."""
    atomic.write_bytes(folder / METRICS, "".join(json.dumps(epoch) + "\n" for epoch in epochs).encode())


def write_names(path: Path, names: Sequence[str]) -> None:
    """Write a split list, one image name per line."""
    atomic.write_bytes(path, "".join(f"{name}\n" for name in names).encode())


def read_names(path: Path) -> list[str]:
    """Read a split list; empty lines are skipped.

    Raises:
        RunError: the file cannot be read, or lists no image.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RunError(f"{path} is not a UTF-8 list of names: {error}") from error
    names = [line for line in text.split("\n") if line]  # str.splitlines would split inside names, such as at U+2028
    if not names:
        raise RunError(f"{path} lists no image")
    return names


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect a result."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}}


def commit() -> str | None:
    """Return the commit of the running code, or None outside a repository. A `+` follows if tracked files changed."""
    here = Path(__file__).parent
    try:
        head = _git(here, "rev-parse", "HEAD")
        return head + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(  # noqa: S603
        ["git", *arguments],  # noqa: S607
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
