import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from model_store.cpu import usable_cores
from model_store.detector import open_detector
from model_store.engines.openvino import GRAPHS, OpenVinoEngine
from model_store.errors import BrokenRelease
from model_store.manifest import InputRule
from model_store.store import DEFAULT_ROOT

RULE = InputRule(min_size=64, max_size=128, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def trivial_graphs(first_input: str) -> dict[str, ov.Model]:
    """Graphs with the inputs of a detector, compiled at once."""

    def graph(name: str) -> ov.Model:
        given = op.parameter([1], ov.Type.f32)
        given.output(0).get_tensor().set_names({name})
        return ov.Model([op.relu(given)], [given])

    return {name: graph(first_input) for name in GRAPHS}


def test_rejects_graphs_of_another_version() -> None:
    with pytest.raises(BrokenRelease, match="take image instead of pixels"):
        OpenVinoEngine(trivial_graphs("image"), "openvino-fp32", rule=RULE)


def test_int8_takes_images_of_many_sizes_in_turn() -> None:
    """With AMX this ended the process."""
    detector = open_detector("dice", store_root=DEFAULT_ROOT, engine="openvino-int8", is_checked=False)
    rng = np.random.default_rng(0)
    for height, width in [(64, 64), (58, 50), (90, 20), (33, 64), (64, 33), (20, 90), (50, 58), (64, 61)] * 2:
        pixels = rng.integers(0, 256, (10 * height, 10 * width, 3), dtype=np.uint8)
        assert len(detector.detect([pixels])) == 1


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (None, usable_cores())])
def test_has_as_many_threads_as_cores(cores: int | None, threads: int) -> None:
    engine = OpenVinoEngine(trivial_graphs("pixels"), "openvino-fp32", rule=RULE, cores=cores)
    with engine.lane() as lane:
        for graph in lane._requests.values():
            assert graph.get_compiled_model().get_property("INFERENCE_NUM_THREADS") == threads
