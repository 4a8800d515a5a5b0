"""Signals during a step, in a process of its own."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from training.stopping import stop_on_signals

ROOT = Path(__file__).parents[2]

PROGRAM = """
import hashlib, sys, time
from training.stopping import stop_on_signals

def long_call():  # Python runs no handler before it returns, as in a backward pass
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)

try:
    with stop_on_signals() as stop_asked:
        print("begun", flush=True)
        {step}
        assert stop_asked()
    print("saved", flush=True)
except KeyboardInterrupt:
    print("cleaned up", flush=True)
    sys.exit(130)
"""

ANSWER = "stopping after this step; press Ctrl-C again to stop at once\n"


@contextmanager
def running(step: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", PROGRAM.format(step=step)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "begun\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("step", "out", "err"),
    [("long_call()", "", "stopped at once\n"), ("time.sleep(600)", "cleaned up\n", "")],
    ids=["in C", "in Python"],
)
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_answered_at_once_and_second_ends(
    step: str, out: str, err: str, second: signal.Signals
) -> None:
    with running(step) as process:
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.readline() == ANSWER
        process.send_signal(second)
        assert process.communicate(timeout=60) == (out, err)
        assert process.returncode == 130


def test_one_signal_lets_the_step_end() -> None:
    with running("while not stop_asked(): time.sleep(0.01)") as process:
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert process.stderr.readline() == ANSWER
        assert process.communicate(timeout=60) == ("saved\n", "")
        assert process.returncode == 0


def test_ends_while_a_forked_process_lives_on() -> None:
    """After an error in a training its readers of images still live."""
    began_s = time.monotonic()
    with stop_on_signals():
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
        child.start()
    try:
        assert time.monotonic() - began_s < 30
    finally:
        child.kill()
        child.join()


def test_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stop_on_signals() as stop_asked:
        assert not stop_asked()
        os.kill(os.getpid(), signal.SIGCHLD)  # other signals are none of its business
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert signal.set_wakeup_fd(-1) == -1
