"""Throughput and latency of this service and other servers: `python -m benchmarks.compare`, after `make bench-env`.

The first table has the same eager network behind each server; our service appears with its fast engine and with the
eager network. The second table replaces the network by a stand-in, which shows the cost of the servers themselves.
"""

import argparse
from functools import partial

from benchmarks.frameworks.network import CONSTANT
from benchmarks.servers import ROOT, constant, framework, naive, service
from benchmarks.serving import Start, compare

BINARIES = ROOT / ".venv-bench" / "bin"
COMMANDS = {
    "LitServe": "python -m benchmarks.frameworks.lit",
    "BentoML": "bentoml serve benchmarks.frameworks.bento:Detect --host 127.0.0.1 --port {port}",
    "Ray Serve": "python -m benchmarks.frameworks.rayserve",
}


def _others(model: str) -> dict[str, Start]:
    return {name: partial(framework, command, model, BINARIES) for name, command in COMMANDS.items()}


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--model", default="dice")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()
    if not BINARIES.is_dir():
        parser.error(f"{BINARIES} is missing; make bench-env makes it")
    tell = partial(compare, rounds=options.rounds, seconds=options.seconds, brief=True)
    print(f"{options.model}, 8 at a time")
    eager: dict[str, Start] = {"plain FastAPI": partial(naive, options.model), **_others(options.model)}
    ours: dict[str, Start] = {
        "ours, torch-fp32": partial(service, options.model, {"RENDERSIGHT_ENGINE": "torch-fp32"}),
        "ours": partial(service, options.model),
    }
    tell({**eager, **ours}, concurrency=8)
    print("a network that costs nothing, 16 at a time")
    tell({"plain FastAPI": partial(naive, CONSTANT), **_others(CONSTANT), "ours": constant}, concurrency=16)


if __name__ == "__main__":
    main()
