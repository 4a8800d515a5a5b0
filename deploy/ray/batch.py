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
from deploy.ray.errors import JobError, exit_status
from deploy.ray.job_settings import JobSettings, parts_of
from deploy.ray.resources import fit_actors
from deploy.ray.storage import Storage
from model_store import store
from model_store.model_info import release_info
from model_store.store import Release
from rendersight import flags
from rendersight.command_line import FAILED
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
        description="Detect objects in millions of photos on all cores or GPUs of a Ray cluster into Parquet files. "
        "Photos that already have a row in OUT are skipped, so a repeated command continues.",
    )
    parser.add_argument("photos", metavar="PHOTOS", help="folder of the photos, or an fsspec URL (s3://, gs://, ...)")
    parser.add_argument("out", metavar="OUT", help="folder of the predictions, or its URL; all machines must see it")
    parser.add_argument("--model", default="dice", help="a release: dice, dice@6, or its folder (default: dice)")
    parser.add_argument("--store", type=Path, default=store.DEFAULT_ROOT, help="folder of the model store")
    parser.add_argument(
        "--score-threshold", type=flags.score, help="keep objects with a higher score (default: the model's own)"
    )
    parser.add_argument(
        "--max-pixels",
        type=flags.positive,
        default=Settings.model_fields["max_pixels"].default,
        help="maximum pixels of an image (default: %(default)s)",
    )
    parser.add_argument(
        "--address", help="HOST:PORT of the cluster's head, auto, or local for a cluster on this machine"
    )
    parser.add_argument(
        "--actors", type=flags.positive, help="number of actors; each loads the model (default: as many as fit)"
    )
    parser.add_argument(
        "--cores", type=flags.positive, help="cores of each actor (default: all of the smallest machine)"
    )
    parser.add_argument(
        "--num-gpus", type=_gpus, default=0.0, help="GPUs of each actor; 1 computes on GPUs (default: 0)"
    )
    parser.add_argument(
        "--ahead", type=flags.positive, default=4, help="photos that an actor reads in advance (default: %(default)s)"
    )
    return parser


def _gpus(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"{text} is not a number of at least 0")


def _run(options: argparse.Namespace) -> int:
    release = store.locate(options.store, options.model)
    if not isinstance(release, Release):
        raise JobError(f"{options.model} is a bare state dict; accepted: a release (`training publish` makes one)")
    job = JobSettings.of(
        release_info(release.manifest), score_threshold=options.score_threshold, max_pixels=options.max_pixels
    )
    photos, out = Storage(options.photos), Storage(options.out)
    if photos == out:
        raise JobError(f"{options.out} is the folder of the photos; choose another folder for the predictions")
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


def _left(photos: Storage, paths: Sequence[str], out: Storage) -> tuple[list[str], int]:
    """Return the paths that have no row yet, and the number of existing rows with an error."""
    from deploy.ray import predictions  # noqa: PLC0415 - pyarrow

    finished = predictions.finished(out, say)
    return [path for path in paths if photos.name_of(path) not in finished.paths], finished.errors


def _predict(
    paths: Sequence[str],
    summary: Summary,
    options: argparse.Namespace,
    *,
    photos: Storage,
    out: Storage,
    job: JobSettings,
    release: Release,
) -> None:
    from deploy.ray import cluster  # noqa: PLC0415 - Ray
    from deploy.ray.predictor import Predictor, opener  # noqa: PLC0415

    with cluster.connect(options.address):
        pool = fit_actors(cluster.machines(), actors=options.actors, cores=options.cores, gpus=options.num_gpus)
        parts = list(parts_of(paths, actors=pool.count))
        pool = replace(pool, count=min(pool.count, len(parts)))
        device = "cuda" if pool.gpus else "cpu"
        say(f"actors: {pool.count}, of {pool.cores} cores each, computing on {device}")
        job.claim(out)
        opened = opener(str(release.folder.resolve()), options.store, device=device, cores=pool.cores)
        named = {"open_detector": opened, "ahead": options.ahead}
        done = cluster.run(parts, Predictor, (job, photos.url, out.url), named, pool)
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
