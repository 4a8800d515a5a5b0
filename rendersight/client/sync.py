"""`Client`: the blocking client."""

import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Literal, Self, TypeVar, Unpack, overload

import httpx

from rendersight.client import calls, wire
from rendersight.client.answers import Answer, DetectResult, Model
from rendersight.client.batches import CONCURRENCY, check_batch, in_order
from rendersight.client.calls import AnnotationFormat, Call, PictureFormat, Selection
from rendersight.client.errors import RendersightError
from rendersight.client.retries import NOT_NOW, RETRIES, TIMEOUT_S, Attempts, Polls, Timing
from rendersight.client.uploads import ImageInput

T = TypeVar("T")


class Client:
    """A blocking HTTP client for one service; a context manager that several threads may share.

    Calls take an image as a path, the bytes of an image file, a binary file, a Pillow image, or a uint8 array (H, W, 3)
    RGB or (H, W) grey. The keywords `score_threshold`, `labels`, `iou_threshold`, `class_agnostic`, `max_detections`
    and `tiles` choose the objects to find and to report; see `Selection`. `RendersightError` lists the errors that
    calls raise.

    A call is retried if the service is overloaded or not ready, if a gateway before it fails, or if the connection
    fails or is lost. Retry-After is honoured. All attempts end at the call's deadline.
    """

    def __init__(
        self,
        base_url: str = wire.DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        retries: int = RETRIES,
        transport: httpx.BaseTransport | None = None,
        timing: Timing | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Store the settings; nothing is sent yet.

        Args:
            base_url: address of the service, such as `https://example.org/dice`.
            api_key: sent as `Authorization: Bearer KEY`.
            timeout_s: time limit of one call, including its retries and pauses.
            retries: maximum number of attempts after the first.
            transport: carries the requests instead of a connection.
            timing: sources of time and randomness.
            sleep: waits during a pause.

        Raises:
            WrongSetting: an argument cannot be used.
        """
        self._retries, self._timeout_s, self._timing, self._sleep = retries, timeout_s, timing or Timing(), sleep
        self._attempts()  # raises here if a number is out of range
        self._http = httpx.Client(transport=transport, **wire.settings(base_url, api_key))
        self._url = str(self._http.base_url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def detect(self, image: ImageInput, **selection: Unpack[Selection]) -> DetectResult:
        """Find the objects in one image."""
        return self._ask(calls.detect(image, selection), self._attempts())

    def picture(self, image: ImageInput, format: PictureFormat = "png", **selection: Unpack[Selection]) -> bytes:  # noqa: A002
        """Return the upright photo with the boxes drawn, as the bytes of a PNG or JPEG file."""
        return self._ask(calls.picture(image, format, selection), self._attempts())

    def annotate(
        self,
        image: ImageInput,
        format: AnnotationFormat = "labelme",  # noqa: A002
        **selection: Unpack[Selection],
    ) -> str:
        """Return the detections as the text of an annotation file: LabelMe JSON, COCO JSON, or CSV."""
        return self._ask(calls.annotate(image, format, selection), self._attempts())

    def models(self) -> tuple[Model, ...]:
        """Return the served models."""
        return self._ask(calls.models(), self._attempts())

    def is_ready(self) -> bool:
        """Return whether the service can detect; False also if nothing answers."""
        try:
            self._ask(calls.readiness(), self._attempts(retries=0))
        except NOT_NOW:
            return False
        return True

    def wait_until_ready(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until the service can detect.

        Raises:
            TimedOut: the service cannot detect after `timeout_s` seconds; the message gives the last reason.
        """
        self._ask(calls.readiness(), Polls(timeout_s=timeout_s, timing=self._timing))

    @overload
    def detect_many(
        self,
        images: Iterable[ImageInput],
        *,
        concurrency: int = ...,
        errors: Literal["raise"] = ...,
        **selection: Unpack[Selection],
    ) -> Iterator[DetectResult]: ...

    @overload
    def detect_many(
        self,
        images: Iterable[ImageInput],
        *,
        concurrency: int = ...,
        errors: Literal["return"],
        **selection: Unpack[Selection],
    ) -> Iterator[DetectResult | RendersightError]: ...

    def detect_many(
        self,
        images: Iterable[ImageInput],
        *,
        concurrency: int = CONCURRENCY,
        errors: Literal["raise", "return"] = "raise",
        **selection: Unpack[Selection],
    ) -> Iterator[DetectResult | RendersightError]:
        """Find the objects in many images, several at a time.

        Args:
            images: read one by one, only a few more than `concurrency` ahead of the results.
            concurrency: maximum number of calls at a time.
            errors: `raise` stops at the first image that fails; `return` yields its error in its place.
            selection: as for `detect`.

        Returns:
            The results, in the order of the images. If the caller stops early, the calls under way are awaited.
        """
        check_batch(concurrency, errors)

        def ask(image: ImageInput) -> DetectResult | RendersightError:
            try:
                return self.detect(image, **selection)
            except RendersightError as error:
                if errors == "raise":
                    raise
                return error

        return in_order(images, ask, concurrency=concurrency)

    def _attempts(self, retries: int | None = None) -> Attempts:
        retries = self._retries if retries is None else retries
        return Attempts(retries=retries, timeout_s=self._timeout_s, timing=self._timing)

    def _ask(self, call: Call[T], attempts: Attempts) -> T:
        while True:
            try:
                return call.read(self._send(call, attempts.left_s()))
            except RendersightError as error:
                pause_s = attempts.pause_after(error)
            self._sleep(pause_s)

    def _send(self, call: Call[T], left_s: float) -> Answer:
        end_s = self._timing.clock() + left_s
        with wire.translated(self._url), self._http.stream(**wire.request_of(call, left_s)) as response:
            pieces = []
            for piece in response.iter_bytes():
                pieces.append(piece)
                if self._timing.clock() > end_s:  # httpx limits the time of each piece, not of the whole body
                    raise wire.timed_out(self._url)
            return wire.answer_of(response, b"".join(pieces))
