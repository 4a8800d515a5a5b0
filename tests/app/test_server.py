import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi import FastAPI

from app import server
from app.http.keys import InvalidKeysFile, hash_of
from app.main import create_app
from app.server import serve, serve_model
from app.settings import Settings
from model_store.detector import Detector
from model_store.errors import ModelError
from tests.app.fakes import CARD, PHOTO, FixedEngine, HeldEngine, app_with
from tests.app.wire import free_port, sample, wait_until

ROOT = Path(server.__file__).parent.parent
HANGING_SERVICE = str(Path(__file__).with_name("hanging_service.py"))


@contextmanager
def process(*command: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python in a process of its own, which ends with the test."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **variables}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, *command], env=environment, stdout=pipe, stderr=pipe, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def test_start_fails_without_a_usable_model(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pt"
    torch.save({"weight": torch.zeros(1)}, broken)
    for model, reason in (("dice", "no release 'dice' in "), (str(broken), f"{broken}: ")):
        with pytest.raises(ModelError, match=f"^{re.escape(reason)}"):
            serve_model(Settings(model=model, model_store=tmp_path, port=free_port()))


def test_rejects_a_port_in_use_before_loading_the_model(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = f"RENDERSIGHT_HOST='127.0.0.1' RENDERSIGHT_PORT='{port}' cannot be used: Address already in use"
        with pytest.raises(OSError, match=f"^{told}$"):
            serve_model(Settings(model_store=tmp_path, port=port))


def test_rejects_a_host_of_another_machine(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="RENDERSIGHT_HOST='192"):  # RFC 5737: nobody's
        serve_model(Settings(host="192.0.2.1", model_store=tmp_path, port=free_port()))


def post(port: int, path: str = "/detect", key: str = "") -> tuple[int, bytes]:
    """Post the photo to `/detect`, or get another path."""
    headers = {"Content-Type": "image/jpeg"} | ({"Authorization": f"Bearer {key}"} if key else {})
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST" if path == "/detect" else "GET", path, PHOTO, headers)
        response = connection.getresponse()
        return response.status, response.read()


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionError:
        return False
    return True


def test_serves_the_embedded_model_until_sigterm(tmp_path: Path) -> None:
    """The whole program once; it takes 3 s to import and to load the model."""
    port = free_port()
    with process(
        "-m",
        "app",
        RENDERSIGHT_PORT=str(port),
        RENDERSIGHT_CACHE_DIR=str(tmp_path),
        RENDERSIGHT_LOG_FORMAT="json",
    ) as running:
        assert running.stderr
        log = (line for line in map(json.loads, running.stderr) if not line["logger"].startswith("model_store."))
        address = f"http://127.0.0.1:{port}"
        assert next(log)["message"] == f"The page is at {address}, the API docs are at {address}/docs"
        example = next(log)["message"]
        assert example.startswith("Try: curl -F image=@")
        assert example.endswith(f".jpg {address}/detect")
        assert post(port)[0] == 200  # at once: the address is open when it is named
        line = next(log)
        assert (line["method"], line["path"], line["status"]) == ("POST", "/detect", 200)
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
        assert [line["message"] for line in log] == ["SIGTERM: stopping, 0 requests in flight"]


def test_hanging_worker_ends_the_process_with_status_70() -> None:
    port = free_port()
    with process(HANGING_SERVICE, str(port)) as running, ThreadPoolExecutor() as threads:
        assert running.stdout
        assert running.stderr
        wait_until(lambda: accepts(port))
        cut_off = threads.submit(post, port)
        assert running.stdout.readline() == "detecting\n"
        wait_until(lambda: post(port, "/livez")[0] == 503)
        status, body = post(port, "/readyz")
        assert (status, json.loads(body)["type"]) == (503, "urn:rendersight:problem:not-alive")
        assert running.wait(30) == 70
        assert isinstance(cut_off.exception(), ConnectionError | http.client.HTTPException)
        said = [json.loads(line) for line in running.stderr]
    assert [line["level"] for line in said if line["logger"] == "app.inference.watchdog"] == ["ERROR", "CRITICAL"]


def serve_while(drive: Callable[[], None], app: FastAPI, settings: Settings) -> None:
    """Serve in this thread, as only the main thread takes signals, while `drive` runs in another; then stop."""

    def run() -> None:
        try:
            wait_until(lambda: accepts(settings.port))
            drive()
        finally:
            if not app.state.lifecycle.stopping:
                os.kill(os.getpid(), signal.SIGTERM)
            app.state.lifecycle.stop(0)

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        with ThreadPoolExecutor(1) as threads:
            driving = threads.submit(run)
            serve(app, settings)
            driving.result()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def terminate(port: int) -> None:
    """Send SIGTERM to this process, and wait until the service at the port takes no requests any more."""
    os.kill(os.getpid(), signal.SIGTERM)
    wait_until(lambda: post(port, "/readyz")[0] == 503)


@dataclass
class InFlight:
    """A service that has begun a detection.

    Attributes:
        port: where it listens, at 127.0.0.1.
        app: its app.
        engine: finishes no detection before it is released.
        answer: to the request that the detection is for.
    """

    port: int
    app: FastAPI
    engine: HeldEngine
    answer: Future[tuple[int, bytes]]


def serve_in_flight(drive: Callable[[InFlight], None], **chosen: Any) -> None:
    """Serve while `drive` runs, once a detection is in flight."""
    engine, settings = HeldEngine(), Settings(port=free_port(), **chosen)
    app = app_with(engine, **chosen)

    def begin() -> None:
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(post, settings.port)
            try:
                assert engine.started.wait(30)
                drive(InFlight(settings.port, app, engine, answer))
            finally:
                engine.release.set()

    serve_while(begin, app, settings)


def test_sighup_reads_the_keys_and_looks_for_a_newer_release(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"a detect {hash_of('rs_old')}\n")
    settings = Settings(model="fruit", model_store=tmp_path, port=free_port(), reload_interval_s=0, api_keys_file=keys)
    opened = (Detector(replace(CARD, version=version), FixedEngine()) for version in ("3", "4"))
    app = create_app(settings, open_detector=lambda *_, **__: next(opened))

    def served_to(key: str) -> str:
        status, body = post(settings.port, "/models", key)
        return str(json.loads(body)["models"][0]["version"]) if status == 200 else str(status)

    def drive() -> None:
        assert served_to("rs_old") == "3"
        (tmp_path / "fruit" / "4").mkdir(parents=True)
        keys.write_text(f"b detect {hash_of('rs_new')}\n")
        os.kill(os.getpid(), signal.SIGHUP)
        wait_until(lambda: served_to("rs_new") == "4")
        assert served_to("rs_old") == "401"
        keys.write_text("nonsense\n")
        os.kill(os.getpid(), signal.SIGHUP)
        wait_until(lambda: "API keys not reloaded" in caplog.text)
        assert served_to("rs_new") == "4"

    serve_while(drive, app, settings)


def test_sigterm_lets_requests_in_flight_finish_and_refuses_others() -> None:
    def drive(service: InFlight) -> None:
        with ThreadPoolExecutor(1) as threads:
            second = threads.submit(post, service.port)
            wait_until(lambda: sample(service.app.state.metrics, "detect_queue_depth") == 1)
            terminate(service.port)
            status, body = post(service.port)
            assert (status, json.loads(body)["type"]) == (503, "urn:rendersight:problem:not-ready")
            assert post(service.port, "/livez")[0] == 200
            with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)) as connection:
                connection.request("POST", "/detect", bytes(15_000_000), {"Content-Type": "image/jpeg"})
                assert connection.getresponse().status == 503  # and the upload is not cut off before
            assert not service.answer.done()
            service.engine.release.set()
            answers = [service.answer.result(30), second.result(30)]
        assert [status for status, _ in answers] == [200, 200]
        assert all(len(json.loads(body)["detections"]) == 2 for _, body in answers)

    serve_in_flight(drive)


def test_cuts_off_what_does_not_finish_in_time(caplog: pytest.LogCaptureFixture) -> None:
    def drive(service: InFlight) -> None:
        terminate(service.port)
        status, body = service.answer.result(30)
        assert (status, json.loads(body)["detail"]) == (503, "the service has stopped")

    serve_in_flight(drive, drain_timeout_s=0.5)
    assert "1 requests cut off: they did not finish in time" in caplog.text


def test_second_signal_leaves_no_more_time() -> None:
    def drive(service: InFlight) -> None:
        terminate(service.port)
        os.kill(os.getpid(), signal.SIGTERM)
        assert service.answer.result(10)[0] == 503

    serve_in_flight(drive)


def test_an_invalid_file_of_keys_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("nonsense")
    with pytest.raises(InvalidKeysFile, match="keys:1: not a valid line; accepted: NAME SCOPES SHA256"):
        serve_model(Settings(api_keys_file=tmp_path / "keys", port=free_port()))
