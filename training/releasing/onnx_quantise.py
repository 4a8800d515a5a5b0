"""Quantisation of an ONNX model to int8 by ONNX Runtime's own tools, calibrated with photos or renders."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from rendersight import images

QUANTISED = ("Conv", "Gemm", "Clip", "Relu", "Add", "Resize")
"""Operators to quantise inside the convolutions and linear layers; the rest of the model stays float32."""

MOST_PHOTOS = 100
"""Maximum number of photos that are used, spread evenly over those given."""

_LAYERS = ("features/", "head/")


class _Photos(CalibrationDataReader):  # type: ignore[misc] # the package has no types
    """The photos on which the model finds an object, one after the other, as inputs of the model.

    Without a proposal, the tensors of the box head are empty and have no range.
    """

    def __init__(self, photos: Sequence[Path], session: Any) -> None:
        self._photos = iter(photos)
        self._session = session
        self.count = 0

    def get_next(self) -> dict[str, Any] | None:
        """Return the next input, or None at the end."""
        for path in self._photos:
            image = images.read(path)
            if len(self._session.run(["scores"], {"image": image})[0]):
                self.count += 1
                return {"image": image}
        return None


def quantised(model: onnx.ModelProto, photos: Sequence[Path]) -> onnx.ModelProto:
    """Return a model with int8 weights and activations in its convolutions and linear layers, as QDQ nodes.

    Weights get 7 bits: without VNNI, processors add products of two 8-bit numbers in 16 bits, which overflow.

    Args:
        model: model from `training.releasing.export.onnx_model`.
        photos: photos or renders like those that the model will see; at most `MOST_PHOTOS` are used.

    Raises:
        ValueError: the model finds no object on any photo.
        ImageError: a photo cannot be read.
    """
    nodes = [node.name for node in model.graph.node if node.op_type in QUANTISED and node.name.startswith(_LAYERS)]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    reader = _Photos(photos[:: -(-len(photos) // MOST_PHOTOS)], session)
    with tempfile.TemporaryDirectory() as scratch, _without_advice():
        out = Path(scratch) / "int8.onnx"
        try:
            quantize_static(
                model,
                out,
                reader,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTISED),
                nodes_to_quantize=nodes,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        except ValueError as error:
            if reader.count == 0:
                raise ValueError(f"no object is found on any of the {len(photos)} photos") from error
            raise
        done = onnx.load(out)
    done.producer_name, done.producer_version = model.producer_name, model.producer_version
    del done.metadata_props[:]
    done.metadata_props.extend(model.metadata_props)
    return done


@contextmanager
def _without_advice() -> Iterator[None]:
    """Silence the advice to preprocess the model first: its batch norms are folded, and its shapes are inferred."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
