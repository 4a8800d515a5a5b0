"""A Blender process that renders one scene after the other, and is replaced when it dies, hangs or has done enough."""

import json
import os
import queue
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError
from training.synthetic.annotate import Outline
from training.synthetic.scene import SceneSpec

_WORKER = Path(__file__).parent / "blender" / "__main__.py"
_ISOLATED = "-I"
"""Neither PYTHONPATH, the user's packages nor the working folder: they may hold another Python's NumPy."""
SCENES_PER_PROCESS = 60
"""Blender keeps some memory of every scene; a new process starts in a second."""
TIMEOUT_S = 180.0


class RenderFailed(RuntimeError):
    """Blender died, took too long or refused a scene; the message says which."""


class BlenderMissing(TrainingError, ValueError):
    """There is no interpreter that has bpy; the message says how to make one."""


@dataclass(frozen=True, eq=False)
class Rendering:
    """What Blender made of a scene.

    Attributes:
        light: float32 (H, W, 3), scene-linear RGB.
        index: uint16 (H, W), number of the labelled thing that each pixel shows, or 0.
        outlines: of the labelled things, in the order of the spec.
    """

    light: NDArray[np.float32]
    index: NDArray[np.uint16]
    outlines: tuple[Outline, ...]


@dataclass(frozen=True)
class Workers:
    """How the work is split: so many Blender processes with so many threads each."""

    python: Path
    count: int
    threads: int


class Blender:
    """One Blender process; a context manager, for one thread."""

    def __init__(self, python: Path, *, threads: int, timeout_s: float = TIMEOUT_S) -> None:
        """Prepare a process; it starts with the first scene.

        Args:
            python: an interpreter that has bpy.
            threads: for the path tracer.
            timeout_s: for one scene.
        """
        self._python, self._threads, self._timeout_s = python, threads, timeout_s
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()
        self._left = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def render(self, spec: SceneSpec) -> Rendering:
        """Render one scene.

        Raises:
            RenderFailed: it did not work; the process is gone, and the next call starts another.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "scene.npz"
            answer = self._ask({"spec": spec.as_json(), "out": str(path)})
            if answer != "@ok":
                self._stop()
                raise RenderFailed(answer.removeprefix("@error "))
            with np.load(path) as arrays:
                labelled = sum(thing.label is not None for thing in spec.things)
                return Rendering(
                    light=arrays["light"].astype(np.float32),
                    index=np.rint(arrays["index"]).astype(np.uint16),
                    outlines=tuple(
                        Outline(arrays[f"vertices_{number}"], arrays[f"faces_{number}"])
                        for number in range(1, labelled + 1)
                    ),
                )

    def _ask(self, request: dict[str, object]) -> str:
        if self._process is None or self._left == 0:
            self._stop()
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        self._left -= 1
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._answers.get(timeout=self._timeout_s)
        except queue.Empty:
            answer = f"@error no answer within {self._timeout_s:g} s"
        except OSError as error:
            answer = f"@error the process is gone: {error.strerror}"
        return answer

    def _start(self) -> None:
        self._answers = queue.Queue()
        self._process = subprocess.Popen(  # noqa: S603
            [self._python, _ISOLATED, "-X", "utf8", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # its last line says why the process ended
            encoding="utf-8",
            errors="replace",  # Blender's own lines need not be text
            start_new_session=True,  # Ctrl-C is for the program that asked: the scene in work is finished
            env={**os.environ, "RENDERSIGHT_THREADS": str(self._threads)},
        )
        self._left = SCENES_PER_PROCESS
        threading.Thread(target=_listen, args=(self._process, self._answers), daemon=True).start()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _listen(process: "subprocess.Popen[str]", answers: "queue.Queue[str]") -> None:
    """Pass on the lines that are answers; Blender itself prints many others."""
    assert process.stdout is not None
    last = "it said nothing"
    try:
        for line in process.stdout:
            if line.startswith("@"):
                answers.put(line.strip())
            last = line.strip() or last
    except ValueError:  # closed by `_stop` in the middle of a line
        pass
    answers.put(f"@error the process ended: {last}")


def check_python(python: Path) -> None:
    """Make sure that an interpreter can import bpy.

    Raises:
        BlenderMissing: it cannot, or is not there.
    """
    try:
        command = [str(python), _ISOLATED, "-c", "import bpy"]
        subprocess.run(command, check=True, capture_output=True, timeout=120, text=True, errors="replace")  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or "").strip() or str(error)
        raise BlenderMissing(
            f"{python} cannot import bpy ({said.splitlines()[-1]}); make one that can with: make render-env"
        ) from error
