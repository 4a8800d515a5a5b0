import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from model_store.architectures import build
from tests.command_lines import SLOW, help_of
from training.cli import main
from training.commands import VERBS
from training.records.run_folder import METRICS

ROOT = Path(__file__).parents[2]
SIM2REAL = ["sim2real", "STATE_DICT", "--labels", "disc,square", "--synthetic"]
PAWN = Path(__file__).parent.parent.parent / "examples" / "pawn.obj"


@pytest.fixture(scope="module")
def state_dict(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A seeded network of two classes that finds something everywhere."""
    torch.manual_seed(1)
    network = build("fasterrcnn_mobilenet_v2_fpn", class_count=2)
    path = tmp_path_factory.mktemp("weights") / "shapes.tar"
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere", "--out", "x", "--weights", "none"], "nowhere is not a folder"),
        (["train", "SHAPES", "--out", "x", "--preset", "none-such"], "none-such"),
        (["train", "SHAPES", "--out", "x", "--set", "epoch=1"], "epoch is no hyperparameter"),
        (["train", "SHAPES", "--out", "x", "--set", "epochs"], "'epochs' is not of the form"),
        (["train", "SHAPES", "--out", "x", "--labels", "disc"], "'square' is not a class"),
        (["train", "SHAPES", "--out", "x", "--weights", "nowhere.pt"], "nowhere.pt"),
        (["train", "SHAPES", "--out", "x", "--weights", "none", "--device", "cuda:99"], "cuda:99"),
        (["train", "SHAPES", "--out", "x", "--weights", "none", "--hold-out", "10"], "leaves one side empty"),
        (["train", "--out", "x"], "the dataset is missing"),
        (["train", "--out", "nowhere", "--resume"], "to resume from"),
        (["evaluate", "nowhere/x", "SHAPES"], "nowhere/x"),
        (["evaluate", "STATE_DICT", "SHAPES", "--labels", "disc"], "2 classes"),
        (["evaluate", "STATE_DICT", "SHAPES"], "'disc' is not a class; accepted: 'class_1', 'class_2'"),
        ([*SIM2REAL, "nowhere", "--real", "SHAPES"], "nowhere is not a folder"),
        ([*SIM2REAL, "SHAPES", "--real", "desk=nowhere"], "nowhere is not a folder"),
        ([*SIM2REAL, "SHAPES", "--real", "SHAPES", "--real", "SHAPES"], "two sets of photos are called shapes"),
        (
            [*SIM2REAL, "SHAPES", "--real", "SHAPES", "--real-names", "desk=x.txt"],
            "--real-names desk: not the name of a set",
        ),
        ([*SIM2REAL, "SHAPES", "--real", "SHAPES", "--real-names", "NAMES"], "such as elsewhere.png"),
        ([*SIM2REAL, "SHAPES", "--real", "SHAPES", "--synthetic-names", "none.txt"], "none.txt: No such file"),
        (["sim2real", "none@1", "--synthetic", "SHAPES", "--real", "SHAPES"], "none@1"),
        (["predict", "STATE_DICT", "nowhere.jpg"], "nowhere.jpg is neither"),
        (["publish", "SHAPES", "--name", "x"], "holds no run"),
        (
            ["compare", "SHAPES", "nowhere"],
            "shapes0 holds no run: run.json: No such file or directory; nowhere holds no",
        ),
        (
            ["render", "dragon", "--count", "1", "--out", "x"],
            "dragon is neither a recipe (dice, dice-board)",
        ),
        (["render", "none.obj", "--label", "a", "--count", "1", "--out", "x"], "none.obj is not a file"),
        (["render", "dice", "--label", "a", "--count", "1", "--out", "x"], "leave out --label"),
        (["render", "dice", "--count", "1", "--out", "x", "--blender", "nowhere"], "make render-env"),
        (["preview", "PAWN"], "1 mesh files and 0 --label"),
        (["train", "SHAPES", "--out", "x", "--group-by", "series_("], "no regular expression"),
        (["train", "--out", "x", "--resume", "--labels", "disc"], "a resumed run keeps its hyperparameters"),
        (
            ["evaluate", "STATE_DICT", "SHAPES", "--labels", "disc,square", "--names", "NAMES"],
            "1 of the listed images are not in the dataset, such as elsewhere.png",
        ),
    ],
)
def test_rejects_bad_input_with_one_message(
    arguments: list[str],
    message: str,
    *,
    shapes: Path,
    state_dict: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    names = state_dict.with_name("names.txt")
    names.write_text("photo_00.png\n\nelsewhere.png\n")
    places = {"PAWN": str(PAWN), "SHAPES": str(shapes), "STATE_DICT": str(state_dict), "NAMES": str(names)}
    assert main([places.get(argument, argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "m", "p", "--score-threshold", "1.5"],
        ["predict", "m", "p", "--score-threshold", "nan"],
        ["predict", "m", "p", "--tiles", "0"],
        ["evaluate", "m", "d", "--tiles", "abc"],
        ["train", "d", "--out", "x", "--labels", "a,a"],
        ["train", "d", "--out", "x", "--workers", "-1"],
        ["compare", "a"],
        ["fly"],
        [],
    ],
)
def test_rejects_flag_out_of_range(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "nowhere", "--report"],
        ["inspect", "nowhere", "--sheet"],
        ["convert", "nowhere", "--to", "coco", "OUT"],
        ["train", "nowhere", "--weights", "none", "--out"],
        ["evaluate", "RUN", "nowhere", "--out"],
        ["predict", "nowhere", "nowhere.jpg", "--out"],
        ["sim2real", "RUN", "--synthetic", "nowhere", "--real", "nowhere", "--out"],
        ["publish", "RUN", "--name", "x", "--dataset", "nowhere", "--store"],
        ["publish", "RUN", "--name", "x", "--dataset", "nowhere", "--work"],
        ["render", "dice", "--count", "1", "--blender", "nowhere", "--out"],
        ["preview", "dice", "--blender", "nowhere", "--out"],
    ],
    ids=lambda arguments: f"{arguments[0]} {arguments[-1]}",
)
def test_refuses_unwritable_output_before_the_work(
    finished: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the message would be about `nowhere`."""
    out = str(finished / METRICS / "x" / "y")
    given = {"RUN": str(finished), "OUT": out}
    last = [] if arguments[-1] == "OUT" else [out]
    assert main([*(given.get(argument, argument) for argument in arguments), *last]) == 2
    assert f"cannot be created: {finished.resolve() / METRICS} is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize(("sheet", "message"), [("", "is a folder"), ("x.sheet", "is not the name of an image file")])
def test_inspect_rejects_unsaveable_sheet(
    tmp_path: Path, sheet: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", "nowhere", "--sheet", str(tmp_path / sheet)]) == 2
    assert message in capsys.readouterr().err


def test_evaluate_writes_coco_files(
    shapes: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "result"
    arguments = ["evaluate", str(finished), str(shapes), "--json", "--out", str(out)]
    assert main(arguments) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["image_count"] == 10
    assert 0 <= figures["AP"] <= figures["AP50"] < 0.5
    truth, detections = (json.loads((out / name).read_text()) for name in ("truth.json", "detections.json"))
    assert [category["name"] for category in truth["categories"]] == ["disc", "square"]
    assert {item["image_id"] for item in detections} <= set(range(1, 11))
    assert json.loads((out / "figures.json").read_text()) == figures
    assert "<h1>Evaluation result</h1>" in (out / "report.html").read_text("utf-8")


def test_evaluate_as_one_class_takes_any_labels(
    shapes: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", str(finished), str(shapes), "--one-class", "--json", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert list(json.loads(capsys.readouterr().out)["per_class_ap"]) == ["object"]


def test_sim2real_writes_one_report(
    shapes: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    renders, photos, out = tmp_path / "renders.txt", tmp_path / "photos.txt", tmp_path / "report"
    renders.write_text("photo_00.png\nphoto_01.png\n")
    photos.write_text("photo_02.png\n")
    arguments = ["sim2real", str(finished), "--out", str(out)]
    arguments += ["--synthetic", str(shapes), "--synthetic-names", str(renders)]
    arguments += ["--real", f"desk={shapes}", "--real", str(shapes), "--real-names", f"desk={photos}"]
    assert main([*arguments, "--score-threshold", "0.1", "--json"]) == 0
    captured = capsys.readouterr()
    assert str(out / "report.md") in captured.err
    figures = json.loads((out / "figures.json").read_text())
    assert [item["image_count"] for item in (figures["synthetic"], *figures["real"], figures["all_real"])] == [
        2,
        1,
        10,
        11,
    ]
    assert figures["score_threshold"] == 0.1
    assert [item["data"] for item in figures["real"]] == ["desk", shapes.name]
    assert json.loads(captured.out) == figures
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", (out / "report.md").read_text("utf-8"))
    assert len(pictures) == 6
    assert {path.name for path in out.iterdir()} == {"report.md", "figures.json", *pictures}
    for name in pictures:
        with Image.open(out / name) as picture:
            assert picture.width > 200


def test_predict_writes_pictures_and_labelme_files(
    shapes: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    photo = shapes / "photo_00.png"
    arguments = ["predict", str(finished), str(photo), "--score-threshold", "0", "--json"]
    assert main([*arguments, "--out", str(out)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    with Image.open(out / "pictures" / "photo_00.jpg") as picture:
        assert picture.size == (96, 96)
    document = json.loads((out / "labelme" / "photo_00.json").read_text())
    assert (out / "labelme" / document["imagePath"]).resolve() == photo.resolve()
    assert len(document["shapes"]) > 0
    assert (told["filename"], told["result"]["image"]) == (str(photo), {"width": 96, "height": 96})
    assert [item["label"] for item in told["result"]["detections"]] == [item["label"] for item in document["shapes"]]
    first = told["result"]["detections"][0]
    assert first["box"] == pytest.approx(
        [*document["shapes"][0]["points"][0], *document["shapes"][0]["points"][1]], abs=0.01
    )
    pages = ["--sheet", str(tmp_path / "sheet.jpg"), "--report", str(tmp_path / "report.html")]
    assert main(["inspect", str(out / "labelme"), *pages]) == 0
    assert f"1 images, {len(document['shapes'])} boxes" in capsys.readouterr().out


def test_predict_and_evaluate_look_into_tiles(
    shapes: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = shapes / "photo_00.png"
    arguments = ["predict", str(finished), str(photo), "--score-threshold", "0", "--json", "--out", str(tmp_path)]
    results = {}
    for tiles in ("off", "4"):
        assert main([*arguments, "--tiles", tiles]) == 0
        results[tiles] = json.loads(capsys.readouterr().out)["result"]
    assert (results["off"]["tiles"], results["4"]["tiles"]) == (0, 4)
    assert results["off"]["detections"] != results["4"]["detections"]
    assert all(0 <= value <= 96 for item in results["4"]["detections"] for value in item["box"])
    figures = []
    for tiles in ("off", "1", "4"):
        out = tmp_path / tiles
        assert main(["evaluate", str(finished), str(shapes), "--json", "--out", str(out), "--tiles", tiles]) == 0
        figures.append(json.loads(capsys.readouterr().out))
    assert figures[0] == figures[1] != figures[2]


def test_predict_names_unusable_photos_and_continues(
    shapes: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no photo")
    out = tmp_path / "out"
    assert main(["predict", str(finished), str(broken), str(shapes / "photo_01.png"), "--out", str(out)]) == 2
    assert "broken.jpg" in capsys.readouterr().err
    assert (out / "labelme" / "photo_01.json").exists()


def test_predict_rejects_two_photos_of_one_stem(
    shapes: Path, state_dict: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = tmp_path / "photo_00.jpg"
    Image.new("RGB", (64, 64)).save(twin)
    assert main(["predict", str(state_dict), str(twin), str(shapes), "--out", str(tmp_path / "out")]) == 2
    assert "photo_00" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_names_missing_package() -> None:
    for package, arguments in (("torch", ["evaluate", "dice", "photos"]), ("pydantic", ["inspect", "photos"])):
        code = f"import runpy, sys; sys.modules[{package!r}] = None; runpy.run_module('training', run_name='__main__')"
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr == (
            f"python -m training: the package {package} is not installed; run make .venv/dev.stamp, or pip install -r "
            "requirements/dev.txt\n"
        )


def test_help_lists_verbs_and_imports_none() -> None:
    shown, packages = help_of("training.cli")
    assert packages & SLOW == set()
    assert [name for name in VERBS if f"\n    {name}" not in shown] == []


def test_help_of_a_verb_needs_no_torch() -> None:
    code = """
import sys
sys.modules["torch"] = None
from training.cli import main
for verb in sys.argv[1:]:
    try:
        main([verb, "--help"])
    except SystemExit as end:
        assert end.code == 0
"""
    command = [sys.executable, "-c", code, *VERBS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for verb in VERBS:
        assert f"usage: python -m training {verb} [-h]" in done.stdout
