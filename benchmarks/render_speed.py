"""Seconds for each rendered photo, all in: `python -m benchmarks.render_speed dice`; nothing else may run.

It renders from seeds that no dataset uses, as `python -m training render` does, into a temporary folder, and
prints the time from the first photo to the last by their number, and the median, over all photos, of that over a
window of as many photos as there are processes (they finish together or not at all, by chance).
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from training.commands.render_flags import add_sources, draw_of, workers_of
from training.synthetic.dataset import render_dataset
from training.synthetic.renderer import check_python

FIRST_SEED = 10_000_000


def main() -> None:
    """Render and print."""
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
            draw_of(options.what, options.label),
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
