"""Seconds from start to ready, with an empty cache and with a filled one: `python -m benchmarks.start`.

`--image rendersight-slim`, after `docker compose build detect-slim`, starts an image as Compose does instead of
`python -m app`, and also prints its size.
"""

import argparse
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable

from benchmarks.servers import ROOT, free_port, service, wait_until_ready
from benchmarks.serving import spread


def docker(*arguments: str) -> str:
    """Run a docker command and return its output."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603, S607


def app_s(model: str, cache: str) -> float:
    """Start `python -m app` and return the seconds until it is ready."""
    with service(model, {"RENDERSIGHT_CACHE_DIR": cache}) as server:
        return server.start_s


def image_s(image: str, volume: str) -> float:
    """Start the service from an image and return the seconds until it is ready."""
    port = free_port()
    releases = f"{ROOT}/model_store/releases:/srv/rendersight/model_store/releases:ro"
    options = ("--read-only", "--tmpfs", "/tmp", "-v", releases, "-v", f"{volume}:/cache")  # noqa: S108
    environment = ("-e", "RENDERSIGHT_CACHE_DIR=/cache", "-p", f"127.0.0.1:{port}:8000")
    began_s = time.perf_counter()
    container = docker("run", "--detach", "--rm", *options, *environment, image)
    try:
        wait_until_ready(port)
        return time.perf_counter() - began_s
    finally:
        docker("stop", "--time", "30", container)


def tell(name: str, start_s: Callable[[], float], *, starts: int) -> None:
    """Print the seconds of the first start and of the later ones."""
    seconds = [start_s() for _ in range(starts)]
    print(f"{name}: ready after {seconds[0]:.2f} s; later {spread(seconds[1:], 's')}")


def main() -> None:
    """Print the seconds of the starts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--model", nargs="+", default=["dice"], help="releases, or files of bare state dicts")
    parser.add_argument("--image", help="name of an image to start instead")
    parser.add_argument("--starts", type=int, default=4, help="number of starts (default: %(default)s)")
    options = parser.parse_args()
    if options.image:
        size = int(docker("image", "inspect", "--format", "{{.Size}}", options.image))
        volume = f"rendersight-benchmark-{uuid.uuid4().hex[:8]}"
        try:
            name = f"{options.image}, {size / 1e6:.0f} MB"
            tell(name, lambda: image_s(options.image, volume), starts=options.starts)
        finally:
            docker("volume", "rm", "--force", volume)
        return
    for model in options.model:
        with tempfile.TemporaryDirectory() as cache:
            tell(model, lambda: app_s(model, cache), starts=options.starts)  # noqa: B023 - called at once


if __name__ == "__main__":
    main()
