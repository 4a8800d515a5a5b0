import io
import json
import logging
import struct
import sys

from fastapi.testclient import TestClient

from app.observability.logging import _JsonFormatter, _TextFormatter

TOO_MANY_SAMPLES = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in [(256, 9), (257, 9), (277, 9999)])


def test_libraries_do_not_log_refused_bodies(client: TestClient, log: io.StringIO) -> None:
    for body in (b"II*\0\x08\0\0\0\3\0" + TOO_MANY_SAMPLES, b"--cut\r\nno form"):
        for content_type in ("image/tiff", "multipart/form-data; boundary=cut"):
            assert client.post("/detect", content=body, headers={"Content-Type": content_type}).status_code >= 400
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert {line["level"] for line in lines} == {"INFO"}
    assert [line["message"] for line in lines if line["logger"] == "app.observability.request_log"] == ["request"] * 4


def a_record(*, failed: bool = False) -> logging.LogRecord:
    info = None
    if failed:
        try:
            raise ValueError("two\nlines")
        except ValueError:
            info = sys.exc_info()
    record = logging.LogRecord("app.x", logging.INFO, "x.py", 1, "it took %d", (3,), info)
    record.fields = {"status": 200, "path": "/x"}
    return record


def test_logs_one_json_object_per_line() -> None:
    text = _JsonFormatter().format(a_record(failed=True))
    assert "\n" not in text
    line = json.loads(text)
    assert (line["level"], line["logger"], line["message"]) == ("INFO", "app.x", "it took 3")
    assert (line["status"], line["path"]) == (200, "/x")
    assert "ValueError: two\nlines" in line["traceback"]
    assert line["time"].endswith("Z")


def test_logs_fields_then_traceback() -> None:
    assert _TextFormatter().format(a_record()).endswith(" INFO it took 3 status=200 path=/x")
    first, *rest = _TextFormatter().format(a_record(failed=True)).splitlines()
    assert first.endswith("path=/x")
    assert rest[0].startswith("Traceback")
