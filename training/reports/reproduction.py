"""The commands that repeat a run, publish what it made and serve it."""

import json
import re
import shlex
from pathlib import Path

from rendersight.annotations import AnnotationError
from rendersight.flags import joined
from training.config import TrainConfig
from training.data.dataset import LabelledImages
from training.data.split import own_split, split
from training.records.run_folder import HOLD_OUT_LIST, RunRecord

_FLAGS = ("architecture", "weights", "epochs", "batch_size", "learning_rate", "seed")
_DIVISION = ("hold_out", "group_by")


def training_command(run: Path, record: RunRecord, *, train: LabelledImages, hold_out: LabelledImages) -> str:
    """Return the command that repeats a run on the same images at their original paths."""
    changed = record.config.model_dump(mode="json", exclude_defaults=True)
    if (record.continued_from or "").startswith(f"{record.config.weights}@"):  # the highest version at the time
        changed["weights"] = record.continued_from
    words = [record.dataset, "--out", f"{run}-again"]
    reading = record.reading
    words += ["--format", reading.format] if reading.format else []
    words += ["--negatives"] if reading.negatives else []
    words += ["--ignore-unread"] if reading.ignore_unread else []
    words += ["--pixel-origin", str(reading.pixel_origin)] if reading.pixel_origin is not None else []
    words += ["--with-difficult"] if reading.with_difficult else []
    words.append(f"--labels={joined(record.class_names)}")  # a name may start with a hyphen
    for name in _FLAGS:
        words += [f"--{name.replace('_', '-')}", str(changed[name])] if name in changed else []
    words += _division(run, record.config, train, hold_out)
    for name, value in changed.items():
        if name not in (*_FLAGS, *_DIVISION):
            words += ["--set", f"{name}={json.dumps(value)}"]
    return shlex.join(["python", "-m", "training", "train", *words])


def publishing_commands(run: Path) -> list[str]:
    """Return the commands that publish a run and serve the release, named after the run's folder if that is valid."""
    name = re.sub(r"[^a-z0-9._-]+", "-", run.resolve().name.lower()).lstrip("._-")[:64] or "mine"
    return [
        shlex.join(["python", "-m", "training", "publish", str(run), "--name", name]),
        f"RENDERSIGHT_MODEL={name} python -m app",
    ]


def _division(run: Path, config: TrainConfig, train: LabelledImages, hold_out: LabelledImages) -> list[str]:
    """Return the flags that hold out the same images; none if the dataset's own files define the split."""
    together = LabelledImages((*train.images, *hold_out.images), train.class_names)
    if (parts := own_split(together)) and _names(parts[1]) == _names(hold_out):
        return []
    try:
        drawn = split(together, hold_out=config.hold_out, seed=config.seed, group_by=config.group_by)[1]
    except AnnotationError:  # the run did not draw its split: it would have raised too
        drawn = None
    if drawn is None or _names(drawn) != _names(hold_out):
        return ["--hold-out-names", str(run / HOLD_OUT_LIST)]
    return ["--hold-out", str(config.hold_out), *(["--group-by", config.group_by] if config.group_by else [])]


def _names(data: LabelledImages) -> set[str]:
    return {image.name for image in data.images}
