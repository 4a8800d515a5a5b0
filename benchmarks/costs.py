"""CPU time of an image, and distance to the processor's limit: `python -m benchmarks.costs`.

- saturation: images per second over HTTP against the limit of the cores, which is the engine's own rate times
  E / (E + C); E is the engine's CPU time per image, C all other CPU time per image, including the load generator's
- outside the network: the service's CPU time per request minus that of the graphs
- int8: operations per second of the convolutions against those of a large int8 matrix product, both on one core
"""

import argparse
import itertools
import time
from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op

from benchmarks.load import saturate, throughput
from benchmarks.servers import service
from benchmarks.serving import photos, spread
from model_store import store
from model_store.detector import open_detector
from model_store.engines.openvino import OpenVinoEngine, graphs_in
from model_store.manifest import InputRule
from rendersight import images
from rendersight.images import RgbImage

ENGINE = "openvino-int8"
_CONVOLUTIONS = ("Convolution", "GroupConvolution")
_COUNTED = (*_CONVOLUTIONS, "FullyConnected")
_MATRIX_SIDE = 2048


def engine_alone(engine: OpenVinoEngine, pictures: Sequence[RgbImage], *, seconds: float) -> tuple[float, float]:
    """Return the engine's images per second and CPU seconds per image, with one thread more than it has lanes."""
    # one thread more than lanes: an image always waits for the next free lane, and none is ever computed alone
    began, cpu = time.perf_counter(), time.process_time()
    rate = throughput(lambda picture: engine.detect([picture]), pictures, threads=engine.parallel + 1, seconds=seconds)
    return rate, (time.process_time() - cpu) / (rate * (time.perf_counter() - began))


def resizing_s(engine: OpenVinoEngine, rule: InputRule, pictures: Sequence[RgbImage]) -> float:
    """Return the CPU seconds to turn an image into the network's input."""
    rounds = 40
    with engine.lane() as lane:
        began = time.process_time()
        for picture in itertools.islice(itertools.cycle(pictures), rounds):
            lane.pixels(picture, *rule.resized_hw(*picture.shape[:2]), rule)
        return (time.process_time() - began) / rounds


def costs(model: str, *, rounds: int, seconds: float, concurrency: int) -> None:
    """Print the saturation and the CPU time outside the network."""
    detector = open_detector(model, store_root=store.DEFAULT_ROOT, device="cpu", engine=ENGINE)
    engine, rule = detector.engine, detector.info.input
    assert isinstance(engine, OpenVinoEngine)
    files = photos()
    pictures = [images.decode(file) for file in files]
    reached, shares, outside = [], [], []
    engine_alone(engine, pictures, seconds=1)
    count = round(seconds * 20)
    with service(model, {"RENDERSIGHT_ENGINE": ENGINE}) as server:
        saturate(server.port, files, concurrency=concurrency, count=20)
        for _ in range(rounds):
            rate, engine_s = engine_alone(engine, pictures, seconds=seconds)
            before, began = server.cpu_s(), time.process_time()
            busy = saturate(server.port, files, concurrency=concurrency, count=count)
            server_s, client_s = (server.cpu_s() - before) / count, (time.process_time() - began) / count
            share = engine_s / (server_s + client_s)
            shares.append(share)
            reached.append(busy.rate / (rate * min(1.0, share)))
            network_s = engine_s - resizing_s(engine, rule, pictures)
            outside.append(1000 * (server_s - network_s))
    print(f"{model}, {ENGINE}, {concurrency} at a time, {rounds} rounds")
    print(f"E / (E + C)                                   {spread(shares, '')}")
    print(f"images a second / what the cores allow        {spread(reached, '')}")
    print(f"CPU time a request outside of the network, ms {spread(outside, '')}")


def convolutions(model: str, *, rounds: int) -> None:
    """Print the int8 operations per second of the network's convolutions and of a matrix product."""
    release = store.locate(store.DEFAULT_ROOT, model)
    assert isinstance(release, store.Release)
    folder = release.folder / (release.manifest.engines[ENGINE].graphs or "")
    core = ov.Core()
    graph = core.read_model(graphs_in(folder)["features"])
    side = release.manifest.input.min_size
    graph.reshape([1, side, side, 3])
    operations = sum(_operations(node) for node in graph.get_ordered_ops() if node.get_type_name() in _CONVOLUTIONS)
    pixels = np.random.default_rng(0).uniform(-100, 150, (1, side, side, 3)).astype(np.float32)
    product, matrix = _matrix_product()
    fraction, ceiling = [], []
    runs = [_timed(core, graph, pixels), _timed(core, product, matrix)]
    for _ in range(rounds):
        network_s, product_s = (run() for run in runs)
        ceiling.append(2 * _MATRIX_SIDE**3 / product_s / 1e9)
        fraction.append(operations / network_s / 1e9 / ceiling[-1])
    print(f"{operations / 1e9:.1f} Gop of convolutions at {side} px; int8 matrix product, Gop/s {spread(ceiling, '')}")
    print(f"Gop/s of the convolutions / of the product    {spread(fraction, '')}")


def _operations(node: ov.Node) -> int:
    """Return the number of operations of a convolution: two for each product."""
    weights = node.input(1).get_shape()
    grouped = node.get_type_name() == "GroupConvolution"  # weights (G, O, I, h, w) instead of (O, I, h, w)
    return int(2 * prod(node.output(0).get_shape()) * prod(weights[2:] if grouped else weights[1:]))


def _matrix_product() -> tuple[ov.Model, NDArray[np.float32]]:
    """Return a graph of one quantised matrix product, and its input."""
    side, levels = _MATRIX_SIDE, 256
    given = op.parameter([side, side], ov.Type.f32, name="matrix")
    low, high = (op.constant(np.float32(value)) for value in (0, 2.55))
    left = op.fake_quantize(given, low, high, low, high, levels)
    whole = np.random.default_rng(0).integers(-127, 128, (side, side)).astype(np.int8)
    right = op.multiply(op.convert(op.constant(whole), "f32"), op.constant(np.full((side, 1), 0.01, np.float32)))
    product = op.matmul(left, right, transpose_a=False, transpose_b=True)
    return ov.Model([op.result(product)], [given], "product"), np.full((side, side), 1.28, np.float32)


def _timed(core: ov.Core, graph: ov.Model, given: NDArray[np.float32]) -> Callable[[], float]:
    """Return a function that runs a graph on one core and returns the seconds of its int8 products.

    OpenVINO's profiling gives the seconds.
    """
    options = {"PERF_COUNT": True, "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "bf16"}
    request = core.compile_model(graph, "CPU", options).create_infer_request()

    def run() -> float:
        request.infer([given])
        times = [
            item
            for item in request.profiling_info
            if item.node_type.startswith(_COUNTED) and item.exec_type.endswith("I8")
        ]
        if not times:
            raise RuntimeError(f"{graph.friendly_name}: nothing ran in int8")
        return float(sum(item.real_time.total_seconds() for item in times))

    run()
    return run


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.costs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="dice")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--concurrency", type=int, default=8)
    options = parser.parse_args()
    costs(options.model, rounds=options.rounds, seconds=options.seconds, concurrency=options.concurrency)
    convolutions(options.model, rounds=5 * options.rounds)


if __name__ == "__main__":
    main()
