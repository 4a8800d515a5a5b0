"""The OpenVINO engine: a prepared detector on the CPU, without torch."""

import itertools
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

from model_store.cpu import has_bfloat16, usable_cores
from model_store.engines import detections_in
from model_store.errors import BrokenRelease
from model_store.manifest import InputRule
from model_store.pace import Pace
from rendersight.detections import Detections
from rendersight.images import RgbImage

# Its threads cost more than they bring for one image, and the other core has an image of its own.
cv2.setNumThreads(1)

GRAPHS = ("features", "proposals", "head")
"""The parts of a prepared detector, files `NAME.xml` and `NAME.bin`; see `model_store.graphs`."""

Graphs = Mapping[str, Path | ov.Model]
"""Name -> file or graph, for each of `GRAPHS`."""

PAD_MULTIPLE_PX = 32
"""The network's input is padded to a multiple of this, as `GeneralizedRCNNTransform` does by default."""

_MOST_EXACT = 4
"""An image of so many times the pixels of the network's input is resized in uint8, which rounds, to spare memory."""

_BFLOAT16 = ("openvino-bf16", "openvino-int8")
"""Engines that compute in bfloat16 what is not quantised, where the processor has it."""


@cache
def _core() -> ov.Core:
    """Return the one core of this process: with the last of them its plugin would be unloaded, and loaded again."""
    return ov.Core()


def graphs_in(folder: Path) -> Graphs:
    """Return the graphs that a folder holds."""
    return {name: folder / f"{name}.xml" for name in GRAPHS}


def class_count(graphs: Graphs) -> int:
    """Return how many classes the graphs tell apart, without the background.

    Raises:
        BrokenRelease: OpenVINO cannot read them.
    """
    head = graphs["head"]
    try:
        graph = head if isinstance(head, ov.Model) else _core().read_model(head)
    except RuntimeError as error:
        raise BrokenRelease(f"the graphs cannot be used: {str(error).strip().splitlines()[-1]}") from error
    suppression = next(node for node in graph.get_ops() if node.get_type_name() == "NonMaxSuppression")
    return int(suppression.input(0).get_partial_shape()[0].get_length())  # its boxes are (classes, proposals, 4)


class OpenVinoEngine:
    """Runs the three graphs of a prepared detector; see `model_store.engines.Engine`.

    An image that comes alone is spread over all cores; of several at once, each has a stream, a share of the cores.

    Attributes:
        name: `openvino-fp32`, `openvino-bf16` or `openvino-int8`.
        device: `cpu`.
        parallel: the number of streams.
    """

    device = "cpu"

    def __init__(
        self,
        graphs: Graphs,
        name: str,
        *,
        rule: InputRule,
        cores: int | None = None,
        streams: int = 1,
        cache_dir: Path | None = None,
        pace: Pace | None = None,
    ) -> None:
        """Compile the graphs for this processor.

        Args:
            graphs: of a prepared detector.
            name: what the graphs are and the arithmetic to run them in.
            rule: how images become the network's input.
            cores: how many to keep busy; None is all that this process may use.
            streams: images computed at the same time; one for each core is the most throughput.
            cache_dir: where OpenVINO keeps compiled code for the next start; None keeps none.
            pace: how fast; None is at full speed.

        Raises:
            BrokenRelease: OpenVINO cannot read or compile the graphs.
        """
        self.name, self.parallel = name, streams
        self._rule = rule
        self._pace = pace or Pace()
        threads = cores or usable_cores()
        compiled = partial(_compile, graphs, name, threads=threads, cache_dir=cache_dir, pace=self._pace)
        self._wide = compiled(streams=1)[0] if streams > 1 else None
        self._narrow: SimpleQueue[Lane] = SimpleQueue()
        for lane in compiled(streams=streams):
            self._narrow.put(lane)
        self._lock = Lock()
        self._busy = 0

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        """Find objects; see `model_store.engines.Engine.detect`.

        Raises:
            FloatingPointError: the network answered with something that is not finite.
        """
        with self.lane() as lane:
            return [self._detect_one(lane, image) for image in images]

    def detect_on_every_lane(self, image: RgbImage) -> list[Detections]:
        """Find the same on all lanes; see `model_store.engines.Engine`.

        The first image makes a lane's memory, which takes several times as long as those after it.
        """
        narrow = [self._narrow.get() for _ in range(self._narrow.qsize())]

        def detect(lane: Lane) -> Detections:
            found = self._detect_one(lane, image)
            self._pace.step()
            return found

        wide = [detect(self._wide)] if self._wide else []
        with ThreadPoolExecutor(len(narrow) if self._pace.is_full else 1) as pool:
            found = [*wide, *pool.map(detect, narrow)]
        for lane in narrow:
            self._narrow.put(lane)
        return found

    @contextmanager
    def lane(self) -> Iterator["Lane"]:
        """Lend the buffers of one image, as soon as there are free ones."""
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
        if min(resized_h, resized_w) < 1:  # nothing is left of its narrow side
            return Detections.of([], [], [])
        boxes, labels, scores = lane.run(image, self._rule)
        scale = np.array([width / resized_w, height / resized_h] * 2, np.float32)
        return detections_in((height, width), boxes * scale, labels, scores)


def _compile(
    graphs: Graphs, name: str, *, threads: int, streams: int, cache_dir: Path | None, pace: Pace
) -> list["Lane"]:
    """Compile the graphs and return a lane for each stream."""
    common: dict[str, Any] = {
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,  # the server's other threads must not wait for one core while another idles
    }
    if cache_dir is not None:
        common["CACHE_DIR"] = str(cache_dir)
    hint = "bf16" if name in _BFLOAT16 and has_bfloat16() else "f32"
    hints = (hint, "f32", hint)
    compiled = []
    try:
        for graph, hint in zip(GRAPHS, hints, strict=True):
            compiled.append(_core().compile_model(graphs[graph], "CPU", {**common, "INFERENCE_PRECISION_HINT": hint}))
            pace.step()
    except RuntimeError as error:
        raise BrokenRelease(f"the graphs cannot be used: {str(error).strip().splitlines()[-1]}") from error
    if (taken := [item.get_any_name() for item in compiled[0].inputs]) != ["pixels"]:
        raise BrokenRelease(f"the graphs take {', '.join(taken)} and not pixels: another version prepared them")
    return [Lane([graph.create_infer_request() for graph in compiled]) for _ in range(streams)]


class Lane:
    """The buffers of one image on its way through the graphs."""

    def __init__(self, requests: Sequence[Any]) -> None:
        self._requests = dict(zip(GRAPHS, requests, strict=True))
        self._taken = {
            name: [item.get_any_name() for item in graph.model_inputs] for name, graph in self._requests.items()
        }
        self._memory = np.empty(0, np.float32)

    def run(self, image: RgbImage, rule: InputRule) -> tuple[Any, Any, Any]:
        """Find objects in an upright uint8 (H, W, 3) RGB image of which something is left when it is resized.

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
        """Return what the last `run` gave to a graph, by its inputs' names: views that the next run overwrites."""
        return {name: self._requests[graph].get_tensor(name).data for name in self._taken[graph]}

    def pixels(self, image: RgbImage, height: int, width: int, rule: InputRule) -> NDArray[np.float32]:
        """Resize an image less the mean as torch does (bilinear, not smoothed), zeros around: (1, H, W, 3)."""
        padded_h, padded_w = (-(-side // PAD_MULTIPLE_PX) * PAD_MULTIPLE_PX for side in (height, width))
        size = padded_h * padded_w * 3
        if self._memory.size < size:
            self._memory = np.empty(size, np.float32)
        pixels = self._memory[:size].reshape(padded_h, padded_w, 3)
        pixels[height:] = pixels[:height, width:] = 0
        mean = tuple(255 * value for value in (*rule.mean, 0.0))
        if image.size > _MOST_EXACT * size:
            image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
        source = cv2.subtract(image, mean, dtype=cv2.CV_32F)  # type: ignore[call-overload] # its types know no scalar
        cv2.resize(source, (width, height), pixels[:height, :width], interpolation=cv2.INTER_LINEAR)
        return pixels[None]
