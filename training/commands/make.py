"""The verb `make`: turn a 3D model into a release. This module turns the arguments into a `MakePlan`."""

import argparse
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from model_store import store
from model_store.cpu import usable_cores
from rendersight.photos import find_photos
from training.commands import flags
from training.commands.render_flags import add_sources, objects_of, recipe_of, workers_of
from training.console import progress_bar, say
from training.errors import Stopped
from training.presets import preset_names
from training.stopping import stop_on_signals
from training.synthetic.recipes import SCENE

if TYPE_CHECKING:
    from model_store.store import Release
    from training.make.plan import MakePlan

PRESETS = {"cpu": "make-cpu", "cuda": "make-gpu"}
COUNTS = {"cpu": 800, "cuda": 3000}
"""Default number of scenes without composites, by the kind of device."""
MESH_COUNT = 240
"""Default number of pictures of scenes beside composites, which are most of what the network sees."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments to the parser."""
    parser.description = (
        "Render photos of a 3D model, train a detector on them, measure it and publish it. If you stop the command, "
        "repeat it to continue."
    )
    add_sources(parser)
    parser.add_argument("--name", help="name of the release (default: the labels, or the recipe)")
    parser.add_argument(
        "--photos",
        type=Path,
        help="labelled photos to measure on, or photos to show with detections; they are never trained on",
    )
    parser.add_argument("--out", type=Path, help="the work folder (default: runs/make/NAME)")
    parser.add_argument(
        "--backgrounds", type=Path, metavar="FOLDER", help="photos without the objects, as backdrops of composites"
    )
    parser.add_argument(
        "--count",
        type=flags.positive,
        help=f"pictures of scenes to render (default: {MESH_COUNT} beside composites, else {COUNTS['cpu']}, or "
        f"{COUNTS['cuda']} with a GPU)",
    )
    parser.add_argument(
        "--cutouts", type=flags.positive, help="pictures of each mesh file (default: 200 of one, fewer of each of many)"
    )
    parser.add_argument(
        "--composites",
        type=flags.count,
        help="windows in each pass that are pasted together from those pictures (default: the preset's)",
    )
    parser.add_argument(
        "--time",
        metavar="DURATION",
        help="measure this machine and choose --count, --cutouts and --epochs so that it takes so long: 90m, 2h, 1d",
    )
    parser.add_argument("--epochs", type=flags.positive, help="passes over the pictures (default: the preset's)")
    parser.add_argument("--weights", help=flags.WEIGHTS)
    parser.add_argument(
        "--preset", help=f"{', '.join(preset_names())}, or a TOML file (default: make-cpu, or make-gpu with a GPU)"
    )
    flags.add_machine(parser)
    flags.add_release_json(parser)


def run(options: argparse.Namespace) -> None:
    """Make the release, then print how to use it."""
    try:
        release = _make(options)
    except KeyboardInterrupt:  # before the stages, or at the second Ctrl-C
        raise Stopped("stopped; repeat the command to continue") from None
    if options.json:
        flags.print_release(release)


def _make(options: argparse.Namespace) -> "Release":
    from model_store.devices import choose_device
    from training.learning.run import RunContext
    from training.make.budget import fit, grow, measure_pace
    from training.make.checks import check
    from training.make.estimates import summary
    from training.make.plan import read_progress, read_recorded
    from training.make.stages import make, published

    device = choose_device(options.device)
    plan = plan_of(options, device)
    recorded = read_recorded(plan)
    if plan.time_s is not None and recorded is not None:
        plan = grow(plan, recorded)
    progress = read_progress(plan)
    plan = plan.at(progress)
    release = published(plan, progress)
    if release is not None:
        say(f"{release.ref} is published already: {release.folder}")
    else:
        check(plan, bar=progress_bar)
        with stop_on_signals() as stop_asked:
            context = RunContext(
                device=device,
                workers=1 if device == "cpu" else max(1, usable_cores() // 2),
                store_root=plan.store,
                say=say,
                bar=progress_bar,
                stop_asked=stop_asked,
            )
            if plan.time_s is not None and recorded is None:
                say("measuring this machine")
                plan = fit(plan, measure_pace(plan, context), plan.time_s)
            say(summary(plan, device))
            release = make(plan, context)
        say(f"published {release.ref}: {release.folder}")
    photo = read_progress(plan).photo
    assert photo is not None
    _say_how_to_use(release, plan, Path(photo))
    return release


def plan_of(options: argparse.Namespace, device: str) -> "MakePlan":
    """Return the plan that the arguments describe.

    Raises:
        AnnotationError: a source cannot be rendered.
        ConfigError: a preset or a value is unknown, or the labels give no usable name.
        ReleaseNotFound: the name is not valid for a release.
    """
    from training.config import ConfigError, resolve
    from training.make.plan import MakePlan
    from training.synthetic.composites.parts import PartCounts

    kind = device.partition(":")[0]
    meshes = options.what if options.label else []
    given = {"epochs": options.epochs, "weights": options.weights, "composites": options.composites}
    if not meshes:
        _check_recipe_flags(options)
        given |= {"composites": 0, "keep_colours": False}  # recipes have no cut-outs, and colours of their own
    if options.any_colour:
        given["keep_colours"] = False
    config = resolve(
        options.preset or PRESETS[kind],
        {name: value for name, value in given.items() if value is not None},
        device=device,
        store_root=options.store,
    )
    recipe = recipe_of(options.what, options.label, any_colour=options.any_colour)
    if recipe.views > 1 and config.group_by is None:
        config = config.model_copy(update={"group_by": SCENE})
    release_name = options.name or _name_from(options.label or options.what)
    store.check_name(release_name)
    for name in ("backgrounds", "cutouts"):
        if getattr(options, name) is not None and not config.composites:
            raise ConfigError(f"--{name} is for composites, and there are none; leave it out, or set --composites")
    return MakePlan(
        sources=tuple(
            f"{label} from {Path(file).name} (sha256 {store.sha256_of(Path(file))[:16]})"
            for file, label in zip(meshes, options.label, strict=True)
        )
        or tuple(options.what),
        class_names=tuple(dict.fromkeys(options.label)) or recipe.labels,
        name=release_name,
        count=options.count or (MESH_COUNT if config.composites else COUNTS[kind]),
        parts=PartCounts.suiting(len(meshes), options.cutouts) if config.composites else None,
        backgrounds=tuple(find_photos([options.backgrounds.resolve()], stems_differ=False))
        if options.backgrounds
        else (),
        photos=None if options.photos is None else options.photos.resolve(),
        store=options.store.resolve(),
        config=config,
        out=options.out or Path("runs/make") / release_name,
        recipe=recipe,
        objects=tuple(objects_of(meshes, options.label, any_colour=options.any_colour)) if meshes else (),
        blender=workers_of(options),
        time_s=_time_of(options),
    )


def _time_of(options: argparse.Namespace) -> int | None:
    from training.config import ConfigError
    from training.make.budget import seconds_of

    if options.time is None:
        return None
    if given := [f"--{name}" for name in ("count", "cutouts", "epochs") if getattr(options, name) is not None]:
        raise ConfigError(f"--time chooses {', '.join(given)}; leave out one or the other")
    return seconds_of(options.time)


def _check_recipe_flags(options: argparse.Namespace) -> None:
    from training.config import ConfigError

    for name in ("backgrounds", "cutouts", "composites"):
        if getattr(options, name):
            raise ConfigError(f"--{name} is for mesh files; the recipe {options.what[0]} has no cut-outs")


def _name_from(labels: Sequence[str]) -> str:
    from training.config import ConfigError

    name = re.sub(r"[^a-z0-9._-]+", "-", "-".join(dict.fromkeys(labels)).lower()).strip("-._")[:64]
    if not name:
        raise ConfigError(f"the labels {', '.join(labels)} give no name for the release; choose one with --name")
    return name


def _say_how_to_use(release: "Release", plan: "MakePlan", photo: Path) -> None:
    from training.make.stages import PHOTOS

    if not any(item.data == PHOTOS for item in release.manifest.metrics):
        say("without labelled photos, the figures and the threshold come from renders; on photos they may differ much")
    say(f"report: {plan.report}")
    settings = [f"RENDERSIGHT_MODEL={release.ref}"]
    if plan.store != store.DEFAULT_ROOT.resolve():
        settings.append(f"RENDERSIGHT_MODEL_STORE={shlex.quote(str(plan.store))}")
    say(f"serve it: {' '.join(settings)} python -m app")
    here = Path.cwd()
    shown = photo.relative_to(here) if photo.is_relative_to(here) else photo
    say(f"curl -F {shlex.quote(f'image=@{shown}')} 'http://127.0.0.1:8000/detect'")
