"""A process that has everything imported and forks the processes of a command, as torchrun starts them.

`python -m tests.training.together FD` reads JSON lines `[arguments of each process, signals]` and answers each with
one, a list of `{"status", "out", "errors"}`, on the file descriptor. A single process is started as without torchrun.

"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import matplotlib.pyplot as plt
import pycocotools.cocoeval
import torch._dynamo

from tests.app.wire import free_port
from training.cli import main
from training.learning import distributed, run

ROOT = Path(__file__).parents[2]
LAZY = (plt, pycocotools.cocoeval, torch._dynamo, distributed, run)  # imported once here instead of in each child


@dataclass(frozen=True)
class Ended:
    """How a process ended: its status, negative for a signal, and what it printed."""

    status: int
    out: str
    errors: str


class Processes:
    """The process that forks, for a `with` statement; it stands for a torchrun that starts commands anew."""

    def __enter__(self) -> Self:
        reading, writing = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(writing)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "TORCHELASTIC_RUN_ID": "test"},
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

    def run(
        self, *arguments: Sequence[object], processes: int = 1, signals: Sequence[tuple[Path, int, int]] = ()
    ) -> list[Ended]:
        """Let several processes run a verb of training, all with the same arguments or each with its own.

        Args:
            arguments: of all processes, or of each.
            processes: how many.
            signals: once a file is there, a signal to the process of this rank; one after the other.
        """
        of_each = [[str(word) for word in arguments[number % len(arguments)]] for number in range(processes)]
        assert self._process.stdin is not None
        wanted = [(str(path), rank, number) for path, rank, number in signals]
        print(json.dumps([of_each, wanted]), file=self._process.stdin, flush=True)
        answer = self._answers.readline()
        assert answer, f"the process that forks ended with {self._process.wait()}"
        return [Ended(**item) for item in json.loads(answer)]


def _fork(of_each: list[list[str]], signals: list[tuple[str, int, int]]) -> list[Ended]:
    port = str(free_port())
    with tempfile.TemporaryDirectory() as scratch:
        children = []
        for rank, arguments in enumerate(of_each):
            pid = os.fork()
            if pid == 0:
                _be_the_child(arguments, Path(scratch), rank=rank, size=len(of_each), port=port)
            children.append(pid)
        for path, rank, number in signals:
            while not Path(path).exists():
                time.sleep(0.01)
            os.kill(children[rank], number)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        return [
            Ended(status, (Path(scratch) / f"out{rank}").read_text(), (Path(scratch) / f"errors{rank}").read_text())
            for rank, status in enumerate(statuses)
        ]


def _be_the_child(arguments: list[str], scratch: Path, *, rank: int, size: int, port: str) -> None:
    status = 1
    try:
        signal.alarm(90)
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[rank % len(cores)]})  # one thread each: sums round alike, however many there are
        if size > 1:
            place = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size}
            os.environ.update({name: str(value) for name, value in place.items()})
            os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        for name, stream in (("out", sys.stdout), ("errors", sys.stderr)):
            opened = os.open(scratch / f"{name}{rank}", os.O_WRONLY | os.O_CREAT)
            os.dup2(opened, stream.fileno())
        status = main(arguments)
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    with os.fdopen(int(sys.argv[1]), "w") as answers:
        for line in sys.stdin:
            answers.write(json.dumps([vars(ended) for ended in _fork(*json.loads(line))]) + "\n")
            answers.flush()
