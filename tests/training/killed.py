"""A process that has everything imported and forks a child for each job, to kill it at a moment given.

`python -m tests.training.killed FD` reads JSON lines `[job, arguments, seconds to live or null]` and answers each with
one, `{"pid", "returncode", "seconds"}`, on the file descriptor, as anything may print to stdout. A child that is to be
killed stays after its job until it is, which is then soon.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import matplotlib.pyplot as plt
import pycocotools.cocoeval
import torch
import torch._dynamo

from model_store.store import publish
from tests.model_store.test_store import accept, fill_with
from tests.training.conftest import CONFIG, run_context
from tests.training.releasing.test_publish import publish_it
from training.learning import run
from training.records.checkpoint import LAST

ROOT = Path(__file__).parents[2]
LAZY = (plt, pycocotools.cocoeval, torch._dynamo)  # what a training imports late: once here instead of in each child


def train(dataset: str, out: str) -> None:
    """Start a run, or go on with it, as a person would who finds the folder."""
    context = run_context(save_every_s=0.1)
    if (Path(out) / LAST).is_file():
        run.resume(Path(out), context=context)
    else:
        run.start(Path(dataset), Path(out), CONFIG, class_names=None, context=context)


def publish_run(finished: str, root: str) -> None:
    publish_it(Path(finished), Path(root), also_measure=[])


def publish_texts(root: str) -> None:
    files = tuple(f"engines/{number}.bin" for number in range(20))
    publish(Path(root), "dice", fill_with("weights", files=files), accept)


JOBS = {"train": train, "publish_run": publish_run, "publish_texts": publish_texts}


@dataclass(frozen=True)
class Ended:
    """How a child ended: its return code, negative for a signal, and the seconds to its job's end or its own."""

    pid: int
    returncode: int
    seconds: float


class Forks:
    """The process, from the outside."""

    def __enter__(self) -> Self:
        reading, writing = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.killed", str(writing)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},  # a fork takes one thread along
            pass_fds=[writing],
            stdin=subprocess.PIPE,
            text=True,
        )
        os.close(writing)
        self._answers = os.fdopen(reading)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.communicate()  # the end of its input ends it
        self._answers.close()

    def finish(self, job: str, *arguments: Path) -> float:
        """Let a job end; returns the seconds that it took."""
        ended = self._ask(job, arguments, None)
        assert ended.returncode == 0
        return ended.seconds

    def kill(self, job: str, *arguments: Path, after_s: float) -> int:
        """Kill a job so many seconds after it began; returns the process id that it had."""
        ended = self._ask(job, arguments, after_s)
        assert ended.returncode == -signal.SIGKILL
        return ended.pid

    def _ask(self, job: str, arguments: tuple[Path, ...], after_s: float | None) -> Ended:
        assert self._process.stdin is not None
        print(
            json.dumps([job, [str(argument) for argument in arguments], after_s]), file=self._process.stdin, flush=True
        )
        answer = self._answers.readline()
        assert answer, f"the process that forks ended with {self._process.wait()}"
        return Ended(**json.loads(answer))


def _fork(job: str, arguments: list[str], after_s: float | None) -> Ended:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_the_child(job, arguments, writing, stay=after_s is not None)
    os.close(writing)
    os.read(reading, 1)
    began = time.monotonic()
    select.select([reading], [], [], after_s)
    seconds = time.monotonic() - began
    if after_s is not None:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(reading)
    return Ended(pid, os.waitstatus_to_exitcode(status), seconds)


def _be_the_child(job: str, arguments: list[str], writing: int, *, stay: bool) -> None:
    try:
        os.write(writing, b"+")
        JOBS[job](*arguments)
        os.write(writing, b"-")
        if stay:
            signal.pause()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


if __name__ == "__main__":
    # On one core torch uses one thread: two that wait for each other take up to ten times as long on a busy machine.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with os.fdopen(int(sys.argv[1]), "w") as answers:
        for line in sys.stdin:
            answers.write(json.dumps(vars(_fork(*json.loads(line)))) + "\n")
            answers.flush()
