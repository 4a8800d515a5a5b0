"""This service against the naive one over HTTP: `python -m benchmarks.serving`. Run it with nothing else running.

Both serve the same release with the same uvicorn and get the same photos, in turns: the naive service, ours, and again.
Printed are medians over the rounds with their range, and the ratio of each round.
"""

import argparse
import io
import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from PIL import Image

from benchmarks.load import Load, paced, saturate
from benchmarks.servers import Server, naive, service

PHOTOS = Path(__file__).parent.parent / "examples"
SIDE_PX = 640
_SHARE = 0.8
"""Of the saturated rate: what a service that is dimensioned well is busy with."""


def photos() -> list[bytes]:
    """Return the example photos as JPEGs of 640 x 640 px."""
    found = []
    for path in sorted(PHOTOS.glob("*.jpg")):
        file = io.BytesIO()
        Image.open(path).convert("RGB").resize((SIDE_PX, SIDE_PX)).save(file, "JPEG", quality=90)
        found.append(file.getvalue())
    return found


def measure(
    start: Callable[[], AbstractContextManager[Server]], *, concurrency: int, seconds: float
) -> dict[str, float]:
    """Start a service, warm it up, and load it for about so many seconds each: label -> figure."""
    pictures = photos()
    with start() as server:
        warm = saturate(server.port, pictures, concurrency=concurrency, count=2 * concurrency)
        count = max(3 * concurrency, round(warm.rate * seconds))
        before = server.cpu_s()
        busy = saturate(server.port, pictures, concurrency=concurrency, count=count)
        cpu = (server.cpu_s() - before) / count
        alone = saturate(server.port, pictures, concurrency=1, count=max(5, round(count / 4)))
        even, poisson = (
            paced(server.port, pictures, rate=_SHARE * busy.rate, count=count, seed=seed) for seed in (None, 0)
        )
        if failures := sum(load.failures for load in (busy, alone, even, poisson)):
            raise RuntimeError(f"{failures} requests failed")
        return {
            "requests per second": busy.rate,
            "latency alone, ms": 1000 * alone.percentile(0.5),
            "p50 busy, ms": 1000 * busy.percentile(0.5),
            "p99 busy, ms": 1000 * busy.percentile(0.99),
            "p99/p50, 80 % evenly": _tail(even),
            "p99/p50, 80 % Poisson": _tail(poisson),
            "CPU per request, ms": 1000 * cpu,
            "memory, MB": server.resident_mb(),
            "start, s": server.start_s,
        }


def _tail(load: Load) -> float:
    return load.percentile(0.99) / load.percentile(0.5)


def spread(values: Sequence[float], unit: str) -> str:
    """Return median and range as text."""
    return f"{statistics.median(values):8.3g} {unit:<5} ({min(values):.3g} to {max(values):.3g})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--model", default="dice")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--concurrency", type=int, default=8)
    options = parser.parse_args()
    starts: dict[str, Callable[[], AbstractContextManager[Server]]] = {
        "naive": lambda: naive(options.model),
        "ours": lambda: service(options.model, {"RENDERSIGHT_ENGINE": options.engine}),
    }
    rows: dict[str, dict[str, list[float]]] = {name: {} for name in starts}
    for _ in range(options.rounds):
        for name, start in starts.items():
            figures = measure(start, concurrency=options.concurrency, seconds=options.seconds)
            for label, value in figures.items():
                rows[name].setdefault(label, []).append(value)
    print(f"{options.model}, engine {options.engine}, {options.concurrency} at a time, {options.rounds} rounds")
    for label in rows["ours"]:
        theirs, mine = rows["naive"][label], rows["ours"][label]
        ratios = [b / a for a, b in zip(theirs, mine, strict=True)]
        print(f"{label:<22} naive {spread(theirs, '')} ours {spread(mine, '')} ratio {spread(ratios, '')}")


if __name__ == "__main__":
    main()
