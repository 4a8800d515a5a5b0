"""The service on a real cluster of two nodes: its answers, its scaling, and what a failure loses."""

import copy
import os
import re
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import variants
from benchmarks.cluster import Cluster, Node, wait_for
from tests.app.fakes import encoded
from tests.app.v2_requests import json_request
from tests.ray.conftest import MOST_REPLICAS
from tests.ray.fake import HANGS_PX, SLOW_PX, SLOW_S
from tests.ray.load import Attempt, asking

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

CLIENTS = 6
OVERLOADED = "urn:rendersight:problem:overloaded"
NOT_READY = "urn:rendersight:problem:not-ready"


def samples(url: str, name: str) -> dict[str, float]:
    """Return replica -> value of a metric; empty before any replica serves."""
    try:
        answer = httpx.get(f"{url}/metrics", timeout=30)
    except httpx.TransportError:
        return {}
    families = text_string_to_metric_families(answer.text) if answer.status_code == 200 else []
    return {item.labels["replica"]: item.value for family in families for item in family.samples if item.name == name}


def served(url: str) -> list[str]:
    """Return the version that each replica serves."""
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics", timeout=30).text)
    return [
        item.labels["version"] for family in families for item in family.samples if item.name == "detect_model_info"
    ]


def replicas(cluster: Cluster) -> set[int]:
    return set().union(*(node.replicas() for node in cluster.nodes))


def are_both_there(cluster: Cluster, url: str) -> bool:
    """Return whether the maximum number of replicas is running and answering."""
    return len(replicas(cluster)) == len(samples(url, "detect_images_total")) == MOST_REPLICAS


@pytest.fixture
def both(cluster: Cluster, url: str, some_photos: list[bytes]) -> None:
    """Send requests until both replicas are running."""
    if not are_both_there(cluster, url):
        with asking(url, some_photos, clients=CLIENTS):
            wait_for(lambda: are_both_there(cluster, url), "both replicas")


@pytest.fixture
def fake_url(url: str) -> str:
    """Return the URL of the fake application once it serves."""
    wait_for(lambda: samples(f"{url}/fake", "detect_images_total"), "the fake")
    return f"{url}/fake"


def check_nothing_else_was_lost(failed: list[Attempt], killed_s: float) -> None:
    """Check that only requests in flight at that moment failed, each with a 503 that clients retry."""
    assert len(failed) <= CLIENTS
    for attempt in failed:
        assert attempt.began_s < killed_s
        assert attempt.answer is not None
        assert (attempt.answer.status_code, attempt.answer.json()["type"]) == (503, NOT_READY)
        assert attempt.answer.headers["Retry-After"] == "1"
        assert attempt.answer.headers["X-Request-ID"] == attempt.answer.json()["request_id"]


def test_waiting_requests_start_second_replica(cluster: Cluster, url: str, some_photos: list[bytes]) -> None:
    wait_for(lambda: samples(url, "detect_images_total"), "the first replica")
    assert len(replicas(cluster)) == 1
    with asking(url, some_photos, clients=CLIENTS) as asked:
        wait_for(
            lambda: len(counts := samples(url, "detect_images_total")) == MOST_REPLICAS and min(counts.values()) > 5,
            "photos at both replicas",
        )
    assert asked.failed == []
    assert [len(node.replicas()) for node in cluster.nodes] == [1, 1]


def test_replica_uses_assigned_cores(cluster: Cluster, both: None, fake_url: str) -> None:
    told = Counter(re.findall(r"cores of this replica: (\w+)", cluster.logs()))
    assert (told["1"], told["all"]) == (MOST_REPLICAS, 1)


def test_every_node_answers_like_service(cluster: Cluster, url: str, some_photos: list[bytes], both: None) -> None:
    for node in cluster.nodes:
        at_node = f"http://127.0.0.1:{node.http_port}"
        answer = httpx.post(f"{at_node}/detect", content=some_photos[0], headers={"X-Request-ID": "mine"}, timeout=60)
        assert answer.json()["model"]["version"] == "1"
        assert answer.headers.get_list("X-Request-ID") == ["mine"]
        assert answer.headers["Server-Timing"].startswith("queue;dur=")
        refused = httpx.post(f"{at_node}/detect?no=1", content=some_photos[0], headers={"X-Request-ID": "not ok"})
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.headers.get_list("X-Request-ID") == [refused.json()["request_id"]]
        lines = httpx.post(
            f"{at_node}/detect/batch", files=[("image", photo) for photo in some_photos], timeout=60
        ).text.splitlines()
        assert len(lines) == len(some_photos)
        inferred = httpx.post(f"{at_node}/v2/models/dice/infer", json=json_request(*some_photos), timeout=60)
        assert inferred.json()["model_version"] == "1"
        assert inferred.json()["outputs"][3]["shape"] == [len(some_photos)]
        for path in ("/v2/models/cards", "/v2/nothing"):
            assert list(httpx.get(f"{at_node}{path}").json()) == ["error"]
        assert httpx.get(f"{at_node}/docs").status_code == 200


def test_service_refuses_overload(fake_url: str) -> None:
    slow = encoded(Image.new("RGB", (SLOW_PX, 8)))

    def ask(_: int) -> httpx.Response:
        return httpx.post(f"{fake_url}/detect", content=slow, timeout=60)

    with ThreadPoolExecutor(CLIENTS) as threads:
        answers = list(threads.map(ask, range(CLIENTS)))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 0 < len(refused) < CLIENTS
    assert {answer.json()["type"] for answer in refused} == {OVERLOADED}
    assert {answer.json()["detail"].partition(" ")[0] for answer in refused} == {"1"}  # its own queue, not Serve's
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)


def test_counts_clients_that_disconnect(fake_url: str) -> None:
    """Without the proxy's header, Serve would cancel some requests before the service sees the disconnect."""
    slow = encoded(Image.new("RGB", (SLOW_PX, 8)))
    for _ in range(6):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{fake_url}/detect", content=slow, timeout=SLOW_S / 3)
        time.sleep(SLOW_S)

    def outcomes() -> dict[str, float]:
        text = httpx.get(f"{fake_url}/metrics").text
        asked = (item for family in text_string_to_metric_families(text) for item in family.samples)
        return {item.labels["outcome"]: item.value for item in asked if item.name == "detect_requests_total"}

    wait_for(lambda: outcomes().get("client-gone") == 6, "the end of those requests", within_s=20)
    assert outcomes().keys() <= {"client-gone", "ok", "overloaded"}  # the last two come from the previous test


def test_replaces_hanging_replica(cluster: Cluster, fake_url: str) -> None:
    (before,) = set().union(*(node.replicas("fake") for node in cluster.nodes))
    hangs = encoded(Image.new("RGB", (HANGS_PX, 8)))
    lost = httpx.post(f"{fake_url}/detect", content=hangs, timeout=60)
    assert (lost.status_code, lost.json()["type"]) == (503, NOT_READY)
    fine = encoded(Image.new("RGB", (60, 45)))
    wait_for(lambda: httpx.post(f"{fake_url}/detect", content=fine, timeout=60).status_code == 200, "another replica")
    (after,) = set().union(*(node.replicas("fake") for node in cluster.nodes))
    assert after != before


def test_killed_replica_fails_only_requests_in_flight(
    cluster: Cluster, url: str, some_photos: list[bytes], both: None
) -> None:
    (killed,) = cluster.nodes[1].replicas()
    with asking(url, some_photos, clients=CLIENTS) as asked:
        wait_for(lambda: len(asked.attempts) > 5 * CLIENTS, "some answers")
        os.kill(killed, signal.SIGKILL)
        killed_s = time.monotonic()
        wait_for(lambda: are_both_there(cluster, url), "both replicas")
    assert killed not in replicas(cluster)
    check_nothing_else_was_lost(asked.failed, killed_s)
    assert asked.unanswered() == set()


def boxes(answer: httpx.Response) -> NDArray[np.float64]:
    return np.array([item["box"] for item in answer.json()["detections"]], np.float64).reshape(-1, 4)


def test_rollout_drops_no_request(
    cluster: Cluster, url: str, config: Any, some_photos: list[bytes], both: None
) -> None:
    whole = [boxes(httpx.post(f"{url}/detect", content=photo, timeout=60)) for photo in some_photos]
    newer = copy.deepcopy(config)
    newer["applications"][0]["args"]["model"] = "dice@2"
    with asking(url, some_photos, clients=CLIENTS, pause_s=0.3) as asked:  # the deploy command needs CPU time too
        cluster.deploy(newer)
        wait_for(lambda: served(url) == ["2", "2"], "the newer version")
        last = len(asked.attempts)
        wait_for(lambda: len(asked.attempts) > last + 2 * CLIENTS, "answers of the newer version")
    assert asked.failed == []
    answers = [(attempt.photo, attempt.answer) for attempt in asked.attempts if attempt.answer is not None]
    by_version: dict[str, int] = {}
    for photo, answer in answers:
        version = answer.json()["model"]["version"]
        by_version[version] = by_version.get(version, 0) + 1
        share = variants.SHRUNK if version == "2" else 1.0
        np.testing.assert_allclose(boxes(answer), whole[photo] * share, rtol=0, atol=0.1)
    assert by_version.keys() == {"1", "2"}


@pytest.mark.long
def test_failed_rollout_keeps_serving(
    cluster: Cluster, url: str, config: Any, some_photos: list[bytes], both: None
) -> None:
    wrong = copy.deepcopy(config)
    wrong["applications"][0]["args"]["model"] = "dice@9"
    with asking(url, some_photos, clients=CLIENTS, pause_s=0.3) as asked:
        cluster.deploy(wrong)
        wait_for(lambda: re.search("RuntimeError: no release 'dice@9' in", cluster.logs()), "the reason")
        cluster.deploy(config)
        wait_for(lambda: served(url) == ["1", "1"], "the version from before")
    assert asked.failed == []


@pytest.mark.long
def test_killed_node_fails_only_requests_in_flight(
    cluster: Cluster, url: str, some_photos: list[bytes], both: None
) -> None:
    node: Node = cluster.nodes[-1]
    with asking(url, some_photos, clients=CLIENTS) as asked:
        wait_for(lambda: len(asked.attempts) > 5 * CLIENTS, "some answers")
        began_s = time.monotonic()
        node.kill()
        killed_s = time.monotonic()
        wait_for(
            lambda: len([item for item in asked.attempts if item.began_s > killed_s and item.succeeded]) > 5 * CLIENTS,
            "answers of the node that is left",
        )
        cluster.add(cpus=1)
        wait_for(lambda: are_both_there(cluster, url), "both replicas")
    assert killed_s - began_s < 2
    check_nothing_else_was_lost(asked.failed, killed_s)
    assert asked.unanswered() == set()
    assert len(cluster.nodes[-1].replicas()) == 1
