"""A command whose standard error is a terminal, for what only a person sees."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Sequence
from pathlib import Path
from threading import Thread


def run_on_a_terminal(command: Sequence[str], folder: Path) -> tuple[int, str, str]:
    """Return the exit status, the standard output, and all that went to the terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    seen: list[bytes] = []

    def read() -> None:
        try:
            while piece := os.read(ours, 65536):
                seen.append(piece)
        except OSError:  # the other end is closed
            return

    reader = Thread(target=read)
    reader.start()
    try:
        done = subprocess.run(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=theirs, text=True, check=False, timeout=60
        )
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)
    return done.returncode, done.stdout, b"".join(seen).decode()
