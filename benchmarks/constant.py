"""This service with a network that costs nothing: `python -m benchmarks.constant`, with the service's settings."""

from collections.abc import Sequence

from app.main import create_app
from app.observability.logging import configure_logging
from app.server import serve
from app.settings import read_settings
from model_store.detector import Detector
from model_store.manifest import InputRule
from model_store.model_info import ModelInfo
from rendersight.detections import Detections
from rendersight.images import RgbImage


class ConstantEngine:
    """An engine that always finds one object as large as the image."""

    name = "torch-fp32"
    device = "cpu"
    parallel = 1

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        """Return one detection per image; see `model_store.engines.Engine.detect`."""
        return [Detections.of([[0, 0, image.shape[1], image.shape[0]]], [1], [1.0]) for image in images]

    def detect_on_every_lane(self, image: RgbImage) -> list[Detections]:
        """Return one detection; see `model_store.engines.Engine.detect_on_every_lane`."""
        return self.detect([image])


CARD = ModelInfo(
    name="constant",
    version="1",
    architecture="fasterrcnn_mobilenet_v2_fpn",
    class_names=("object",),
    sha256="0" * 64,
    score_floor=0.05,
    score_threshold=0.5,
    detections_per_image=100,
    input=InputRule(min_size=800, max_size=1333, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
)

if __name__ == "__main__":
    settings = read_settings()
    configure_logging(settings.log_format)
    serve(create_app(settings, open_detector=lambda *_args, **_options: Detector(CARD, ConstantEngine())), settings)
