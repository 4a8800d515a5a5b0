"""Several real processes that meet by Gloo at 127.0.0.1, and the single one that they have to equal."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.app.wire import free_port
from tests.training.conftest import CONFIG, draw_dataset, figures
from tests.training.learning.test_run import wait_for
from tests.training.together import Ended, Processes
from training.config import TrainConfig
from training.records.checkpoint import LAST
from training.records.run_folder import METRICS, RunRecord, read_metrics, read_names

TOLERANCE = 0.001


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    with Processes() as processes:
        yield processes


def train(dataset: Path, out: Path, config: TrainConfig = CONFIG) -> list[object]:
    words: list[object] = ["train", dataset, "--out", out, "--workers", 0, "--device", "cpu"]
    for name, value in config.model_dump(mode="json", exclude_defaults=True).items():
        words += ["--set", f"{name}={json.dumps(value)}"]
    return words


@pytest.fixture(scope="module")
def by_two(processes: Processes, shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Ended]]:
    out = tmp_path_factory.mktemp("runs") / "two"
    ended = processes.run(train(shapes, out), processes=2)
    assert [process.status for process in ended] == [0, 0], [process.errors for process in ended]
    return out, ended


def assert_same_curve(out: Path, expected: Path, *, within: float = TOLERANCE) -> None:
    ours, theirs = figures(out), figures(expected)
    assert [line["epoch"] for line in ours] == [line["epoch"] for line in theirs]
    for own, other in zip(ours, theirs, strict=True):
        assert own["learning_rate"] == other["learning_rate"]
        assert own["loss"] == pytest.approx(other["loss"], rel=within)


def files(run: Path) -> list[str]:
    """Return the names of what a run holds; those of TensorBoard's files have the time and the process in them."""
    return sorted(path.name for path in run.rglob("*") if "tfevents" not in path.name)


@pytest.mark.long
def test_a_kill_and_a_stop_of_one_process_end_both_and_lose_nothing(
    processes: Processes, shapes: Path, finished: Path, tmp_path: Path
) -> None:
    """The same command, as torchrun repeats it, goes on after the kill, and a single process after the stop."""
    out = tmp_path / "interrupted"
    first, second = processes.run(train(shapes, out), processes=2, signals=[(out / LAST, 1, signal.SIGKILL)])
    assert (first.status, second.status) == (1, -signal.SIGKILL), first.errors
    assert first.errors.count("another process has ended") == 1
    assert "Traceback" not in first.errors
    first, second = processes.run(train(shapes, out), processes=2, signals=[(out / METRICS, 1, signal.SIGTERM)])
    assert (first.status, second.status) == (130, 130), first.errors + second.errors
    assert len(re.findall(rf"stopped in epoch \d; continue with --out {out} --resume", first.errors)) == 1
    assert sum("2 processes" in line for line in first.errors.splitlines()) == 1
    assert (second.out, second.errors) == ("", "")
    (last,) = processes.run(["train", "--resume", "--out", out, "--workers", 0, "--device", "cpu"])
    assert last.status == 0, last.errors
    assert_same_curve(out, finished)
    assert files(out) == files(finished)


@pytest.mark.long
def test_an_evaluation_counts_every_image_once(
    processes: Processes, shapes: Path, finished: Path, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("".join(f"photo_0{number}.png\n" for number in range(3)))
    words: list[object] = ["evaluate", finished, shapes, "--names", names, "--device", "cpu", "--json", "--out"]
    (whole,) = processes.run([*words, tmp_path / "one"])
    first, second = processes.run([*words, tmp_path / "two"], processes=2)
    assert (whole.status, first.status, second.status) == (0, 0, 0), first.errors + second.errors
    assert json.loads(first.out) == json.loads(whole.out)
    assert json.loads(whole.out)["image_count"] == 3
    assert second.out == ""
    for name in ("detections.json", "truth.json", "figures.json"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_an_evaluation_does_not_write_over_a_run(processes: Processes, shapes: Path, finished: Path) -> None:
    before = (finished / "report.html").read_bytes()
    (ended,) = processes.run(["evaluate", finished, shapes, "--device", "cpu", "--out", finished])
    assert ended.status == 2
    assert ended.errors.endswith(
        f"{finished} holds a run, whose report would be overwritten; choose another folder with --out\n"
    )
    assert (finished / "report.html").read_bytes() == before


def test_a_loss_that_is_not_finite_ends_all_processes_and_names_the_images_of_all(
    processes: Processes, shapes: Path, tmp_path: Path
) -> None:
    words = [*train(shapes, tmp_path / "out"), "--set", "learning_rate=1e30", "--set", "clip_norm=0"]
    first, second = processes.run(words, processes=2)
    assert (first.status, second.status) == (2, 2), first.errors + second.errors
    assert first.errors.count(" is not finite: ") == 1
    assert len(re.findall(r"photo_\d\d\.png", first.errors)) in {1, 3}  # those of a batch
    assert second.errors == ""


def bad_uses(shapes: Path, other: Path, run: Path, out: Path) -> list[tuple[str, list[list[object]], str]]:
    begin = train(shapes, out)
    return [
        ("small batch", [[*begin, "--set", "batch_size=1"]], "batch_size 1, the images of one step of all processes"),
        ("other dataset", [begin, train(other, out)], "do not have the same"),
        ("no dataset on one", [begin, train(out / "nowhere", out)], "nowhere is not a folder"),
        ("other hyperparameters", [begin, [*begin, "--set", "seed=7"]], "do not have the same"),
        ("resumed by one", [["train", "--resume", "--out", run], begin], "do not have the same --resume"),
        ("resumed by the other", [begin, ["train", "--resume", "--out", run]], "do not have the same --resume"),
        ("no preset", [[*begin, "--preset", "none-such"]], "none-such"),
        ("no such flag", [[*begin, "--fly"]], "--fly"),
        ("a GPU for all", [[*begin, "--device", "cuda:0"]], "one GPU for 2 processes"),
        ("no GPU", [[*begin, "--device", "cuda"]], "0 CUDA devices"),
        ("a run that is there", [train(shapes, run)], "already holds a run"),
        ("nothing to resume", [["train", "--resume", "--out", out]], "to resume from"),
        ("another verb", [["predict", run, shapes]], "torchrun starts train and evaluate"),
    ]


def test_bad_use_ends_with_one_message_and_status_2(
    processes: Processes, shapes: Path, finished: Path, tmp_path: Path
) -> None:
    other = draw_dataset(tmp_path / "other", count=10, seed=1)
    run = shutil.copytree(finished, tmp_path / "run")
    replace(RunRecord.read(run), launchers=("another torchrun",)).write(run)
    for what, arguments, message in bad_uses(shapes, other, run, tmp_path / "out"):
        first, second = processes.run(*arguments, processes=2)
        assert (first.status, second.status) == (2, 2), f"{what}: {first.errors}, {second.errors}"
        assert message in first.errors, what
        assert second.errors == second.out == "", what
        assert "Traceback" not in first.errors, what
        assert not (tmp_path / "out").exists(), what


@pytest.mark.long
def test_two_processes_give_the_curve_and_the_files_of_one(by_two: tuple[Path, list[Ended]], finished: Path) -> None:
    out, (first, second) = by_two
    assert_same_curve(out, finished)
    assert files(out) == files(finished)
    for name in ("train.txt", "hold_out.txt"):
        assert read_names(out / name) == read_names(finished / name)
    assert (second.out, second.errors) == ("", "")
    lines = first.errors.splitlines()
    assert [line.partition(":")[0] for line in lines if line.startswith("epoch")] == ["epoch 1", "epoch 2"]
    assert sum("2 processes" in line for line in lines) == 1


@pytest.mark.long
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_stop_of_one_process_stops_all_and_another_number_of_them_goes_on(
    processes: Processes, shapes: Path, finished: Path, tmp_path: Path, *, before: int, after: int
) -> None:
    out = tmp_path / "stopped"
    signals = [(out / LAST, before - 1, signal.SIGTERM)]
    ended = processes.run(train(shapes, out), processes=before, signals=signals)
    assert [process.status for process in ended] == [130] * before, [process.errors for process in ended]
    assert ended[0].errors.count(f"stopped in epoch 1; continue with --out {out} --resume") == 1
    assert all(process.out == process.errors == "" for process in ended[1:])
    assert read_metrics(out) == []
    ended = processes.run(["train", "--resume", "--out", out, "--workers", 0, "--device", "cpu"], processes=after)
    assert [process.status for process in ended] == [0] * after, [process.errors for process in ended]
    assert_same_curve(out, finished)


@pytest.mark.long
def test_a_command_that_is_started_anew_goes_on_with_the_run_that_it_began(
    processes: Processes, shapes: Path, by_two: tuple[Path, list[Ended]], tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    first, second = processes.run(train(shapes, out), processes=2, signals=[(out / METRICS, 1, signal.SIGKILL)])
    assert (first.status, second.status) == (1, -signal.SIGKILL), first.errors
    assert first.errors.count("another process has ended") == 1
    assert "Traceback" not in first.errors
    first, second = processes.run(train(shapes, out), processes=2)
    assert (first.status, second.status) == (0, 0), first.errors + second.errors
    whole, _ = by_two
    assert figures(out) == figures(whole)
    assert files(out) == files(whole)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_torchrun_starts_a_killed_worker_anew_and_the_run_goes_on_to_its_end(
    shapes: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    with torchrun(*train(shapes, out)) as agent:
        wait_for(out / METRICS, agent)
        os.kill(children(agent)[1], signal.SIGKILL)
        _, errors = agent.communicate(timeout=120)
    assert agent.returncode == 0, errors
    assert_same_curve(out, finished)
    assert errors.count("2 processes") == 2
    assert errors.count("epoch 2: loss") == 1
    assert files(out) == files(finished)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_of_torchrun_reaches_readers_too_and_saves_the_run(
    shapes: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "stopped"
    words = [*train(shapes, out, CONFIG.model_copy(update={"epochs": 200})), "--workers", 1]
    with torchrun(*words) as agent:
        wait_for(out / METRICS, agent)
        agent.send_signal(number)
        _, errors = agent.communicate(timeout=60)
    assert agent.returncode == 1  # torchrun's own, whatever its workers ended with
    assert errors.count("stopping after this step") == 1
    assert errors.count(f"continue with --out {out} --resume") == 1
    assert "DataLoader worker" not in errors


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_four_processes_give_the_curve_of_one(
    processes: Processes, shapes: Path, tmp_path: Path, precision: str
) -> None:
    config = CONFIG.model_copy(update={"precision": precision, "batch_size": 4, "epochs": 4})
    assert processes.run(train(shapes, tmp_path / "one", config))[0].status == 0
    ended = processes.run(train(shapes, tmp_path / "four", config), processes=4)
    assert [process.status for process in ended] == [0] * 4, ended[0].errors
    assert_same_curve(tmp_path / "four", tmp_path / "one", within={"fp32": TOLERANCE, "bf16": 0.02}[precision])


@pytest.mark.long
@pytest.mark.timeout(300)
def test_two_torchruns_go_on_after_a_worker_of_one_was_killed(shapes: Path, finished: Path, tmp_path: Path) -> None:
    """As on two machines, with a process on each."""
    out = tmp_path / "killed"
    meet = f"127.0.0.1:{free_port()}"
    options = ["--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", meet, "--max-restarts", "1"]
    start = partial(torchrun, *train(shapes, out), place=options, processes=1)
    with start() as first, start() as second:
        wait_for(out / METRICS, first)
        (worker,) = children(second)
        os.kill(worker, signal.SIGKILL)
        told = [agent.communicate(timeout=150)[1] for agent in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), told
    assert sum(errors.count("2 processes") for errors in told) == 2
    assert sum(errors.count("epoch 2: loss") for errors in told) == 1
    assert_same_curve(out, finished)


@contextmanager
def torchrun(
    *words: object, place: Sequence[str] = ("--standalone", "--max-restarts", "1"), processes: int = 2
) -> Iterator["subprocess.Popen[str]"]:
    """Start the verb by the real torchrun, which ends with the block."""
    command = [sys.executable, "-m", "torch.distributed.run", *place, "--local-addr", "127.0.0.1"]
    command += ["--nproc-per-node", str(processes), "-m", "training", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # see docs/training.md
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def children(process: "subprocess.Popen[str]") -> list[int]:
    pid = process.pid
    found = [
        int(word) for task in Path(f"/proc/{pid}/task").iterdir() for word in (task / "children").read_text().split()
    ]
    return sorted(found)
