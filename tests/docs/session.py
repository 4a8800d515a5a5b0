"""Runs the commands of a page in their order, as a reader would: lines of a shell, and blocks of Python."""

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from app.http import keys
from app.main import create_app
from app.settings import PREFIX, Settings
from tests.app.wire import free_port, serving
from tests.docs.markdown import Block, commands_in
from tests.docs.place import STORE, TINY_PRESET
from training.cli import main as train

READY_WITHIN_S = 90
LINE_WITHIN_S = 60
PORT = ":8000"

_STORE = ["--store", str(STORE)]
_HERE = ["--device", "cpu", *_STORE]
_SMALL = ["--preset", TINY_PRESET, "--weights", "none", "--epochs", "1", *_HERE]
SMALL: dict[str, list[str]] = {
    "inspect": [],
    "convert": [],
    "train": [*_SMALL, "--workers", "0"],
    "evaluate": _HERE,
    "compare": [],
    "predict": _HERE,
    "publish": _STORE,
    "export": _STORE,
    "sim2real": _HERE,
    "render": ["--count", "2"],
    "cutouts": ["--count", "2", "--clutter", "1", "--backdrops", "1"],
    "preview": [],
    "make": [*_SMALL, "--count", "6"],
}
"""Verb of training -> documented flags after those of the page: small, on the CPU, in the store of the place."""


@dataclass
class Server:
    """A running service.

    Attributes:
        port: where it listens, at 127.0.0.1.
        stop: ends it.
    """

    port: int
    stop: Callable[[], object] = field(default=lambda: None)


@dataclass
class Shared:
    """Services with the embedded model for pages that start none: one without keys, one with; started when needed."""

    scratch: Path
    opened: ExitStack
    running: dict[bool, Server] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def server(self, *, with_keys: bool) -> Server:
        """Return the one with keys, whose keys are then in `keys`, or the one without."""
        if with_keys not in self.running:
            made = Settings(cache_dir=self.scratch / "cache", device="cpu")
            if with_keys:
                path = self.scratch / "api-keys"
                self.keys = {"KEY": "rs_for-photos", "ADMIN_KEY": "rs_for-releases"}
                scopes = {"KEY": "detect", "ADMIN_KEY": "admin"}
                lines = [f"{name} {scopes[name]} {keys.hash_of(key)}\n" for name, key in self.keys.items()]
                path.write_text("".join(lines))
                made = made.model_copy(update={"api_keys_file": path})
            self.running[with_keys] = Server(self.opened.enter_context(serving(create_app(made))))
        return self.running[with_keys]


class Session:
    """One page's commands, in one place; what they leave behind is there for the next."""

    def __init__(self, place: Path, shared: Shared) -> None:
        self._place = place
        self._shared = shared
        self._server: Server | None = None
        self._names: dict[str, Any] = {}
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        self._environment |= {"CURL_HOME": str(place), f"{PREFIX}CACHE_DIR": str(place / ".cache")}
        (place / ".curlrc").write_text("fail\nsilent\nshow-error\n")  # an answer of 4xx or 5xx is a failure
        self.answers: dict[str, bytes] = {}
        """Command line -> what it printed, of those that go through the shell."""

    def run(self, block: Block) -> None:
        """Run a block of `sh` or `python`.

        Raises:
            AssertionError: a command failed, or there is no way to run it here.
        """
        if block.language == "python":
            with chdir(self._place):
                exec(self._at_our_port(block.text), self._names)
            return
        for line in commands_in(block):
            way = next((way for pattern, way in _WAYS if re.match(pattern, line)), None)
            assert way, f"{block}: no test knows how to run `{line}`; teach it, or mark the block as not run"
            try:
                way(self, line)
            except (AssertionError, OSError, subprocess.SubprocessError, httpx.HTTPError) as error:
                raise AssertionError(f"{block}: {line}: {error}") from error

    def close(self) -> None:
        """Stop the service that the page has started."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _at_our_port(self, text: str) -> str:
        if f"127.0.0.1{PORT}" not in text:
            return text
        server = self._server or self._shared.server(with_keys="KEY" in text)
        if self._server is None:
            self._environment |= self._shared.keys
        return text.replace(f"127.0.0.1{PORT}", f"127.0.0.1:{server.port}")

    def asking(self, line: str) -> None:
        """Run the verb `detect` of the console script, which asks at our port only if it is told to."""
        self.shell(line.replace(" detect ", f" detect --url http://127.0.0.1{PORT} ", 1))

    def shell(self, line: str) -> None:
        """Run a line by bash; what it prints is kept."""
        done = subprocess.run(
            ["bash", "-c", f"set -eu -o pipefail; {self._at_our_port(line)}"],
            cwd=self._place,
            env=self._environment,
            capture_output=True,
            timeout=LINE_WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, f"exit status {done.returncode}: {(done.stdout + done.stderr)[-2000:]!r}"
        self.answers[line] = done.stdout
        made = re.search(rb"API key of \S+ \(shown only once\): (\S+)", done.stderr)
        if made:  # the page tells the reader to keep it
            scope = "KEY" if "detect" in line else "ADMIN_KEY" if "admin" in line else "METRICS_KEY"
            self._environment[scope] = made[1].decode()

    def training(self, line: str) -> None:
        """Run a verb of training in this process, which has torch already, at a small size."""
        _, _, words = line.partition("-m training ")
        verb, *rest = shlex.split(words, comments=True)
        assert verb in SMALL, f"{verb} has no small size here"
        extra = SMALL[verb] if "--resume" not in rest else _HERE
        with chdir(self._place):
            status = train([verb, *rest, *extra])
        assert status == 0, f"exit status {status}"

    def serve(self, line: str) -> None:
        """Stop the service before, start one as the line says, at a free port, and wait until it can detect."""
        self.close()
        port = free_port()
        log = self._place / "serve.log"
        with log.open("w") as written:
            process = subprocess.Popen(
                ["bash", "-c", f"exec env {line}"],
                cwd=self._place,
                env=self._environment | {"PORT": str(port), "RENDERSIGHT_PORT": str(port)},
                stdout=written,
                stderr=written,
                start_new_session=True,
            )

        def stop() -> None:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(60)

        self._server = Server(port, stop)
        give_up = time.monotonic() + READY_WITHIN_S
        while not _is_ready(port):
            assert process.poll() is None, f"it ended: {log.read_text()}"
            assert time.monotonic() < give_up, f"it is not ready: {log.read_text()}"
            time.sleep(0.1)
        asked = re.search(rf"\b{PREFIX}MODEL=(\S+)", line)
        key = self._environment.get("KEY", "none")
        served = httpx.get(f"http://127.0.0.1:{port}/models", headers={"Authorization": f"Bearer {key}"}).json()
        expected = Path(asked[1]).stem.partition("@")[0] if asked else "dice"
        assert [model["name"] for model in served["models"]] == [expected]


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


_WAYS: list[tuple[str, Callable[[Session, str], None]]] = [
    (r"(RENDERSIGHT_\w+=\S+ )*(make serve|\.venv/bin/python -m app)( |$)", Session.serve),
    (r"\.venv/bin/python -m training [^|>&;]+$", Session.training),
    (r"(curl|cp|mkdir|cat|mv) ", Session.shell),
    (r"\.venv/bin/python -m rendersight detect ", Session.asking),
    (r"\.venv/bin/python -m (app\.\w+|rendersight completion) ", Session.shell),
    (r"make (\.venv/\w+\.stamp|render-env|reference|help)\b", Session.shell),
]
"""What a line begins with -> how it is run; the first that fits."""
