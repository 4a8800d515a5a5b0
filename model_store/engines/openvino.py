"""The OpenVINO engine: a prepared detector on the CPU, without torch."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import openvino as ov

from model_store.cpu import usable_cores
from model_store.errors import BrokenRelease
from model_store.manifest import InputRule
from rendersight.detections import Detections
from rendersight.images import RgbImage

GRAPHS = ("features", "proposals", "head")
"""The parts of a prepared detector, files `NAME.xml` and `NAME.bin`; see `model_store.graphs`."""

Graphs = Mapping[str, Path | ov.Model]
"""Name -> file or graph, for each of `GRAPHS`."""

PAD_MULTIPLE_PX = 32

_HINTS = {"openvino-fp32": "f32", "openvino-bf16": "bf16", "openvino-int8": "bf16"}
"""Arithmetic of what is not quantised: with int8, bfloat16 where the processor has it."""


@cache
def _core() -> ov.Core:
    """Return the one core of this process: with the last of them its plugin would be unloaded, and loaded again."""
    return ov.Core()


def graphs_in(folder: Path) -> Graphs:
    """Return the graphs that a folder holds."""
    return {name: folder / f"{name}.xml" for name in GRAPHS}


class OpenVinoEngine:
    """Runs the three graphs of a prepared detector; see `model_store.engines.Engine`.

    Attributes:
        name: `openvino-fp32`, `openvino-bf16` or `openvino-int8`.
        device: `cpu`.
        parallel: so many threads may call `detect` at once; each image has its stream, a share of the cores.
    """

    device = "cpu"

    def __init__(
        self, graphs: Graphs, name: str, *, rule: InputRule, streams: int = 1, cache_dir: Path | None = None
    ) -> None:
        """Compile the graphs for this processor.

        Args:
            graphs: of a prepared detector.
            name: what the graphs are and the arithmetic to run them in.
            rule: how images become the network's input.
            streams: images computed at the same time, each on its share of the cores; 1 is the shortest latency.
            cache_dir: where OpenVINO keeps compiled code for the next start; None keeps none.

        Raises:
            BrokenRelease: OpenVINO cannot read or compile the graphs.
        """
        self.name, self.parallel = name, streams
        self._rule = rule
        common: dict[str, Any] = {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": usable_cores()}
        if cache_dir is not None:
            common["CACHE_DIR"] = str(cache_dir)
        hints = (_HINTS[name], "f32", _HINTS[name])
        try:
            compiled = [
                _core().compile_model(graphs[graph], "CPU", {**common, "INFERENCE_PRECISION_HINT": hint})
                for graph, hint in zip(GRAPHS, hints, strict=True)
            ]
        except RuntimeError as error:
            raise BrokenRelease(f"the graphs cannot be used: {str(error).strip().splitlines()[-1]}") from error
        self._lanes: SimpleQueue[Lane] = SimpleQueue()
        for _ in range(streams):
            self._lanes.put(Lane([graph.create_infer_request() for graph in compiled]))

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        """Find objects; see `model_store.engines.Engine.detect`.

        Raises:
            FloatingPointError: the network answered with something that is not finite.
        """
        with self.lane() as lane:
            return [self._detect_one(lane, image) for image in images]

    @contextmanager
    def lane(self) -> Iterator["Lane"]:
        """Lend the buffers of one image, as soon as there are free ones."""
        lane = self._lanes.get()
        try:
            yield lane
        finally:
            self._lanes.put(lane)

    def _detect_one(self, lane: "Lane", image: RgbImage) -> Detections:
        height, width = image.shape[:2]
        resized_h, resized_w = self._rule.resized_hw(height, width)
        if min(resized_h, resized_w) < 1:  # nothing is left of its narrow side
            return Detections.of([], [], [])
        boxes, labels, scores = lane.run(image, resized_h, resized_w)
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise FloatingPointError("the network answered with a box or a score that is not finite")
        scale = np.array([width / resized_w, height / resized_h] * 2, np.float32)
        boxes = (boxes * scale).clip(0, (width, height, width, height))
        has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        return Detections.of(boxes[has_area], labels[has_area], scores[has_area])


class Lane:
    """The buffers of one image on its way through the graphs."""

    def __init__(self, requests: Sequence[Any]) -> None:
        self._requests = dict(zip(GRAPHS, requests, strict=True))

    def run(self, image: RgbImage, height: int, width: int) -> tuple[Any, Any, Any]:
        """Return boxes in px of the image resized to `height` and `width`, labels and scores, best first."""
        features, proposals, head = self._requests.values()
        features.infer(
            {
                "image": np.ascontiguousarray(image)[None],
                "size_hw": np.array([height, width], np.int64),
                "pad_hw": np.array([-height % PAD_MULTIPLE_PX, -width % PAD_MULTIPLE_PX], np.int64),
            },
            share_inputs=True,
        )
        limit = np.array([height, width], np.float32)
        for source, target in ((features, proposals), (proposals, head)):
            names = [item.get_any_name() for item in target.model_inputs]
            handed = {name: source.get_tensor(name) for name in names if name != "limit_hw"}
            target.infer({**handed, "limit_hw": limit}, share_inputs=True)
        boxes, labels, scores = (head.get_tensor(name).data.copy() for name in ("boxes", "labels", "scores"))
        return boxes, labels, scores

    def inputs(self, graph: str) -> dict[str, Any]:
        """Return what the last `run` gave to a graph, by its inputs' names: views that the next run overwrites."""
        request = self._requests[graph]
        return {item.get_any_name(): request.get_tensor(item).data for item in request.model_inputs}
