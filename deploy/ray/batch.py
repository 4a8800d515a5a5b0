"""Predictions over millions of photos, as a Ray Data job: `.venv-ray/bin/python -m deploy.ray.batch PHOTOS OUT`.

docs/batch.md explains the output, how a stopped job continues, and the costs.
"""

import argparse
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.settings import Settings
from deploy.ray.errors import FAILED, JobError, exit_status
from deploy.ray.job import Job, parts_of
from deploy.ray.places import Place
from deploy.ray.pool import pool_of
from model_store import store
from model_store.model_info import release_info
from model_store.store import Release
from rendersight import flags
from rendersight.console import progress_bar, say

PROGRAM = "python -m deploy.ray.batch"

_TELL_S = 60.0
_SHOWN = 10


@dataclass
class Summary:
    """The counts of a run so far.

    Attributes:
        images: number of images with a row.
        errors: number of these images that cannot be used.
        objects: number of objects found.
        unread: one line for each image that could not be read.
    """

    images: int = 0
    errors: int = 0
    objects: int = 0
    unread: list[str] = field(default_factory=list)

    def add(self, part: Mapping[str, Any]) -> None:
        """Add the counts of a part."""
        self.images += part["images"]
        self.errors += part["errors"]
        self.objects += part["objects"]
        self.unread += part["unread"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job. The same command continues it after any exit status.

    Returns:
        The exit status: 0 for success, 1 if the job failed or images could not be read, 2 for bad input, 130 if it
        was interrupted.
    """
    options = build_parser().parse_args(arguments)
    return exit_status(PROGRAM, lambda: _run(options))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        PROGRAM,
        description="Predict over millions of photos into Parquet files, on all cores or GPUs of a cluster of Ray. "
        "What is in OUT already is not predicted again: a stopped command goes on when it is repeated.",
    )
    parser.add_argument("photos", metavar="PHOTOS", help="folder, or its URL as fsspec takes it (s3://, gs://, ...)")
    parser.add_argument("out", metavar="OUT", help="folder of the predictions, or its URL; one that all machines see")
    parser.add_argument("--model", default="dice", help="a release: dice, dice@6, or its folder (default: dice)")
    parser.add_argument("--store", type=Path, default=store.DEFAULT_ROOT, help="the model store's folder")
    parser.add_argument(
        "--score-threshold", type=flags.score, help="objects must score above it (default: the model's own)"
    )
    parser.add_argument(
        "--max-pixels",
        type=flags.positive,
        default=Settings.model_fields["max_pixels"].default,
        help="the most pixels of an image (default: %(default)s)",
    )
    parser.add_argument("--address", help="of the cluster: HOST:PORT, auto, or local for one of this machine alone")
    parser.add_argument(
        "--actors", type=flags.positive, help="how many load the model (default: what there is room for)"
    )
    parser.add_argument("--cores", type=flags.positive, help="of each (default: those of the smallest machine)")
    parser.add_argument("--num-gpus", type=_gpus, default=0.0, help="of each; 1 computes on GPUs (default: 0)")
    parser.add_argument(
        "--ahead", type=flags.positive, default=4, help="photos that an actor reads meanwhile (default: %(default)s)"
    )
    return parser


def _gpus(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"{text} is not a number from 0 on")


def _run(options: argparse.Namespace) -> int:
    release = store.locate(options.store, options.model)
    if not isinstance(release, Release):
        raise JobError(f"{options.model} is a bare state dict; accepted is a release, which `training publish` makes")
    job = Job.of(release_info(release.manifest), score_threshold=options.score_threshold, max_pixels=options.max_pixels)
    photos, out = Place(options.photos), Place(options.out)
    if photos == out:
        raise JobError(f"{options.out} is the folder of the photos; predictions belong in another one")
    listed = photos.photos()
    paths = [path for path in listed if _is_text(path)]
    job.check(out)
    left, errors_before = _left(photos, paths, out)
    say(f"{len(listed)} images, {len(left)} to predict with {job}")
    summary = Summary(unread=[f"{path!r}: its name is not UTF-8" for path in listed if not _is_text(path)])
    if left:
        _predict(left, summary, options, photos=photos, out=out, job=job, release=release)
    for line in summary.unread[:_SHOWN]:
        say(line)
    if (more := len(summary.unread) - _SHOWN) > 0:
        say(f"and {more} more")
    unread = f", {len(summary.unread)} not read: repeat the command to try them again" if summary.unread else ""
    say(
        f"{summary.images} images predicted, {summary.objects} objects, {errors_before + summary.errors} of "
        f"{len(listed) - len(summary.unread)} images in {out.url} with an error{unread}"
    )
    return FAILED if summary.unread else 0


def _is_text(path: str) -> bool:
    return path.encode(errors="replace").decode() == path


def _left(photos: Place, paths: Sequence[str], out: Place) -> tuple[list[str], int]:
    """Return the paths that have no row yet, and the number of existing rows with an error."""
    from deploy.ray import parts  # noqa: PLC0415 - pyarrow

    finished = parts.finished(out, say)
    return [path for path in paths if photos.name_of(path) not in finished.paths], finished.errors


def _predict(
    paths: Sequence[str],
    summary: Summary,
    options: argparse.Namespace,
    *,
    photos: Place,
    out: Place,
    job: Job,
    release: Release,
) -> None:
    from deploy.ray import actors  # noqa: PLC0415 - Ray
    from deploy.ray.predicting import Predict, opener  # noqa: PLC0415

    with actors.cluster(options.address):
        pool = pool_of(actors.machines(), actors=options.actors, cores=options.cores, gpus=options.num_gpus)
        parts = list(parts_of(paths, actors=pool.count))
        pool = replace(pool, count=min(pool.count, len(parts)))
        device = "cuda" if pool.gpus else "cpu"
        say(f"actors: {pool.count}, of {pool.cores} cores each, computing on {device}")
        job.claim(out)
        opened = opener(str(release.folder.resolve()), options.store, device=device, cores=pool.cores)
        named = {"open_detector": opened, "ahead": options.ahead}
        done = actors.run(parts, Predict, (job, photos.url, out.url), named, pool)
        follow(done, len(paths), summary)


def follow(done: Iterable[Mapping[str, Any]], total: int, summary: Summary, *, tell_s: float = _TELL_S) -> None:
    """Add the finished parts to the summary and show progress: a bar on a terminal, else a line per `tell_s`."""
    began_s = told_s = time.monotonic()
    with progress_bar(total=total, desc="images") as bar:
        for part in done:
            summary.add(part)
            bar.update(part["images"] + len(part["unread"]))
            now_s = time.monotonic()
            if bar.disable and now_s - told_s >= tell_s:
                told_s = now_s
                say(f"{summary.images} of {total} images, {summary.images / (now_s - began_s):.1f} a second")


if __name__ == "__main__":
    sys.exit(main())
