"""`Client`: calls that block."""

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
    """A service of Rendersight, asked over HTTP; a context manager, which threads may share.

    Calls take an image as a path, the bytes of an image file, a binary file, a Pillow image, or a uint8 array (H, W, 3)
    RGB or (H, W) grey; and, as keywords, what is to be reported: `score_threshold`, `labels`, `iou_threshold`,
    `class_agnostic`, `max_detections` (`Selection` describes them). They raise what `RendersightError` draws.

    A call is tried again where the service is overloaded or not ready, where a gateway before it fails, and where no
    connection is made or one is lost. A Retry-After is honoured, and all of it ends at the call's deadline.
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
        """Prepare the calls; nothing is sent yet.

        Args:
            base_url: where the service is, such as `https://example.org/dice`.
            api_key: sent as `Authorization: Bearer KEY`.
            timeout_s: the most that one call takes, its retries and its pauses included.
            retries: the most attempts after the first.
            transport: what carries the requests instead of a connection.
            timing: where time and chance come from.
            sleep: how a pause is spent.

        Raises:
            WrongSetting: an argument that cannot be used.
        """
        self._retries, self._timeout_s, self._timing, self._sleep = retries, timeout_s, timing or Timing(), sleep
        self._attempts()  # a wrong number is told now
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
        """Return what was found as an annotation file's text: LabelMe's JSON, COCO's JSON, or CSV."""
        return self._ask(calls.annotate(image, format, selection), self._attempts())

    def models(self) -> tuple[Model, ...]:
        """Return what is served."""
        return self._ask(calls.models(), self._attempts())

    def is_ready(self) -> bool:
        """Return whether the service can detect; False as well where nothing answers."""
        try:
            self._ask(calls.readiness(), self._attempts(retries=0))
        except NOT_NOW:
            return False
        return True

    def wait_until_ready(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until the service can detect.

        Raises:
            TimedOut: it cannot after `timeout_s` seconds; the message has the last reason.
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
            images: taken one by one, only a few more than `concurrency` ahead of the results.
            concurrency: the most calls at a time.
            errors: `raise` ends at the first image that fails; `return` yields its error in its place.
            selection: as `detect`.

        Returns:
            The results, in the order of the images. Ended early, it waits for the calls under way.
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
                if self._timing.clock() > end_s:  # httpx counts the time of each piece, not of all
                    raise wire.timed_out(self._url)
            return wire.answer_of(response, b"".join(pieces))
