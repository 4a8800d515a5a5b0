"""The whole chain at small size, with a small program in Blender's place."""

import dataclasses
import itertools
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from model_store import store
from model_store.store import Release
from tests.training.fake_blender import CONFIG, COUNT, PAWN, fake
from training.commands.render_flags import recipe_of
from training.data.dataset import BrokenDataset
from training.errors import Stopped
from training.learning.run import RunContext
from training.make.plan import MAKE, MakePlan, read_progress
from training.make.stages import make
from training.records.run_folder import read_metrics
from training.synthetic.composites.parts import PartCounts
from training.synthetic.piles import MeshObject
from training.synthetic.renderer import Workers

OBJECTS = (MeshObject(str(PAWN), "disc"), MeshObject(str(PAWN), "square"))
WITH_COMPOSITES = CONFIG.model_copy(update={"composites": 3, "crop_px": 64})


def plan_in(root: Path, *, behaviour: str = "pass", **changes: Any) -> MakePlan:
    plan = MakePlan(
        sources=("disc", "square"),
        class_names=("disc", "square"),
        name="shapes",
        count=COUNT,
        parts=PartCounts(objects=4, clutter=2, backdrops=2),
        backgrounds=(),
        photos=None,
        store=root / "store",
        config=WITH_COMPOSITES,
        out=root / "work",
        recipe=recipe_of([str(PAWN), str(PAWN)], ["disc", "square"]),
        objects=OBJECTS,
        blender=Workers(fake(root, behaviour=behaviour), count=2, threads=1),
    )
    return dataclasses.replace(plan, **changes)


def context(**changes: Any) -> RunContext:
    def bar(items: Iterable[Any], **_: Any) -> Iterable[Any]:
        return items

    made = RunContext(
        device="cpu", workers=0, store_root=Path("none"), say=lambda _: None, bar=bar, stop_asked=lambda: False
    )
    return dataclasses.replace(made, **changes)


def make_it(plan: MakePlan, **changes: Any) -> Release:
    return make(plan, context(**changes))


class StopIn:
    """Asks for a stop at a question within a stage, the second one if no other is given."""

    def __init__(self, stage: str, *, question: int = 2) -> None:
        self._stage, self._question, self._questions = stage, question, -1

    def say(self, line: str) -> None:
        if line[1:3] == "/5":
            self._questions = 0 if line.endswith(self._stage) else -1

    def asked(self) -> bool:
        self._questions += self._questions >= 0
        return self._questions >= self._question


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def made(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Release]:
    root = tmp_path_factory.mktemp("made")
    return root, make_it(plan_in(root, photos=shapes))


def test_publishes_release_trained_on_renders(made: tuple[Path, Release], shapes: Path) -> None:
    root, release = made
    assert store.find(root / "store", "shapes").manifest == release.manifest
    assert (release.ref, release.manifest.class_names) == ("shapes@1", ("disc", "square"))
    assert release.manifest.origin.config == WITH_COMPOSITES.model_dump(mode="json")
    assert [(item.data, item.image_count) for item in release.manifest.metrics] == [
        ("renders for shapes, held out", 2),
        ("photos", 10),
    ]
    assert "6 renders and 3 composites of 4 rendered cut-outs alone, measured on real photos" in (
        release.manifest.description
    )
    assert (root / "work" / "composites.jpg").is_file()
    report = json.loads((root / "work" / "report" / "figures.json").read_text())
    assert (report["synthetic"]["image_count"], report["all_real"]["image_count"]) == (2, 10)
    assert (root / "work" / "report" / "report.md").is_file()
    # the photos choose the threshold if anything found in them is right
    decides = read_progress(plan_in(root, photos=shapes)).photos_decide
    assert decides == (report["all_real"]["figures"]["f1"] > 0)
    assert release.manifest.score_threshold_from == (("photos",) if decides else ())


def test_publishing_reuses_detections_of_the_report(tmp_path: Path) -> None:
    said: list[str] = []
    release = make_it(plan_in(tmp_path), say=said.append)
    assert [line.partition(": reused")[0] for line in said if ": reused" in line] == [
        "torch-fp32 on renders for shapes, held out"
    ]
    figures = json.loads((tmp_path / "work" / "report" / "figures.json").read_text())
    assert figures["image_count"] == 2
    assert release.manifest.score_threshold_from == ()


@pytest.mark.long
def test_shows_detections_in_photos_without_labels(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (64, 48)).save(photos / "a.png")
    said: list[str] = []
    release = make_it(plan_in(tmp_path, photos=photos), say=said.append)
    assert any("photos: 1 without labels; " in line for line in said)
    shown = tmp_path / "work" / "report" / "photos"
    assert sorted(path.name for path in shown.rglob("a.*")) == ["a.jpg", "a.json"]
    assert "never measured on real photos" in release.manifest.description
    assert read_progress(plan_in(tmp_path, photos=photos)).photo == str(photos / "a.png")


def test_never_trains_on_photos(made: tuple[Path, Release]) -> None:
    root, _ = made
    names = [(root / "work" / "run" / name).read_text().split() for name in ("train.txt", "hold_out.txt")]
    assert sorted(itertools.chain(*names)) == [
        f"{scene:06d}-{number}.jpg" for scene in range(COUNT // 3) for number in (1, 2, 3)
    ]


def test_records_photo_to_try(made: tuple[Path, Release], shapes: Path) -> None:
    root, _ = made
    assert read_progress(plan_in(root, photos=shapes)).photo == str(shapes.resolve() / "photo_00.png")


def test_repeated_call_changes_nothing(made: tuple[Path, Release], shapes: Path) -> None:
    root, release = made
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file() and path.suffix != ".json"}
    assert make_it(plan_in(root, photos=shapes)).ref == release.ref
    after_it = {path: path.stat().st_mtime_ns for path in before}
    assert {path.name for path in before if before[path] != after_it[path]} <= {"blender"}
    assert store.versions(root / "store", "shapes") == [1]


@pytest.mark.long
def test_stops_in_every_stage_change_no_figure(made: tuple[Path, Release], shapes: Path, tmp_path: Path) -> None:
    plan = plan_in(tmp_path, photos=shapes)
    for number, stage in enumerate(("cutouts", "render", "train", "report", "publish"), 1):
        stop = StopIn(stage, question=1 if stage == "publish" else 2)  # it takes over what the report found
        with pytest.raises(Stopped, match=f"stopped in {number}/5, {stage}; repeat the command to continue"):
            make_it(plan, say=stop.say, stop_asked=stop.asked)
        assert store.versions(tmp_path / "store", "shapes") == []
    release = make_it(plan)
    whole = made[1]
    assert store.versions(tmp_path / "store", "shapes") == [1]
    assert release.manifest.metrics == whole.manifest.metrics
    assert release.manifest.golden == whole.manifest.golden


@pytest.fixture
def copy(made: tuple[Path, Release], shapes: Path, tmp_path: Path) -> MakePlan:
    """A finished work folder and its store, to spoil."""
    shutil.copytree(made[0], tmp_path, dirs_exist_ok=True)
    plan = plan_in(tmp_path, photos=shapes)
    content = json.loads((plan.out / MAKE).read_text())
    content["job"]["store"] = str(plan.store)
    (plan.out / MAKE).write_text(json.dumps(content))
    return plan


def forget(plan: MakePlan, **changes: Any) -> None:
    path = plan.out / MAKE
    content = json.loads(path.read_text())
    content["done"] |= changes
    path.write_text(json.dumps(content))


def test_finds_release_published_by_killed_command(copy: MakePlan) -> None:
    forget(copy, release=None)
    assert make_it(copy).ref == "shapes@1"
    assert store.versions(copy.store, "shapes") == [1]


@pytest.mark.long
def test_ignores_release_of_another_run(copy: MakePlan) -> None:
    forget(copy, release=None, publishing_after=1)
    assert make_it(copy).ref == "shapes@2"


@pytest.mark.long
def test_grown_folder_trains_on_from_its_best_weights(copy: MakePlan) -> None:
    held_out = (copy.run / "hold_out.txt").read_text()
    more = WITH_COMPOSITES.model_copy(update={"epochs": 3})
    release = make_it(dataclasses.replace(copy, count=COUNT + 2, config=more))
    assert release.ref == "shapes@2"
    assert release.manifest.origin.continued_from == "run/best.pt"
    assert len(read_metrics(copy.out / "run-2")) == 2
    assert (copy.out / "run-2" / "hold_out.txt").read_text() == held_out
    assert len((copy.out / "run-2" / "train.txt").read_text().split()) == COUNT
    assert "9 composites" in release.manifest.description


@pytest.mark.long
def test_grown_folder_holds_out_whole_scenes(tmp_path: Path) -> None:
    def scenes(run: Path, name: str) -> set[str]:
        return {line.partition("-")[0] for line in (run / name).read_text().split()}

    config = WITH_COMPOSITES.model_copy(update={"group_by": r"^\d+", "hold_out": 1, "seed": 0})
    plan = plan_in(tmp_path, count=4, config=config)
    make_it(plan)
    assert scenes(plan.run, "hold_out.txt") == {"000001"}  # its first picture; the other two are not rendered yet
    grown = dataclasses.replace(plan, count=6, config=config.model_copy(update={"epochs": 2}))
    make_it(grown)
    assert (plan.out / "run-2" / "hold_out.txt").read_text().split() == [f"000001-{number}.jpg" for number in (1, 2, 3)]
    assert scenes(plan.out / "run-2", "train.txt") == {"000000"}


def test_publishes_deleted_release_again(copy: MakePlan) -> None:
    shutil.rmtree(copy.store / "shapes" / "1")
    assert make_it(copy).ref == "shapes@1"


def test_leaves_out_few_failed_scenes_but_not_many(tmp_path: Path) -> None:
    behaviour = "if spec['seed'] == 3: print('@error no such thing', flush=True); continue"
    said: list[str] = []
    stop = StopIn("train")

    def say(line: str) -> None:
        said.append(line)
        stop.say(line)

    with pytest.raises(Stopped):
        make_it(plan_in(tmp_path, count=20, behaviour=behaviour), say=say, stop_asked=stop.asked)
    said = said[said.index("2/5 render") :]
    assert said[1].endswith(" s each, 16 left: about 1 min")  # from the first scenes
    assert said[2:4] == ["1 of 20 scenes are left out, such as 000001-1: no such thing", "3/5 train"]
    assert len(list((tmp_path / "work" / "renders").glob("*.jpg"))) == 19
    with pytest.raises(BrokenDataset, match="000001-1: no such thing"):
        make_it(plan_in(tmp_path / "few", behaviour=behaviour))
