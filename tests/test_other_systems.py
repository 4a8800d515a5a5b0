"""Without what Linux alone has (`other_system.py` takes it away) all is imported, and serves, renders and learns."""

import http.client
import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.app.fakes import PHOTO
from tests.app.wire import free_port
from tests.model_store.conftest import (  # noqa: F401 - fixtures
    noise,
    random_network,
    tiny_network,
    tiny_options,
    tiny_store,
)
from tests.training.commands.test_make import command as make_command

ROOT = Path(__file__).parents[1]
BLENDERS = ROOT / "training" / "synthetic" / "blender"
"""Its modules run in Blender's interpreter, which brings what they import."""

HERE = "import importlib.util, runpy, sys; from tests.other_system import take_away; take_away(sys.argv.pop(1)); "
IMPORT = HERE + "import importlib; [importlib.import_module(name) for name in sys.argv[1:]]; print(len(sys.argv) - 1)"
RUN = HERE + "del sys.argv[0]; runpy.run_module(sys.argv[0], run_name='__main__')"
SEE = HERE + (
    "space = {'__spec__': importlib.util.find_spec('app')}; "
    "exec('import os, sys; print(sys.platform, hasattr(os, \"sched_getaffinity\"))', space); "
    "print(sys.platform); open('/proc/cpuinfo')"
)

systems = pytest.mark.parametrize("system", ["win32", pytest.param("darwin", marks=pytest.mark.long)])


def run(program: str, *arguments: object, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Run Python, on the system that the first argument names."""
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


@systems
def test_our_modules_alone_are_elsewhere(system: str) -> None:
    """Else the other tests would prove nothing."""
    done = run(SEE, system)
    assert done.stdout.split() == [system, "False", "linux"]
    assert done.stderr.endswith("FileNotFoundError: [Errno 2] no such file here: '/proc/cpuinfo'\n")


@systems
def test_every_module_is_imported(system: str) -> None:
    """It takes some seconds: torch and OpenVINO are imported, in a process of its own."""
    packages = ("rendersight", "model_store", "app", "training")
    paths = [path for package in packages for path in (ROOT / package).rglob("*.py") if BLENDERS not in path.parents]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    done = run(IMPORT, system, *names)
    assert (done.stdout, done.stderr) == (f"{len(names)}\n", "")
    assert len(names) > 150


def answer_of(system: str, **settings: object) -> dict[str, object]:
    """Start the service, send a photo, stop it as Ctrl-C does, and return the answer."""
    port = free_port()
    settings |= {"DEVICE": "cpu", "PORT": port}
    environment = {f"RENDERSIGHT_{name}": str(value) for name, value in settings.items()}
    with subprocess.Popen(
        [sys.executable, "-c", RUN, system, "app"],
        cwd=ROOT,
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as service:
        try:
            assert service.stderr is not None
            said = ""
            while "Try: curl" not in said and service.poll() is None:
                said += service.stderr.readline()
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
                connection.request("POST", "/detect", PHOTO, {"Content-Type": "image/jpeg"})
                response = connection.getresponse()
                assert response.status == 200, said
                answer: dict[str, object] = json.load(response)
            service.send_signal(signal.SIGINT)
            assert service.wait(30) == 0
        finally:
            service.kill()
    return answer


@systems
def test_the_embedded_release_is_served(system: str, tmp_path: Path) -> None:
    """It takes some seconds: a whole service starts."""
    assert answer_of(system, CACHE_DIR=tmp_path)["model"]["name"] == "dice"  # type: ignore[index]


@pytest.mark.long
def test_a_converted_network_is_kept_for_the_next_start(tiny_store: Path, tmp_path: Path) -> None:  # noqa: F811
    answer_of("win32", MODEL="tiny", MODEL_STORE=tiny_store, CACHE_DIR=tmp_path)
    assert list(tmp_path.glob("*/facts.json"))


@pytest.mark.long
@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_a_mesh_becomes_a_release(system: str, tmp_path: Path) -> None:
    """Renders with a small program in Blender's place, trains, measures and publishes."""
    done = run(RUN, system, "training", *make_command(tmp_path), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "store" / "old-pawn" / "1" / "manifest.json").is_file()
    assert list(tmp_path.glob("store/.*")) == []
