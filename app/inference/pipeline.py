"""The steps from one encoded image to the bytes of its answer: decode, detect, select, format."""

from dataclasses import dataclass
from functools import partial

from app.inference.decoding import EncodedImage, decode
from app.inference.formats import FORMATS, OutputFormat, Result
from app.inference.scheduler import Scheduler
from app.inference.selection import check_labels, select, threshold_of
from app.observability.metrics import ServiceMetrics
from app.schemas import SelectQuery
from model_store.detector import Detector
from rendersight.detections import Detections
from rendersight.images import Photo


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
    """

    body: bytes
    stages_s: dict[str, float]


@dataclass(frozen=True)
class Pipeline:
    """The detection of encoded images, as the settings demand.

    Attributes:
        scheduler: runs the steps on worker threads.
        metrics: the app's metrics.
        max_pixels: maximum number of pixels of an image.
        score_threshold: the configured default threshold; None means the release's.
    """

    scheduler: Scheduler
    metrics: ServiceMetrics
    max_pixels: int
    score_threshold: float | None

    def check(self, options: DetectOptions) -> None:
        """Raise an error if a request will be refused anyway. Call it before the body is read.

        Raises:
            InvalidParameter: the query has a label that the model does not know.
            ServiceOverloaded: the request could not be answered in time.
            NotReady: the service is stopping, or the device is lost.
        """
        check_labels(options.query.labels, self.scheduler.detector.info.class_names)
        self.scheduler.admit(options.timeout_s)

    async def detect(self, image: EncodedImage, options: DetectOptions, detector: Detector) -> EncodedDetections:
        """Find the objects of one image. Decoding and inference run on the scheduler's threads.

        Args:
            image: the encoded image.
            options: the request's options.
            detector: the current `Scheduler.detector`. It is used even if another one is swapped in meanwhile.

        Raises:
            ServiceError: `decode` or `Scheduler.detect` raised it, or a label is unknown (InvalidParameter).
        """
        info, query, output = detector.info, options.query, options.output
        check_labels(query.labels, info.class_names)
        threshold = threshold_of(query, info, self.score_threshold)

        def encode(found: Detections, photo: Photo) -> tuple[Detections, bytes]:
            selected = select(found, query, class_names=info.class_names, score_threshold=threshold)
            size_wh = (photo.width, photo.height)
            if output.draws_photo and photo.reduction > 1:
                photo = decode(image, max_pixels=self.max_pixels)
            pixels = photo.pixels if output.draws_photo else None
            return selected, output.write(Result(selected, detector, size_wh, threshold, image.name, pixels))

        (selected, body), stages_s = await self.scheduler.detect(
            detector,
            partial(decode, image, max_pixels=self.max_pixels, need=info.input.resized_hw),
            encode,
            timeout_s=options.timeout_s,
            encode_blocks=output.draws_photo,
        )
        self.metrics.detected(info.class_names, selected, stages_s)
        return EncodedDetections(body, stages_s)
