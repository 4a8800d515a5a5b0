"""The verb `make`: its flags, careless input, and interrupts, with a small program in Blender's place."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from model_store import store
from model_store.architectures import build
from tests.training.fake_blender import CONFIG, COUNT, PAWN, ROOT, fake
from training.cli import main
from training.commands.make import PRESETS
from training.config import resolve
from training.make import budget
from training.make.budget import Pace
from training.records.run_folder import read_metrics
from training.synthetic import recipes


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in; what a command needs lies elsewhere."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def preset(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.toml"
    values = {**CONFIG.model_dump(mode="json", exclude_defaults=True), "hold_out": 2}
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    return path


def command(tools: Path, *words: str, source: Sequence[str] = (str(PAWN), "--label", "Old Pawn")) -> list[str]:
    tiny = ["--preset", str(preset(tools)), "--count", str(COUNT), "--store", str(tools / "store")]
    blender = [] if "--blender" in words else ["--blender", str(fake(tools))]
    return ["make", *source, *tiny, *blender, "--device", "cpu", *words]


def test_prints_how_to_use_the_release(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recipe has its own name and classes, and weights may be a file."""
    weights = tmp_path / "backbone.pth"
    torch.save(build(CONFIG.architecture, class_count=1).backbone.state_dict(), weights)
    words = command(tmp_path / "tools", "--weights", str(weights), source=["dice"])
    assert main(words) == 0
    manifest = store.find(tmp_path / "tools" / "store", "dice@1").manifest
    assert manifest.class_names == ("one", "two", "three", "four", "five", "six")
    assert manifest.origin.continued_from == "backbone.pth"
    said = capsys.readouterr().err
    assert f"dice: 6 renders, 1 epochs of {CONFIG.architecture} on cpu, in runs/make/dice; about 1 min" in said
    assert [line for line in said.splitlines() if line[1:3] == "/4"] == [
        "1/4 render",
        "2/4 train",
        "3/4 report",
        "4/4 publish",
    ]
    assert "without labelled photos" in said
    *_, serve, curl = said.splitlines()
    assert serve == (
        f"serve it: RENDERSIGHT_MODEL=dice@1 RENDERSIGHT_MODEL_STORE={tmp_path / 'tools' / 'store'} python -m app"
    )
    photo = curl.removeprefix("curl -F image=@").removesuffix(" 'http://127.0.0.1:8000/detect'")
    with Image.open(place / photo) as picture:
        assert picture.size == (96, 96)
    assert main(words) == 0
    again = capsys.readouterr().err
    assert again.startswith("dice@1 is published already: ")
    assert again.splitlines()[-2:] == [serve, curl]
    assert main([*words, "--count", "9"]) == 2
    assert "was begun with count 6 and not 9" in capsys.readouterr().err


@pytest.mark.long
def test_time_chooses_the_numbers_once(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "measure_pace", lambda _plan, _context: Pace(part_s=1, scene_s=4, window_s=8))
    words = [word for word in command(tmp_path / "tools", "--time", "1m") if word not in ("--count", str(COUNT))]
    assert main(words) == 0
    said = capsys.readouterr().err
    assert "measuring this machine" in said
    job = json.loads((place / "runs/make/old-pawn/make.json").read_text())["job"]
    assert (job["time_s"], job["count"], job["epochs"]) == (60, 6, 1)  # 24 s to render, 36 s to train
    assert main(words) == 0
    assert capsys.readouterr().err.startswith("old-pawn@1 is published already: ")


def test_every_recipe_has_classes() -> None:
    assert all(recipe.labels for recipe in recipes.RECIPES.values())


ABSENT = "if any(thing.get('source') for thing in spec['things']): print('@error holds no mesh', flush=True); continue"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--name", "Old Pawn"], "'Old Pawn' cannot name a release"),
        (["--photos", "nowhere"], "nowhere is not a folder"),
        (["--photos", "SHAPES"], "has labels that are no class: disc, square; the classes are Old Pawn"),
        (["--photos", "EMPTY"], "no images in"),
        (["--backgrounds", "EMPTY"], "--backgrounds is for composites, and there are none"),
        (["--cutouts", "9"], "--cutouts is for composites, and there are none"),
        (["--time", "soon"], "--time chooses --count; leave out one or the other"),
        (["--preset", "none-such"], "preset 'none-such' is unknown"),
        (["--weights", "coco"], "no coco weights for fasterrcnn_mobilenet_v2_fpn"),
        (["--weights", "nowhere.pt"], "nowhere.pt"),
        (["--weights", "MISFIT"], "fit 0 of the "),
        (["--device", "cuda:99"], "cuda:99"),
        (["--count", "2"], "--count 2 is too small: of all renders, 2 are held out"),
        (["--blender", "nowhere"], "make render-env"),
        (["--blender", "NO_BPY"], "make render-env"),
        (["--blender", "NO_MESH"], "pawn.obj cannot be rendered: holds no mesh"),
        (["--out", "FILE"], "make.json: Not a directory"),
        (["--out", "SHAPES"], "holds other files than those of `make`"),
        (["--store", "FILE"], "is not a folder"),
        (["--label", "rook"], "1 mesh files and 2 --label"),
    ],
)
def test_rejects_bad_input_before_writing_anything(
    words: list[str],
    message: str,
    *,
    place: Path,
    shapes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {
        "SHAPES": shapes,
        "EMPTY": tmp_path / "empty",
        "FILE": tmp_path / "file",
        "MISFIT": tmp_path / "misfit.pt",
        "NO_BPY": fake(tmp_path / "no-bpy", rc=1),
        "NO_MESH": fake(tmp_path / "no-mesh", behaviour=ABSENT),
    }
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    torch.save({"weight": torch.ones(1)}, tmp_path / "misfit.pt")
    assert main([*command(tmp_path / "tools", *(str(places.get(word, word)) for word in words))]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert list(place.iterdir()) == []
    assert not (tmp_path / "tools" / "store").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (["dragon"], "dragon is neither a recipe (dice, dice-board) nor a mesh file"),
        (["none.obj", "--label", "a"], "none.obj is not a file"),
        ([str(PAWN)], "1 mesh files and 0 --label"),
        ([str(PAWN), "--label", " "], "a --label is empty"),
        ([str(PAWN), "--label", "龍"], "the labels 龍 give no name for the release; choose one with --name"),
        (["dice", "--label", "a"], "leave out --label"),
    ],
)
def test_rejects_unrenderable_source(
    source: list[str], message: str, *, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path / "tools", source=source)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert list(place.iterdir()) == []


@pytest.mark.long
def test_makes_release_of_several_meshes_measured_on_photos(
    place: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = [str(PAWN), str(PAWN), str(PAWN), "--label", "square", "--label", "disc", "--label", "square"]
    photos = place / "my photos"
    shutil.copytree(shapes, photos)
    assert main(command(tmp_path / "tools", "--photos", "my photos", source=source)) == 0
    release = store.find(tmp_path / "tools" / "store", "square-disc@1")
    assert release.manifest.class_names == ("square", "disc")
    said = capsys.readouterr().err
    assert "photos: 10 images, AP 0." in said
    assert "without labelled photos" not in said
    assert said.splitlines()[-1] == "curl -F 'image=@my photos/photo_00.png' 'http://127.0.0.1:8000/detect'"


BREAK_ALL = "if spec['camera']['size_px'] > 32: print('@error out of order', flush=True); continue"


def test_rejects_work_folder_after_mesh_changed(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mesh = tmp_path / "pawn.obj"
    mesh.write_bytes(PAWN.read_bytes())
    blender = str(fake(tmp_path / "broken", behaviour=BREAK_ALL))
    words = command(tmp_path / "tools", "--blender", blender, source=[str(mesh), "--label", "pawn"])
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "of the dataset's files cannot be used" in told
    assert told.count("out of order") < COUNT  # more than a twentieth has failed: the others are not tried
    mesh.write_text(mesh.read_text() + "\n")
    assert main(words) == 2
    assert "runs/make/pawn was begun with sources ['pawn from pawn.obj (sha256 " in capsys.readouterr().err


@pytest.fixture
def plain_interrupts() -> Iterator[None]:
    """Ctrl-C as a fresh process has it; a verb that ran before in this one has its own."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


INTERRUPT = "import os, signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(20)"


@pytest.mark.usefixtures("plain_interrupts")
def test_interrupted_checks_leave_nothing(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blender = fake(tmp_path / "interrupting", behaviour=INTERRUPT)
    assert main(command(tmp_path / "tools", "--blender", str(blender))) == 130
    assert "stopped; repeat the command to continue" in capsys.readouterr().err
    assert list(place.iterdir()) == []


@pytest.mark.long
def test_interrupted_stages_lose_nothing(place: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "training", *command(tmp_path / "tools", "--epochs", "40")]
    for wait_for in ("renders/000000-1.json", "run/metrics.jsonl"):
        process = subprocess.Popen(
            words,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )
        try:
            deadline = time.monotonic() + 90
            while not (place / "runs/make/old-pawn" / wait_for).exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does at Ctrl-C
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 130
        assert "repeat the command to continue" in errors
        assert "Traceback" not in errors
    assert 1 <= len(read_metrics(place / "runs/make/old-pawn/run")) < 40


@pytest.mark.parametrize("name", PRESETS.values())
def test_presets_never_mirror_an_object(name: str) -> None:
    config = resolve(name, {})
    assert config.horizontal_flip == config.vertical_flip == 0
    assert config.rotate90 > 0
