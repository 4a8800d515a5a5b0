"""What adapting to photos is worth: `python -m benchmarks.adapt NAME=FOLDER [NAME=FOLDER ...] --release dice`.

Each set of labelled photos is divided into two halves. A release is adapted to one half without its labels and scored
on the other; then the other way round. Both halves are scored together, before and after, with a paired bootstrap over
the photos. The detectors adapted to one set are also scored on every other set.

The halves follow a rule: photos that look alike, or whose names match the same text with `--group-by`, are one group.
The groups in the order of their first names go to the smaller half, the first half if both are equal.

Each row, seed and half is a unit that is kept in `--out`, so the command can be stopped and repeated.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from model_store import store
from model_store.cpu import usable_cores
from model_store.devices import choose_device
from model_store.engines.torch import TorchEngine
from model_store.network import LoadedNetwork, load_network
from rendersight.annotations import AnnotatedImage
from rendersight.detections import Detections
from rendersight.flags import positive
from training.adapting.photos import groups_of
from training.adapting.plan import AdaptPlan
from training.adapting.stages import WHOLE, label, learn
from training.adapting.verdict import Difference, difference
from training.commands.adapt import config_of
from training.commands.flags import maybe_named_folder
from training.console import progress_bar, say
from training.data.dataset import LabelledImages, read_dataset
from training.data.split import group_of
from training.learning.run import RunContext
from training.measuring.evaluation import as_one_class, evaluate
from training.records.loading import load_run
from training.records.run_folder import WORK
from training.releasing.work_folder import WorkFolder, identity_of

HALVES = 2


def halves(data: LabelledImages, group_by: str | None) -> list[LabelledImages]:
    """Return the two halves of a set of photos, by the rule at the top of this module."""
    if group_by is None:
        groups = [[data.images[number].name for number in group] for group in groups_of(data)]
    else:
        named: dict[str, list[str]] = {}
        for image in data.images:
            named.setdefault(group_of(image.name, group_by), []).append(image.name)
        groups = list(named.values())
    parts: list[list[str]] = [[] for _ in range(HALVES)]
    for group in sorted(groups):
        min(parts, key=len).extend(group)
    return [data.select(part) for part in parts]


@dataclass(frozen=True)
class Bench:
    """What every unit needs.

    Attributes:
        release: the release to adapt.
        ref: reference of that release.
        options: the arguments of the command.
        context: device and output.
    """

    release: LoadedNetwork
    ref: str
    options: argparse.Namespace
    context: RunContext

    def adapted(self, name: str, half: int, learn_from: LabelledImages, few: int, seed: int) -> LoadedNetwork:
        """Return the release adapted to half a set of photos, of which `few` keep their labels."""
        class_names = tuple(self.release.info.class_names)
        order = np.random.default_rng(seed).permutation(len(learn_from.images))
        chosen = {learn_from.images[number].name for number in order[:few]}
        config = config_of(
            self.release,
            self.ref,
            self.options.store,
            preset=self.options.preset,
            epochs=self.options.epochs,
            device=self.context.device,
        )
        plan = AdaptPlan(
            loaded=self.release,
            source=self.ref,
            name=name,
            photos=tuple(_without_labels(image) for image in learn_from.images if image.name not in chosen),
            labelled=LabelledImages(tuple(image for image in learn_from.images if image.name in chosen), class_names),
            renders=None,
            store=self.options.store,
            config=config.model_copy(update={"seed": seed}),
            out=self.options.out / f"{name}-{self.options.preset}-k{few}-seed{seed}-half{half}",
        )
        learn(plan, label(plan, self.context), self.context, with_folds=False)
        return load_run(plan.run(WHOLE))

    def found(self, loaded: LoadedNetwork, data: LabelledImages) -> list[Detections]:
        """Return the detections in every photo; those of earlier commands are kept."""
        work = WorkFolder(self.options.out / WORK, self.context.say)
        engine = TorchEngine(loaded.network, self.context.device)
        return work.detect(engine, identity_of(loaded), "the other half", data.images, bar=progress_bar)


def _without_labels(image: AnnotatedImage) -> AnnotatedImage:
    return replace(
        image, annotation_path=None, boxes_xyxy=np.zeros((0, 4), np.float32), labels=(), flags=(), ignored=()
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each set of photos, seed and number of labelled photos."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adapt", description=__doc__)
    parser.add_argument("sets", type=maybe_named_folder, nargs="+", metavar="[NAME=]FOLDER", help="labelled photos")
    parser.add_argument("--release", default="dice", help="the release to adapt (default: dice)")
    parser.add_argument("--learn-from", help="names of the sets to adapt to, comma-separated (default: all)")
    parser.add_argument("--labelled", type=int, nargs="+", default=[0], help="numbers of labelled photos (default: 0)")
    parser.add_argument("--seeds", type=positive, default=2)
    parser.add_argument("--group-by", help="regular expression on names, instead of looks")
    parser.add_argument("--preset", default="adapt")
    parser.add_argument("--epochs", type=positive)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--store", type=Path, default=store.DEFAULT_ROOT)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/adapt"), help="keeps the finished units")
    options = parser.parse_args(arguments)
    release = load_network(options.release, store_root=options.store)
    device = choose_device(options.device)
    context = RunContext(
        device=device,
        workers=1 if device == "cpu" else usable_cores() // 2,
        store_root=options.store,
        say=say,
        bar=progress_bar,
        stop_asked=lambda: False,
    )
    bench = Bench(release, f"{release.info.name}@{release.info.version}", options, context)
    sets = {name: read_dataset(folder, class_names=release.info.class_names) for name, folder in options.sets}
    wanted = options.learn_from.split(",") if options.learn_from else list(sets)
    print(f"{bench.ref} adapted with {options.preset}; AP50 in points, ± half of the 95 % interval")
    print(
        f"{'photos':16} {'labelled':>8} {'seed':>4} {'scored on':16} {'before':>7} {'after':>7} {'change':>13} {'s':>6}"
    )
    for name in wanted:
        for few in options.labelled:
            for seed in range(options.seeds):
                _print_rows(bench, name, sets, few=few, seed=seed)


def _print_rows(bench: Bench, name: str, sets: dict[str, LabelledImages], *, few: int, seed: int) -> None:
    parts, begun = halves(sets[name], bench.options.group_by), time.monotonic()
    adapted = [bench.adapted(name, half, part, few, seed) for half, part in enumerate(parts)]
    seconds = time.monotonic() - begun
    others = parts[::-1]
    scored = LabelledImages(tuple(image for part in others for image in part.images), sets[name].class_names)
    before = bench.found(bench.release, scored)
    after = [one for loaded, part in zip(adapted, others, strict=True) for one in bench.found(loaded, part)]
    start = f"{name:16} {few:8} {seed:4}"
    _print_row(start, "the other half", scored, before, after, seconds=seconds)
    one_class, old = as_one_class(scored, before)
    _print_row(start, "  any class", one_class, old, as_one_class(scored, after)[1])
    for other, data in sets.items():
        if other != name:
            before = bench.found(bench.release, data)
            for half, loaded in enumerate(adapted, 1):
                _print_row(start, f"{other}, by half {half}", data, before, bench.found(loaded, data))


def _print_row(
    start: str,
    scored_on: str,
    data: LabelledImages,
    before: Sequence[Detections],
    after: Sequence[Detections],
    *,
    seconds: float | None = None,
) -> None:
    changed: Difference | None = difference(data, before, after)
    if changed is None:
        return
    old, new = (100 * evaluate(data, found).figures["AP50"] for found in (before, after))
    change = f"{changed.points:+.1f} ± {(changed.high - changed.low) / 2:.1f}"
    took = "" if seconds is None else f"{seconds:.0f}"
    print(f"{start} {scored_on:16} {old:7.1f} {new:7.1f} {change:>13} {took:>6}", flush=True)


if __name__ == "__main__":
    main()
