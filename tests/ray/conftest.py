"""Fixtures: clusters of two nodes on this machine, one of them with the service."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import variants
from benchmarks.cluster import Cluster, config_of_repository
from benchmarks.serving import photos
from model_store import store

MOST_REPLICAS = 2


@pytest.fixture(scope="session")
def some_photos() -> list[bytes]:
    return photos()[:3]


@pytest.fixture(scope="module")
def machines() -> Iterator[Cluster]:
    """Return two machines of one core each, which a job joins; a test that kills one is the last of its module."""
    with Cluster() as cluster:
        cluster.add(cpus=1)
        cluster.add(cpus=1)
        yield cluster


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with two versions of `dice`; the second reports each box a little smaller."""
    root = tmp_path_factory.mktemp("releases")
    source = store.find(store.DEFAULT_ROOT, "dice")
    for _ in range(2):
        variants.publish(source, root)
    return root


@pytest.fixture(scope="session")
def config(versions: Path) -> Any:
    """Return the repository's configuration for two nodes with one core each, and a second application with a fake."""
    config = config_of_repository()
    (real,) = config["applications"]
    real["args"] = {"model": "dice@1", "model_store": str(versions)}
    (detect,) = real["deployments"]
    detect["ray_actor_options"] = {"num_cpus": 1}
    detect["autoscaling_config"] |= {
        "min_replicas": 1,
        "max_replicas": MOST_REPLICAS,
        "target_ongoing_requests": 2,
        "upscale_delay_s": 1,
        "look_back_period_s": 2,
        "metrics_interval_s": 0.5,
        "downscale_delay_s": 3600,
    }
    fake = {
        "name": "fake",
        "route_prefix": "/fake",
        "import_path": "tests.ray.fake:build",
        "args": {"queue_size": 1, "watchdog_s": 2, "watchdog_exit_s": 1, "reload_interval_s": 0},
        "deployments": [{"name": "Detect", "ray_actor_options": {"num_cpus": 0}, "num_replicas": 1}],
    }
    return {**config, "applications": [real, fake]}


@pytest.fixture(scope="session")
def cluster(config: Any) -> Iterator[Cluster]:
    with Cluster() as cluster:
        cluster.add(cpus=1)
        cluster.add(cpus=1)
        cluster.deploy(config)
        yield cluster


@pytest.fixture
def url(cluster: Cluster) -> str:
    return f"http://127.0.0.1:{cluster.head.http_port}"
