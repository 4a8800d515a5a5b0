"""Size and start time of the slim image: `python -m benchmarks.slim`, after `docker compose build detect-slim`.

The first start has an empty cache. Later starts reuse the models that the first one compiled, as with Compose's volume.
"""

import argparse
import subprocess
import time
import uuid

from benchmarks.servers import ROOT, free_port, is_ready
from benchmarks.serving import spread

_GIVE_UP_S = 120.0


def docker(*arguments: str) -> str:
    """Run a docker command and return its output."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603, S607


def start_s(image: str, volume: str) -> float:
    """Start the service from an image, as Compose does, and return the seconds until it reports that it is ready."""
    port = free_port()
    releases = f"{ROOT}/model_store/releases:/srv/rendersight/model_store/releases:ro"
    options = ("--read-only", "--tmpfs", "/tmp", "-v", releases, "-v", f"{volume}:/cache")  # noqa: S108
    environment = ("-e", "RENDERSIGHT_CACHE_DIR=/cache", "-p", f"127.0.0.1:{port}:8000")
    began = time.perf_counter()
    container = docker("run", "--detach", "--rm", *options, *environment, image)
    try:
        while not is_ready(port):
            if time.perf_counter() - began > _GIVE_UP_S:
                raise RuntimeError(f"{image} is not ready after {_GIVE_UP_S:g} s")
            time.sleep(0.02)
        return time.perf_counter() - began
    finally:
        docker("stop", "--time", "30", container)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slim", description=__doc__)
    parser.add_argument("--image", default="rendersight-slim")
    parser.add_argument("--starts", type=int, default=5)
    options = parser.parse_args()
    size = int(docker("image", "inspect", "--format", "{{.Size}}", options.image))
    volume = f"rendersight-benchmark-{uuid.uuid4().hex[:8]}"
    try:
        starts = [start_s(options.image, volume) for _ in range(options.starts)]
    finally:
        docker("volume", "rm", "--force", volume)
    print(f"{options.image}: {size / 1e6:.0f} MB, ready after {starts[0]:.2f} s; later {spread(starts[1:], 's')}")


if __name__ == "__main__":
    main()
