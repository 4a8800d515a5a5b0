"""Merging of several replicas' metrics into one answer, because a scrape reaches only one replica."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

LABEL = "replica"


class _Collected(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def merge_replicas(texts: Mapping[str, bytes]) -> bytes:
    """Merge the metrics of several replicas. Each sample gets the label `replica`.

    Args:
        texts: replica name -> its metrics in Prometheus' text format.

    Returns:
        All samples in the same format, each family once.
    """
    families: dict[str, Metric] = {}
    for replica, text in texts.items():
        for family in text_string_to_metric_families(text.decode()):
            into = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            into.samples += [item._replace(labels={**item.labels, LABEL: replica}) for item in family.samples]
    registry = CollectorRegistry()
    registry.register(_Collected(families.values()))
    return generate_latest(registry)
