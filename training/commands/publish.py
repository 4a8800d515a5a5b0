"""The verb `publish`: turn a run's best checkpoint into a release."""

import argparse
from pathlib import Path

from model_store import store
from training.commands import flags
from training.commands.accelerate import add_plan, preparation, read_plan, say_published
from training.console import progress_bar, say


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments to the parser."""
    parser.description = (
        "Measure a run's best checkpoint, write it into the model store as the next version, and check it."
    )
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--name", required=True, help="name of the release: lower-case letters, digits, '.', '_', '-'")
    parser.add_argument("--dataset", type=Path, help="folder of the run's images, if they were moved")
    parser.add_argument(
        "--also-measure",
        metavar="NAME=FOLDER",
        type=flags.named_folder,
        action="append",
        default=[],
        help="also measure on these labelled images; repeat it for each set",
    )
    parser.add_argument(
        "--threshold-from",
        metavar="NAME",
        action="append",
        default=[],
        help="choose the score threshold on this set of --also-measure; several sets are taken together",
    )
    parser.add_argument(
        "--sim2real", action="store_true", help="add the report of the verb sim2real on --also-measure to the card"
    )
    parser.add_argument(
        "--with-photos",
        action="store_true",
        help="the release may show photos: held-out ones as golden images, and crops of --also-measure in its card",
    )
    parser.add_argument(
        "--golden-from",
        type=Path,
        metavar="FOLDER",
        help="choose the golden images from these (default: held-out renders; with --with-photos, held-out images)",
    )
    parser.add_argument(
        "--gallery-from",
        metavar="NAME",
        action="append",
        default=[],
        help="with --with-photos: a set of --also-measure to show crops of; repeatable (default: all of them)",
    )
    parser.add_argument("--description", default="A Faster R-CNN detector.", help="sentence for the model card")
    parser.add_argument(
        "--data", help="description of the training images, for the card (default: the name of their folder)"
    )
    parser.add_argument("--licence", default="", help="terms of use of the release, for the card")
    parser.add_argument("--provenance", default="", help="data that each choice was based on, for the card")
    parser.add_argument("--accelerate", action="store_true", help="also prepare fast engines; see the verb accelerate")
    add_plan(parser, is_required=False)
    parser.add_argument("--work", type=Path, help="folder that keeps the result of each stage (default: RUN/work)")
    parser.add_argument("--store", type=Path, default=store.DEFAULT_ROOT, help="folder of the model store")
    flags.add_release_json(parser)


def run(options: argparse.Namespace) -> None:
    """Publish the release."""
    from training.records.run_folder import WORK, RunError, RunRecord, check_folder
    from training.releasing.publish import SIM2REAL, ReleaseTexts, publish
    from training.releasing.work_folder import WorkFolder

    record = RunRecord.read(options.run)
    data = options.data or Path(options.dataset or record.dataset).name
    if options.accelerate and not (options.calibration and options.judge_by):
        raise RunError("--accelerate needs --calibration PHOTOS and --judge-by NAME=FOLDER")
    if not options.accelerate and (options.calibration or options.judge_by or options.engine):
        raise RunError("--calibration, --judge-by and --engine need --accelerate")
    work = WorkFolder(options.work or options.run / WORK, say)
    for folder in (options.store, work.root, *([options.run / SIM2REAL] if options.sim2real else [])):
        check_folder(folder)
    release = publish(
        options.run,
        options.name,
        store_root=options.store,
        texts=ReleaseTexts(options.description, data, options.licence, options.provenance),
        dataset=options.dataset,
        also_measure=options.also_measure,
        threshold_from=options.threshold_from,
        golden_from=options.golden_from,
        with_report=options.sim2real,
        with_photos=options.with_photos,
        gallery_from=options.gallery_from,
        prepare=preparation(read_plan(options, record.class_names), work) if options.accelerate else None,
        work=work,
        bar=progress_bar,
    )
    say_published(release)
    if options.json:
        flags.print_release(release)
