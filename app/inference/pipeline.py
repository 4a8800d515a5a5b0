"""The steps from one encoded image to the bytes of its answer: decode, detect, select, format."""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from app.inference.decoding import EncodedImage, decode
from app.inference.formats import Format, Result
from app.inference.scheduler import Found, Scheduler
from app.inference.selection import Selection, default_threshold, selection_of
from app.observability.metrics import Metrics
from app.schemas import SelectQuery
from app.settings import Settings
from model_store.detector import Detector
from rendersight.images import Photo, RgbImage


@dataclass(frozen=True)
class Answer:
    """The answer for one photo.

    Attributes:
        body: the answer's bytes in the requested format.
        image_name: file name of the photo.
        stages_s: stage -> its time in seconds.
    """

    body: bytes
    image_name: str
    stages_s: dict[str, float]


@dataclass(frozen=True)
class Detecting:
    """The detection of one request's photos: its options, and the parts of the service that it uses.

    Attributes:
        query: the selection of objects to report.
        form: the answer format.
        timeout_s: time limit for each photo.
        gone: returns when the client has disconnected.
    """

    query: SelectQuery
    form: Format
    timeout_s: float
    gone: Callable[[], Coroutine[Any, Any, None]]
    scheduler: Scheduler
    settings: Settings
    metrics: Metrics

    def check(self) -> None:
        """Raise an error if the request will be refused anyway. Call it before the body is read.

        Raises:
            InvalidParameter: the query has a label that the model does not know.
            Overloaded: the request could not be answered in time.
            NotReady: the service is stopping, or the device is lost.
        """
        self._selection(self.scheduler.detector)
        self.scheduler.admit(self.timeout_s)

    async def answer(self, image: Callable[[], EncodedImage], detector: Detector) -> Answer:
        """Find the objects of one photo.

        Args:
            image: returns the encoded photo; first called on a worker thread.
            detector: the current `Scheduler.detector`. It is used even if another one is swapped in meanwhile.

        Raises:
            ServiceError: `image`, `decode` or `Scheduler.detect` raised it, or a label is unknown (InvalidParameter).
            ClientGone: the client has disconnected.
        """
        selection = self._selection(detector)
        max_pixels = self.settings.max_pixels

        def result_of(found: Found, photo: Photo | None = None) -> Result:
            return Result(
                selection.of(found.detections),
                detector,
                found.size_wh,
                selection.score_threshold,
                image().name,
                lambda: _all_pixels(image(), photo, max_pixels),
            )

        found = await self.scheduler.detect(
            detector,
            lambda: decode(image(), max_pixels=max_pixels, need=detector.card.input.resized_hw),
            timeout_s=self.timeout_s,
            gone=self.gone,
            finish=(lambda found, photo: self.form.write(result_of(found, photo))) if self.form.is_slow else None,
        )
        began_s = time.perf_counter()
        result = result_of(found)
        body = self.form.write(result) if found.finished is None else found.finished
        stages_s = {
            "queue": found.queue_s,
            "decode": found.decode_s,
            "inference": found.inference_s,
            "encode": found.finish_s + time.perf_counter() - began_s,
        }
        self.metrics.detected(detector.card.class_names, result.selected, stages_s)
        return Answer(body, result.image_name, stages_s)

    def _selection(self, detector: Detector) -> Selection:
        default = default_threshold(detector.card, self.settings.score_threshold)
        return selection_of(self.query, detector.card, default_score_threshold=default)


def _all_pixels(image: EncodedImage, photo: Photo | None, max_pixels: int) -> RgbImage:
    """Return all pixels of a photo. Decode it again if it is missing or was decoded at reduced size."""
    if photo is None or photo.reduction > 1:
        photo = decode(image, max_pixels=max_pixels)
    return photo.pixels
