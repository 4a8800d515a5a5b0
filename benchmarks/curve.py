"""Throughput and latency against concurrency, of this service and the naive one: `python -m benchmarks.curve`."""

import argparse
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter

from benchmarks.load import Load, saturate
from benchmarks.servers import ROOT, naive, service
from benchmarks.serving import Start, photos

CONCURRENCIES = (1, 2, 4, 8, 16)
OUT = ROOT / "docs" / "images" / "throughput.png"


def measure(start: Start, *, seconds: float) -> list[Load]:
    """Return the results of loading a service at each of the `CONCURRENCIES`."""
    pictures = photos()
    with start() as server:
        warm = saturate(server.port, pictures, concurrency=2, count=6)
        return [
            saturate(server.port, pictures, concurrency=many, count=max(3 * many, round(warm.rate * seconds)))
            for many in CONCURRENCIES
        ]


def draw(loads: dict[str, list[Load]], out: Path) -> None:
    """Draw throughput and median latency side by side, on logarithmic axes."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for name, measured in loads.items():
        left.plot(CONCURRENCIES, [load.rate for load in measured], marker="o", label=name)
        right.plot(CONCURRENCIES, [1000 * load.percentile(0.5) for load in measured], marker="o", label=name)
    for axes, label in ((left, "requests per second"), (right, "median latency, ms")):
        axes.set(xlabel="requests at a time", ylabel=label, xscale="log", yscale="log")
        axes.set_xticks(CONCURRENCIES, [str(many) for many in CONCURRENCIES])
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(visible=True, which="both", alpha=0.3)
    left.legend()
    figure.savefig(out, dpi=110)


def main() -> None:
    """Print the figures and draw them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curve", description=__doc__)
    parser.add_argument("--model", default="dice")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--out", type=Path, default=OUT, help=f"default: {OUT.relative_to(ROOT)}")
    options = parser.parse_args()
    starts: dict[str, Start] = {
        "Rendersight": partial(service, options.model),
        "the notebook's loop behind FastAPI": partial(naive, options.model),
    }
    loads = {name: measure(start, seconds=options.seconds) for name, start in starts.items()}
    for name, measured in loads.items():
        for many, load in zip(CONCURRENCIES, measured, strict=True):
            print(f"{name:<36} {many:>2} at a time {load.rate:7.2f}/s, median {1000 * load.percentile(0.5):7.1f} ms")
    draw(loads, options.out)


if __name__ == "__main__":
    main()
