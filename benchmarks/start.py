"""Time from `python -m app` to ready, with an empty cache and with a filled one: `python -m benchmarks.start`."""

import argparse
import tempfile

from benchmarks.servers import service
from benchmarks.serving import spread


def main() -> None:
    """Print the seconds of both starts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--model", nargs="+", default=["dice"], help="releases, or files of bare state dicts")
    parser.add_argument("--starts", type=int, default=4)
    options = parser.parse_args()
    for model in options.model:
        with tempfile.TemporaryDirectory() as cache:
            seconds = []
            for _ in range(options.starts):
                with service(model, {"RENDERSIGHT_CACHE_DIR": cache}) as server:
                    seconds.append(server.start_s)
        print(f"{model}: ready after {seconds[0]:.2f} s; later {spread(seconds[1:], 's')}")


if __name__ == "__main__":
    main()
