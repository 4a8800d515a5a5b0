"""Leaks and wrong answers under a long mixed load: `make soak`, or `python -m benchmarks.soak --minutes 30`.

It sends good, broken, slow, cancelled and oversized requests at one and a half times the service's capacity, while
newer releases take over and bad ones are refused. All of it runs on this machine's loopback. The exit status is 1 after
a 5xx other than 503 or 504, a broken connection or another wrong status, or if memory, descriptors or threads grow.
"""

import argparse
import asyncio
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import variants
from benchmarks.load import capacity
from benchmarks.mixture import MAX_BYTES, UPLOAD_TIMEOUT_S, Ask, kinds, send
from benchmarks.servers import Server, service
from benchmarks.serving import photos
from model_store import store

MAX_GROWTH = 0.03
"""Largest accepted growth of memory, as a fraction, from a tenth of the time to the end."""

_TIMES = 1.5
_REQUEST_TIMEOUT_S = 5.0
_SWAP_S = 12.0
_QUIET_S = 15.0
"""Pause after the last request and the last release, in which a pending load and the old model's unloading finish."""

_SEED = 0


class Soak:
    """One run: the requests sent and their results."""

    def __init__(self, server: Server, capacity: float, pictures: Sequence[bytes]) -> None:
        self._server = server
        self._rate = _TIMES * capacity
        self._kinds = kinds(pictures)
        self._chance = random.Random(_SEED)  # noqa: S311
        self._open: set[asyncio.Task[None]] = set()
        self.outcomes: dict[str, Counter[int]] = defaultdict(Counter)
        self.accepted_s: list[float] = []

    async def load(self, seconds: float) -> None:
        """Send requests at their due times for `seconds`, and wait for their answers."""
        names = list(self._kinds)
        shares = [self._kinds[name].share for name in names]
        due = time.perf_counter()
        until = due + seconds
        while due < until:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            (name,) = self._chance.choices(names, shares)
            task = asyncio.create_task(self._send(name, self._kinds[name].make(self._chance)))
            self._open.add(task)
            task.add_done_callback(self._open.discard)
            due += self._chance.expovariate(self._rate)
        await asyncio.gather(*self._open)

    async def _send(self, name: str, ask: Ask) -> None:
        began = time.perf_counter()
        status = await send(self._server.port, ask)
        self.outcomes[name][status] += 1
        if name == "good" and status == 200:  # noqa: PLR2004
            self.accepted_s.append(time.perf_counter() - began)

    def faults(self) -> list[str]:
        """Return a line for each wrong result."""
        return [
            f"{count} {name} requests were answered with {status or 'nothing'}"
            for name, counts in self.outcomes.items()
            for status, count in counts.items()
            if status not in (*self._kinds[name].accepted, 503, 504)
        ]


@dataclass(frozen=True)
class Resources:
    """Resources held by the service's process."""

    resident_mb: float
    descriptors: int
    threads: int

    @classmethod
    async def of(cls, server: Server) -> "Resources":
        """Return the resources after a pause without requests."""
        await asyncio.sleep(_QUIET_S)
        process = Path(f"/proc/{server.pid}")
        descriptors, threads = (len(list((process / name).iterdir())) for name in ("fd", "task"))
        return cls(server.resident_mb(), descriptors, threads)


async def swap(source: store.Release, root: Path) -> None:
    """Publish one release after another, every third one bad, until cancelled; keep only the last few."""
    for number in range(1, 1_000_000):
        await asyncio.sleep(_SWAP_S)
        release = await asyncio.to_thread(variants.publish, source, root)
        if number % 3 == 0:
            weights = release.folder / store.WEIGHTS
            weights.write_bytes(weights.read_bytes()[:1000])
        for version in store.versions(root, source.manifest.name)[:-4]:
            shutil.rmtree(root / source.manifest.name / str(version))


async def _part(run: Soak, seconds: float, swapping: Coroutine[Any, Any, None], server: Server) -> Resources:
    """Load the service for `seconds` while releases take over, and return its resources afterwards."""
    swaps = asyncio.create_task(swapping)
    await run.load(seconds)
    swaps.cancel()
    return await Resources.of(server)


async def soak(
    server: Server, pictures: Sequence[bytes], seconds: float, swapping: Callable[[], Coroutine[Any, Any, None]]
) -> list[str]:
    """Run the load, print the table and return the faults."""
    rate = await asyncio.to_thread(capacity, server.port, pictures)
    print(f"capacity {rate:.1f}/s, asked {_TIMES * rate:.1f}/s for {seconds:.0f} s", flush=True)
    run = Soak(server, rate, pictures)
    early = await _part(run, seconds / 10, swapping(), server)
    late = await _part(run, seconds * 9 / 10, swapping(), server)
    for name, counts in run.outcomes.items():
        told = ", ".join(f"{status or 'none'}: {count}" for status, count in sorted(counts.items()))
        print(f"{name:<10} {sum(counts.values()):>7}  {told}")
    ordered = sorted(run.accepted_s)
    print(f"good and accepted: p50 {statistics.median(ordered):.3f} s, p99 {ordered[int(0.99 * len(ordered))]:.3f} s")
    growth = late.resident_mb / early.resident_mb - 1
    print(
        f"memory after a tenth {early.resident_mb:.0f} MB, at the end {late.resident_mb:.0f} MB ({100 * growth:+.1f} %)"
    )
    print(f"descriptors {early.descriptors} -> {late.descriptors}, threads {early.threads} -> {late.threads}")
    faults = run.faults()
    if growth > MAX_GROWTH:
        faults.append(f"memory grew by {100 * growth:.1f} %, the limit is {100 * MAX_GROWTH:g} %")
    if late.descriptors > early.descriptors:
        faults.append(f"descriptors grew from {early.descriptors} to {late.descriptors}")
    if late.threads > early.threads:
        faults.append(f"threads grew from {early.threads} to {late.threads}")
    return faults


def main() -> int:
    """Print the table and return the exit status: 1 if there was a fault."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--model", default="dice", help="a release with an int8 engine")
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    source = store.find(store.DEFAULT_ROOT, options.model)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        variants.publish(source, root)
        settings = {
            "MODEL_STORE": scratch,
            "RELOAD_INTERVAL_S": "1",
            "MAX_BYTES": str(MAX_BYTES),
            "UPLOAD_TIMEOUT_S": str(UPLOAD_TIMEOUT_S),
            "REQUEST_TIMEOUT_S": str(_REQUEST_TIMEOUT_S),
        }
        with service(options.model, {f"RENDERSIGHT_{name}": value for name, value in settings.items()}) as server:
            faults = asyncio.run(soak(server, photos(), 60 * options.minutes, lambda: swap(source, root)))
            print(_reloads(server.port))
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


def _reloads(port: int) -> str:
    """Return the number of reloads by outcome, as text."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found = [line for line in text.splitlines() if line.startswith("detect_reloads_total{")]
    return "reloads: " + json.dumps({line.split('"')[1]: int(float(line.split()[-1])) for line in found})


if __name__ == "__main__":
    sys.exit(main())
