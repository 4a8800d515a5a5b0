import dataclasses
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from model_store.cpu import usable_cores
from model_store.state_dict import read_state_dict
from tests.training.test_conversion import write_splits
from training import run
from training.checkpoint import BEST, LAST, save_best, write_atomically
from training.config import TrainConfig
from training.console import Stopped
from training.dataset import LabelledImages, read_dataset, split
from training.run_folder import METRICS, RunError, RunRecord, prepare, read_metrics, read_names

CONFIG = TrainConfig(
    architecture="fasterrcnn_mobilenet_v2_fpn",
    weights="none",
    min_size=96,
    max_size=96,
    rois_per_image=32,
    epochs=2,
    batch_size=2,
    hold_out=3,
    warmup_steps=2,
    rotate90=0.5,
)


def never() -> bool:
    return False


def surroundings(**changes: Any) -> run.Surroundings:
    def bar(items: Iterable[Any], **_: Any) -> Iterable[Any]:
        return items

    around = run.Surroundings(device="cpu", workers=0, store_root=Path(), say=lambda _: None, bar=bar, stop_asked=never)
    return dataclasses.replace(around, **changes)


def after(calls: int) -> Callable[[], bool]:
    """Ask for a stop from the n-th question on."""
    count = iter(range(10_000))
    return lambda: next(count) >= calls


def figures(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics without what depends on the clock."""
    return [{key: value for key, value in line.items() if key != "images_per_s"} for line in read_metrics(folder)]


@pytest.fixture(scope="module")
def finished(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    run.start(shapes, out, CONFIG, class_names=None, around=surroundings())
    return out


def test_a_run_folder_can_repeat_itself(finished: Path, shapes: Path) -> None:
    record = RunRecord.read(finished)
    assert record.config == CONFIG
    assert record.class_names == ("disc", "square")
    assert record.dataset == str(shapes)
    assert record.library_versions["torch"] == torch.__version__.partition("+")[0]
    train, held = (read_names(finished / name) for name in ("train.txt", "hold_out.txt"))
    assert len(train) == 7
    assert len(held) == 3
    assert not set(train) & set(held)
    assert [line["epoch"] for line in read_metrics(finished)] == [1, 2]
    assert {"loss", "loss_classifier", "AP", "AP50", "f1", "threshold"} <= set(read_metrics(finished)[0])
    for name in ("losses.png", "learning_rate.png", "ap.png", "precision_recall.png", "hold_out.png"):
        assert (finished / "plots" / name).stat().st_size > 1000
    assert "<h1>Run whole</h1>" in (finished / "report.html").read_text("utf-8")


def test_the_best_weights_are_a_plain_state_dict(finished: Path) -> None:
    assert "roi_heads.box_predictor.cls_score.weight" in read_state_dict(finished / BEST)


@pytest.mark.parametrize("stop_after", [1, 3, 4, 6])  # within an epoch, after its last step, at its end
def test_a_resumed_run_gives_the_same_figures_and_weights(
    finished: Path, shapes: Path, tmp_path: Path, stop_after: int
) -> None:
    out = tmp_path / "stopped"
    with pytest.raises(Stopped, match="--resume"):
        run.start(shapes, out, CONFIG, class_names=None, around=surroundings(stop_asked=after(stop_after)))
    torch.rand(5)  # the state of this process must not matter
    run.resume(out, around=surroundings(workers=1))
    assert figures(out) == figures(finished)
    whole, resumed = (read_state_dict(folder / BEST) for folder in (finished, out))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_run_that_broke_off_between_best_and_last_gives_the_same_figures_and_weights(
    finished: Path, shapes: Path, tmp_path: Path
) -> None:
    def say(line: str) -> None:
        if line.startswith("epoch 2"):  # best and metrics are written, last is not
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run.start(shapes, tmp_path, CONFIG, class_names=None, around=surroundings(say=say))
    run.resume(tmp_path, around=surroundings())
    assert figures(tmp_path) == figures(finished)
    whole, resumed = (read_state_dict(folder / BEST) for folder in (finished, tmp_path))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_all_steps_use_as_many_threads_whatever_was_set_before(shapes: Path, tmp_path: Path) -> None:
    """Sums round differently with another number; the evaluation between two epochs sets it too."""
    threads: list[int] = []

    def never_stop() -> bool:
        threads.append(torch.get_num_threads())
        return False

    before = torch.get_num_threads()
    torch.set_num_threads(usable_cores() + 1)
    try:
        run.start(shapes, tmp_path, CONFIG, class_names=None, around=surroundings(stop_asked=never_stop))
    finally:
        torch.set_num_threads(before)
    assert set(threads) == {usable_cores()}


def test_a_stop_after_the_last_step_lets_the_run_end(shapes: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"epochs": 1})
    asked: list[str] = []

    def say(line: str) -> None:
        if line.startswith("epoch 1"):
            asked.append(line)

    run.start(shapes, tmp_path, config, class_names=None, around=surroundings(say=say, stop_asked=lambda: bool(asked)))
    assert len(asked) == len(read_metrics(tmp_path)) == 1


def test_each_epoch_but_the_last_tells_how_long_the_others_will_take(shapes: Path, tmp_path: Path) -> None:
    def bar(items: Iterable[Any], **_: Any) -> Iterable[Any]:
        time.sleep(0.6)  # measuring the hold-out takes time too
        return items

    said: list[str] = []
    began = time.monotonic()
    run.start(shapes, tmp_path, CONFIG, class_names=None, around=surroundings(say=said.append, bar=bar))
    first, last = [line for line in said if line.startswith("epoch ")]
    left = re.search(r" images/s, 0:(\d\d):(\d\d) left$", first)
    assert left is not None
    assert 0 < 60 * int(left[1]) + int(left[2]) <= time.monotonic() - began + 1
    assert last.endswith(" images/s")


_FAILING = """
import sys
from pathlib import Path
from tests.training.test_run import CONFIG, surroundings
from training import run

def bar(items, **_):
    for number, item in enumerate(items):
        assert number == 0, "unforeseen"
        yield item

run.start(Path(sys.argv[1]), Path(sys.argv[2]), CONFIG, class_names=None, around=surroundings(bar=bar, workers=1))
"""


def test_a_training_that_fails_ends_with_its_readers(shapes: Path, tmp_path: Path) -> None:
    """They have to end by SIGTERM, which a stop of the training itself must not let them do."""
    command = [sys.executable, "-c", _FAILING, str(shapes), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode == 1
    assert "AssertionError: unforeseen" in ended.stderr


def test_a_start_that_was_cut_short_can_be_resumed_or_begun_anew(shapes: Path, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def bar(items: Iterable[Any], **_: Any) -> Iterable[Any]:
        raise Killed

    with pytest.raises(Killed):
        run.start(shapes, tmp_path, CONFIG, class_names=None, around=surroundings(bar=bar))
    with pytest.raises(Stopped):
        run.resume(tmp_path, around=surroundings(stop_asked=after(0)))
    (tmp_path / LAST).unlink()  # as if it had been killed before the first checkpoint
    with pytest.raises(Stopped):
        run.start(shapes, tmp_path, CONFIG, class_names=None, around=surroundings(stop_asked=after(0)))


def test_a_dataset_s_own_split_is_followed_and_its_format_remembered(shapes: Path, tmp_path: Path) -> None:
    source, out = write_splits(shapes, tmp_path / "yolo"), tmp_path / "run"
    (source / "photo_00.xml").write_text("<annotation/>")  # so that the format must be said
    said: list[str] = []
    around = surroundings(say=said.append, stop_asked=after(0))
    with pytest.raises(Stopped):
        run.start(source, out, CONFIG, class_names=None, around=around, dataset_format="yolo")
    assert read_names(out / "train.txt") == [f"images/photo_0{number}.png" for number in range(5)]
    assert read_names(out / "hold_out.txt") == [f"images/photo_0{number}.png" for number in range(5, 8)]
    assert "2 images are in neither part, as the dataset's files keep them apart" in said
    assert RunRecord.read(out).dataset_format == "yolo"


def test_a_run_without_a_held_out_object_keeps_its_latest_weights(shapes: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"group_by": r"_\d([49])?", "hold_out": 2})
    seed = next(
        seed for seed in range(20) if not any(image.labels for image in held_out(shapes, config, seed=seed).images)
    )
    config = config.model_copy(update={"seed": seed})
    run.start(shapes, tmp_path, config, class_names=None, around=surroundings())
    assert [line["AP"] for line in read_metrics(tmp_path)] == [-1.0, -1.0]
    average = torch.load(tmp_path / LAST, weights_only=True)["average"]
    best = read_state_dict(tmp_path / BEST)
    assert all(torch.equal(best[name], average[name]) for name in best)


def held_out(shapes: Path, config: TrainConfig, *, seed: int) -> LabelledImages:
    return split(read_dataset(shapes), hold_out=config.hold_out, seed=seed, group_by=config.group_by)[1]


def test_a_checkpoint_that_finds_no_space_leaves_the_one_before(finished: Path, tmp_path: Path) -> None:
    save_best(tmp_path, {"weight": torch.ones(1)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match=r"best\.pt could not be written"):
            save_best(tmp_path, {"weight": torch.ones(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == [BEST]
    assert read_state_dict(tmp_path / BEST)["weight"].tolist() == [1.0]


@pytest.mark.parametrize("resume", [False, True])
def test_what_killed_runs_were_writing_is_removed_when_one_goes_on(tmp_path: Path, resume: bool) -> None:
    if resume:
        (tmp_path / LAST).touch()
    before = sorted(tmp_path.iterdir())
    for name in (LAST, BEST, METRICS, "run.json", "train.txt", "hold_out.txt", "report.html"):
        (tmp_path / f".{name}.{2**22}").write_text("half a fi")
    prepare(tmp_path, resume=resume)
    assert sorted(tmp_path.iterdir()) == before


def test_what_is_being_written_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".last.pt.mine").touch()  # nor is what no run has written

    def write(draft: Path) -> None:
        draft.write_text("whole")
        prepare(tmp_path, resume=False)

    write_atomically(tmp_path / LAST, write)
    assert {path.name for path in tmp_path.iterdir()} == {LAST, ".last.pt.mine"}
    assert (tmp_path / LAST).read_text() == "whole"


def test_a_resumed_run_that_was_done_stays_as_it_is(finished: Path) -> None:
    before = (finished / LAST).read_bytes()
    run.resume(finished, around=surroundings())
    assert (finished / LAST).read_bytes() == before


def test_a_run_is_not_overwritten(finished: Path, shapes: Path) -> None:
    with pytest.raises(RunError, match="already holds a run"):
        run.start(shapes, finished, CONFIG, class_names=None, around=surroundings())


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="to resume from"):
        run.resume(tmp_path, around=surroundings())


def test_a_changed_dataset_is_not_resumed(finished: Path, shapes: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in shapes.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    annotation = sorted(other.glob("*.json"))[0]
    document = json.loads(annotation.read_text())
    document["shapes"][0]["points"][0][0] += 1
    annotation.write_text(json.dumps(document))
    with pytest.raises(RunError, match="has changed"):
        run.resume(finished, around=surroundings(), dataset=other)


def test_a_moved_dataset_is_resumed_from_where_it_is(finished: Path, shapes: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in shapes.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    run.resume(finished, around=surroundings(), dataset=moved)


def test_a_run_that_is_killed_can_be_resumed(finished: Path, shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    process = subprocess.Popen(command(shapes, out, workers=0), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(out / METRICS, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert read_metrics(out)
    assert read_state_dict(out / BEST)
    with pytest.raises(Stopped):
        run.resume(out, around=surroundings(stop_asked=after(2)))


def test_an_interrupt_that_reaches_the_readers_too_saves_the_run(shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "interrupted"
    process = subprocess.Popen(
        command(shapes, out, workers=1), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        wait_for(out / METRICS, process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not children.read_text():  # until the next epoch's reader is there
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does at Ctrl-C
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert f"--out {out} --resume" in errors
    assert errors.count("stopping after this step") == 1
    assert "Traceback" not in errors
    with pytest.raises(Stopped):
        run.resume(out, around=surroundings(stop_asked=after(1)))


def command(shapes: Path, out: Path, *, workers: int) -> list[str]:
    words = [sys.executable, "-m", "training", "train", str(shapes), "--out", str(out), "--workers", str(workers)]
    for name, value in CONFIG.model_dump(mode="json", exclude_defaults=True).items():
        words += ["--set", f"{name}={json.dumps(value)}"]
    return [*words, "--set", "epochs=50"]


def wait_for(path: Path, process: "subprocess.Popen[Any]") -> None:
    deadline = time.monotonic() + 90
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
