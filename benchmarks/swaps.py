"""Latency and answers while newer releases take over: `python -m benchmarks.swaps`.

The same load runs twice: without a swap, then with a newer release every few seconds. Each release appears atomically,
as with `training publish`, and the service finds it by itself. Every second release reports slightly smaller boxes, so
each answer shows whether it comes from the version that it names.
"""

import argparse
import http.client
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import variants
from benchmarks.load import Load, capacity, paced, saturate
from benchmarks.servers import Server, service
from benchmarks.serving import photos
from model_store import store

_SHARE = 0.5
_TAKES_OVER_S = 60.0


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.swaps", description=__doc__)
    parser.add_argument("--model", default="dice", help="a release with an int8 engine")
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--every", type=float, default=8, help="seconds between two releases")
    options = parser.parse_args()
    source = store.find(store.DEFAULT_ROOT, options.model)
    pictures = photos()
    with tempfile.TemporaryDirectory() as scratch:
        root, staged = Path(scratch, "store"), Path(scratch, "staged")
        releases = [variants.publish(source, staged) for _ in range(options.swaps + 1)]  # work outside the service
        appear = partial(_appear, root / source.manifest.name)
        appear(releases.pop(0))
        settings = {"RENDERSIGHT_MODEL_STORE": str(root), "RENDERSIGHT_RELOAD_INTERVAL_S": "0.25"}
        with service(options.model, settings) as server:
            rate = _SHARE * capacity(server.port, pictures)
            count = round(rate * options.swaps * options.every)
            still = paced(server.port, pictures, rate=rate, count=count, seed=0)
            memory_mb: list[float] = []
            swapping = threading.Thread(
                target=_swap,
                args=(server, (partial(appear, release) for release in releases), options.every, memory_mb),
            )
            swapping.start()
            swapped = paced(server.port, pictures, rate=rate, count=count, seed=0)
            swapping.join()
            tail = saturate(server.port, pictures, concurrency=1, count=len(pictures))
    wrong = _untruthful(Load((*swapped.answers, *tail.answers), swapped.seconds), still)
    print(f"{rate:.1f} requests/s, half of what it can do, {count} each time, {len(memory_mb)} swaps")
    for name, load in (("without", still), ("with swaps", swapped)):
        percentiles = ", ".join(f"p{100 * p:g} {1000 * load.percentile(p):.0f} ms" for p in (0.5, 0.95, 0.99, 1))
        print(f"{name:<11} {load.by_status} {percentiles}")
    print(f"p99 with swaps / without: {swapped.percentile(0.99) / still.percentile(0.99):.2f}")
    print(f"answers by version: {_versions(swapped)}; untruthful: {wrong}")
    print(f"memory after the third {memory_mb[2]:.0f} MB, after the last {memory_mb[-1]:.0f} MB")
    print(f"ratio {memory_mb[-1] / memory_mb[2]:.3f}")


def _appear(folder: Path, release: store.Release) -> int:
    """Move a finished release into a store and return its version."""
    folder.mkdir(parents=True, exist_ok=True)
    release.folder.rename(folder / release.folder.name)
    return release.manifest.version


def _swap(server: Server, releases: Iterable[Callable[[], int]], every_s: float, memory_mb: list[float]) -> None:
    """Add one release after another, each once the previous one serves; append the memory after each, MB."""
    for appear in releases:
        began = time.monotonic()
        version = appear()
        while _served(server) != version:
            if time.monotonic() - began > _TAKES_OVER_S:
                raise RuntimeError(f"version {version} did not take over")
            time.sleep(0.05)
        time.sleep(max(0.0, every_s - (time.monotonic() - began)))
        memory_mb.append(server.resident_mb())


def _served(server: Server) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", "/models")
    version = json.loads(connection.getresponse().read())["models"][0]["version"]
    connection.close()
    return int(version)


def _untruthful(load: Load, still: Load) -> int:
    """Return the number of answers whose boxes are not those of the version they name.

    Args:
        load: answers while newer releases took over.
        still: answers of the first version.
    """
    expected = {answer.photo: _boxes(answer.body) for answer in still.answers if answer.status == http.client.OK}
    wrong = 0
    for answer in load.answers:
        if answer.status != http.client.OK:
            continue
        version = int(json.loads(answer.body)["model"]["version"])
        share = variants.SHRUNK if variants.is_shrunk(version) else 1.0
        found = _boxes(answer.body)
        whole = expected[answer.photo]
        wrong += found.shape != whole.shape or bool(np.abs(found - whole * share).max(initial=0) > 0.1)  # noqa: PLR2004
    return wrong


def _boxes(body: bytes) -> NDArray[np.float64]:
    return np.array([item["box"] for item in json.loads(body)["detections"]], np.float64).reshape(-1, 4)


def _versions(load: Load) -> dict[str, int]:
    answered = (json.loads(answer.body)["model"]["version"] for answer in load.answers if answer.status == 200)  # noqa: PLR2004
    return dict(sorted(Counter(answered).items(), key=lambda item: int(item[0])))


if __name__ == "__main__":
    main()
