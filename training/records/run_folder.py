"""The files of a run: what it was, which images it used, how it went; enough to repeat it."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from model_store.drafts import remove_abandoned
from training.config import TrainConfig, validate
from training.errors import TrainingError
from training.records.checkpoint import BEST, LAST, drafts_of, write_atomically

RUN = "run.json"
METRICS = "metrics.jsonl"
TRAIN_LIST = "train.txt"
HOLD_OUT_LIST = "hold_out.txt"
PLOTS = "plots"
PAGE = "report.html"
WORK = "work"

_PACKAGES = ("torch", "torchvision", "numpy", "pillow", "pycocotools")


class RunError(TrainingError, ValueError):
    """A run's folder is not what the command needs; the message names it and what to do."""


@dataclass(frozen=True)
class RunRecord:
    """What a run is: written once at its start as `run.json`.

    Attributes:
        dataset: the folder, as given.
        dataset_fingerprint: see `LabelledImages.fingerprint`.
        class_names: label i is `class_names[i - 1]`.
        config: the resolved configuration.
        commit: of the code, with `+` behind it where files were changed; None outside a repository.
        library_versions: package -> version.
        weights: what was loaded at the start, in words.
        continued_from: `coco`, `imagenet`, a file's name, or a release as name@version; None for random weights.
        dataset_format: what the dataset was to be read as; None where that was recognised.
        launchers: names of each torchrun that began it; see `torchrun.Place`. None without torchrun.
    """

    dataset: str
    dataset_fingerprint: str
    class_names: tuple[str, ...]
    config: TrainConfig
    commit: str | None
    library_versions: dict[str, str]
    weights: str
    continued_from: str | None
    dataset_format: str | None = None
    launchers: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the record of a run folder.

        Raises:
            RunError: there is none, or it is broken.
        """
        path = folder / RUN
        try:
            data: dict[str, Any] = json.loads(path.read_text("utf-8"))
            config = validate(data.pop("config"))
            # records made before it was written down
            data.setdefault("continued_from", None if config.weights == "none" else Path(config.weights).name)
            lists = {name: tuple(data.get(name, ())) for name in ("class_names", "launchers")}
            return cls(**{**data, **lists}, config=config)
        except OSError as error:
            raise RunError(f"{folder} holds no run: {RUN}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RunError(f"{path} is broken: {error}") from error

    def write(self, folder: Path) -> None:
        """Write `run.json`."""
        content = {**asdict(self), "config": self.config.model_dump(mode="json")}
        _write_text(folder / RUN, json.dumps(content, indent=2) + "\n")


def _write_text(path: Path, text: str) -> None:
    def write(draft: Path) -> None:
        draft.write_text(text, "utf-8")

    write_atomically(path, write)


def prepare(folder: Path, *, resume: bool) -> None:
    """Make a run's folder, or check that it can be resumed; what a killed run was just writing is removed.

    A folder with a record but without a checkpoint is that of a start that was cut short, and is begun anew.

    Raises:
        RunError: it holds a run although none is resumed, or none although one is; or it cannot be made.
    """
    if resume:
        if not (folder / LAST).is_file():
            raise RunError(f"{folder} has no {LAST} to resume from; start without --resume")
    else:
        check_new(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be made: {error.strerror}") from error
    for name in (LAST, BEST, METRICS, RUN, TRAIN_LIST, HOLD_OUT_LIST, PAGE):
        remove_abandoned(drafts_of(folder / name))


def check_new(folder: Path) -> None:
    """Check, without making it, that a folder can become that of a new run.

    Raises:
        RunError: it holds a run, or cannot be made or written.
    """
    if any((folder / name).exists() for name in (LAST, BEST, METRICS)):
        raise RunError(f"{folder} already holds a run; go on with --resume, or choose another folder with --out")
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """Check, without making it, that a folder can be made and written: before the work whose results go there.

    Raises:
        RunError: it cannot.
    """
    nearest = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    if not nearest.is_dir():
        raise RunError(f"{folder} cannot be made: {nearest} is no folder")
    if not os.access(nearest, os.W_OK):
        raise RunError(f"{folder} cannot be written: no permission in {nearest}")


def check_file(path: Path) -> None:
    """Check that a file can be written, in a folder that may not exist yet.

    Raises:
        RunError: it cannot.
    """
    check_folder(path.parent)
    if path.is_dir():
        raise RunError(f"{path} is a folder; accepted is a file")


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the epochs logged so far, a dict each."""
    path = folder / METRICS
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


def write_metrics(folder: Path, epochs: Sequence[Mapping[str, Any]]) -> None:
    """Write all epochs, a line each; whole or not at all."""
    _write_text(folder / METRICS, "".join(json.dumps(epoch) + "\n" for epoch in epochs))


def write_names(path: Path, names: Sequence[str]) -> None:
    """Write a split list, an image name a line."""
    _write_text(path, "".join(f"{name}\n" for name in names))


def read_names(path: Path) -> list[str]:
    """Read a split list; empty lines do not count.

    Raises:
        RunError: it cannot be read, or lists nothing.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RunError(f"{path} is no list of names in UTF-8: {error}") from error
    names = [line for line in text.split("\n") if line]  # str.splitlines would also split inside names, at U+2028 say
    if not names:
        raise RunError(f"{path} lists no image")
    return names


def library_versions() -> dict[str, str]:
    """Return the versions of what decides a result."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}}


def commit() -> str | None:
    """Return the commit of the code that runs, `+` behind it where it was changed; None outside a repository."""
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
