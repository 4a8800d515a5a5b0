"""What both clients do on a real connection."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from rendersight import AsyncClient, Client
from rendersight.client import (
    ConnectionLost,
    DetectResult,
    InputRefused,
    KeyRefused,
    Overloaded,
    ServiceUnreachable,
    TimedOut,
    Unavailable,
    UnexpectedAnswer,
    UnusableImage,
    WrongSetting,
)
from tests.rendersight.client.conftest import Asleep
from tests.rendersight.client.scripted import FOUND, Act, answers, breaks_off, hangs_up, problem, scripted

Make = Callable[..., Any]
FINDS = answers(200, FOUND, X_Request_ID="abc", Server_Timing="decode;dur=1.5, total;dur=12")


def test_detect_sends_the_file_and_what_is_asked_for(client_of: Make) -> None:
    with scripted(FINDS) as server:
        client = client_of(f"{server.url}/dice/", api_key="rs_secret")
        found = client.detect(
            b"pixels",
            score_threshold=0.5,
            labels=("apple", "pear & plum"),
            class_agnostic=True,
            max_detections=3,
            tiles=6,
        )
    assert server.paths == [
        "/dice/detect?score_threshold=0.5&labels=apple&labels=pear+%26+plum&class_agnostic=true&max_detections=3&tiles=6"
    ]
    assert server.headers[0]["authorization"] == "Bearer rs_secret"
    assert 55 < float(server.headers[0]["x-request-timeout"]) <= 60
    assert re.fullmatch(rb'--\S+\r\n.*name="image"; filename="image".*\r\n\r\npixels\r\n--.*', server.bodies[0], re.S)
    assert isinstance(found, DetectResult)
    assert found.as_json() == FOUND
    assert (found.request_id, found.server_timing_s) == ("abc", {"decode": 0.0015, "total": 0.012})


def test_nothing_is_asked_for_that_was_not_set(client_of: Make) -> None:
    with scripted(FINDS) as server:
        client_of(server.url).detect(b"x", labels=(), class_agnostic=False, iou_threshold=None)
    assert server.paths == ["/detect"]
    assert "authorization" not in server.headers[0]


def test_a_picture_and_an_annotation_file(client_of: Make) -> None:
    with scripted(
        answers(200, b"\xff\xd8", media_type="image/jpeg"),
        answers(200, "größer,1\n".encode(), media_type="text/csv; charset=utf-8"),
        FINDS,
    ) as server:
        client = client_of(server.url)
        assert client.picture(b"x", "jpeg", max_detections=1) == b"\xff\xd8"
        assert client.annotate(b"x", "csv") == "größer,1\n"
        with pytest.raises(UnexpectedAnswer, match="application/json instead of image/png"):
            client.picture(b"x")
        with pytest.raises(WrongSetting, match="format='gif' is not accepted; accepted: png, jpeg"):
            client.picture(b"x", "gif")
    assert server.paths == ["/detect?max_detections=1&format=jpeg", "/detect?format=csv", "/detect?format=png"]


@pytest.mark.parametrize(
    ("acts", "pauses"),
    [
        # with chance at a half: half a quarter of the Retry-After more
        ([problem(503, "overloaded", Retry_After="3")], [3.375]),
        ([problem(503, "not-ready"), hangs_up, breaks_off], [0.1875, 0.375, 0.75]),
        ([answers(502, b"<html>"), problem(504, "deadline-exceeded"), problem(429, "x")], [0.1875, 0.375, 0.75]),
    ],
)
def test_what_may_pass_is_tried_again(acts: list[Act], pauses: list[float], client_of: Make, asleep: Asleep) -> None:
    with scripted(*acts, FINDS) as server:
        found = client_of(server.url, asleep=asleep).detect(b"the same each time")
    assert len(found.detections) == 2
    assert asleep.pauses == pytest.approx(pauses)
    assert len(server.bodies) == len(acts) + 1
    assert all(b"the same each time" in body for body in server.bodies)


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (problem(400, "malformed-body"), InputRefused),
        (problem(413, "image-too-large"), InputRefused),
        (problem(422, "broken-image"), InputRefused),
        (problem(401, "unauthorized"), KeyRefused),
        (answers(200, b"<html>", media_type="text/html"), UnexpectedAnswer),
        (answers(200, {"answer": 42}), UnexpectedAnswer),
        (answers(307, b"", Location="https://elsewhere.example/detect"), UnexpectedAnswer),
    ],
)
def test_what_will_not_pass_is_asked_once(act: Act, kind: type[Exception], client_of: Make, asleep: Asleep) -> None:
    with scripted(act) as server, pytest.raises(kind):
        client_of(server.url, asleep=asleep).detect(b"x")
    assert len(server.paths) == 1
    assert asleep.pauses == []


def test_retries_end_with_the_last_error(client_of: Make, asleep: Asleep) -> None:
    with scripted(hangs_up, problem(503, "overloaded", Retry_After="1")) as server:
        with pytest.raises(Overloaded) as caught:
            client_of(server.url, retries=2, asleep=asleep).detect(b"x")
        with pytest.raises(Overloaded):
            client_of(server.url, retries=0, asleep=asleep).detect(b"x")
    assert (caught.value.status, caught.value.retry_after_s, caught.value.request_id) == (503, 1.0, "r1")
    assert len(server.paths) == 4


def test_a_pause_that_would_outlast_the_call_is_not_begun(client_of: Make, asleep: Asleep) -> None:
    with scripted(problem(503, "not-ready", Retry_After="30")) as server, pytest.raises(Unavailable, match="so it is"):
        client_of(server.url, timeout_s=20, asleep=asleep).detect(b"x")
    assert asleep.pauses == []


@pytest.mark.parametrize("act", ["stays_silent", "drips"])
def test_no_answer_in_time(act: str, client_of: Make) -> None:
    with scripted(act) as server:
        began_s = time.monotonic()
        with pytest.raises(TimedOut, match=f"{server.url}.* gave no answer in time"):
            client_of(server.url, timeout_s=0.3).detect(b"x")
        took_s = time.monotonic() - began_s
    assert 0.25 < took_s < 2
    assert len(server.paths) == 1


def test_nobody_listens(client_of: Make, asleep: Asleep) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    client = client_of(f"http://127.0.0.1:{port}", retries=1, asleep=asleep)
    with pytest.raises(ServiceUnreachable, match=f"no connection to http://127.0.0.1:{port}") as caught:
        client.detect(b"x")
    assert not isinstance(caught.value, ConnectionLost)
    assert len(asleep.pauses) == 1
    assert client.is_ready() is False
    with pytest.raises(TimedOut, match="not ready within 1 s: no connection"):
        client.wait_until_ready(1)


def test_readiness(client_of: Make, asleep: Asleep) -> None:
    with scripted(problem(503, "not-ready"), problem(503, "not-ready"), answers(200, {"status": "ok"})) as server:
        client = client_of(server.url, asleep=asleep)
        assert client.is_ready() is False
        client.wait_until_ready(timeout_s=10)
        assert client.is_ready() is True
    assert server.paths == ["/readyz"] * 4
    assert asleep.pauses == [0.25]


def test_another_program_is_not_waited_for(client_of: Make, asleep: Asleep) -> None:
    with scripted(answers(404, b"no such page")) as server, pytest.raises(Exception, match="404 Not Found"):
        client_of(server.url, asleep=asleep).wait_until_ready()
    assert len(server.paths) == 1


def test_an_unusable_image_is_not_sent(client_of: Make) -> None:
    with scripted(FINDS) as server, pytest.raises(UnusableImage, match=r"nowhere\.jpg cannot be read: No such file"):
        client_of(server.url).detect("nowhere.jpg")
    assert server.paths == []


def numbered(handler: BaseHTTPRequestHandler) -> None:
    """Answer the image N with the score threshold N / 100, odd ones later than even ones; 7 is refused."""
    found = re.search(rb"\r\n\r\n(\d+)\r\n", handler.body)  # type: ignore[attr-defined]
    assert found is not None
    number = int(found[1])
    time.sleep(0.03 if number % 2 else 0.01)
    act = problem(422, "broken-image") if number == 7 else answers(200, {**FOUND, "score_threshold": number / 100})
    act(handler)


def test_many_come_in_order_and_are_taken_little_by_little(client_of: Make) -> None:
    taken = []

    def images() -> Iterator[bytes]:
        for number in range(10, 30):
            taken.append(number)
            yield str(number).encode()

    ahead, thresholds = [], []
    with scripted(numbered) as server:
        for found in client_of(server.url).detect_many(images(), concurrency=3, labels="apple"):
            thresholds.append(round(found.score_threshold * 100))
            ahead.append(len(taken) - len(thresholds))
    assert thresholds == list(range(10, 30))
    assert 2 <= server.most_at_once <= 3
    assert max(ahead) == 5
    assert set(server.paths) == {"/detect?labels=apple"}


def test_many_with_one_that_fails(client_of: Make) -> None:
    images = [str(number).encode() for number in range(5, 10)]
    with scripted(numbered) as server:
        client = client_of(server.url)
        found = list(client.detect_many([*images, "nowhere.jpg"], errors="return"))
        assert [type(item) for item in found] == [DetectResult] * 2 + [InputRefused] + [DetectResult] * 2 + [
            UnusableImage
        ]
        several = client.detect_many(images)
        assert [next(several).score_threshold for _ in range(2)] == [0.05, 0.06]
        with pytest.raises(InputRefused):
            next(several)
        assert next(several, None) is None


def test_many_may_be_ended_early(client_of: Make) -> None:
    with scripted(numbered) as server:
        several = client_of(server.url).detect_many((b"%d" % number for number in range(10, 99)), concurrency=2)
        next(several)
        several.close()
        asked = len(server.paths)
        time.sleep(0.05)
        assert len(server.paths) == asked < 8


def test_a_wrong_argument_is_told_before_anything_is_sent(client_of: Make) -> None:
    for url in ("localhost:8000", "ftp://host", "http://", "", "http://host?x=1"):
        with pytest.raises(WrongSetting, match=r"is not accepted; accepted: such as http://127\.0\.0\.1:8000"):
            client_of(url)
    with pytest.raises(WrongSetting, match="api_key is not accepted") as caught:
        client_of("http://host", api_key="geheim\nis")
    assert "geheim" not in str(caught.value)
    with pytest.raises(WrongSetting, match="timeout_s=0"):
        client_of("http://host", timeout_s=0)
    with pytest.raises(WrongSetting, match="retries=-1"):
        client_of("http://host", retries=-1)
    client = client_of("http://host")
    with pytest.raises(WrongSetting, match="treshold is no parameter of detect; there are score_threshold, labels"):
        client.detect(b"x", treshold=1)
    with pytest.raises(WrongSetting, match="concurrency=0 is not accepted; accepted: 1 to 100"):
        client.detect_many([], concurrency=0)
    with pytest.raises(WrongSetting, match="errors='ignore' is not accepted; accepted: raise, return"):
        client.detect_many([], errors="ignore")


def test_threads_may_share_a_client() -> None:
    with scripted(numbered) as server, Client(server.url) as client:
        found: dict[int, float] = {}
        threads = [
            threading.Thread(target=lambda n=n: found.update({n: client.detect(b"%d" % n).score_threshold}))
            for n in range(10, 20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {n: n / 100 for n in range(10, 20)}
    assert repr(client) == f"Client('{server.url}')"


def test_a_cancelled_call_is_dropped_at_once() -> None:
    async def cancelled(url: str) -> float:
        async with AsyncClient(url, api_key="rs_secret") as client:
            assert "secret" not in repr(client)
            call = asyncio.create_task(client.detect(b"x"))
            await asyncio.sleep(0.1)
            began_s = time.monotonic()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            return time.monotonic() - began_s

    with scripted("stays_silent") as server:
        assert asyncio.run(cancelled(server.url)) < 1
