"""fp32 graphs and photos -> int8 graphs, by NNCF, in a process of its own.

It runs as `python -m training.releasing.quantise < job.json`, because NNCF changes torch's functions when it is
imported and brings a second OpenMP runtime along; neither belongs into the process that goes on to measure, train or
serve.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from pydantic import BaseModel, ConfigDict

from model_store.engines.openvino import GRAPHS, OpenVinoEngine, graphs_in
from model_store.manifest import InputRule
from rendersight import images
from training.records.run_folder import RunError

_QUANTISED = ("features", "head")
_ROOT = Path(__file__).parents[2]


class Job(BaseModel):
    """What to quantise.

    Attributes:
        graphs: folder of the fp32 graphs.
        out: folder for the int8 graphs; must exist.
        rule: how images become the network's input.
        photos: from which the range of every tensor is learned.
        spared: regular expressions on the names of a graph's nodes; those stay in higher precision.
    """

    model_config = ConfigDict(frozen=True)

    graphs: Path
    out: Path
    rule: InputRule
    photos: tuple[Path, ...]
    spared: tuple[str, ...] = ()


def run_apart(job: Job) -> None:
    """Do a job in a process of its own.

    Raises:
        RunError: it failed; the message has NNCF's last line.
    """
    absolute = job.model_copy(update={"photos": tuple(path.resolve() for path in job.photos)})
    done = subprocess.run(
        [sys.executable, "-m", "training.releasing.quantise"],
        input=absolute.model_dump_json(),
        cwd=_ROOT,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1"},
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise RunError(f"the quantisation failed with status {done.returncode}: {last}")


def quantise(job: Job) -> None:
    """Quantise the graphs that are worth it, and write all of them.

    The first layer's weights get 7 bits: without VNNI, products of two 8-bit numbers are added in 16 bits, which
    overflow. Of dice, AP50 on one set of photos fell from 0.695 to 0.651 so; docs/performance.md has the comparison.
    """
    import nncf  # noqa: PLC0415 - only in a process of its own
    from nncf.quantization.advanced_parameters import (  # noqa: PLC0415
        AdvancedQuantizationParameters,
        OverflowFix,
    )

    logging.getLogger("nncf").setLevel(logging.ERROR)
    core = ov.Core()
    inputs = calibration_inputs(job)
    if empty := [name for name, items in inputs.items() if not items]:
        raise ValueError(f"no photo leads to proposals: nothing is known of the ranges of {', '.join(empty)}")
    for name in GRAPHS:
        graph = core.read_model(job.graphs / f"{name}.xml")
        if name in _QUANTISED:
            graph = nncf.quantize(
                graph,
                nncf.Dataset(inputs[name]),
                subset_size=len(inputs[name]),
                preset=nncf.QuantizationPreset.MIXED,
                advanced_parameters=AdvancedQuantizationParameters(overflow_fix=OverflowFix.FIRST_LAYER),
                ignored_scope=nncf.IgnoredScope(patterns=list(job.spared), validate=False) if job.spared else None,
            )
        ov.save_model(graph, job.out / f"{name}.xml", compress_to_fp16=True)


def calibration_inputs(job: Job) -> dict[str, Sequence[dict[str, Any]]]:
    """Run the photos through fp32 and return what enters the graphs that are quantised, if anything does."""
    engine = OpenVinoEngine(graphs_in(job.graphs), "openvino-fp32", rule=job.rule)
    kept: dict[str, list[dict[str, Any]]] = {name: [] for name in _QUANTISED}
    with engine.lane() as lane:
        for path in job.photos:
            image = images.read(path)
            lane.run(image, job.rule)
            for name, items in kept.items():
                inputs = {key: np.array(value) for key, value in lane.inputs(name).items()}
                if all(value.size for value in inputs.values()):  # of a photo without proposals nothing has a range
                    items.append(inputs)
    return dict(kept)


if __name__ == "__main__":
    quantise(Job.model_validate_json(sys.stdin.read()))
