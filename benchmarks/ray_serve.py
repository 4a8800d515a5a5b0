"""Throughput and latency on Ray Serve and on uvicorn: `python -m benchmarks.ray_serve`, after `make ray-env`.

The first table has the embedded release, with one replica and with two, each with its own cores. The second table has a
network that costs nothing, which shows the cost of Serve's proxy and its path to the replica. On two cores, the load
generator, the proxy and the replicas share the cores.
"""

import argparse
import http.client
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from benchmarks.cluster import BINARIES, Cluster, config_of_repository, wait_for
from benchmarks.constant import CARD, ConstantEngine
from benchmarks.servers import Server, constant, is_ready, service
from benchmarks.serving import Start, compare
from model_store.detector import Detector


@contextmanager
def on_ray(*, replicas: int, cores: int, args: Mapping[str, Any], builder: str | None = None) -> Iterator[Server]:
    """Run the service on a cluster of one node.

    Args:
        replicas: exact number of replicas.
        cores: cores, and so streams, of each replica.
        args: setting name -> value.
        builder: function that builds the application; None is the repository's own.
    """
    began = time.perf_counter()
    config = config_of_repository()
    (application,) = config["applications"]
    (deployment,) = application["deployments"]
    application |= {"args": dict(args), "import_path": builder or application["import_path"]}
    deployment["ray_actor_options"] = {"num_cpus": cores}
    deployment["autoscaling_config"] |= {"min_replicas": replicas, "max_replicas": replicas}
    with Cluster() as cluster:
        head = cluster.add(cpus=replicas * cores)
        cluster.deploy(config)
        wait_for(lambda: len(_ready(head.http_port)) == replicas, f"{replicas} replicas")
        yield Server(head.http_port, head.pid, time.perf_counter() - began)


def build(given: Mapping[str, Any]) -> Any:
    """Return the application with a network that costs nothing; runs in Ray's environment."""
    from deploy.ray.service import application  # noqa: PLC0415 - the benchmark's own environment has no Ray

    return application(given, open_detector=_constant)


def _constant(*_args: object, **_options: object) -> Detector:
    return Detector(CARD, ConstantEngine())


def _ready(port: int) -> set[str]:
    """Return the names of the replicas that are serving."""
    if not is_ready(port):
        return set()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return set(re.findall(r'^detect_images_total\{replica="(\w+)"\}', text, flags=re.MULTILINE))


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray_serve", description=__doc__)
    parser.add_argument("--model", default="dice")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()
    if not BINARIES.is_dir():
        parser.error(f"{BINARIES} is missing; make ray-env makes it")
    args = {"model": options.model}
    real: dict[str, Start] = {
        "uvicorn, 2 streams": partial(service, options.model, {"RENDERSIGHT_STREAMS": "2"}),
        "Serve, 1 x 1 core": partial(on_ray, replicas=1, cores=1, args=args),
        "Serve, 2 x 1 core": partial(on_ray, replicas=2, cores=1, args=args),
        "Serve, 1 x 2 cores": partial(on_ray, replicas=1, cores=2, args=args),
    }
    print(f"{options.model}, 8 at a time, {options.rounds} rounds")
    compare(real, rounds=options.rounds, concurrency=8, seconds=options.seconds, brief=True)
    builder = f"benchmarks.ray_serve:{build.__name__}"
    bare: dict[str, Start] = {
        "uvicorn": constant,
        "Serve, 1 replica": partial(on_ray, replicas=1, cores=1, args={}, builder=builder),
    }
    print(f"a network that costs nothing, 16 at a time, {options.rounds} rounds")
    compare(bare, rounds=options.rounds, concurrency=16, seconds=options.seconds)


if __name__ == "__main__":
    main()
