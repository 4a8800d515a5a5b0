"""The whole chain at small size; Blender's place takes a small program, at the seam that production uses."""

import dataclasses
import itertools
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from model_store import store
from model_store.architectures import build
from model_store.store import Release
from training import make
from training.commands import main
from training.config import TrainConfig, resolve
from training.console import Stopped
from training.dataset import BrokenDataset
from training.make import Job, in_words
from training.make_command import PRESETS
from training.run import Surroundings
from training.run_folder import RunError, read_metrics
from training.synthetic import recipes
from training.synthetic.commands import draw_of
from training.synthetic.dataset import Workers

ROOT = Path(__file__).parent.parent.parent
PAWN = ROOT / "examples" / "pawn.obj"

FAKE = """#!{python}
import json, sys
import numpy as np
if sys.argv[1] == "-c":  # the question whether bpy is there
    sys.exit({rc})
for line in sys.stdin:
    request = json.loads(line)
    spec = request["spec"]
    {behaviour}
    labelled = [thing for thing in spec["things"] if thing["label"] is not None]
    light, index = np.full((96, 96, 3), 0.2, np.float16), np.zeros((96, 96), np.uint8)
    arrays = dict(light=light, index=index)
    for number, thing in enumerate(labelled, 1):
        y, x = 2 + 11 * ((number - 1) // 8), 2 + 11 * ((number - 1) % 8)
        index[y : y + 9, x : x + 9] = number
        light[y : y + 9, x : x + 9] = (0.9, 0.1, 0.1) if thing["label"] == "disc" else (0.1, 0.1, 0.9)
        arrays[f"vertices_{{number}}"] = np.array([(x, y), (x + 9, y), (x + 9, y + 9), (x, y + 9)], np.float32)
        arrays[f"faces_{{number}}"] = np.array([(0, 1, 2), (0, 2, 3)], np.int32)
    np.savez(request["out"], **arrays)
    print("@ok", flush=True)
"""

COUNT = 6
CONFIG = TrainConfig(
    architecture="fasterrcnn_mobilenet_v2_fpn",
    weights="none",
    min_size=96,
    max_size=96,
    rois_per_image=16,
    epochs=1,
    batch_size=2,
    hold_out=2,
    warmup_steps=2,
)


def fake(folder: Path, *, behaviour: str = "pass", rc: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "blender"
    path.write_text(FAKE.format(python=sys.executable, behaviour=behaviour, rc=rc))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def job(root: Path, **changes: Any) -> Job:
    made = Job(
        sources=("disc", "square"),
        class_names=("disc", "square"),
        name="shapes",
        count=COUNT,
        photos=None,
        store=str(root / "store"),
        config=CONFIG,
    )
    return dataclasses.replace(made, **changes)


def surroundings(**changes: Any) -> Surroundings:
    def bar(items: Iterable[Any], **_: Any) -> Iterable[Any]:
        return items

    around = Surroundings(
        device="cpu", workers=0, store_root=Path("none"), say=lambda _: None, bar=bar, stop_asked=lambda: False
    )
    return dataclasses.replace(around, **changes)


def make_it(root: Path, wanted: Job | None = None, *, behaviour: str = "pass", **around: Any) -> Release:
    return make.make(
        wanted or job(root),
        root / "work",
        draw=draw_of([str(PAWN), str(PAWN)], ["disc", "square"]),
        renderers=Workers(fake(root, behaviour=behaviour), count=2, threads=1),
        around=surroundings(**around),
    )


class StopIn:
    """Asks for a stop at the second question within a stage."""

    def __init__(self, stage: str) -> None:
        self._stage, self._questions = stage, -1

    def say(self, line: str) -> None:
        if line[1:3] == "/4":
            self._questions = 0 if line.endswith(self._stage) else -1

    def asked(self) -> bool:
        self._questions += self._questions >= 0
        return self._questions > 1


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Pictures this small are not worth dividing, least of all on a machine that is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def made(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Release]:
    root = tmp_path_factory.mktemp("made")
    return root, make_it(root, job(root, photos=str(shapes)))


def test_the_chain_ends_with_a_release_of_what_was_rendered(made: tuple[Path, Release], shapes: Path) -> None:
    root, release = made
    assert store.find(root / "store", "shapes").manifest == release.manifest
    assert (release.ref, release.manifest.class_names) == ("shapes@1", ("disc", "square"))
    assert release.manifest.origin.config == CONFIG.model_dump(mode="json")
    assert [(item.data, item.image_count) for item in release.manifest.metrics] == [
        ("renders for shapes, held out", 2),
        ("photos", 10),
    ]
    assert "renders alone, measured on real photos" in release.manifest.description
    report = json.loads((root / "work" / "report" / "figures.json").read_text())
    assert (report["synthetic"]["image_count"], report["all_real"]["image_count"]) == (2, 10)
    assert (root / "work" / "report" / "report.md").is_file()
    # the photos choose the threshold if anything found in them is right
    decides = make.look(root / "work", job(root, photos=str(shapes))).photos_decide
    assert decides == (report["all_real"]["figures"]["f1"] > 0)
    assert release.manifest.score_threshold_from == (("photos",) if decides else ())


def test_without_photos_the_report_is_on_renders(tmp_path: Path) -> None:
    release = make_it(tmp_path, job(tmp_path))
    figures = json.loads((tmp_path / "work" / "report" / "figures.json").read_text())
    assert figures["image_count"] == 2
    assert release.manifest.score_threshold_from == ()


def test_the_photos_are_never_trained_on(made: tuple[Path, Release]) -> None:
    root, _ = made
    names = [(root / "work" / "run" / name).read_text().split() for name in ("train.txt", "hold_out.txt")]
    assert sorted(itertools.chain(*names)) == [f"{seed:06d}.jpg" for seed in range(COUNT)]


def test_it_remembers_a_real_photo_with_an_object_to_try(made: tuple[Path, Release], shapes: Path) -> None:
    root, _ = made
    assert make.look(root / "work", job(root, photos=str(shapes))).photo == str(shapes.resolve() / "photo_00.png")


def test_the_same_call_again_changes_nothing(made: tuple[Path, Release], shapes: Path) -> None:
    root, release = made
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file() and path.suffix != ".json"}
    assert make_it(root, job(root, photos=str(shapes))).ref == release.ref
    after_it = {path: path.stat().st_mtime_ns for path in before}
    assert {path.name for path in before if before[path] != after_it[path]} <= {"blender"}
    assert store.versions(root / "store", "shapes") == [1]


def test_a_chain_that_is_stopped_in_every_stage_ends_as_one_that_is_not(
    made: tuple[Path, Release], shapes: Path, tmp_path: Path
) -> None:
    wanted = job(tmp_path, photos=str(shapes))
    for number, stage in enumerate(("render", "train", "report", "publish"), 1):
        stop = StopIn(stage)
        with pytest.raises(Stopped, match=f"stopped in {number}/4, {stage}; repeat the command to go on"):
            make_it(tmp_path, wanted, say=stop.say, stop_asked=stop.asked)
        assert store.versions(tmp_path / "store", "shapes") == []
    release = make_it(tmp_path, wanted)
    whole = made[1]
    assert store.versions(tmp_path / "store", "shapes") == [1]
    assert release.manifest.metrics == whole.manifest.metrics
    assert release.manifest.golden == whole.manifest.golden


@pytest.fixture
def copy(made: tuple[Path, Release], shapes: Path, tmp_path: Path) -> tuple[Path, Job]:
    """A finished work folder and its store, to spoil."""
    shutil.copytree(made[0], tmp_path, dirs_exist_ok=True)
    wanted = job(tmp_path, photos=str(shapes))
    content = json.loads((tmp_path / "work" / make.MAKE).read_text())
    content["job"]["store"] = wanted.store
    (tmp_path / "work" / make.MAKE).write_text(json.dumps(content))
    return tmp_path, wanted


def forget(root: Path, **changes: Any) -> None:
    path = root / "work" / make.MAKE
    content = json.loads(path.read_text())
    content["done"] |= changes
    path.write_text(json.dumps(content))


def test_a_release_that_a_killed_command_published_is_found_again(copy: tuple[Path, Job]) -> None:
    root, wanted = copy
    forget(root, release=None)
    assert make_it(root, wanted).ref == "shapes@1"
    assert store.versions(root / "store", "shapes") == [1]


def test_a_release_of_another_job_is_not_taken_for_it(copy: tuple[Path, Job]) -> None:
    root, wanted = copy
    forget(root, release=None, publishing_after=1)
    assert make_it(root, wanted).ref == "shapes@2"


def test_a_release_that_was_deleted_is_published_again(copy: tuple[Path, Job]) -> None:
    root, wanted = copy
    shutil.rmtree(root / "store" / "shapes" / "1")
    assert make_it(root, wanted).ref == "shapes@1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 7}, "begun with count 6 and not 7; repeat that"),
        ({"photos": None}, "and not None"),
        ({"sources": ("disc",)}, r"sources \['disc', 'square'\] and not \['disc'\]"),
        ({"config": CONFIG.model_copy(update={"epochs": 3, "weights": "coco"})}, "weights none and not coco, epochs 1"),
    ],
)
def test_a_work_folder_is_that_of_one_job(
    made: tuple[Path, Release], shapes: Path, changes: dict[str, Any], message: str
) -> None:
    root, _ = made
    with pytest.raises(RunError, match=message):
        make_it(root, job(root, **{"photos": str(shapes), **changes}))


def test_few_scenes_that_fail_are_left_out_and_many_end_it(tmp_path: Path) -> None:
    behaviour = "if spec['seed'] == 3: print('@error no such thing', flush=True); continue"
    said: list[str] = []
    stop = StopIn("train")

    def say(line: str) -> None:
        said.append(line)
        stop.say(line)

    with pytest.raises(Stopped):
        make_it(tmp_path, job(tmp_path, count=20), behaviour=behaviour, say=say, stop_asked=stop.asked)
    assert said[0] == "1/4 render"
    assert said[1].endswith(" s each, 4 to go: about 1 min")  # from the first scenes
    assert said[2:4] == ["1 of 20 scenes are left out, such as 000003: no such thing", "2/4 train"]
    assert len(list((tmp_path / "work" / "renders").glob("*.jpg"))) == 19
    with pytest.raises(BrokenDataset, match="000003: no such thing"):
        make_it(tmp_path / "few", behaviour=behaviour)


# the verb


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


def test_the_command_ends_with_the_lines_that_use_the_release(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command(tmp_path / "tools")
    assert main(words) == 0
    said = capsys.readouterr().err
    assert (
        f"old-pawn: 6 renders, 1 epochs of {CONFIG.architecture} on cpu, in runs/make/old-pawn; assumed: 1 min" in said
    )
    assert [line for line in said.splitlines() if line[1:3] == "/4"] == [
        "1/4 render",
        "2/4 train",
        "3/4 report",
        "4/4 publish",
    ]
    assert "no --photos" in said
    *_, serve, curl = said.splitlines()
    assert serve == (
        f"serve it: RENDERSIGHT_MODEL=old-pawn@1 RENDERSIGHT_MODEL_STORE={tmp_path / 'tools' / 'store'} python -m app"
    )
    photo = curl.removeprefix("curl -F image=@").removesuffix(" 'http://127.0.0.1:8000/detect'")
    with Image.open(place / photo) as picture:
        assert picture.size == (96, 96)
    assert main(words) == 0
    again = capsys.readouterr().err
    assert again.startswith("old-pawn@1 is published already: ")
    assert again.splitlines()[-2:] == [serve, curl]
    assert main([*words, "--epochs", "9"]) == 2
    assert "was begun with epochs 1 and not 9" in capsys.readouterr().err


def test_a_recipe_has_its_own_name_and_classes(place: Path, tmp_path: Path) -> None:
    assert main(command(tmp_path / "tools", source=["dice"])) == 0
    release = store.find(tmp_path / "tools" / "store", "dice")
    assert release.manifest.class_names == ("one", "two", "three", "four", "five", "six")
    assert (place / "runs" / "make" / "dice" / "make.json").is_file()


def test_every_recipe_has_its_classes() -> None:
    assert set(recipes.RECIPE_LABELS) == set(recipes.RECIPES)


ABSENT = "if any(thing['source'] for thing in spec['things']): print('@error holds no mesh', flush=True); continue"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--name", "Old Pawn"], "'Old Pawn' cannot name a release"),
        (["--photos", "nowhere"], "nowhere is not a folder"),
        (["--photos", "SHAPES"], "has labels that are no class: disc, square; the classes are Old Pawn"),
        (["--photos", "EMPTY"], "holds no labelled object"),
        (["--preset", "none-such"], "preset 'none-such' is unknown"),
        (["--weights", "coco"], "no coco weights for fasterrcnn_mobilenet_v2_fpn"),
        (["--weights", "nowhere.pt"], "nowhere.pt"),
        (["--weights", "MISFIT"], "have no tensor that fits"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--count", "2"], "hold_out 2 of 2 images in 2 groups leaves a part empty"),
        (["--blender", "nowhere"], "make render-env"),
        (["--blender", "NO_BPY"], "make render-env"),
        (["--blender", "NO_MESH"], "pawn.obj cannot be rendered: holds no mesh"),
        (["--out", "FILE"], "make.json: Not a directory"),
        (["--out", "SHAPES"], "holds other files than those of `make`"),
        (["--store", "FILE"], "is no folder"),
        (["--label", "rook"], "1 mesh files need as many --label, 2 are given"),
    ],
)
def test_careless_input_ends_with_one_line_before_anything_is_written(
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
    Image.new("RGB", (64, 64)).save(tmp_path / "empty" / "photo.png")
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
        (["none.obj", "--label", "a"], "none.obj is no file"),
        ([str(PAWN)], "1 mesh files need as many --label, 0 are given"),
        ([str(PAWN), "--label", " "], "a --label is empty"),
        ([str(PAWN), "--label", "龍"], "no release can be named for 龍; give a --name"),
        (["dice", "--label", "a"], "leave out --label"),
    ],
)
def test_a_source_that_cannot_be_rendered_ends_with_one_line(
    source: list[str], message: str, *, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path / "tools", source=source)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert list(place.iterdir()) == []


def test_several_objects_and_photos_of_them(
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
    assert "no --photos" not in said
    assert said.splitlines()[-1] == "curl -F 'image=@my photos/photo_00.png' 'http://127.0.0.1:8000/detect'"


BREAK_ALL = "if spec['camera']['size_px'] > 32: print('@error out of order', flush=True); continue"


def test_a_mesh_that_has_changed_is_another_job(
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
def test_an_interrupt_of_the_checks_leaves_nothing(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blender = fake(tmp_path / "interrupting", behaviour=INTERRUPT)
    assert main(command(tmp_path / "tools", "--blender", str(blender))) == 130
    assert "stopped; repeat the command to go on" in capsys.readouterr().err
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("content", ["{", "[]", '{"job": {}}', '{"job": {}, "done": {"colour": 1}}'])
def test_a_broken_state_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / make.MAKE).write_text(content)
    with pytest.raises(RunError, match=r"make\.json is broken"):
        make_it(tmp_path)


def test_weights_may_be_a_file(place: Path, tmp_path: Path) -> None:
    weights = tmp_path / "backbone.pth"
    torch.save(build(CONFIG.architecture, class_count=1).backbone.state_dict(), weights)
    assert main(command(tmp_path / "tools", "--weights", str(weights))) == 0
    release = store.find(tmp_path / "tools" / "store", "old-pawn@1")
    assert release.manifest.origin.continued_from == "backbone.pth"


def test_interrupts_of_the_command_lose_nothing(place: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "training", *command(tmp_path / "tools", "--epochs", "40")]
    for wait_for in ("renders/000001.json", "run/metrics.jsonl"):
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
        assert "repeat the command to go on" in errors
        assert "Traceback" not in errors
    assert 1 <= len(read_metrics(place / "runs/make/old-pawn/run")) < 40


@pytest.mark.parametrize("name", PRESETS.values())
def test_the_presets_never_mirror_an_object(name: str) -> None:
    config = resolve(name, {})
    assert config.horizontal_flip == config.vertical_flip == 0
    assert config.rotate90 > 0


def test_a_duration_is_told_in_minutes_or_hours() -> None:
    assert [in_words(seconds) for seconds in (1, 89, 3600, 7200, 9000)] == [
        "1 min",
        "1 min",
        "60 min",
        "2.0 h",
        "2.5 h",
    ]
