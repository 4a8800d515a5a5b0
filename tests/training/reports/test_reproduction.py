import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_store.store import check_name
from rendersight.annotations import ReadOptions
from tests.training.conftest import RECORD
from tests.training.truth import labelled
from training.cli import PROGRAM
from training.commands.train import _DIRECT
from training.config import TrainConfig, parse_assignments, resolve
from training.data.dataset import LabelledImages
from training.data.split import own_split, split, split_by_names, trainable
from training.reports.reproduction import publishing_commands, training_command

RUN = Path("runs/my run")


def photos(*splits: str) -> LabelledImages:
    """Ten photos with a box each, of splits in turn."""
    found = labelled(*[[("disc", (0, 0, 50, 50))]] * 10)
    named = splits or ("",)
    images = [
        replace(image, name=f"{number:02d}.png", splits=tuple(filter(None, named[number % len(named)].split())))
        for number, image in enumerate(found.images)
    ]
    return LabelledImages(tuple(images), ("disc", "square"))


def told(record: Any, train: LabelledImages, hold_out: LabelledImages) -> Any:
    """What the command line takes the command for."""
    words = shlex.split(training_command(RUN, record, train=train, hold_out=hold_out))
    assert words[:3] == ["python", "-m", "training"]
    return PROGRAM.parse(words[3:])


def config_of(options: Any) -> TrainConfig:
    given = {name: getattr(options, name) for name in _DIRECT if getattr(options, name) is not None}
    return resolve(None, {**given, **parse_assignments(options.set)})


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"weights": "my weights.pt", "epochs": 7, "learning_rate": 1.25e-5, "batch_size": 2, "seed": 3, "hold_out": 3},
        {"scale_jitter": (0.5, 1), "crop_px": 320, "decay_all": True, "schedule": "step", "precision": "fp32"},
        {"group_by": r"^(\d)'", "hold_out": 0.1234567},
    ],
)
def test_command_repeats_configuration(given: dict[str, Any]) -> None:
    data, config = photos(), resolve(None, given, device="cuda")
    reading = ReadOptions("yolo", negatives=True, with_difficult=True)
    record = replace(RECORD, dataset="my 'photos'", config=config, reading=reading)
    options = told(record, *split_by_names(data, ["03.png"]))
    rest = {"hold_out", "group_by"}
    assert config_of(options).model_dump(exclude=rest) == config.model_dump(exclude=rest)
    assert (options.dataset, options.out) == (Path("my 'photos'"), Path("runs/my run-again"))
    assert (options.labels, options.format) == (("disc", "square"), "yolo")
    assert (options.negatives, options.with_difficult, options.ignore_unread) == (True, True, False)


def test_command_pins_version_of_weights() -> None:
    parts = split_by_names(photos(), ["03.png"])
    config = TrainConfig(weights="dice")
    assert told(replace(RECORD, config=config, continued_from="dice@5"), *parts).weights == "dice@5"
    assert told(replace(RECORD, config=config, continued_from="dice"), *parts).weights == "dice"


@pytest.mark.parametrize("group_by", [None, r"(\d)\.png"])
def test_command_repeats_drawn_split(group_by: str | None) -> None:
    data = photos("train", "", "test")
    config = TrainConfig(hold_out=3, seed=5, group_by=group_by)
    train, hold_out = split(trainable(data), hold_out=3, seed=5, group_by=group_by)
    options = told(replace(RECORD, config=config), train, hold_out)
    again = split(trainable(data), hold_out=options.hold_out, seed=options.seed, group_by=options.group_by)
    assert again == (train, hold_out)
    assert options.hold_out_names is None


def test_command_repeats_named_split() -> None:
    for config in (TrainConfig(), TrainConfig(group_by="elsewhere")):
        options = told(replace(RECORD, config=config), *split_by_names(photos("train", "val"), ["03.png", "04.png"]))
        assert options.hold_out_names == RUN / "hold_out.txt"
        assert options.hold_out is None
        assert options.group_by is None


def test_command_follows_split_of_dataset() -> None:
    parts = own_split(photos("train", "val", "test"))
    assert parts is not None
    options = told(RECORD, *parts)
    assert (options.hold_out_names, options.hold_out, options.group_by) == (None, None, None)


def test_command_quotes_labels_with_commas() -> None:
    record = replace(RECORD, class_names=("disc, red", "square"))
    assert told(record, *split_by_names(photos(), ["03.png"])).labels == ("disc, red", "square")


@pytest.mark.parametrize(
    ("folder", "name"),
    [("runs/mine", "mine"), ("Runs/My Dice (2)", "my-dice-2-"), ("runs/_骰子", "mine"), ("r/" + "x" * 99, "x" * 64)],
)
def test_release_is_named_after_folder(folder: str, name: str) -> None:
    check_name(name)
    publish, serve = publishing_commands(Path(folder))
    options = PROGRAM.parse(shlex.split(publish)[3:])
    assert (options.run, options.name) == (Path(folder), name)
    assert serve == f"RENDERSIGHT_MODEL={name} python -m app"
