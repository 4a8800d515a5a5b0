import json
import multiprocessing
import os
import re
import shutil
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
from model_store.engines.torch import TorchEngine
from model_store.model_info import DEFAULT_SCORE_THRESHOLD
from model_store.state_dict import read_state_dict
from rendersight.annotations import AnnotationError, ReadOptions
from rendersight.detections import Detections
from tests.training.conftest import CONFIG, STEPS, Finished, figures, never, run_context
from tests.training.data.test_conversion import write_splits
from training.config import TrainConfig
from training.data.dataset import LabelledImages, read_dataset
from training.data.split import split
from training.errors import Stopped
from training.learning import run, trainer
from training.learning.run import RunContext
from training.measuring.evaluation import detect_all, evaluate
from training.records.checkpoint import BEST, LAST
from training.records.loading import load_run
from training.records.run_folder import METRICS, RunError, RunRecord, read_metrics, read_names


def after(calls: int) -> Callable[[], bool]:
    """Ask for a stop from the n-th question on."""
    count = iter(range(10_000))
    return lambda: next(count) >= calls


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


@pytest.mark.usefixtures("no_plots")
def test_evaluates_with_one_label_per_object_if_told(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[Detections]] = []
    monkeypatch.setattr(trainer, "evaluate", lambda data, found: seen.append(found) or evaluate(data, found))
    update = {"one_label_per_object": True, "detections_per_image": 300, "epochs": 1}
    run.start(shapes, tmp_path, CONFIG.model_copy(update=update), class_names=None, context=run_context())
    (single,) = seen
    network = load_run(tmp_path).network
    images = read_dataset(shapes).select(read_names(tmp_path / "hold_out.txt")).images
    assert [len(found) for found in detect_all(TorchEngine(network, "cpu"), images)] == [len(found) for found in single]
    network.roi_heads.one_label_iou = None  # an untrained network finds both classes at each place
    several = detect_all(TorchEngine(network, "cpu"), images)
    expected = [found.suppressed(0.5, class_agnostic=True) for found in several]
    assert sum(map(len, single)) == sum(map(len, expected)) < sum(map(len, several))


def test_the_best_weights_are_a_plain_state_dict(finished: Path) -> None:
    assert "roi_heads.box_predictor.cls_score.weight" in read_state_dict(finished / BEST)


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes half of a small run; `whole` has its plots."""
    monkeypatch.setattr(trainer, "write_run_plots", lambda *_, **__: None)


@pytest.mark.usefixtures("no_plots")
def test_interrupted_run_gives_the_same_figures_and_weights(finished: Path, shapes: Path, tmp_path: Path) -> None:
    """It is stopped within an epoch, after its last step and at its end; then it breaks off between best and last."""
    threads: set[int] = set()

    def context(stop_asked: Callable[[], bool], **changes: Any) -> RunContext:
        def asked() -> bool:
            threads.add(torch.get_num_threads())
            return stop_asked()

        torch.rand(5)  # neither the random state of this process nor its number of threads may matter
        torch.set_num_threads(usable_cores() + 1)
        return run_context(stop_asked=asked, **changes)

    with pytest.raises(Stopped, match="--resume"):
        run.start(shapes, tmp_path, CONFIG, class_names=None, context=context(after(0)))
    with pytest.raises(Stopped):
        run.resume(tmp_path, context=context(after(STEPS - 2), workers=1))
    assert read_metrics(tmp_path) == []
    with pytest.raises(Stopped):
        run.resume(tmp_path, context=context(after(0)))
    assert len(read_metrics(tmp_path)) == 1

    def break_off(line: str) -> None:
        if line.startswith("epoch 2"):  # best and metrics are written, last is not
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run.resume(tmp_path, context=context(never, say=break_off))
    said: list[str] = []
    done = context(lambda: any(line.startswith("epoch 2") for line in said), say=said.append)
    run.resume(tmp_path, context=done)  # a stop after the last epoch lets the run end
    assert figures(tmp_path) == figures(finished)
    whole, resumed = (read_state_dict(folder / BEST) for folder in (finished, tmp_path))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert threads == {usable_cores()}


def test_each_epoch_but_the_last_estimates_the_time_left(whole: Finished) -> None:
    first, last = [line for line in whole.said if line.startswith("epoch ")]
    left = re.search(r" images/s, 0:(\d\d):(\d\d) left$", first)
    assert left is not None
    assert 0 < 60 * int(left[1]) + int(left[2]) <= whole.seconds + 1
    assert last.endswith(" images/s")


def test_time_of_whole_training_is_announced_once_three_steps_are_measured(whole: Finished) -> None:
    (line,) = [line for line in whole.said if " s a step, " in line]
    assert line.endswith(" 1 left: about 1 min and the evaluations; faster: crop_px=448, fewer epochs, a GPU")


def test_readers_outlive_an_interrupt_and_end_by_sigterm(shapes: Path, tmp_path: Path) -> None:
    """A terminal interrupts its whole group; a training that fails has to be able to end its readers."""
    readers: list[multiprocessing.process.BaseProcess] = []

    def bar(items: Iterable[Any], **_: Any) -> Iterable[Any]:
        for item in items:
            readers.extend(multiprocessing.active_children())
            reader = readers[0]
            assert os.getpgid(reader.ident or 0) == reader.ident
            is_first = len(readers) == 1
            os.kill(reader.ident or 0, signal.SIGINT if is_first else signal.SIGTERM)
            reader.join(0.1 if is_first else 30)
            yield item

    with pytest.raises(RuntimeError, match="DataLoader worker"):
        run.start(shapes, tmp_path, CONFIG, class_names=None, context=run_context(bar=bar, workers=1))
    assert len(readers) == 2


def test_a_start_that_was_cut_short_can_be_resumed_or_begun_anew(shapes: Path, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def bar(items: Iterable[Any], **_: Any) -> Iterable[Any]:
        raise Killed

    with pytest.raises(Killed):
        run.start(shapes, tmp_path, CONFIG, class_names=None, context=run_context(bar=bar))
    with pytest.raises(Stopped):
        run.resume(tmp_path, context=run_context(stop_asked=after(0)))
    (tmp_path / LAST).unlink()  # as if it had been killed before the first checkpoint
    with pytest.raises(Stopped):
        run.start(shapes, tmp_path, CONFIG, class_names=None, context=run_context(stop_asked=after(0)))


def test_a_dataset_s_own_split_is_followed_and_its_format_remembered(shapes: Path, tmp_path: Path) -> None:
    source, out = write_splits(shapes, tmp_path / "yolo"), tmp_path / "run"
    (source / "photo_00.xml").write_text("<annotation/>")  # so that the format must be said
    said: list[str] = []
    context = run_context(say=said.append, stop_asked=after(0))
    with pytest.raises(Stopped):
        run.start(source, out, CONFIG, class_names=None, context=context, reading=ReadOptions(format="yolo"))
    assert read_names(out / "train.txt") == [f"images/photo_0{number}.png" for number in range(5)]
    assert read_names(out / "hold_out.txt") == [f"images/photo_0{number}.png" for number in range(5, 8)]
    assert "2 images are in neither part, because the dataset's files keep them apart, such as for a test" in said
    assert RunRecord.read(out).reading.format == "yolo"


@pytest.mark.usefixtures("no_plots")
def test_a_run_without_a_held_out_object_keeps_its_latest_weights(shapes: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"group_by": r"_\d([49])?", "hold_out": 2})
    seed = next(
        seed for seed in range(20) if not any(image.labels for image in held_out(shapes, config, seed=seed).images)
    )
    config = config.model_copy(update={"seed": seed, "epochs": 1})
    said: list[str] = []
    run.start(shapes, tmp_path, config, class_names=None, context=run_context(say=said.append))
    assert [(line["AP"], line["threshold"]) for line in read_metrics(tmp_path)] == [(None, None)]
    assert load_run(tmp_path).info.score_threshold == DEFAULT_SCORE_THRESHOLD
    assert "no held-out image has a labelled object: nothing is measured, and the last epoch's weights are kept" in said
    assert ", AP not measurable: no object in the hold-out, " in said[-1]
    average = torch.load(tmp_path / LAST, weights_only=True)["average"]
    best = read_state_dict(tmp_path / BEST)
    assert all(torch.equal(best[name], average[name]) for name in best)


@pytest.mark.parametrize("hold_out", [3, ["photo_00.png", "photo_01.png"]], ids=["none at all", "all held out"])
def test_rejects_training_without_an_object(shapes: Path, tmp_path: Path, hold_out: int | list[str]) -> None:
    photos, out = shutil.copytree(shapes, tmp_path / "photos"), tmp_path / "run"
    for path in sorted(photos.glob("*.json"))[0 if isinstance(hold_out, int) else 2 :]:
        path.write_text(json.dumps({**json.loads(path.read_text()), "shapes": []}))
    names = None if isinstance(hold_out, int) else hold_out
    with pytest.raises(AnnotationError, match="images to train on has a labelled object") as raised:
        run.start(photos, out, CONFIG, class_names=("disc", "square"), context=run_context(), hold_out_names=names)
    assert f"python -m training inspect {photos}" in str(raised.value)
    assert not out.exists()


def test_warns_of_more_objects_than_the_network_reports(shapes: Path, tmp_path: Path) -> None:
    said: list[str] = []
    config = CONFIG.model_copy(update={"detections_per_image": 1})
    with pytest.raises(Stopped):
        run.start(shapes, tmp_path, config, class_names=None, context=run_context(say=said.append, stop_asked=after(0)))
    assert "images show more objects, up to 2, than the 1 that the network reports; --set detections" in said[0]
    assert RunRecord.read(tmp_path).config.network_options().detections_per_image == 1


def held_out(shapes: Path, config: TrainConfig, *, seed: int) -> LabelledImages:
    return split(read_dataset(shapes), hold_out=config.hold_out, seed=seed, group_by=config.group_by)[1]


def test_a_resumed_run_that_was_done_stays_as_it_is(finished: Path) -> None:
    before = (finished / LAST).read_bytes()
    run.resume(finished, context=run_context())
    assert (finished / LAST).read_bytes() == before


def test_a_run_is_not_overwritten(finished: Path, shapes: Path) -> None:
    with pytest.raises(RunError, match="already holds a run"):
        run.start(shapes, finished, CONFIG, class_names=None, context=run_context())


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="to resume from"):
        run.resume(tmp_path, context=run_context())


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
        run.resume(finished, context=run_context(), dataset=other)


def test_a_moved_dataset_is_resumed_from_where_it_is(finished: Path, shapes: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in shapes.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    run.resume(finished, context=run_context(), dataset=moved)


@pytest.mark.long
def test_an_interrupt_that_reaches_the_readers_too_saves_the_run(shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "interrupted"
    process = subprocess.Popen(command(shapes, out), stderr=subprocess.PIPE, text=True, start_new_session=True)
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
        run.resume(out, context=run_context(stop_asked=after(1)))


def command(shapes: Path, out: Path) -> list[str]:
    words = [sys.executable, "-m", "training", "train", str(shapes), "--out", str(out), "--workers", "1"]
    for name, value in CONFIG.model_dump(mode="json", exclude_defaults=True).items():
        words += ["--set", f"{name}={json.dumps(value)}"]
    return [*words, "--set", "epochs=50"]


def wait_for(path: Path, process: "subprocess.Popen[Any]") -> None:
    deadline = time.monotonic() + 90
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
