"""Seconds per rendered photo: `python -m benchmarks.render_speed dice`.

It renders seeds that no dataset uses into a temporary folder, as `python -m training render` does. It prints the mean
seconds per photo, from the first photo to the last. It also prints the median of that over all windows of as many
photos as there are processes, because processes finish together or apart by chance.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from training.commands.render_flags import add_sources, recipe_of, workers_of
from training.synthetic.dataset import render_dataset
from training.synthetic.renderer import check_python

FIRST_SEED = 10_000_000


def main() -> None:
    """Render the photos and print the seconds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.render_speed", description=__doc__)
    add_sources(parser)
    parser.add_argument("--count", type=int, default=40, help="photos to render (default: 40)")
    options = parser.parse_args()
    if options.count <= options.workers:
        parser.error(f"--count {options.count} is not above --workers {options.workers}")
    check_python(options.blender)
    finished: list[float] = []

    def watch(items: Iterable[Any], **_: Any) -> Iterator[Any]:
        for item in items:
            finished.append(time.monotonic())
            yield item

    workers = workers_of(options)
    with tempfile.TemporaryDirectory() as folder:
        render_dataset(
            recipe_of(options.what, options.label),
            range(FIRST_SEED, FIRST_SEED + options.count),
            Path(folder),
            workers=workers,
            progress=watch,
            stop_asked=lambda: False,
        )
    mean = (finished[-1] - finished[0]) / (len(finished) - 1)
    step = workers.count
    windows = [(end - start) / step for start, end in zip(finished, finished[step:], strict=False)]
    print(f"{len(finished)} photos, {workers.count} processes of {workers.threads} threads")
    print(f"{mean:.2f} s each on average, {statistics.median(windows):.2f} s median")


if __name__ == "__main__":
    main()
