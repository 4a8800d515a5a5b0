"""Throughput, latency and memory of this service and the naive one: `python -m benchmarks.serving`.

Both serve the same release with the same uvicorn and receive the same photos, in alternating rounds. The table has the
median and range over the rounds, of each figure and of its ratio to the naive service in the same round.
"""

import argparse
import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from PIL import Image

from benchmarks.load import Load, paced, saturate
from benchmarks.servers import Server, naive, service

PHOTOS = Path(__file__).parent.parent / "examples"
SIDE_PX = 640
_SHARE = 0.8
"""Fraction of the saturated rate that is the load of a well-sized service."""


def photos() -> list[bytes]:
    """Return the example pictures as JPEGs of 640 x 640 px."""
    found = []
    for path in sorted(PHOTOS.glob("*.jpg")):
        file = io.BytesIO()
        Image.open(path).convert("RGB").resize((SIDE_PX, SIDE_PX)).save(file, "JPEG", quality=90)
        found.append(file.getvalue())
    return found


Start = Callable[[], AbstractContextManager[Server]]


def measure(start: Start, *, concurrency: int, seconds: float, brief: bool = False) -> dict[str, float]:
    """Start a service, warm it up, load it, and return label -> figure.

    Args:
        start: starts the service.
        concurrency: open requests at any time.
        seconds: approximate duration of each load, which has at least twice `concurrency` requests.
        brief: only saturate the service, without the other loads.
    """
    pictures = photos()
    with start() as server:
        warm = saturate(server.port, pictures, concurrency=concurrency, count=concurrency)
        count = max(2 * concurrency, round(warm.rate * seconds))
        before = server.cpu_s()
        busy = saturate(server.port, pictures, concurrency=concurrency, count=count)
        figures = {
            "requests per second": busy.rate,
            "p50 busy, ms": 1000 * busy.percentile(0.5),
            "p99 busy, ms": 1000 * busy.percentile(0.99),
            "CPU per request, ms": 1000 * (server.cpu_s() - before) / count,
        }
        loads = [busy]
        if not brief:
            alone = saturate(server.port, pictures, concurrency=1, count=max(5, round(count / 4)))
            even, poisson = (
                paced(server.port, pictures, rate=_SHARE * busy.rate, count=count, seed=seed) for seed in (None, 0)
            )
            figures |= {
                "latency alone, ms": 1000 * alone.percentile(0.5),
                "p99/p50, 80 % evenly": _tail(even),
                "p99/p50, 80 % Poisson": _tail(poisson),
            }
            loads += [alone, even, poisson]
        if failures := sum(load.failures for load in loads):
            raise RuntimeError(f"{failures} requests failed")
        return {**figures, "memory, MB": server.resident_mb(), "start, s": server.start_s}


def compare(starts: Mapping[str, Start], *, rounds: int, concurrency: int, seconds: float, brief: bool = False) -> None:
    """Measure services alternately and print their figures with the ratios to the first service."""
    rows: dict[str, dict[str, list[float]]] = {name: {} for name in starts}
    for _ in range(rounds):
        for name, start in starts.items():
            for label, value in measure(start, concurrency=concurrency, seconds=seconds, brief=brief).items():
                rows[name].setdefault(label, []).append(value)
    first = next(iter(rows.values()))
    for label, theirs in first.items():
        for name, row in rows.items():
            ratios = [b / a for a, b in zip(theirs, row[label], strict=True)]
            print(f"{label:<22} {name:<20} {spread(row[label], '')} ratio {spread(ratios, '')}", flush=True)


def _tail(load: Load) -> float:
    return load.percentile(0.99) / load.percentile(0.5)


def spread(values: Sequence[float], unit: str) -> str:
    """Return the median and the range as text."""
    return f"{statistics.median(values):8.3g} {unit:<5} ({min(values):.3g} to {max(values):.3g})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--model", default="dice")
    parser.add_argument("--engine", nargs="+", default=["auto"], help="engines to compare (default: auto)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--brief", action="store_true", help="only measure requests per second")
    options = parser.parse_args()
    print(f"{options.model}, {options.concurrency} at a time, {options.rounds} rounds")
    engines = {engine: partial(service, options.model, {"RENDERSIGHT_ENGINE": engine}) for engine in options.engine}
    compare(
        {"naive": partial(naive, options.model), **engines},
        rounds=options.rounds,
        concurrency=options.concurrency,
        seconds=options.seconds,
        brief=options.brief,
    )


if __name__ == "__main__":
    main()
