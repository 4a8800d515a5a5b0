"""The OpenVINO engine: runs a prepared detector on the CPU, without torch."""

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any

import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from model_store.cpu import avoid_amx, has_bfloat16, usable_cores
from model_store.engines import detections_in
from model_store.errors import BrokenRelease
from model_store.manifest import InputRule
from model_store.throttle import Throttle
from rendersight.detections import Detections
from rendersight.images import RgbImage

_log = logging.getLogger(__name__)

# OpenCV's threads cost more than they save on one image, and the other cores have images of their own.
cv2.setNumThreads(1)
avoid_amx()  # oneDNN reads its limit once, when the first graph is compiled

GRAPHS = ("features", "proposals", "head")
"""Parts of a prepared detector, files `NAME.xml` and `NAME.bin`; see `model_store.engines.graphs`."""

Graphs = Mapping[str, Path | ov.Model]
"""Name -> file or graph, for each of `GRAPHS`."""

PAD_MULTIPLE_PX = 32
"""The network's input is padded to a multiple of this, the default of `GeneralizedRCNNTransform`."""

_MOST_EXACT = 4
"""An image with more than this many times the pixels of the network's input is resized in uint8, to save memory.

uint8 rounds; float32 does not.
"""

_BFLOAT16 = ("openvino-bf16", "openvino-int8")
"""Engines that compute in bfloat16 where they are not quantised, if the processor has it."""


@cache
def _core() -> ov.Core:
    """Return the process's only core. Keeping it spares OpenVINO from unloading and reloading its plugin."""
    return ov.Core()


def graphs_in(folder: Path) -> Graphs:
    """Return the graphs in a folder."""
    return {name: folder / f"{name}.xml" for name in GRAPHS}


def class_count(graphs: Graphs) -> int:
    """Return the number of classes of the graphs, without the background.

    Raises:
        BrokenRelease: OpenVINO cannot read the graphs.
    """
    head = graphs["head"]
    try:
        graph = head if isinstance(head, ov.Model) else _core().read_model(head)
    except RuntimeError as error:
        raise BrokenRelease(f"the graphs cannot be used: {str(error).strip().splitlines()[-1]}") from error
    suppression = next(node for node in graph.get_ops() if node.get_type_name() == "NonMaxSuppression")
    return int(suppression.input(0).get_partial_shape()[0].get_length())  # boxes have shape (classes, proposals, 4)


class OpenVinoEngine:
    """An engine for the three graphs of a prepared detector; see `model_store.engines.Engine`.

    A single image is spread over all cores. Of several images at once, each has one stream, a share of the cores.

    Attributes:
        name: `openvino-fp32`, `openvino-bf16` or `openvino-int8`.
        device: `cpu`.
        parallel: number of streams.
    """

    device = "cpu"

    def __init__(
        self,
        graphs: Graphs,
        name: str,
        *,
        rule: InputRule,
        one_label_iou: float | None = None,
        cores: int | None = None,
        streams: int = 1,
        cache_dir: Path | None = None,
        throttle: Throttle | None = None,
    ) -> None:
        """Compile the graphs for this processor.

        Args:
            graphs: graphs of a prepared detector.
            name: engine name, the kind of graphs and the arithmetic.
            rule: conversion of images into the network's input.
            one_label_iou: IoU above which boxes of different classes suppress each other; None if they do not.
            cores: number of cores to keep busy; None is all that this process may use.
            streams: images computed at the same time; one for each core gives the highest throughput.
            cache_dir: folder that keeps OpenVINO's compiled code for the next start; None keeps none. If the folder
                cannot be made, a warning is logged and nothing is kept.
            throttle: pauses between the steps; None is full speed.

        Raises:
            BrokenRelease: OpenVINO cannot read or compile the graphs.
        """
        self.name, self.parallel = name, streams
        self._rule, self._one_label_iou = rule, one_label_iou
        self._throttle = throttle or Throttle()
        threads = cores or usable_cores()
        if cache_dir is not None and not _is_made(cache_dir):
            cache_dir = None
        compiled = partial(_compile, graphs, name, threads=threads, cache_dir=cache_dir, throttle=self._throttle)
        self._wide = compiled(streams=1)[0] if streams > 1 else None
        self._narrow: SimpleQueue[Lane] = SimpleQueue()
        for lane in compiled(streams=streams):
            self._narrow.put(lane)
        self._lock = Lock()
        self._busy = 0

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        """Find objects; see `model_store.engines.Engine.detect`.

        Raises:
            FloatingPointError: a network output is not finite.
        """
        with self.lane() as lane:
            return [self._detect_one(lane, image) for image in images]

    def detect_on_every_lane(self, image: RgbImage) -> list[Detections]:
        """Run one image through all lanes; see `model_store.engines.Engine`.

        A lane allocates its memory at its first image, which takes several times as long as later ones.
        """
        narrow = [self._narrow.get() for _ in range(self._narrow.qsize())]

        def detect(lane: Lane) -> Detections:
            found = self._detect_one(lane, image)
            self._throttle.step()
            return found

        wide = [detect(self._wide)] if self._wide else []
        with ThreadPoolExecutor(len(narrow) if self._throttle.is_full else 1) as pool:
            found = [*wide, *pool.map(detect, narrow)]
        for lane in narrow:
            self._narrow.put(lane)
        return found

    @contextmanager
    def lane(self) -> Iterator["Lane"]:
        """Lend the buffers for one image as soon as some are free."""
        with self._lock:
            is_alone = self._busy == 0
            self._busy += 1
        lane = self._wide if is_alone and self._wide else self._narrow.get()
        try:
            yield lane
        finally:
            if lane is not self._wide:
                self._narrow.put(lane)
            with self._lock:
                self._busy -= 1

    def _detect_one(self, lane: "Lane", image: RgbImage) -> Detections:
        height, width = image.shape[:2]
        resized_h, resized_w = self._rule.resized_hw(height, width)
        if min(resized_h, resized_w) < 1:  # resizing leaves nothing of the narrow side
            return Detections.of([], [], [])
        boxes, labels, scores = lane.run(image, self._rule)
        scale = np.array([width / resized_w, height / resized_h] * 2, np.float32)
        return detections_in((height, width), boxes * scale, labels, scores, one_label_iou=self._one_label_iou)


def _compile(
    graphs: Graphs, name: str, *, threads: int, streams: int, cache_dir: Path | None, throttle: Throttle
) -> list["Lane"]:
    """Compile the graphs and return one lane for each stream."""
    common: dict[str, Any] = {
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,  # with pinning, other threads wait for one core while another is idle
    }
    if cache_dir is not None:
        common["CACHE_DIR"] = str(cache_dir)
    hint = "bf16" if name in _BFLOAT16 and has_bfloat16() else "f32"
    hints = (hint, "f32", hint)
    compiled = []
    try:
        for graph, hint in zip(GRAPHS, hints, strict=True):
            compiled.append(_core().compile_model(graphs[graph], "CPU", {**common, "INFERENCE_PRECISION_HINT": hint}))
            throttle.step()
    except RuntimeError as error:
        raise BrokenRelease(f"the graphs cannot be used: {str(error).strip().splitlines()[-1]}") from error
    if (taken := [item.get_any_name() for item in compiled[0].inputs]) != ["pixels"]:
        raise BrokenRelease(
            f"the graphs take {', '.join(taken)} instead of pixels; prepare them again: `python -m training accelerate`"
        )
    return [Lane([graph.create_infer_request() for graph in compiled]) for _ in range(streams)]


def _is_made(cache_dir: Path) -> bool:
    """Return whether a folder exists, after making it if need be. OpenVINO compiles nothing if it cannot make it."""
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _log.warning("the cache %s cannot be made (%s): each start compiles anew", cache_dir, error.strerror)
        return False
    return True


class Lane:
    """The buffers for one image on its way through the graphs."""

    def __init__(self, requests: Sequence[Any]) -> None:
        self._requests = dict(zip(GRAPHS, requests, strict=True))
        self._taken = {
            name: [item.get_any_name() for item in graph.model_inputs] for name, graph in self._requests.items()
        }
        self._memory = np.empty(0, np.float32)

    def run(self, image: RgbImage, rule: InputRule) -> tuple[Any, Any, Any]:
        """Find objects in an upright uint8 (H, W, 3) RGB image with at least 1 px on each side after resizing.

        Returns:
            Boxes in px of the resized image, labels and scores, best first.
        """
        features, _, head = self._requests.values()
        height, width = rule.resized_hw(*image.shape[:2])
        features.infer({"pixels": self.pixels(image, height, width, rule)}, share_inputs=True)
        limit = np.array([height, width], np.float32)
        for source, target in itertools.pairwise(GRAPHS):
            given = {
                name: self._requests[source].get_tensor(name) for name in self._taken[target] if name != "limit_hw"
            }
            self._requests[target].infer({**given, "limit_hw": limit}, share_inputs=True)
        boxes, labels, scores = (head.get_tensor(name).data.copy() for name in ("boxes", "labels", "scores"))
        return boxes, labels, scores

    def inputs(self, graph: str) -> dict[str, Any]:
        """Return a graph's inputs in the last `run`, by name, as views that the next run overwrites."""
        return {name: self._requests[graph].get_tensor(name).data for name in self._taken[graph]}

    def pixels(self, image: RgbImage, height: int, width: int, rule: InputRule) -> NDArray[np.float32]:
        """Subtract the mean, resize as torch does (bilinear, no antialiasing) and pad with zeros: (1, H, W, 3)."""
        padded_h, padded_w = (-(-side // PAD_MULTIPLE_PX) * PAD_MULTIPLE_PX for side in (height, width))
        size = padded_h * padded_w * 3
        if self._memory.size < size:
            self._memory = np.empty(size, np.float32)
        pixels = self._memory[:size].reshape(padded_h, padded_w, 3)
        pixels[height:] = pixels[:height, width:] = 0
        mean = tuple(255 * value for value in (*rule.mean, 0.0))
        if image.size > _MOST_EXACT * size:
            image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
        source = cv2.subtract(image, mean, dtype=cv2.CV_32F)  # type: ignore[call-overload] # stubs know no scalar
        cv2.resize(source, (width, height), pixels[:height, :width], interpolation=cv2.INTER_LINEAR)
        return pixels[None]
