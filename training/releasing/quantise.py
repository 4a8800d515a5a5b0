"""Quantisation of fp32 graphs to int8 graphs by NNCF, calibrated with photos, in a separate process.

The process is `python -m training.releasing.quantise < job.json`. Importing NNCF changes functions of torch and loads a
second OpenMP runtime. Neither may happen in the process that measures, trains or serves.
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


class QuantisationJob(BaseModel):
    """Input and output of a quantisation.

    Attributes:
        graphs: folder of the fp32 graphs.
        out: folder for the int8 graphs; must exist.
        rule: conversion of an image to the network's input.
        photos: photos from which the range of every tensor is learned.
        spared: regular expressions on the names of graph nodes that stay in higher precision.
    """

    model_config = ConfigDict(frozen=True)

    graphs: Path
    out: Path
    rule: InputRule
    photos: tuple[Path, ...]
    spared: tuple[str, ...] = ()


def run_apart(job: QuantisationJob) -> None:
    """Run a quantisation in a separate process.

    Raises:
        RunError: the process failed. The message ends with the last line of its error output.
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


def quantise(job: QuantisationJob) -> None:
    """Quantise the feature and head graphs, and write all graphs of the network.

    The first layer's weights get 7 bits. Without VNNI, the CPU adds products of two 8-bit numbers in 16 bits, which
    overflow. With 8 bits, AP50 of `dice` on one set of photos fell from 0.695 to 0.651; see docs/performance.md.
    """
    import nncf  # noqa: PLC0415 - imported only in the separate process
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


def calibration_inputs(job: QuantisationJob) -> dict[str, Sequence[dict[str, Any]]]:
    """Run the photos through the fp32 graphs, and return the inputs of each graph to quantise, by graph name.

    Photos that give a graph no input, such as photos without proposals, are skipped for that graph.
    """
    engine = OpenVinoEngine(graphs_in(job.graphs), "openvino-fp32", rule=job.rule)
    kept: dict[str, list[dict[str, Any]]] = {name: [] for name in _QUANTISED}
    with engine.lane() as lane:
        for path in job.photos:
            image = images.read(path)
            lane.run(image, job.rule)
            for name, items in kept.items():
                inputs = {key: np.array(value) for key, value in lane.inputs(name).items()}
                if all(value.size for value in inputs.values()):  # without proposals a tensor is empty and has no range
                    items.append(inputs)
    return dict(kept)


if __name__ == "__main__":
    quantise(QuantisationJob.model_validate_json(sys.stdin.read()))
