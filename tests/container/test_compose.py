"""The image and the compose file, built and run as a user does it: bring it up, post a photo, take it down.

They need a container engine and fail without one. The containers belong to a project and a port of their own, so a
service that somebody runs from the same folder is left alone.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from model_store import architectures, store
from model_store.engines import ENGINES

ROOT = Path(__file__).parents[2]
PROJECT = "rendersight-test"
OWN_STORE_PROJECT = "rendersight-test-own"
READY_WITHIN_S = 240
SLIM_BYTES = 900_000_000
RELEASES = "/srv/rendersight/model_store/releases"

# About 3 GB are downloaded and unpacked when the image is built for the first time.
pytestmark = [pytest.mark.container, pytest.mark.timeout(1200)]


def run(*command: str, env: dict[str, str] | None = None) -> str:
    """Run a command in the repository's root and return its output; a failure shows all of it."""
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def inspect(container: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("docker", "inspect", container))[0]
    return found


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True)
class Compose:
    """`docker compose`, or `docker-compose` where only that is there, on this repository."""

    command: tuple[str, ...]
    project: str = PROJECT

    def __call__(self, *arguments: str, **settings: str) -> str:
        """Run a compose command with these `RENDERSIGHT_` variables in its environment and no others."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("RENDERSIGHT_", "COMPOSE_"))}
        chosen = {f"RENDERSIGHT_{name}": value for name, value in settings.items()}
        return run(*self.command, "-p", self.project, *arguments, env=clean | chosen)

    def down(self) -> None:
        self("--profile", "gpu", "--profile", "slim", "down", "--volumes", "--remove-orphans", "--timeout", "30")


@dataclass(frozen=True)
class Service:
    """A running container of the service, published at a port of this machine."""

    container: str
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def execute(self, *command: str, user: str = "10001") -> subprocess.CompletedProcess[str]:
        """Run a command inside the container."""
        return subprocess.run(
            ["docker", "exec", "--user", user, self.container, *command], capture_output=True, text=True, check=False
        )

    def wait_until_healthy(self) -> None:
        """Wait for the healthcheck's own word; a container that ends or restarts has failed."""
        give_up = time.monotonic() + READY_WITHIN_S
        while (state := inspect(self.container))["State"].get("Health", {}).get("Status") != "healthy":
            if time.monotonic() > give_up or not state["State"]["Running"] or state["RestartCount"]:
                logs = subprocess.run(["docker", "logs", self.container], capture_output=True, text=True, check=False)
                pytest.fail(f"not healthy: {state['State']}\n{logs.stdout}{logs.stderr}")
            time.sleep(1)


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    """Compose with the image built; what an earlier run left behind is removed first."""
    if not shutil.which("docker"):
        pytest.fail("the container tests need docker and a running engine")
    run("docker", "info")
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    compose = Compose(("docker", "compose") if plugin else ("docker-compose",))
    compose.down()
    replace(compose, project=OWN_STORE_PROJECT).down()
    compose("--profile", "slim", "build")
    yield compose
    compose.down()


@pytest.fixture(scope="module")
def detect(compose: Compose) -> Service:
    """The service as `docker compose up` starts it, with the embedded release."""
    port = free_port()
    compose("up", "-d", PORT=str(port))
    service = Service(compose("ps", "-q", PORT=str(port)), port)
    service.wait_until_healthy()
    return service


@pytest.fixture(scope="module")
def detect_slim(compose: Compose) -> Service:
    """The service without torch, with the embedded release."""
    port = free_port()
    compose("up", "-d", "detect-slim", PORT=str(port))
    service = Service(compose("ps", "-q", "detect-slim", PORT=str(port)), port)
    service.wait_until_healthy()
    return service


@pytest.fixture(params=["detect", "detect_slim"])
def either(request: pytest.FixtureRequest) -> Service:
    """Either image, serving: the whole one and the slim one keep the same promises."""
    service: Service = request.getfixturevalue(request.param)
    return service


@pytest.fixture
def state_dict(tmp_path: Path) -> Path:
    """A network as a notebook saves it, in a folder that the container's user may read."""
    torch.manual_seed(0)
    network = architectures.build("fasterrcnn_mobilenet_v2_fpn", class_count=1)
    folder = tmp_path / "models"
    folder.mkdir()
    torch.save(network.state_dict(), folder / "Dragon_Model.tar")
    return folder / "Dragon_Model.tar"


@pytest.fixture
def store_without_engines(tmp_path: Path) -> Path:
    """A store with `dice@1`: the embedded release without its engines."""
    source = store.find(store.DEFAULT_ROOT, "dice")
    kept = (store.WEIGHTS, *(image.file for image in source.manifest.golden))

    def fill(folder: Path, version: int) -> None:
        for name in kept:
            shutil.copy(source.folder / name, folder)
        files = {name: source.manifest.files[name] for name in kept}
        source.manifest.model_copy(update={"version": version, "engines": {}, "files": files}).write(folder)

    root = tmp_path / "store"
    store.publish(root, "dice", fill, lambda release: None)
    return root


def photo() -> bytes:
    return min((ROOT / "examples").glob("*.jpg")).read_bytes()


def test_finds_the_objects_of_a_photo(either: Service) -> None:
    answer = httpx.post(f"{either.url}/detect", files={"image": ("photo.jpg", photo(), "image/jpeg")}, timeout=60)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["model"]["name"] == "dice"
    assert found["model"]["device"] == "cpu"
    assert found["detections"]
    width, height = found["image"]["width"], found["image"]["height"]
    for detection in found["detections"]:
        x0, y0, x1, y1 = detection["box"]
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        assert found["score_threshold"] < detection["score"] <= 1


def test_plain_up_starts_one_service_at_the_loopback_address(compose: Compose, detect: Service) -> None:
    assert compose("ps", "-q", "detect").split() == [detect.container]
    assert run("docker", "port", detect.container) == f"{detect.port}/tcp -> 127.0.0.1:{detect.port}"


def test_answers_problems_and_describes_itself(either: Service) -> None:
    refused = httpx.post(f"{either.url}/detect", content=b"no picture", timeout=60)
    assert (refused.status_code, refused.headers["content-type"]) == (415, "application/problem+json")
    assert httpx.post(f"{either.url}/detect?treshold=1", content=photo(), timeout=60).status_code == 422
    assert httpx.get(f"{either.url}/docs").status_code == 200
    assert "page/page.js" in httpx.get(f"{either.url}/").text
    (example, *_) = httpx.get(f"{either.url}/examples").json()["photos"]
    assert httpx.get(f"{either.url}/examples/{example}").headers["content-type"] == "image/jpeg"
    assert "/detect" in httpx.get(f"{either.url}/openapi.json").json()["paths"]
    assert httpx.get(f"{either.url}/models").json()["models"][0]["engine"] in ENGINES


def test_the_slim_image_is_small_and_has_no_torch(detect_slim: Service) -> None:
    assert int(run("docker", "image", "inspect", "--format", "{{.Size}}", "rendersight-slim")) <= SLIM_BYTES
    look = "import importlib.util as u; print([n for n in ('torch', 'torchvision', 'nvidia') if u.find_spec(n)])"
    assert detect_slim.execute("python", "-c", look).stdout.strip() == "[]"


@pytest.mark.parametrize("setting", ["RENDERSIGHT_ENGINE=openvino-fp32", "ONEDNN_MAX_CPU_ISA=AVX2"])
def test_the_slim_image_serves_with_an_empty_cache(compose: Compose, setting: str) -> None:
    """As on a processor where int8 is refused, and on one with AVX2 alone."""
    port = free_port()
    command = ["docker", "run", "-d", "--name", f"{PROJECT}-empty-cache", "--tmpfs", "/cache", "-e", setting]
    command += ["-v", f"{ROOT}/model_store/releases:{RELEASES}:ro", "-p", f"127.0.0.1:{port}:8000", "rendersight-slim"]
    service = Service(run(*command), port)
    try:
        service.wait_until_healthy()
        answer = httpx.post(f"{service.url}/detect", files={"image": ("photo.jpg", photo(), "image/jpeg")}, timeout=60)
        assert answer.json()["detections"]
        assert answer.json()["model"]["engine"].startswith("openvino-")
    finally:
        run("docker", "rm", "--force", "--volumes", service.container)  # waits, as --rm does not


@pytest.mark.parametrize("model", ["state dict", "dice@1"])
def test_the_slim_image_names_the_full_one_for_what_it_cannot_serve(
    compose: Compose, state_dict: Path, store_without_engines: Path, model: str
) -> None:
    mount = f"{state_dict}:/models/{state_dict.name}:ro"
    path = model if "@" in model else f"/models/{state_dict.name}"
    command = ("docker", "run", "--rm", "-v", mount, "-v", f"{store_without_engines}:{RELEASES}:ro")
    done = subprocess.run(
        [*command, "-e", f"RENDERSIGHT_MODEL={path}", "rendersight-slim"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert re.search(f"{path} .*torch is not installed; use the full image", done.stderr.splitlines()[-1])


def test_no_process_is_root_or_can_become_it(either: Service) -> None:
    read = "import pathlib; print(*(p.read_text() for p in pathlib.Path('/proc').glob('[0-9]*/status')))"
    shown = either.execute("python", "-c", read).stdout
    lines = [line.split() for line in shown.splitlines()]
    users = [fields[1:] for fields in lines if fields[:1] == ["Uid:"]]
    assert len(users) >= 2  # the service and the command that looks
    assert {user for fields in users for user in fields} == {"10001"}
    assert {fields[1] for fields in lines if fields[:1] in (["CapEff:"], ["CapBnd:"])} == {"0" * 16}
    assert {fields[1] for fields in lines if fields[:1] == ["NoNewPrivs:"]} == {"1"}


@pytest.mark.parametrize("folder", ["/", "/srv/rendersight", "/srv/rendersight/model_store/releases", "/opt/venv"])
def test_even_root_cannot_write_outside_of_tmp(either: Service, folder: str) -> None:
    refused = either.execute("touch", f"{folder}/written", user="0")
    assert refused.returncode != 0
    assert "Read-only file system" in refused.stderr


def test_tmp_is_a_file_system_in_memory(either: Service) -> None:
    kind = either.execute("sh", "-c", "touch /tmp/written && rm /tmp/written && stat -f -c %T /tmp")
    assert kind.stdout.strip() == "tmpfs", kind.stderr


def test_image_holds_neither_training_code_nor_a_compiler(either: Service) -> None:
    held = ["LICENSE", "app", "examples", "model_store", "rendersight"]
    assert either.execute("ls", "/srv/rendersight").stdout.split() == held
    names = "cc c++ gcc g++ clang tcc nvcc cc1 ld"
    look = f"import shutil; print([name for name in {names.split()!r} if shutil.which(name)])"
    assert either.execute("python", "-c", look).stdout.strip() == "[]"
    look = "import importlib.util as u; print([n for n in ('training', 'pycocotools', 'pytest') if u.find_spec(n)])"
    assert either.execute("python", "-c", look).stdout.strip() == "[]"


def test_releases_are_mounted_and_not_in_the_image(detect: Service) -> None:
    mounts = inspect(detect.container)["Mounts"]
    assert sorted((mount["Type"], mount["Destination"], mount["RW"]) for mount in mounts) == [
        ("bind", "/srv/rendersight/model_store/releases", False),
        ("volume", "/cache", True),
    ]
    assert run("docker", "run", "--rm", "rendersight", "find", "/srv/rendersight", "-name", "*.pt") == ""


def test_gpu_service_differs_in_the_gpu_alone(compose: Compose, detect: Service) -> None:
    compose("up", "--no-start", "detect-gpu", PORT=str(detect.port))
    container = compose("--profile", "gpu", "ps", "-a", "-q", "detect-gpu")
    gpu, cpu = inspect(container), inspect(detect.container)
    (asked,) = gpu["HostConfig"].pop("DeviceRequests")
    assert (asked["Driver"], asked["Count"], asked["Capabilities"]) == ("nvidia", 1, [["gpu"]])
    assert not cpu["HostConfig"].pop("DeviceRequests")
    assert gpu["HostConfig"] == cpu["HostConfig"]
    assert set(gpu["Config"]["Env"]) ^ set(cpu["Config"]["Env"]) == {
        "RENDERSIGHT_DEVICE=cuda",
        "RENDERSIGHT_DEVICE=",
    }


def test_serves_a_state_dict_mounted_for_one_run(compose: Compose, state_dict: Path) -> None:
    port = free_port()
    mount = f"{state_dict}:/models/{state_dict.name}:ro"
    settings = ("-e", f"RENDERSIGHT_MODEL=/models/{state_dict.name}", "-e", "RENDERSIGHT_LABELS=dragon")
    name = f"{PROJECT}-run"
    compose("run", "-d", "--service-ports", "--name", name, "-v", mount, *settings, "detect", PORT=str(port))
    service = Service(name, port)
    try:
        service.wait_until_healthy()
        assert '"dragon"' in httpx.get(f"{service.url}/models").text
        answer = httpx.post(f"{service.url}/detect?score_threshold=0", files={"image": photo()}, timeout=60)
        assert answer.status_code == 200, answer.text
        assert {detection["label"] for detection in answer.json()["detections"]} == {"dragon"}
        run("docker", "stop", "-t", "30", service.container)
        assert inspect(service.container)["State"]["ExitCode"] in (0, 143)  # it ended by itself; 137 is a kill
    finally:
        run("docker", "rm", "--force", service.container)


def test_serves_a_state_dict_of_a_store_of_ones_own(compose: Compose, state_dict: Path) -> None:
    port = free_port()
    own = replace(compose, project=OWN_STORE_PROJECT)
    state_dict.parent.chmod(0o755)
    model = f"model_store/releases/{state_dict.name}"
    own("up", "-d", PORT=str(port), MODEL_STORE=str(state_dict.parent), MODEL=model, LABELS="dragon")
    try:
        service = Service(own("ps", "-q"), port)
        service.wait_until_healthy()
        assert '"dragon"' in httpx.get(f"{service.url}/models").text
    finally:
        own.down()


def test_a_service_that_is_killed_is_started_anew(detect: Service) -> None:
    """What the kernel's OOM killer does to it, and, but for the status, the watchdog."""
    find = "import pathlib, re; print(*(p.parent.name for p in pathlib.Path('/proc').glob('[0-9]*/cmdline')"
    find += " if p.read_bytes().endswith(b'python\\0-m\\0app\\0') and b'init' not in p.read_bytes()))"
    (process,) = detect.execute("python", "-c", find).stdout.split()
    assert detect.execute("sh", "-c", f"kill -9 {process}").returncode == 0
    give_up = time.monotonic() + READY_WITHIN_S
    while not (state := inspect(detect.container))["RestartCount"] or state["State"]["Health"]["Status"] != "healthy":
        assert time.monotonic() < give_up, state["State"]
        time.sleep(0.5)
    assert state["RestartCount"] == 1
    answer = httpx.post(f"{detect.url}/detect", files={"image": photo()}, timeout=60)
    assert answer.status_code == 200, answer.text
