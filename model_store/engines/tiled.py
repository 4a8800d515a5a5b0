"""An engine that looks for small objects in tiles of large images, besides the whole image."""

from collections.abc import Sequence

from model_store.engines import Engine
from rendersight.detections import Detections
from rendersight.images import Need, RgbImage
from rendersight.tiles import TileChoice, detect_tiled, plan


class TiledEngine:
    """An engine around another one; see `model_store.engines.Engine`. The views of an image are computed in turn.

    The service does not use it: its scheduler spreads the views over the streams.

    Attributes:
        name: name of the other engine.
        device: device of the other engine.
        parallel: number of threads that may call `detect` at once.
    """

    def __init__(
        self, engine: Engine, tiles: TileChoice, *, resized_hw: Need, one_label_iou: float | None = None
    ) -> None:
        """Store the arguments.

        Args:
            engine: finds the objects in each view.
            tiles: as for `rendersight.tiles.plan`.
            resized_hw: as for `rendersight.tiles.plan`.
            one_label_iou: as for `rendersight.tiles.merge`.
        """
        self.name, self.device, self.parallel = engine.name, engine.device, engine.parallel
        self._engine = engine
        self._tiles: TileChoice = tiles
        self._resized_hw = resized_hw
        self._one_label_iou = one_label_iou

    def tile_count(self, height: int, width: int) -> int:
        """Return the number of tiles for an image of a height and width, px."""
        return len(plan(height, width, self._tiles, self._resized_hw))

    def detect(self, images: Sequence[RgbImage]) -> list[Detections]:
        """Find objects in each image and its tiles; raise the errors of the other engine."""
        return [self._detect(image) for image in images]

    def detect_on_every_lane(self, image: RgbImage) -> list[Detections]:
        """Return the other engine's detections in the whole image from each lane."""
        return self._engine.detect_on_every_lane(image)

    def _detect(self, image: RgbImage) -> Detections:
        height, width = image.shape[:2]
        windows = plan(height, width, self._tiles, self._resized_hw)
        return detect_tiled(self._engine.detect, image, windows, one_label_iou=self._one_label_iou)
