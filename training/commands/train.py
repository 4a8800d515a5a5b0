"""The verb `train`: train a detector on labelled images."""

import argparse
from pathlib import Path

from rendersight.annotations import ReadOptions
from training.commands import flags
from training.console import progress_bar, say
from training.presets import preset_names
from training.stopping import stop_on_signals
from training.torchrun import this_process


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments to the parser."""
    parser.description = (
        "Train a detector on labelled images. Ctrl-C stops after the current step and keeps the work; --resume "
        "continues."
    )
    parser.add_argument("dataset", type=Path, nargs="?", help=flags.DATASET)
    flags.add_reading(parser)
    parser.add_argument(
        "--composites-from",
        type=Path,
        metavar="FOLDER",
        help="folder of `cutouts`: --set composites=N adds N new composites to each epoch",
    )
    parser.add_argument("--out", type=Path, required=True, help="the run folder")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--preset", help=f"set of hyperparameters: {', '.join(preset_names())}, or a TOML file")
    parser.add_argument(
        "--architecture", help="name of the network; docs/training.md lists them (default: by the device)"
    )
    parser.add_argument("--weights", help=flags.WEIGHTS)
    parser.add_argument("--epochs", type=int, help="passes over the images")
    parser.add_argument("--batch-size", type=int, help="images per step")
    parser.add_argument("--learning-rate", type=float, help="peak learning rate")
    parser.add_argument("--hold-out", type=float, help="images to hold out: a share if below 1, else a number")
    parser.add_argument(
        "--hold-out-names", type=Path, metavar="FILE", help="hold out the images listed in this file, one name per line"
    )
    parser.add_argument(
        "--group-by", metavar="REGEX", help="hold out together the images in whose names this matches the same text"
    )
    parser.add_argument("--seed", type=int, help="seed of all random draws")
    parser.add_argument(
        "--set", metavar="NAME=VALUE", action="append", default=[], help="set a hyperparameter of training/config.py"
    )
    parser.add_argument(
        "--workers", type=flags.count, default=1, help="number of processes that read images (default: 1)"
    )
    flags.add_machine(parser)


_DIRECT = ("architecture", "weights", "epochs", "batch_size", "learning_rate", "hold_out", "group_by", "seed")


def run(options: argparse.Namespace) -> None:
    """Train the detector; torchrun calls this in each of its processes."""
    from training.config import ConfigError, TrainConfig, parse_assignments, resolve
    from training.learning import run as runs
    from training.learning.distributed import device_of, joined
    from training.records.run_folder import read_names

    reading = flags.reading_of(options)
    given = {name: getattr(options, name) for name in _DIRECT if getattr(options, name) is not None}

    def ask(device: str) -> tuple[TrainConfig, list[str] | None, bool] | None:
        """Return the configuration, the images to hold out and whether to use the dataset's own split; None resumes."""
        overrides = {**given, **parse_assignments(options.set)}
        if options.resume:
            if overrides or options.preset or options.hold_out_names or reading != ReadOptions():
                raise ConfigError(
                    "a resumed run keeps its hyperparameters, its labels and the way it reads the dataset; leave those "
                    "flags out, or start a new run"
                )
            return None
        if options.dataset is None:
            raise ConfigError("the dataset is missing: give its folder, or --resume to continue a run")
        if options.hold_out_names and (options.hold_out is not None or options.group_by is not None):
            raise ConfigError("--hold-out-names replaces --hold-out and --group-by; leave those out")
        if options.composites_from is None:
            overrides.setdefault("composites", 0)  # the presets of `make` have some
        config = resolve(options.preset, overrides, device=device, store_root=options.store)
        if bool(config.composites) != bool(options.composites_from):
            raise ConfigError(
                "composites need both --composites-from FOLDER and --set composites=N; one of them is missing"
            )
        names = read_names(options.hold_out_names) if options.hold_out_names else None
        return config, names, not {"hold_out", "group_by"} & set(overrides)

    with stop_on_signals() as stop_asked, joined(this_process(), device=options.device) as world:
        device = device_of(world, options.device)
        context = runs.RunContext(
            device=device,
            workers=options.workers,
            store_root=options.store,
            say=say,
            bar=progress_bar,
            stop_asked=stop_asked,
            world=world,
        )
        asked = world.together(lambda: ask(device))
        world.check_same("--resume", asked is None)
        if world.process.restarts_hang:
            say("a restart by torchrun will hang: on several machines set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 on each")
        if asked is None or runs.begun_by_this_command(options.out, world):
            runs.resume(options.out, context=context, dataset=options.dataset)
            return
        config, names, follow_splits = asked
        runs.start(
            options.dataset,
            options.out,
            config,
            class_names=options.labels,
            context=context,
            hold_out_names=names,
            reading=reading,
            follow_splits=follow_splits,
            composites_from=options.composites_from,
        )
