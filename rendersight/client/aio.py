"""`AsyncClient`: the client for asyncio."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Literal, Self, TypeVar, Unpack, overload

import httpx

from rendersight.client import calls, wire
from rendersight.client.answers import Answer, DetectResult, Model
from rendersight.client.batches import CONCURRENCY, check_batch, in_order_async
from rendersight.client.calls import AnnotationFormat, Call, PictureFormat, Selection
from rendersight.client.errors import RendersightError
from rendersight.client.retries import NOT_NOW, RETRIES, TIMEOUT_S, Attempts, Polls, Timing
from rendersight.client.uploads import ImageInput

T = TypeVar("T")


class AsyncClient:
    """The asyncio version of `Client`: an async context manager whose calls are coroutines.

    A cancelled call is dropped at once.
    """

    def __init__(
        self,
        base_url: str = wire.DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        retries: int = RETRIES,
        transport: httpx.AsyncBaseTransport | None = None,
        timing: Timing | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Store the settings, as `Client` does."""
        self._retries, self._timeout_s, self._timing, self._sleep = retries, timeout_s, timing or Timing(), sleep
        self._attempts()  # raises here if a number is out of range
        self._http = httpx.AsyncClient(transport=transport, **wire.settings(base_url, api_key))
        self._url = str(self._http.base_url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def detect(self, image: ImageInput, **selection: Unpack[Selection]) -> DetectResult:
        """Find the objects in one image."""
        return await self._ask(await asyncio.to_thread(calls.detect, image, selection), self._attempts())

    async def picture(self, image: ImageInput, format: PictureFormat = "png", **selection: Unpack[Selection]) -> bytes:  # noqa: A002
        """Return the upright photo with the boxes drawn, as the bytes of a PNG or JPEG file."""
        return await self._ask(await asyncio.to_thread(calls.picture, image, format, selection), self._attempts())

    async def annotate(
        self,
        image: ImageInput,
        format: AnnotationFormat = "labelme",  # noqa: A002
        **selection: Unpack[Selection],
    ) -> str:
        """Return the detections as the text of an annotation file: LabelMe JSON, COCO JSON, or CSV."""
        return await self._ask(await asyncio.to_thread(calls.annotate, image, format, selection), self._attempts())

    async def models(self) -> tuple[Model, ...]:
        """Return the served models."""
        return await self._ask(calls.models(), self._attempts())

    async def is_ready(self) -> bool:
        """Return whether the service can detect; False also if nothing answers."""
        try:
            await self._ask(calls.readiness(), self._attempts(retries=0))
        except NOT_NOW:
            return False
        return True

    async def wait_until_ready(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until the service can detect; raise the errors of `Client.wait_until_ready`."""
        await self._ask(calls.readiness(), Polls(timeout_s=timeout_s, timing=self._timing))

    @overload
    def detect_many(
        self,
        images: Iterable[ImageInput],
        *,
        concurrency: int = ...,
        errors: Literal["raise"] = ...,
        **selection: Unpack[Selection],
    ) -> AsyncIterator[DetectResult]: ...

    @overload
    def detect_many(
        self,
        images: Iterable[ImageInput],
        *,
        concurrency: int = ...,
        errors: Literal["return"],
        **selection: Unpack[Selection],
    ) -> AsyncIterator[DetectResult | RendersightError]: ...

    def detect_many(
        self,
        images: Iterable[ImageInput],
        *,
        concurrency: int = CONCURRENCY,
        errors: Literal["raise", "return"] = "raise",
        **selection: Unpack[Selection],
    ) -> AsyncIterator[DetectResult | RendersightError]:
        """Find the objects in many images, several at a time, as `Client.detect_many` does.

        Returns:
            The results, in the order of the images. If the caller stops early, the calls under way are cancelled.
        """
        check_batch(concurrency, errors)

        async def ask(image: ImageInput) -> DetectResult | RendersightError:
            try:
                return await self.detect(image, **selection)
            except RendersightError as error:
                if errors == "raise":
                    raise
                return error

        return in_order_async(images, ask, concurrency=concurrency)

    def _attempts(self, retries: int | None = None) -> Attempts:
        retries = self._retries if retries is None else retries
        return Attempts(retries=retries, timeout_s=self._timeout_s, timing=self._timing)

    async def _ask(self, call: Call[T], attempts: Attempts) -> T:
        while True:
            try:
                return call.read(await self._send(call, attempts.left_s()))
            except RendersightError as error:
                pause_s = attempts.pause_after(error)
            await self._sleep(pause_s)

    async def _send(self, call: Call[T], left_s: float) -> Answer:
        try:
            async with asyncio.timeout(left_s):
                with wire.translated(self._url):
                    async with self._http.stream(**wire.request_of(call, left_s)) as response:
                        return wire.answer_of(response, await response.aread())
        except TimeoutError as error:
            raise wire.timed_out(self._url) from error
