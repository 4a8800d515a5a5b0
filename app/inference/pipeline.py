"""The steps from one encoded image to the bytes of its answer: decode, detect, select, format."""

import asyncio
from dataclasses import dataclass
from functools import partial

from app.inference.decoding import EncodedImage, announced_hw, decode
from app.inference.formats import FORMATS, OutputFormat, Result
from app.inference.scheduler import Scheduler
from app.inference.selection import check_labels, select, threshold_of
from app.observability.metrics import ServiceMetrics
from app.schemas import SelectQuery
from model_store.detector import Detector
from rendersight.detections import Detections
from rendersight.images import Photo
from rendersight.tiles import TileChoice, plan


@dataclass(frozen=True)
class DetectOptions:
    """The options of one request.

    Attributes:
        query: the objects to report.
        timeout_s: time limit for each photo.
        output: the answer's format.
    """

    query: SelectQuery
    timeout_s: float
    output: OutputFormat = FORMATS["json"]


@dataclass(frozen=True)
class EncodedDetections:
    """The answer for one photo.

    Attributes:
        body: the answer's bytes in the requested format.
        stages_s: stage -> its time in seconds.
        tile_count: number of tiles that the network saw besides the whole photo.
    """

    body: bytes
    stages_s: dict[str, float]
    tile_count: int


@dataclass(frozen=True)
class Pipeline:
    """The detection of encoded images, as the settings demand.

    Attributes:
        scheduler: runs the steps on worker threads.
        metrics: the app's metrics.
        max_pixels: maximum number of pixels of an image.
        score_threshold: the configured default threshold; None means the release's.
        tiles: the configured default choice of tiles.
    """

    scheduler: Scheduler
    metrics: ServiceMetrics
    max_pixels: int
    score_threshold: float | None
    tiles: TileChoice = "off"

    def check(self, options: DetectOptions) -> None:
        """Raise an error if a request will be refused anyway. Call it before the body is read.

        Raises:
            InvalidParameter: the query has a label that the model does not know.
            ServiceOverloaded: the request could not be answered in time.
            NotReady: the service is stopping, or the device is lost.
        """
        check_labels(options.query.labels, self.scheduler.detector.info.class_names)
        self.scheduler.admit(options.timeout_s)

    async def count_views(self, image: EncodedImage, options: DetectOptions, detector: Detector) -> int:
        """Return the number of views that the network will see of an image: its tiles, by its header, and the whole.

        Raises:
            ServiceError: as in `decode`.
        """
        tiles = self._tiles(options)
        if tiles == "off":
            return 1
        height, width = await asyncio.to_thread(announced_hw, image, max_pixels=self.max_pixels)
        return 1 + len(plan(height, width, tiles, detector.info.input.resized_hw))

    async def detect(
        self, image: EncodedImage, options: DetectOptions, detector: Detector, *, views: int | None = None
    ) -> EncodedDetections:
        """Find the objects of one image. Decoding and inference run on the scheduler's threads.

        Args:
            image: the encoded image.
            options: the request's options.
            detector: the current `Scheduler.detector`. It is used even if another one is swapped in meanwhile.
            views: the result of `count_views`; None counts them here.

        Raises:
            ServiceError: `decode` or `Scheduler.detect` raised it, or a label is unknown (InvalidParameter).
        """
        info, query, output = detector.info, options.query, options.output
        check_labels(query.labels, info.class_names)
        threshold = threshold_of(query, info, self.score_threshold)
        tiles, resized_hw = self._tiles(options), info.input.resized_hw
        if views is None:
            views = await self.count_views(image, options, detector)

        def needed_hw(height: int, width: int) -> tuple[int, int]:
            has_tiles = len(plan(height, width, tiles, resized_hw)) > 0
            return (height, width) if has_tiles else resized_hw(height, width)

        def encode(found: Detections, photo: Photo, tile_count: int) -> tuple[Detections, bytes, int]:
            selected = select(found, query, class_names=info.class_names, score_threshold=threshold)
            size_wh = (photo.width, photo.height)
            if output.draws_photo and photo.reduction > 1:
                photo = decode(image, max_pixels=self.max_pixels)
            pixels = photo.pixels if output.draws_photo else None
            result = Result(selected, detector, size_wh, threshold, tile_count, image.name, pixels)
            return selected, output.write(result), tile_count

        (selected, body, tile_count), stages_s = await self.scheduler.detect(
            detector,
            partial(decode, image, max_pixels=self.max_pixels, need=needed_hw),
            encode,
            timeout_s=options.timeout_s,
            encode_blocks=output.draws_photo,
            tiles=tiles,
            views=views,
        )
        self.metrics.detected(info.class_names, selected, stages_s, tile_count=tile_count)
        return EncodedDetections(body, stages_s, tile_count)

    def _tiles(self, options: DetectOptions) -> TileChoice:
        return self.tiles if options.query.tiles is None else options.query.tiles
