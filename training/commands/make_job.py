"""The work of the command `make`, and all checks that can run before the first scene is rendered."""

import argparse
import re
import shlex
from pathlib import Path

import numpy as np

from model_store import architectures, store
from model_store.cpu import usable_cores
from model_store.devices import choose_device
from model_store.store import Release, sha256_of
from rendersight.annotations import AnnotatedImage, AnnotationError
from rendersight.annotations.folder import read_folder
from training import make
from training.commands import flags
from training.commands.render_flags import draw_of, workers_of
from training.config import ConfigError, TrainConfig, resolve
from training.console import progress_bar, say, stop_on_signals
from training.data.dataset import LabelledImages, names_in, read_dataset, split
from training.errors import Stopped
from training.learning.run import RunContext
from training.learning.weights import load_initial_weights
from training.make import Job
from training.presets import MAKE_COUNTS, MAKE_PRESETS
from training.records.run_folder import check_folder
from training.synthetic import recipes
from training.synthetic.dataset import name_of
from training.synthetic.mesh_check import try_mesh
from training.synthetic.renderer import check_python

RENDER_CORE_S = 3.0
"""Seconds of one core to render an image, assumed until it is measured; pawns and dice took 2.7 to 3.1."""
TRAIN_CORE_S = 0.4
"""Seconds of one core to train on an image in an epoch of the CPU preset, assumed until it is measured.

With bfloat16 it took 0.3.
"""


def make_release(options: argparse.Namespace) -> None:
    """Make the release that the arguments describe, or resume making it.

    Raises:
        Stopped: the user pressed Ctrl-C; the same command resumes.
        ModelError, AnnotationError, TrainingError: a check failed, before hours of work would have been lost.
    """
    try:
        _make_or_tell(options)
    except KeyboardInterrupt:  # during the checks, or at the second Ctrl-C
        raise Stopped("stopped; repeat the command to go on") from None


def _make_or_tell(options: argparse.Namespace) -> None:
    draw = draw_of(options.what, options.label)
    device = choose_device(options.device)
    job = _job(options, device)
    out = options.out or Path("runs/make") / job.name
    release = make.published(job, make.look(out, job))
    if release is not None:
        say(f"{release.ref} is published already: {release.folder}")
    else:
        _check(job, out, options)
        say(_plan(job, out, device))
        context = RunContext(
            device=device,
            workers=1 if device == "cpu" else max(1, usable_cores() // 2),
            store_root=options.store,
            say=say,
            bar=progress_bar,
            stop_asked=stop_on_signals(),
        )
        release = make.make(job, out, draw=draw, renderers=workers_of(options), context=context)
        say(f"published {release.ref}: {release.folder}")
    _tell_how_to_use(release, job, out, store_root=options.store)
    if options.json:
        flags.print_release(release)


def _tell_how_to_use(release: Release, job: Job, out: Path, *, store_root: Path) -> None:
    photo = make.look(out, job).photo
    assert photo is not None
    if job.photos is None:
        say("no --photos: its figures and its threshold are those of rendered photos, real ones may differ much")
    say(f"report: {out / make.REPORT}")
    settings = [f"RENDERSIGHT_MODEL={release.ref}"]
    if store_root.resolve() != store.DEFAULT_ROOT.resolve():
        settings.append(f"RENDERSIGHT_MODEL_STORE={shlex.quote(str(store_root))}")
    say(f"serve it: {' '.join(settings)} python -m app")
    say(f"curl -F {shlex.quote(f'image=@{_from_here(Path(photo))}')} 'http://127.0.0.1:8000/detect'")


def _from_here(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _job(options: argparse.Namespace, device: str) -> Job:
    """Return the job that the arguments describe.

    Raises:
        ConfigError: a preset or a value is unknown, or the labels give no usable name.
        ReleaseNotFound: the name is not valid for a release.
    """
    kind = device.partition(":")[0]
    given = {"epochs": options.epochs, "weights": options.weights}
    config = resolve(
        options.preset or MAKE_PRESETS[kind], {name: value for name, value in given.items() if value is not None}
    )
    if options.label:
        class_names = tuple(dict.fromkeys(options.label))
        sources = tuple(
            f"{label} from {Path(item).name} (sha256 {sha256_of(Path(item))[:16]})"
            for item, label in zip(options.what, options.label, strict=True)
        )
    else:
        (recipe,) = sources = tuple(options.what)
        class_names = recipes.RECIPE_LABELS[recipe]
    name = options.name or _name_from(options.label or options.what)
    store.check_name(name)
    return Job(
        sources=sources,
        class_names=class_names,
        name=name,
        count=options.count or MAKE_COUNTS[kind],
        photos=None if options.photos is None else str(options.photos.resolve()),
        store=str(options.store.resolve()),
        config=config,
    )


def _name_from(labels: list[str]) -> str:
    name = re.sub(r"[^a-z0-9._-]+", "-", "-".join(dict.fromkeys(labels)).lower()).strip("-._")[:64]
    if not name:
        raise ConfigError(f"no release can be named for {', '.join(labels)}; give a --name")
    return name


def _check(job: Job, out: Path, options: argparse.Namespace) -> None:
    """Check everything that would otherwise fail after hours, without writing anything.

    Raises:
        AnnotationError: the photos or a mesh cannot be used, or too few images are rendered for a hold-out.
        ModelError: the initial weights are not available.
        RunError: a folder cannot be written.
        BlenderMissing: the interpreter has no bpy.
    """
    for folder in (out, options.store):
        check_folder(folder)
    if options.photos is not None:
        _check_photos(options.photos, job.class_names)
    if make.has_begun_to_train(out):
        return
    _check_split(job.count, job.config)
    check_python(options.blender)
    for item, label in zip(options.what, options.label, strict=bool(options.label)):
        try_mesh(draw_of([item], [label]), options.blender)
    network = architectures.build(
        job.config.architecture, class_count=len(job.class_names), options=job.config.network_options()
    )
    load_initial_weights(
        network,
        job.config.weights,
        architecture=job.config.architecture,
        class_names=job.class_names,
        store_root=options.store,
    )


def _check_photos(folder: Path, class_names: tuple[str, ...]) -> None:
    labels = names_in(read_folder(folder, bar=progress_bar))
    if strangers := sorted(set(labels) - set(class_names)):
        raise AnnotationError(
            f"{folder} has labels that are no class: {', '.join(strangers)}; the classes are {', '.join(class_names)}"
        )
    read_dataset(folder, class_names=class_names)
    if not labels:
        raise AnnotationError(f"{folder} holds no labelled object; nothing can be measured on it")


def _check_split(count: int, config: TrainConfig) -> None:
    """Check that the images to be rendered can be split, by splitting stand-ins for them."""
    boxes = np.zeros((0, 4), np.float32)
    planned = tuple(AnnotatedImage(f"{name_of(seed)}.jpg", None, None, (1, 1), boxes, ()) for seed in range(count))
    split(LabelledImages(planned, ()), hold_out=config.hold_out, seed=config.seed, group_by=config.group_by)


def _plan(job: Job, out: Path, device: str) -> str:
    """Return a line that states the planned work and its estimated duration."""
    config = job.config
    what = (
        f"{job.name}: {job.count} renders, {config.epochs} epochs of {config.architecture} on {device}, in {out}; "
        f"assumed: {make.in_words(job.count * RENDER_CORE_S / usable_cores())} to render all"
    )
    if device != "cpu" or config.architecture != "fasterrcnn_mobilenet_v2_fpn":
        return f"{what}, unknown for the training; measured figures follow"
    train_s = job.count * config.epochs * TRAIN_CORE_S / usable_cores()
    return f"{what}, {make.in_words(train_s)} to train; measured ones follow"
