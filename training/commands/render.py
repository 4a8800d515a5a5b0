"""The verb `render`: render labelled photos of a recipe or of mesh files."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from training.commands import flags
from training.commands.render_flags import add_sources, check_blender, recipe_of, workers_of
from training.console import bar_of, say
from training.errors import Stopped
from training.stopping import stop_on_signals


@dataclass(frozen=True)
class Shard:
    """One of `total` disjoint parts of the seeds, numbered from 1, so that several machines can render one dataset."""

    number: int
    total: int

    def of(self, seeds: range, *, together: int = 1) -> list[int]:
        """Return every `total`-th seed, so that a shard keeps its seeds when the range is extended.

        Seeds of one settled scene, those between two multiples of `together`, are in one shard.
        """
        first = seeds.start // together
        return [seed for seed in seeds if (seed // together - first) % self.total == self.number - 1]

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


def shard(text: str) -> Shard:
    """Parse i/n, from 1/n to n/n."""
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shard; write i/n with i from 1 to n, such as 1/4 or 4/4")
    return Shard(int(match[1]), int(match[2]))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments to the parser."""
    parser.description = (
        "Render photos with LabelMe files, one for each seed. Photos that are already in --out are kept, so you can "
        "repeat a stopped command to continue."
    )
    add_sources(parser)
    parser.add_argument("--count", type=flags.positive, required=True, help="number of photos")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first photo (default: 0)")
    parser.add_argument(
        "--shard",
        metavar="I/N",
        type=shard,
        default=Shard(1, 1),
        help="render part I of N; the parts may run at the same time and write into the same --out",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the photos")


def run(options: argparse.Namespace) -> None:
    """Render the dataset."""
    from training.records.run_folder import check_folder
    from training.synthetic.dataset import render_dataset

    recipe = recipe_of(options.what, options.label, any_colour=options.any_colour)
    check_folder(options.out)
    check_blender(options)
    wanted = range(options.first_seed, options.first_seed + options.count)
    seeds = options.shard.of(wanted, together=recipe.views)
    with stop_on_signals() as stop_asked:
        count = render_dataset(
            recipe,
            seeds,
            options.out,
            workers=workers_of(options),
            progress=bar_of("images"),
            stop_asked=stop_asked,
        )
        is_stopped = stop_asked()
    if is_stopped:
        raise Stopped(f"stopped after {count} images; repeat the command to continue")
    part = f" (part {options.shard} of {options.count})" if options.shard.total > 1 else ""
    say(f"{count} images rendered, {len(seeds)} in {options.out}{part}")
