"""Seconds per rendered photo, and faults of the photos: `python -m benchmarks.render_speed dice`.

It renders seeds that no dataset uses into a temporary folder, as `python -m training render` does. It prints the mean
seconds per photo, from the start of the first process to the last photo. It also prints the median of that over all
windows of as many photos as there are processes, because processes finish together or apart by chance. Then it counts
photos that are clipped and photos without a labelled object, and prints how large the objects are.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rendersight.annotations.dataset import load_pixels
from training.commands.render_flags import add_sources, recipe_of, workers_of
from training.data.dataset import LabelledImages, read_dataset
from training.synthetic.dataset import render_dataset
from training.synthetic.renderer import check_python

FIRST_SEED = 10_000_000

CLIPPED, CLIPPED_SHARE = 250, 0.05
"""Value of the strongest channel of a clipped pixel, and the largest share of such pixels in a good photo."""


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
        start = time.monotonic()
        render_dataset(
            recipe_of(options.what, options.label, any_colour=options.any_colour),
            range(FIRST_SEED, FIRST_SEED + options.count),
            Path(folder),
            workers=workers,
            progress=watch,
            stop_asked=lambda: False,
        )
        facts = facts_of(read_dataset(Path(folder)))
    mean = (finished[-1] - start) / len(finished)
    step = workers.count
    windows = [(last - first) / step for first, last in zip(finished, finished[step:], strict=False)]
    print(f"{len(finished)} photos, {workers.count} processes of {workers.threads} threads")
    print(f"{mean:.2f} s each on average, all in; {statistics.median(windows):.2f} s median")
    print(facts)


def facts_of(data: LabelledImages) -> str:
    """Return how many photos are clipped or show no labelled object, and how large the objects are."""
    clipped, sides = 0, []
    for item in data.images:
        pixels = load_pixels(item)
        clipped += bool((pixels.max(axis=2) >= CLIPPED).mean() > CLIPPED_SHARE)
        extents = (item.boxes_xyxy[:, 2:] - item.boxes_xyxy[:, :2]).max(axis=1)
        sides.append(extents / max(pixels.shape[:2]))
    none = sum(not len(extents) for extents in sides)
    every = np.concatenate(sides)
    low, high = np.percentile(every, (5, 95)) if len(every) else (0.0, 0.0)
    return (
        f"{clipped} of {len(sides)} photos have more than {CLIPPED_SHARE:.0%} clipped pixels, {none} have no labelled "
        f"object\nlonger side of {len(every)} objects, as a share of the photo's: {low:.3f} to {high:.3f} (5th to 95th "
        "percentile)"
    )


if __name__ == "__main__":
    main()
