"""The verb `accelerate`: publish the next version of a release, with engines prepared for a faster runtime."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from model_store import store
from model_store.errors import EngineNotAvailable, ReleaseNotFound
from rendersight.photos import find_photos
from training.commands import flags
from training.console import progress_bar, say

if TYPE_CHECKING:
    from model_store.network import LoadedNetwork
    from model_store.store import Release
    from training.releasing.accelerate import EnginePlan
    from training.releasing.publish import PreparedEngines
    from training.releasing.work_folder import WorkFolder

ENGINES = ("openvino-fp32", "openvino-bf16", "openvino-int8")
_DEFAULT_ENGINES = ("openvino-fp32", "openvino-int8")
"""Engines prepared by default.

int8 runs on every CPU; fp32 is the fallback if int8 is refused. bf16 is left out: only a few CPUs compute in it, and
its speed lies between the two.
"""

_MOST_CALIBRATION = 300


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments to the parser."""
    parser.description = (
        "Convert and quantise a release for OpenVINO, measure the loss on labelled images, and publish the result as "
        "the next version. A running service then switches to it by itself."
    )
    parser.add_argument("release", help="dice, dice@6, or a release's folder")
    add_plan(parser, is_required=True)
    parser.add_argument(
        "--work", type=Path, help="folder that keeps the result of each stage (default: runs/accelerate/NAME@VERSION)"
    )
    parser.add_argument(
        "--golden-from",
        type=Path,
        metavar="FOLDER",
        help="choose new golden images from these (default: keep those of the release)",
    )
    parser.add_argument(
        "--with-photos",
        action="store_true",
        help="keep the crops of photos that the release shows (default: drop them)",
    )
    parser.add_argument("--licence", help="new terms of use, for the card (default: keep those of the release)")
    parser.add_argument("--store", type=Path, default=store.DEFAULT_ROOT, help="folder of the model store")
    flags.add_release_json(parser)


def add_plan(parser: argparse.ArgumentParser, *, is_required: bool) -> None:
    """Add the arguments that `read_plan` reads."""
    parser.add_argument(
        "--calibration",
        type=Path,
        nargs="+",
        required=is_required,
        help=f"unlabelled photos, or folders of them, that set the ranges of int8; at most {_MOST_CALIBRATION} count",
    )
    parser.add_argument(
        "--judge-by",
        type=flags.named_folder,
        metavar="NAME=FOLDER",
        required=is_required,
        help="labelled images on which to measure the loss of each engine",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        action="append",
        help="engine to prepare; repeatable (default: openvino-fp32 and openvino-int8)",
    )
    parser.add_argument(
        "--rpn-score-floor",
        type=flags.score,
        metavar="SCORE",
        help="engines drop proposals below this objectness, which saves time (default: the release's)",
    )
    parser.add_argument(
        "--even-if-unjudged",
        action="store_true",
        help="continue even if the network finds too little on these images to measure a loss; for benchmarks",
    )


def read_plan(options: argparse.Namespace, class_names: Sequence[str]) -> "EnginePlan":
    """Return the plan that the arguments describe.

    Raises:
        EngineNotAvailable: the packages that an engine needs are not installed.
        AnnotationError: the images cannot be used.
    """
    if missing := [name for name in ("openvino", "nncf") if find_spec(name) is None]:
        raise EngineNotAvailable(f"the packages {' and '.join(missing)} are not installed; run make .venv/dev.stamp")
    from training.data.dataset import read_dataset
    from training.releasing.accelerate import EnginePlan

    photos = find_photos(options.calibration)
    name, folder = options.judge_by
    return EnginePlan(
        calibration=photos[:: -(-len(photos) // _MOST_CALIBRATION)],
        data_name=name,
        data=read_dataset(folder, class_names=class_names, decode=False),
        engines=options.engine or _DEFAULT_ENGINES,
        rpn_score_floor=options.rpn_score_floor,
        even_if_unjudged=options.even_if_unjudged,
    )


def preparation(plan: "EnginePlan", work: "WorkFolder") -> "Callable[[LoadedNetwork], PreparedEngines]":
    """Return the function that `publish` calls to prepare the engines of a plan."""
    from training.releasing.accelerate import prepare

    return lambda loaded: prepare(loaded, plan, work=work, bar=progress_bar)


def say_published(release: "Release") -> None:
    """Print the folder of a release, the engines it lacks, and the command that serves it."""
    say(f"published {release.ref}: {release.folder}")
    for name, reason in release.manifest.refused_engines.items():
        say(f"{name} is left out: {reason}")
    if not any(image.expected for image in release.manifest.golden):
        say("warning: the model finds nothing on the golden images, so the check at each start proves little")
    say(f"serve it: RENDERSIGHT_MODEL={release.ref} python -m app")


def run(options: argparse.Namespace) -> None:
    """Prepare the engines and publish the next version."""
    release = store.locate(options.store, options.release)
    if isinstance(release, Path):
        raise ReleaseNotFound(f"{options.release} is a state dict; accelerate needs a release. Publish one first")
    plan = replace(
        read_plan(options, release.manifest.class_names), licence=options.licence, with_photos=options.with_photos
    )
    from training.data.dataset import read_dataset
    from training.records.run_folder import check_folder
    from training.releasing.accelerate import accelerate
    from training.releasing.work_folder import WorkFolder

    if options.golden_from is not None:
        golden = read_dataset(options.golden_from, class_names=release.manifest.class_names, decode=False)
        plan = replace(plan, golden=golden)
    work = WorkFolder(options.work or Path("runs/accelerate") / release.ref, say)
    for folder in (options.store, work.root):
        check_folder(folder)
    published = accelerate(release, plan, store_root=options.store, work=work, bar=progress_bar)
    say_published(published)
    if options.json:
        flags.print_release(published)
