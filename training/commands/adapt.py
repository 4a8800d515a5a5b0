"""The verb `adapt`: teach a release the photos of one place. This module turns the arguments into an `AdaptPlan`."""

import argparse
import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_store import references, store
from model_store.references import ReleaseRef
from training.commands import flags
from training.console import progress_bar, say
from training.errors import Stopped
from training.stopping import stop_on_signals

if TYPE_CHECKING:
    from model_store.network import LoadedNetwork
    from model_store.store import Release
    from training.adapting.plan import AdaptPlan, AdaptProgress
    from training.config import TrainConfig

PRESET = "adapt"
_FROM_RELEASE = ("horizontal_flip", "vertical_flip", "rotate90", "keep_colours")
"""Hyperparameters that say what an object of the release may look like, so its own training decides."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments to the parser."""
    parser.description = (
        "Teach a release the photos of the place where it runs. The photos need no labels: the release looks at each "
        "one at several sizes, and learns what these views agree on. The result is a release with a name of its own. "
        "It is not published if it measures worse. If you stop the command, repeat it to continue."
    )
    parser.add_argument("release", help="the release to start from: dice, dice@6 or its folder")
    parser.add_argument("--photos", type=Path, required=True, help="photos of the place; labels are not read")
    parser.add_argument(
        "--labelled", type=Path, help="a few labelled photos to learn from and to measure on, in any format"
    )
    parser.add_argument("--renders", type=Path, help="labelled renders to repeat, such as runs/make/NAME/renders")
    parser.add_argument("--name", help="name of the new release (default: RELEASE-FOLDER, from the folder of --photos)")
    parser.add_argument("--out", type=Path, help="the work folder (default: runs/adapt/NAME)")
    parser.add_argument("--epochs", type=flags.positive, help="passes over the photos (default: the preset's)")
    parser.add_argument("--preset", default=PRESET, help=f"a preset, or a TOML file (default: {PRESET})")
    flags.add_machine(parser)
    parser.add_argument(
        "--json", action="store_true", help="print the verdict, and the release if there is one, as JSON"
    )


def run(options: argparse.Namespace) -> None:
    """Adapt the release, then print the verdict and how to use the result."""
    try:
        _adapt(options)
    except KeyboardInterrupt:  # before the stages, or at the second Ctrl-C
        raise Stopped("stopped; repeat the command to continue") from None


def _adapt(options: argparse.Namespace) -> None:
    from model_store.cpu import usable_cores
    from model_store.devices import choose_device
    from training.adapting.stages import adapt, published
    from training.learning.run import RunContext

    device = choose_device(options.device)
    plan = plan_of(options, device)
    _check(plan)
    with stop_on_signals() as stop_asked:
        context = RunContext(
            device=device,
            workers=1 if device == "cpu" else max(1, usable_cores() // 2),
            store_root=plan.store,
            say=say,
            bar=progress_bar,
            stop_asked=stop_asked,
        )
        progress = adapt(plan, context)
    assert progress.verdict is not None
    release = published(plan, progress)
    say(str(progress.verdict))
    if release is not None:
        _say_how_to_use(release, plan)
    if options.json:
        _print(progress, release)


def plan_of(options: argparse.Namespace, device: str) -> "AdaptPlan":
    """Return the plan that the arguments describe.

    Raises:
        AnnotationError: a folder of photos or renders cannot be used.
        ConfigError: a preset or a value is unknown.
        ModelError: the release does not exist or does not load, or the name is not valid for a release.
    """
    from training.adapting.photos import read_photos
    from training.adapting.plan import AdaptPlan
    from training.data.dataset import LabelledImages, read_dataset

    loaded, root = _release(options.release, options.store)
    source = f"{loaded.info.name}@{loaded.info.version}"
    name = options.name or _name_of(loaded.info.name, options.photos)
    store.check_name(name)
    class_names = tuple(loaded.info.class_names)
    labelled = LabelledImages((), class_names)
    if options.labelled is not None:
        labelled = read_dataset(options.labelled, class_names=class_names)
    assert loaded.release is not None
    trained_with = loaded.release.manifest.origin.config
    renders: LabelledImages | None = None
    if options.renders is not None:
        margin = float(str(trained_with.get("box_margin", 0)))
        renders = read_dataset(options.renders, class_names=class_names, decode=False).widened(margin)
    return AdaptPlan(
        loaded=loaded,
        source=source,
        name=name,
        photos=read_photos(options.photos, labelled=labelled, say=say, bar=progress_bar),
        labelled=labelled,
        renders=renders,
        store=options.store.resolve(),
        config=config_of(
            loaded,
            source if isinstance(references.parse(options.release), ReleaseRef) else options.release,
            root,
            preset=options.preset,
            epochs=options.epochs,
            device=device,
        ),
        out=options.out or Path("runs/adapt") / name,
    )


def config_of(
    loaded: "LoadedNetwork", ref: str, root: Path, *, preset: str, epochs: int | None, device: str
) -> "TrainConfig":
    """Return the training configuration: the preset's, with the network and the symmetries of the release.

    Args:
        loaded: the release.
        ref: a reference to it that a newer version does not change.
        root: the model store that has it.
        preset: a preset's name, or the path of a TOML file.
        epochs: passes over the photos; None takes the preset's.
        device: `cpu` or `cuda:N`.
    """
    from training.config import resolve

    assert loaded.release is not None
    trained_with = loaded.release.manifest.origin.config
    given: dict[str, Any] = {"weights": ref, "architecture": loaded.info.architecture}
    given |= {name: trained_with[name] for name in _FROM_RELEASE if name in trained_with}
    if epochs is not None:
        given["epochs"] = epochs
    return resolve(preset, given, device=device, store_root=root)


def _release(ref: str, root: Path) -> "tuple[LoadedNetwork, Path]":
    """Load a release of the model store, else one that comes with the program; also return the store."""
    from contextlib import suppress

    from model_store.errors import ReleaseNotFound
    from model_store.network import load_network
    from training.config import ConfigError

    found = None
    with suppress(ReleaseNotFound):
        found = load_network(ref, store_root=root), root
    if found is None and root.resolve() != store.DEFAULT_ROOT.resolve():
        with suppress(ReleaseNotFound):
            found = load_network(ref, store_root=store.DEFAULT_ROOT), store.DEFAULT_ROOT
    if found is None:
        found = load_network(ref, store_root=root), root  # raises, and lists the releases of the store
    if found[0].release is None:
        raise ConfigError(f"{ref} is a state dict; accepted: a release, which `publish` makes of a run")
    return found


def _name_of(release: str, photos: Path) -> str:
    from training.config import ConfigError

    folder = re.sub(r"[^a-z0-9._-]+", "-", photos.resolve().name.lower()).strip("-._")
    if not folder:
        raise ConfigError(f"{photos} gives no name for the release; choose one with --name")
    return f"{release}-{folder}"[:64]


def _check(plan: "AdaptPlan") -> None:
    """Check what would otherwise fail after the training.

    Raises:
        RunError: the name is taken, or a folder cannot be written.
    """
    from training.adapting.plan import read_progress
    from training.records.run_folder import RunError, check_folder

    for folder in (plan.out, plan.store):
        check_folder(folder)
    progress = read_progress(plan)
    if not progress.is_publishing and store.versions(plan.store, plan.name):
        raise RunError(f"{plan.store} has a release {plan.name} already; choose another name with --name")


def _print(progress: "AdaptProgress", release: "Release | None") -> None:
    assert progress.verdict is not None
    content = {
        "outcome": progress.verdict.outcome,
        "verdict": str(progress.verdict),
        "release": None if release is None else release.ref,
        "folder": None if release is None else str(release.folder),
    }
    print(json.dumps(content))


def _say_how_to_use(release: "Release", plan: "AdaptPlan") -> None:
    settings = [f"RENDERSIGHT_MODEL={release.ref}"]
    if plan.store != store.DEFAULT_ROOT.resolve():
        settings.append(f"RENDERSIGHT_MODEL_STORE={shlex.quote(str(plan.store))}")
    say(f"published {release.ref}: {release.folder}")
    say(f"serve it: {' '.join(settings)} python -m app")
