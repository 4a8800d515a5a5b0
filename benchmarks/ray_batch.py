"""Photos per second of the batch job and of its engine alone: `python -m benchmarks.ray_batch`, after `make ray-env`.

It alternates between the cases, on the same JPEGs of 640 x 640 px and all cores:

- the engine alone: one thread per stream passes decoded photos to it, over and over;
- decoding and the engine without Ray: the threads of an actor of the job, from reading a file to its boxes;
- the job from its first file of predictions to its last: the sustained rate without the start, but with Ray, its actor,
  Parquet and this machine's disk.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.cluster import BINARIES
from benchmarks.load import throughput
from benchmarks.servers import ROOT
from benchmarks.serving import photos
from model_store import store
from model_store.detector import Detector, open_detector
from rendersight import images

ENGINE = "engine alone"
DECODING = "decoding and engine, without Ray"
JOB = "the job"

_AHEAD = 4


def copies(folder: Path, count: int) -> None:
    """Write `count` JPEGs."""
    encoded = photos()
    for number in range(count):
        (folder / f"{number:06}.jpg").write_bytes(encoded[number % len(encoded)])


def job(model: str, folder: Path) -> tuple[float, float]:
    """Run the job and return its images per second: between its first and its last file, and overall."""
    count = len(list(folder.iterdir()))
    with tempfile.TemporaryDirectory() as out:
        began_s = time.time()
        _run("-m", "deploy.ray.batch", "--address", "local", "--model", model, folder, out)
        took_s = time.time() - began_s
        written_s = sorted(path.stat().st_mtime for path in Path(out).glob("*.parquet"))
    images_each = count / len(written_s)
    return images_each * (len(written_s) - 1) / (written_s[-1] - written_s[0]), count / took_s


def without_ray(model: str, folder: Path, *, seconds: float) -> dict[str, float]:
    """Measure the two cases without the job in one process of Ray's environment: name -> images per second."""
    done = _run("-m", "benchmarks.ray_batch", "--model", model, "--seconds", f"{seconds:g}", "--without-ray", folder)
    found: dict[str, float] = json.loads(done)
    return found


def _run(*words: object) -> str:
    command = [str(BINARIES / "python"), *map(str, words)]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603


def _measure(model: str, folder: Path, *, seconds: float) -> None:
    detector = open_detector(model, store_root=store.DEFAULT_ROOT, device="cpu")
    paths = sorted(folder.iterdir())
    some = [_decoded(detector, path) for path in paths[: len(photos())]]
    streams = detector.engine.parallel
    alone = throughput(detector.detect_photo, some, threads=streams, seconds=seconds)
    both = throughput(
        lambda path: detector.detect_photo(_decoded(detector, path)), paths, threads=streams + _AHEAD, seconds=seconds
    )
    print(json.dumps({ENGINE: alone, DECODING: both}))


def _decoded(detector: Detector, path: Path) -> images.Photo:
    return images.decode_photo(path.read_bytes(), need=detector.info.input.resized_hw)


def main() -> None:
    """Print the rates and their ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray_batch", description=__doc__)
    parser.add_argument("--model", default="dice")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--images", type=int, default=800, help="photos of the job (default: %(default)s)")
    parser.add_argument("--without-ray", type=Path, help=argparse.SUPPRESS)  # the benchmark starts itself with it
    options = parser.parse_args()
    if options.without_ray is not None:
        _measure(options.model, options.without_ray, seconds=options.seconds)
        return
    if not BINARIES.is_dir():
        parser.error(f"{BINARIES} is missing; make ray-env makes it")
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        copies(Path(folder), options.images)
        for _ in range(options.rounds):
            rates = without_ray(options.model, Path(folder), seconds=options.seconds)
            steady, whole = job(options.model, Path(folder))
            rounds.append({**rates, JOB: steady, "with its start": whole})
    print(f"{options.model}, {options.images} images, {options.rounds} rounds; a second, and of the engine alone")
    for name in rounds[0]:
        ratios = [measured[name] / measured[ENGINE] for measured in rounds]
        rate = statistics.median(measured[name] for measured in rounds)
        print(f"{name:<34}{rate:7.1f}  {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
