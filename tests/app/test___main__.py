import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import torch

from app import __main__
from app.__main__ import main, serve_model
from app.keys import hash_of
from app.settings import Settings, variable
from tests.app.fakes import PHOTO
from tests.app.wire import free_port, wait_until

ROOT = Path(__main__.__file__).parent.parent
SLOW_SERVICE = str(Path(__file__).with_name("slow_service.py"))


@contextmanager
def process(*command: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python in a process of its own, which ends with the test."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **variables}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, *command], env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def test_a_wrong_setting_ends_the_start_with_one_line() -> None:
    with process("-m", "app", RENDERSIGHT_PORT="eighty") as running:
        out, err = running.communicate(timeout=60)
    assert running.returncode == 2
    assert out == ""
    assert err == ("rendersight: RENDERSIGHT_PORT='eighty' is not accepted; accepted: a whole number from 1 to 65535\n")


def test_an_unknown_setting_ends_the_start(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RENDERSIGHT_TRESHOLD", "0.5")
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("rendersight: RENDERSIGHT_TRESHOLD='0.5' is no setting; ")


def test_an_unknown_argument_ends_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--port", "80"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --port 80" in capsys.readouterr().err


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name, field in Settings.model_fields.items():
        assert f"{variable(name)} {field.description} Accepted: " in shown


def test_a_model_that_cannot_be_served_ends_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.pt"
    torch.save({"weight": torch.zeros(1)}, broken)
    for model, reason in (("dice", "no release 'dice' in "), (str(broken), f"{broken}: ")):
        settings = Settings(model=model, model_store=tmp_path, port=free_port())
        assert serve_model(settings) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"rendersight: {reason}")


def test_a_taken_port_ends_the_start_before_the_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert serve_model(Settings(model_store=tmp_path, port=port)) == 2
    told = f"RENDERSIGHT_HOST='127.0.0.1' RENDERSIGHT_PORT='{port}' cannot be served: Address already in use"
    assert capsys.readouterr().err == f"rendersight: {told}\n"


def test_a_host_of_another_machine_ends_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve_model(Settings(host="192.0.2.1", model_store=tmp_path, port=free_port())) == 2  # RFC 5737: nobody's
    assert "RENDERSIGHT_HOST='192.0.2.1'" in capsys.readouterr().err


def test_the_service_says_where_it_is_and_stops_when_told(release_store: Path, tmp_path: Path) -> None:
    port = free_port()
    with process(
        "-m",
        "app",
        RENDERSIGHT_MODEL="tiny",
        RENDERSIGHT_MODEL_STORE=str(release_store),
        RENDERSIGHT_CACHE_DIR=str(tmp_path),
        RENDERSIGHT_DEVICE="cpu",
        RENDERSIGHT_PORT=str(port),
        RENDERSIGHT_LOG_FORMAT="json",
    ) as running:
        assert running.stderr
        said = [json.loads(running.stderr.readline())["message"] for _ in range(2)]
        assert said[0] == f"The page is at http://127.0.0.1:{port}, the API's docs at http://127.0.0.1:{port}/docs"
        assert said[1].startswith("Try: curl -F image=@")
        assert said[1].endswith(f".jpg http://127.0.0.1:{port}/detect")
        assert post(port)[0] == 200  # at once: the address is open when it is named
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
        line, stopping = (json.loads(line) for line in running.stderr)
        assert stopping["message"] == "SIGTERM: the service stops, 0 requests are in flight"
        assert (line["method"], line["path"], line["status"]) == ("POST", "/detect", 200)


def post(port: int, path: str = "/detect") -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST" if path == "/detect" else "GET", path, PHOTO, {"Content-Type": "image/jpeg"})
        response = connection.getresponse()
        return response.status, response.read()


def test_on_sigterm_what_is_in_flight_finishes_and_what_comes_is_refused() -> None:
    port = free_port()
    answers: list[tuple[int, bytes]] = []
    with process(SLOW_SERVICE, str(port)) as running:
        assert running.stdin
        assert running.stdout
        wait_until(lambda: accepts(port))
        senders = [threading.Thread(target=lambda: answers.append(post(port))) for _ in range(2)]
        for sender in senders:
            sender.start()
        assert running.stdout.readline() == "detecting\n"
        wait_until(lambda: b"detect_queue_depth 1.0" in post(port, "/metrics")[1])
        running.send_signal(signal.SIGTERM)
        wait_until(lambda: post(port, "/readyz")[0] == 503)
        status, body = post(port)
        assert (status, json.loads(body)["type"]) == (503, "urn:rendersight:problem:not-ready")
        assert post(port, "/livez")[0] == 200
        assert answers == []
        running.stdin.write("go on\ngo on\n")
        running.stdin.flush()
        for sender in senders:
            sender.join(30)
        assert running.wait(30) == 0
    assert [status for status, _ in answers] == [200, 200]
    assert all(len(json.loads(body)["detections"]) == 2 for _, body in answers)


def test_what_does_not_finish_in_time_is_cut_off() -> None:
    port = free_port()
    with (
        process(SLOW_SERVICE, str(port), "0.5") as running,
        ThreadPoolExecutor() as threads,
    ):
        assert running.stdout
        assert running.stderr
        wait_until(lambda: accepts(port))
        cut_off = threads.submit(post, port)
        assert running.stdout.readline() == "detecting\n"
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
        status, body = cut_off.result()
        assert (status, json.loads(body)["detail"]) == (503, "the service has stopped")
        assert "1 requests are cut off: they did not end in time" in running.stderr.read()


def test_a_second_signal_leaves_no_more_time() -> None:
    port = free_port()
    with (
        process(SLOW_SERVICE, str(port)) as running,
        ThreadPoolExecutor() as threads,
    ):
        assert running.stdout
        wait_until(lambda: accepts(port))
        cut_off = threads.submit(post, port)
        assert running.stdout.readline() == "detecting\n"
        running.send_signal(signal.SIGTERM)
        wait_until(lambda: post(port, "/readyz")[0] == 503)
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0
        assert cut_off.result()[0] == 503


def test_an_upload_that_is_refused_while_the_service_stops_gets_its_answer() -> None:
    port = free_port()
    with (
        process(SLOW_SERVICE, str(port)) as running,
        ThreadPoolExecutor() as threads,
    ):
        assert running.stdin
        assert running.stdout
        wait_until(lambda: accepts(port))
        first = threads.submit(post, port)
        assert running.stdout.readline() == "detecting\n"
        running.send_signal(signal.SIGTERM)
        wait_until(lambda: post(port, "/readyz")[0] == 503)
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("POST", "/detect", bytes(15_000_000), {"Content-Type": "image/jpeg"})
            assert connection.getresponse().status == 503
        running.stdin.write("go on\n")
        running.stdin.flush()
        assert first.result()[0] == 200
        assert running.wait(30) == 0


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionError:
        return False
    return True


def test_a_worker_that_hangs_ends_the_process_to_be_started_anew() -> None:
    port = free_port()
    script = SLOW_SERVICE
    with process(script, str(port), "90", "0.5", "1") as running, ThreadPoolExecutor() as threads:
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
    assert [line["level"] for line in said if line["logger"] == "app.watchdog"] == ["ERROR", "CRITICAL"]


def test_sighup_reads_the_keys_and_looks_for_a_newer_release(release_store: Path, tmp_path: Path) -> None:
    port, keys, models = free_port(), tmp_path / "keys", tmp_path / "models"
    shutil.copytree(release_store / "tiny", models / "tiny")
    keys.write_text(f"a detect,metrics {hash_of('rs_old')}\n")
    with process(
        "-m",
        "app",
        RENDERSIGHT_MODEL="tiny",
        RENDERSIGHT_MODEL_STORE=str(models),
        RENDERSIGHT_CACHE_DIR=str(tmp_path / "cache"),
        RENDERSIGHT_DEVICE="cpu",
        RENDERSIGHT_PORT=str(port),
        RENDERSIGHT_RELOAD_INTERVAL_S="0",
        RENDERSIGHT_API_KEYS_FILE=str(keys),
    ) as running:
        wait_until(lambda: accepts(port))

        def answer(key: str) -> tuple[int, str]:
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/models", headers={"Authorization": f"Bearer {key}"}
            )
            try:
                with urllib.request.urlopen(request, timeout=30) as response:
                    return response.status, json.load(response)["models"][0]["version"]
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, ""

        assert answer("rs_old") == (200, "1")
        shutil.copytree(models / "tiny" / "1", models / "tiny" / ".2")
        manifest = models / "tiny" / ".2" / "manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": 2}))
        (models / "tiny" / ".2").rename(models / "tiny" / "2")
        keys.write_text(f"b detect {hash_of('rs_new')}\n")
        running.send_signal(signal.SIGHUP)
        wait_until(lambda: answer("rs_new") == (200, "2"))
        assert answer("rs_old") == (401, "")
        keys.write_text("nonsense\n")
        running.send_signal(signal.SIGHUP)
        assert running.stderr
        wait_until(lambda: "the API keys stay as they were" in running.stderr.readline())  # type: ignore[union-attr]
        assert answer("rs_new") == (200, "2")
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0


def test_a_wrong_file_of_keys_ends_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "keys").write_text("nonsense")
    assert serve_model(Settings(api_keys_file=tmp_path / "keys", port=free_port())) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"rendersight: {tmp_path}/keys:1: not a key's line; accepted: NAME SCOPES SHA256")
