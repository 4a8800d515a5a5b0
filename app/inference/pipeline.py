"""From an encoded image to the bytes of an answer: what one photo takes, alone or among others."""

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
    """What one photo gave.

    Attributes:
        body: in the form that was asked for.
        image_name: the photo's.
        stages_s: what was done, each with its time in seconds.
    """

    body: bytes
    image_name: str
    stages_s: dict[str, float]


@dataclass(frozen=True)
class Detecting:
    """What one request wants of each of its photos, and who does it.

    Attributes:
        query: which objects to report.
        form: how to write them down.
        timeout_s: how long a photo may take.
        gone: returns when nobody waits for the answer any more.
    """

    query: SelectQuery
    form: Format
    timeout_s: float
    gone: Callable[[], Coroutine[Any, Any, None]]
    scheduler: Scheduler
    settings: Settings
    metrics: Metrics

    def check(self) -> None:
        """Refuse what cannot be taken before its body is read.

        Raises:
            InvalidParameter: a label that the model does not know.
            Overloaded: it could not be answered in time.
            NotReady: the service is stopping.
        """
        self._selection(self.scheduler.detector)
        self.scheduler.admit(self.timeout_s)

    async def answer(self, image: Callable[[], EncodedImage], detector: Detector) -> Answer:
        """Find the objects of one photo.

        Args:
            image: what gives it; first called on a worker thread.
            detector: `Scheduler.detector` as it is now, whatever is swapped in meanwhile.

        Raises:
            ServiceError: by `image`, `decode` and `Scheduler.detect`, and InvalidParameter as `check`.
            ClientGone: by `Scheduler.detect`.
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
    """Return the pixels of a photo that may have been decoded smaller."""
    if photo is None or photo.reduction > 1:
        photo = decode(image, max_pixels=max_pixels)
    return photo.pixels
