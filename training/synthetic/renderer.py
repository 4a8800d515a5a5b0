"""A Blender process that renders scenes one by one; it is replaced if it dies or hangs, and after some scenes."""

import json
import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError
from training.synthetic.annotate import Outline
from training.synthetic.scene import SceneSpec

_WORKER = Path(__file__).parent / "blender" / "__main__.py"
_ISOLATED = "-I"
"""Flag that ignores PYTHONPATH, user packages and the working folder, which may hold another Python's NumPy."""
SCENES_PER_PROCESS = 60
"""Scenes before a process is replaced: Blender keeps some memory of every scene, and restarting takes a second."""
TIMEOUT_S = 180.0

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class RenderFailed(RuntimeError):
    """Blender died, took too long or rejected a scene; the message says which."""


class BlenderMissing(TrainingError, ValueError):
    """No interpreter has bpy; the message explains how to make one."""


@dataclass(frozen=True, eq=False)
class Rendering:
    """A scene as rendered by Blender.

    Attributes:
        light: float32 (H, W, 3), scene-linear RGB.
        index: uint16 (H, W), number of the labelled thing that each pixel shows, or 0.
        outlines: outlines of the labelled things, in the order of the spec.
    """

    light: NDArray[np.float32]
    index: NDArray[np.uint16]
    outlines: tuple[Outline, ...]


@dataclass(frozen=True)
class Workers:
    """The number of Blender processes, their threads, and their interpreter."""

    python: Path
    count: int
    threads: int


class Blender:
    """One Blender process; a context manager, for one thread."""

    def __init__(self, python: Path, *, threads: int, timeout_s: float = TIMEOUT_S) -> None:
        """Prepare a process; it starts at the first scene.

        Args:
            python: an interpreter that has bpy.
            threads: number of threads of the path tracer.
            timeout_s: time limit for one scene.
        """
        self._python, self._threads, self._timeout_s = python, threads, timeout_s
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()
        self._left = 0
        self._settled: tuple[dict[str, Any], dict[str, NDArray[Any]]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def render(self, spec: SceneSpec) -> Rendering:
        """Render one scene.

        Raises:
            RenderFailed: the scene failed. The process has ended, and the next call starts another.
        """
        arrays = self.ask({"spec": spec.as_json()})
        return Rendering(
            light=arrays["light"].astype(np.float32),
            index=np.rint(arrays["index"]).astype(np.uint16),
            outlines=tuple(
                Outline(arrays[f"vertices_{number}"], arrays[f"faces_{number}"])
                for number in range(1, len(spec.labelled) + 1)
            ),
        )

    def settle(self, request: dict[str, Any]) -> dict[str, NDArray[Any]]:
        """Let things fall, and return the arrays that `blender/settling.py` documents. The last answer is kept.

        Raises:
            RenderFailed: as `render`.
        """
        if self._settled is None or self._settled[0] != request:
            self._settled = (request, self.ask({"settle": request}))
        return self._settled[1]

    def ask(self, request: dict[str, Any]) -> dict[str, NDArray[Any]]:
        """Send one request to the worker and return the arrays that it writes.

        Raises:
            RenderFailed: as `render`.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "arrays.npz"
            answer = self._ask({**request, "out": str(path)})
            if answer != "@ok":
                self._stop()
                raise RenderFailed(answer.removeprefix("@error "))
            with np.load(path) as arrays:
                return dict(arrays)

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
            answer = f"@error the process has ended: {error.strerror}"
        return answer

    def _start(self) -> None:
        self._answers = queue.Queue()
        self._process = subprocess.Popen(  # noqa: S603
            [self._python, _ISOLATED, "-X", "utf8", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # the last line says why the process ended
            encoding="utf-8",
            errors="replace",  # Blender may print invalid UTF-8
            start_new_session=True,  # Ctrl-C reaches only the caller, so the current scene is finished
            env={**os.environ, "RENDERSIGHT_THREADS": str(self._threads)},
        )
        self._left = SCENES_PER_PROCESS
        threading.Thread(target=_listen, args=(self._process, self._answers), daemon=True).start()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def run_on_workers(
    workers: Workers,
    work: Callable[[Blender, _Item], Iterator[_Result | None]],
    items: Sequence[_Item],
    *,
    total: int,
    progress: Callable[..., Iterable[Any]],
) -> list[_Result]:
    """Call `work` with a free Blender process and each item, and return the results that are not None.

    Args:
        workers: processes to start; they end with the call.
        work: yields a result for each picture; called in as many threads as there are processes.
        items: what to render, such as a seed or the seeds of one settled scene.
        total: number of pictures of all items.
        progress: wraps an iterable with a known `total`, as tqdm does.
    """
    free: queue.SimpleQueue[Blender] = queue.SimpleQueue()
    finished: queue.SimpleQueue[_Result | _Ended | None] = queue.SimpleQueue()

    def call(item: _Item) -> None:
        process, error = free.get(), None  # never blocks: there are as many processes as threads
        try:
            for result in work(process, item):
                finished.put(result)
        except BaseException as raised:
            error = raised
        free.put(process)
        finished.put(_Ended(error))

    with ExitStack() as stack:
        for _ in range(workers.count):
            free.put(stack.enter_context(Blender(workers.python, threads=workers.threads)))
        pool = stack.enter_context(ThreadPoolExecutor(workers.count))
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        for item in items:
            pool.submit(call, item)
        results = progress(_until_ended(finished, len(items)), total=total)
        return [result for result in results if result is not None]


@dataclass(frozen=True)
class _Ended:
    """The end of an item, with the exception that ended it early."""

    error: BaseException | None


def _until_ended(finished: "queue.SimpleQueue[_Result | _Ended | None]", items: int) -> Iterator[_Result | None]:
    while items:
        result = finished.get()
        if not isinstance(result, _Ended):
            yield result
            continue
        if result.error is not None:
            raise result.error
        items -= 1


def _listen(process: "subprocess.Popen[str]", answers: "queue.Queue[str]") -> None:
    """Pass on the lines that are answers; Blender itself prints many other lines."""
    assert process.stdout is not None
    last = "no output"
    try:
        for line in process.stdout:
            if line.startswith("@"):
                answers.put(line.strip())
            last = line.strip() or last
    except ValueError:  # `_stop` closed the pipe in the middle of a line
        pass
    answers.put(f"@error the process ended: {last}")


def check_python(python: Path) -> None:
    """Check that an interpreter can import bpy.

    Raises:
        BlenderMissing: the interpreter does not exist or cannot import bpy.
    """
    try:
        command = [str(python), _ISOLATED, "-c", "import bpy"]
        subprocess.run(command, check=True, capture_output=True, timeout=120, text=True, errors="replace")  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or "").strip() or str(error)
        raise BlenderMissing(
            f"{python} cannot import bpy ({said.splitlines()[-1]}); install Blender's environment with: make render-env"
        ) from error
