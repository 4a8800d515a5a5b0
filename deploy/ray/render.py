"""Rendering on a cluster: `.venv-ray/bin/python -m deploy.ray.render dice --count 6000 --out /shared/dice`.

Each Ray task runs `training render --shard i/n`; docs/rendering.md explains its inputs and outputs.
"""

import argparse
import ctypes
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from deploy.ray.errors import JobError, exit_status
from deploy.ray.resources import fit_actors
from rendersight import flags
from rendersight.command_line import FAILED
from rendersight.console import progress_bar, say
from training.commands.render import add_flags

PROGRAM = "python -m deploy.ray.render"

_ROOT = Path(__file__).parents[2]
_PYTHON = Path(".venv/bin/python")
_PARTS_EACH = 4
_PR_SET_PDEATHSIG = 1  # prctl(2)

_CHOSEN_HERE = ("--shard", "--workers", "--threads")


def main(arguments: Sequence[str] | None = None) -> int:
    """Render all parts. The same command continues after any exit status.

    Returns:
        The exit status: 0 for success, 1 if a part failed, 2 for bad input, 130 if it was interrupted.
    """
    options, rest = build_parser().parse_known_args(arguments)
    return exit_status(PROGRAM, lambda: _run(options, rest))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this command's own flags, without those of `training render`."""
    parser = argparse.ArgumentParser(
        PROGRAM,
        usage=f"{PROGRAM} WHAT --count N --out OUT [flags of `training render`] [flags]",
        description="Split `training render` over the machines of a Ray cluster. Paths are relative to the repository. "
        "All machines must see --out. Images that are already there are skipped.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--address", help="HOST:PORT of the cluster's head, auto, or local for a cluster on this machine"
    )
    parser.add_argument(
        "--parts", type=flags.positive, help="number of tasks (default: four times as many as run at once)"
    )
    parser.add_argument(
        "--cores", type=flags.positive, help="cores of each task (default: all of the smallest machine)"
    )
    parser.add_argument("--python", type=Path, default=_PYTHON, help=f"interpreter with torch (default: {_PYTHON})")
    return parser


def _run(options: argparse.Namespace, rest: Sequence[str]) -> int:
    if chosen := [word for word in rest if word.partition("=")[0] in _CHOSEN_HERE]:
        raise JobError(f"{chosen[0]} is not accepted; --parts and --cores set it")
    verb = argparse.ArgumentParser(PROGRAM)
    add_flags(verb)
    verb.parse_args(rest)  # an invalid flag fails here instead of in each part
    from deploy.ray import cluster  # noqa: PLC0415 - Ray

    with cluster.connect(options.address):
        pool = fit_actors(cluster.machines(), actors=None, cores=options.cores, gpus=0)
        parts = options.parts or _PARTS_EACH * pool.count
        # twice as many threads as cores, as `training render` does with a whole machine
        workers = max(1, pool.cores // 2)
        share = ["--workers", str(workers), "--threads", str(math.ceil(2 * pool.cores / workers))]
        command = [str(options.python), "-m", "training", "render", *rest, *share]
        say(f"{parts} parts, {min(parts, pool.count)} at a time on {pool.cores} cores each")
        failures: dict[str, list[int]] = {}
        with progress_bar(total=parts, desc="parts") as bar:
            for number, failure in _done(command, parts, cores=pool.cores):
                bar.update()
                if failure:
                    failures.setdefault(failure, []).append(number)
    for failure, numbers in failures.items():
        say(f"part {', '.join(map(str, sorted(numbers)))} of {parts}: {failure}")
    failed = sum(map(len, failures.values()))
    say(f"rendered {parts - failed} of {parts} parts" + ("; repeat the command to continue" if failed else ""))
    return FAILED if failed else 0


def _done(command: Sequence[str], parts: int, *, cores: int) -> Iterator[tuple[int, str]]:
    """Run all parts. Yield the number of each finished part and the reason of its failure, empty for success.

    If a machine is lost, Ray runs its parts again; images that are already rendered are kept.
    """
    import ray  # noqa: PLC0415 - takes seconds, and Ray may be missing

    render = ray.remote(num_cpus=cores)(_render)
    left = {render.remote([*command, "--shard", f"{number}/{parts}"]): number for number in range(1, parts + 1)}
    while left:
        (done,), _ = ray.wait(list(left))
        try:
            failure = ray.get(done)
        except ray.exceptions.RayTaskError as error:  # its text is a traceback
            failure = f"{type(error.cause).__name__}: {error.cause}"
        except ray.exceptions.RayError as error:
            failure = str(error).strip().partition("\n")[0]
        yield left.pop(done), failure


def _render(command: Sequence[str]) -> str:
    """Run one part. Return the reason of its failure, or an empty string."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=_ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
            preexec_fn=_die_with_the_task,
        )
    except OSError as error:
        return f"{command[0]}: {error.strerror}; run `make .venv/dev.stamp` on every machine"
    said = done.stderr.strip() or f"exit status {done.returncode}"
    return "" if done.returncode == 0 else said.splitlines()[-1]


def _die_with_the_task() -> None:
    """Make the kernel kill this process when its parent ends for any reason."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
