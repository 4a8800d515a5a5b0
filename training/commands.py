"""The verbs of `python -m training`: their flags, and the functions they call."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model_store import store
from model_store.devices import choose_device
from model_store.errors import ModelError
from rendersight.annotations import AnnotationError
from rendersight.annotations.folder import read_folder
from training import flags, inspection, run
from training.accelerate_command import add_accelerate, add_plan, preparation, read_plan
from training.checkpoint import BrokenCheckpoint
from training.config import ConfigError, parse_assignments, preset_names, resolve
from training.console import Stopped, bar_of, progress_bar, say, stop_on_signals
from training.dataset import BrokenDataset, LabelledImages, all_faults, names_in, read_dataset, with_margin
from training.domain import detect
from training.evaluation import as_one_class, detect_all, evaluate
from training.loop import NonFiniteLoss
from training.make_command import add_make
from training.prediction import find_photos, predict
from training.publish import Words, publish
from training.report import DETECTIONS, REPORT, write_evaluation, write_sim2real
from training.run_folder import RunError, RunRecord, read_names
from training.sim2real import Sim2Real
from training.synthetic.blender import BlenderMissing
from training.synthetic.commands import add_preview, add_render

_FAILED = 1
_USAGE = 2
_INTERRUPTED = 130
_BAD_INPUT = (AnnotationError, ConfigError, ModelError, RunError, BrokenCheckpoint, BlenderMissing, NonFiniteLoss)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0, 1 where a file cannot be used, 2 for bad input, 130 when stopped."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        options.verb(options)
    except _BAD_INPUT as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return _USAGE
    except OSError as error:  # no permission, no space left
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return _FAILED
    except Stopped as stop:
        print(f"{parser.prog}: {stop}", file=sys.stderr)
        return _INTERRUPTED
    except KeyboardInterrupt:
        print(f"{parser.prog}: stopped", file=sys.stderr)
        return _INTERRUPTED
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs; the docs' commands are checked against it."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for add in (
        _add_inspect,
        _add_train,
        _add_evaluate,
        _add_predict,
        _add_publish,
        add_accelerate,
        add_render,
        add_preview,
        _add_sim2real,
        add_make,
    ):
        add(verbs)
    return parser


def _add_inspect(verbs: Any) -> None:
    parser = verbs.add_parser(
        "inspect",
        help="show what a dataset holds, and what is wrong with it",
        description="Print counts by class, box sizes, negatives and problems; write a contact sheet with the boxes.",
    )
    parser.add_argument("dataset", type=Path, help="folder of images with JSON of the same stem")
    parser.add_argument(
        "--labels", type=flags.names, help="class names in order, comma-separated; else the data's, sorted"
    )
    parser.add_argument("--json", action="store_true", help="print the boxes as read, as JSON")
    parser.add_argument("--sheet", type=Path, help="the contact sheet (default: runs/inspect/DATASET.jpg)")
    parser.set_defaults(verb=_inspect)


def _inspect(options: argparse.Namespace) -> None:
    found = read_folder(options.dataset)
    seen = names_in(found)
    class_names = options.labels or tuple(seen)
    if options.json:
        print(json.dumps(inspection.as_json(found, class_names), indent=2))
    else:
        print(inspection.describe(found, class_names))
    if found.images:
        sheet = options.sheet or Path("runs/inspect") / f"{options.dataset.resolve().name}.jpg"
        sheet.parent.mkdir(parents=True, exist_ok=True)
        inspection.sheet(found, sorted({*seen, *class_names})).save(sheet, quality=88)
        say(f"contact sheet: {sheet}")
    if faults := all_faults(found, options.dataset, class_names):
        raise BrokenDataset(faults)


def _add_train(verbs: Any) -> None:
    parser = verbs.add_parser(
        "train",
        help="train a detector on a folder of LabelMe images",
        description="Train a detector on a folder of images with LabelMe JSON; stop with Ctrl-C, go on with --resume.",
    )
    parser.add_argument("dataset", type=Path, nargs="?", help="folder of images with JSON of the same stem")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--preset", help=f"{', '.join(preset_names())}, or the path of a TOML file")
    parser.add_argument(
        "--labels", type=flags.names, help="class names in their order, comma-separated; else the data's, sorted"
    )
    parser.add_argument("--architecture", help="see model_store/architectures.py")
    parser.add_argument("--weights", help="coco, imagenet, none, a state dict's file, or a release")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--hold-out", type=float, help="fraction below 1, else a count")
    parser.add_argument(
        "--hold-out-names", type=Path, metavar="FILE", help="hold out the images listed here, a name a line"
    )
    parser.add_argument(
        "--group-by", metavar="REGEX", help="images whose names match alike stay on one side of the split"
    )
    parser.add_argument("--seed", type=int)
    parser.add_argument(
        "--set", metavar="NAME=VALUE", action="append", default=[], help="any hyperparameter of training/config.py"
    )
    parser.add_argument("--workers", type=flags.count, default=1, help="processes that read images (default: 1)")
    flags.add_machine(parser)
    parser.set_defaults(verb=_train)


def _add_evaluate(verbs: Any) -> None:
    parser = verbs.add_parser(
        "evaluate",
        help="measure a release, a run or a state dict on labelled images",
        description="Print COCO's figures, AP by class and the best threshold; write the detections as COCO JSON.",
    )
    flags.add_model(parser)
    parser.add_argument("dataset", type=Path, help="folder of images with JSON of the same stem")
    parser.add_argument(
        "--names", type=Path, help="evaluate only the images listed in this file, such as a hold_out.txt"
    )
    parser.add_argument(
        "--box-margin", type=flags.score, default=0.0, help="widen the true boxes as the training did (default: 0)"
    )
    parser.add_argument("--one-class", action="store_true", help="merge all labels into one; nothing is suppressed")
    parser.add_argument("--out", type=Path, help="folder of the results (default: runs/evaluate/MODEL-on-DATASET)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    flags.add_machine(parser)
    parser.set_defaults(verb=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    loaded, engine = flags.open_model(options)
    known = None if options.one_class else loaded.card.class_names
    data = _read(options.dataset, known, options.names).widened(options.box_margin)
    found = detect_all(engine, data, progress=bar_of("images"))
    if options.one_class:
        data, found = as_one_class(data, found)
    result = evaluate(data, found)
    name = f"{loaded.card.name}-{loaded.card.version}-on-{options.dataset.resolve().name}"
    out = options.out or Path("runs/evaluate") / (name + ("-one-class" if options.one_class else ""))
    write_evaluation(out, data, found, result)
    print(json.dumps(result.as_json(), indent=2) if options.json else result.table())
    say(f"detections: {out / DETECTIONS}")


def _read(folder: Path, class_names: Sequence[str] | None, names: Path | None) -> LabelledImages:
    data = read_dataset(folder, class_names=class_names)
    return data.select(read_names(names)) if names else data


def _add_sim2real(verbs: Any) -> None:
    parser = verbs.add_parser(
        "sim2real",
        help="compare what a detector finds in rendered and in real photos",
        description="Write a report with pictures: figures on rendered and real photos side by side, their intervals, "
        "thresholds, confusions, and the worst mistakes on real photos.",
    )
    flags.add_model(parser)
    parser.add_argument("--synthetic", type=Path, required=True, help="folder of labelled renders, not trained on")
    parser.add_argument("--synthetic-names", type=Path, metavar="FILE", help="take only the renders listed here")
    parser.add_argument(
        "--box-margin", type=flags.score, default=0.0, help="widen the renders' boxes as the training did (default: 0)"
    )
    parser.add_argument(
        "--real",
        metavar="[NAME=]FOLDER",
        type=flags.maybe_named_folder,
        action="append",
        required=True,
        help="labelled photos; once for each set",
    )
    parser.add_argument(
        "--real-names",
        metavar="[NAME=]FILE",
        type=flags.maybe_named,
        action="append",
        default=[],
        help="take only the photos listed here of the set NAME",
    )
    parser.add_argument("--score-threshold", type=flags.score, help="show mistakes above it (default: the model's own)")
    parser.add_argument("--out", type=Path, help="folder of the report (default: runs/sim2real/MODEL)")
    flags.add_machine(parser)
    parser.set_defaults(verb=_sim2real)


def _sim2real(options: argparse.Namespace) -> None:
    names = _lists_of(options.real_names, [name for name, _ in options.real])
    loaded, engine = flags.open_model(options)
    class_names = loaded.card.class_names
    synthetic = _read(options.synthetic, class_names, options.synthetic_names).widened(options.box_margin)
    real = [(name, _read(folder, class_names, names.get(name))) for name, folder in options.real]
    out = options.out or Path("runs/sim2real") / f"{loaded.card.name}-{loaded.card.version}"
    out.mkdir(parents=True, exist_ok=True)  # if it cannot be made, better before the minutes of detection
    report = Sim2Real.of(
        f"{loaded.card.name}@{loaded.card.version}",
        sha256=loaded.card.sha256,
        score_threshold=loaded.card.score_threshold if options.score_threshold is None else options.score_threshold,
        synthetic=detect(engine, with_margin("synthetic", options.box_margin), synthetic, bar=progress_bar),
        real=[detect(engine, name, data, bar=progress_bar) for name, data in real],
    )
    write_sim2real(out, report)
    print("\n".join(report.summary()))
    say(f"report: {out / REPORT}")


def _lists_of(lists: Sequence[tuple[str, Path]], sets: Sequence[str]) -> dict[str, Path]:
    """Return the list of names of each real set; one without a name belongs to the only set there is."""
    if twice := next((name for name in sets if [*sets, "synthetic"].count(name) > 1), None):
        raise AnnotationError(f"two sets of photos are called {twice}; tell them apart with --real NAME=FOLDER")
    found = {}
    for given, path in lists:
        name = given or (sets[0] if len(sets) == 1 else "")
        if name not in sets:
            raise AnnotationError(f"--real-names {given or path}: which set? There are {', '.join(sets)}")
        if name in found:
            raise AnnotationError(f"two lists for the photos called {name}; join them")
        found[name] = path
    return found


def _add_predict(verbs: Any) -> None:
    parser = verbs.add_parser(
        "predict",
        help="write annotated pictures and LabelMe files for photos",
        description="Write pictures with the boxes drawn, and LabelMe files that can be corrected and trained on.",
    )
    flags.add_model(parser)
    parser.add_argument("photos", type=Path, nargs="+", help="image files, or folders of them")
    parser.add_argument(
        "--score-threshold", type=flags.score, help="objects must score above it (default: the model's own)"
    )
    parser.add_argument("--out", type=Path, default=Path("predictions"), help="folder of the results")
    flags.add_machine(parser)
    parser.set_defaults(verb=_predict)


def _predict(options: argparse.Namespace) -> None:
    photos = find_photos(options.photos)
    loaded, engine = flags.open_model(options)
    threshold = loaded.card.score_threshold if options.score_threshold is None else options.score_threshold
    count = predict(
        engine,
        photos,
        options.out,
        class_names=loaded.card.class_names,
        score_threshold=threshold,
        progress=bar_of("photos"),
    )
    say(f"{count} objects above {threshold:g} in {len(photos)} photos: {options.out}")


def _add_publish(verbs: Any) -> None:
    parser = verbs.add_parser(
        "publish",
        help="make a release of a run's best checkpoint",
        description="Measure a run's best checkpoint, write it as the next version into the model store, and check it.",
    )
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("--name", required=True, help="the release's name: lower-case letters, digits, '.', '_', '-'")
    parser.add_argument("--dataset", type=Path, help="where the run's images are now, if they were moved")
    parser.add_argument(
        "--also-measure",
        metavar="NAME=FOLDER",
        type=flags.named_folder,
        action="append",
        default=[],
        help="more figures",
    )
    parser.add_argument(
        "--threshold-from",
        metavar="NAME",
        action="append",
        default=[],
        help="let the photos of this --also-measure choose the score threshold; several are taken together",
    )
    parser.add_argument(
        "--sim2real", action="store_true", help="put the report of the verb sim2real, on --also-measure, into the card"
    )
    parser.add_argument(
        "--gallery-from",
        metavar="NAME",
        action="append",
        default=[],
        help="a set of --also-measure whose photos the card may show; repeatable (default: all of them)",
    )
    parser.add_argument("--description", default="A Faster R-CNN detector.", help="a sentence for the card")
    parser.add_argument(
        "--data", help="what the training images are, for the card (default: the dataset's folder name)"
    )
    parser.add_argument("--licence", default="", help="under which terms the release may be used, for the card")
    parser.add_argument("--provenance", default="", help="which choice used which data, for the card")
    parser.add_argument("--accelerate", action="store_true", help="prepare fast engines too; see the verb accelerate")
    add_plan(parser, is_required=False)
    parser.add_argument("--store", type=Path, default=store.DEFAULT_ROOT, help="the model store's folder")
    parser.set_defaults(verb=_publish)


def _publish(options: argparse.Namespace) -> None:
    record = RunRecord.read(options.run)
    data = options.data or Path(options.dataset or record.dataset).name
    if options.accelerate and not (options.calibration and options.judge_by):
        raise RunError("--accelerate needs photos: --calibration PHOTOS and --judge-by NAME=FOLDER")
    if not options.accelerate and (options.calibration or options.judge_by or options.engine):
        raise RunError("--calibration, --judge-by and --engine are for --accelerate")
    release = publish(
        options.run,
        options.name,
        store_root=options.store,
        words=Words(options.description, data, options.licence, options.provenance),
        dataset=options.dataset,
        also_measure=options.also_measure,
        threshold_from=options.threshold_from,
        with_report=options.sim2real,
        gallery_from=options.gallery_from,
        prepare=preparation(read_plan(options, record.class_names)) if options.accelerate else None,
        bar=progress_bar,
    )
    say(f"published {release.ref}: {release.folder}")
    if not release.manifest.golden:
        say("warning: it finds nothing on its golden image, so that the check at each start proves little")
    say(f"serve it: RENDERSIGHT_MODEL={release.ref} python -m app")


_DIRECT = ("architecture", "weights", "epochs", "batch_size", "learning_rate", "hold_out", "group_by", "seed")


def _train(options: argparse.Namespace) -> None:
    given = {name: getattr(options, name) for name in _DIRECT if getattr(options, name) is not None}
    overrides = {**given, **parse_assignments(options.set)}
    around = run.Surroundings(
        device=choose_device(options.device),
        workers=options.workers,
        store_root=options.store,
        say=say,
        bar=progress_bar,
        stop_asked=stop_on_signals(),
    )
    if options.resume:
        if overrides or options.preset or options.labels or options.hold_out_names:
            raise ConfigError("a resumed run keeps its hyperparameters and labels; leave them out, or start a new run")
        run.resume(options.out, around=around, dataset=options.dataset)
    elif options.dataset is None:
        raise ConfigError("which dataset? Give its folder")
    else:
        if options.hold_out_names and (options.hold_out is not None or options.group_by is not None):
            raise ConfigError("--hold-out-names says what is held out; leave out --hold-out and --group-by")
        config = resolve(options.preset, overrides)
        run.start(
            options.dataset,
            options.out,
            config,
            class_names=options.labels,
            around=around,
            hold_out_names=read_names(options.hold_out_names) if options.hold_out_names else None,
        )
