from prometheus_client.parser import text_string_to_metric_families

from app.observability.metrics import ServiceMetrics
from deploy.ray.metrics import merge_replicas
from model_store.detector import Detector
from tests.app.fakes import CARD, FixedEngine


def of_replica(requests: int) -> bytes:
    metrics = ServiceMetrics()
    metrics.serving(Detector(CARD, FixedEngine()))
    for _ in range(requests):
        metrics.asked("ok", None)
        metrics.answered("POST", "/detect", 200, 0.02)
    return metrics.text()


def test_labels_every_sample_with_its_replica() -> None:
    texts = {"a": of_replica(1), "b": of_replica(3)}
    merged = list(text_string_to_metric_families(merge_replicas(texts).decode()))
    for replica, text in texts.items():
        (single,) = ({item.name: item for item in text_string_to_metric_families(text.decode())},)
        assert [family.name for family in merged] == list(single)
        for family in merged:
            assert (family.type, family.documentation) == (single[family.name].type, single[family.name].documentation)
            own = [
                (item.name, {key: value for key, value in item.labels.items() if key != "replica"}, item.value)
                for item in family.samples
                if item.labels["replica"] == replica
            ]
            assert own == [(item.name, item.labels, item.value) for item in single[family.name].samples]


def test_keeps_counters_of_replicas_apart() -> None:
    text = merge_replicas({"a": of_replica(1), "b": of_replica(3)}).decode()
    lines = [line for line in text.splitlines() if line.startswith("detect_requests_total{")]
    assert sorted(lines) == [
        'detect_requests_total{model="fruit",outcome="ok",replica="a",version="3"} 1.0',
        'detect_requests_total{model="fruit",outcome="ok",replica="b",version="3"} 3.0',
    ]
    assert text.count("# TYPE detect_requests_total counter") == 1


def test_merges_no_replicas_to_nothing() -> None:
    assert merge_replicas({}) == b""
