"""Detection in the photos of one request, a few at a time, answered line by line or all together."""

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, suppress
from typing import Any, TypeVar

from fastapi import Response
from starlette.types import Receive, Scope, Send

from app import errors
from app.http.disconnect import unless_gone
from app.http.multipart import Part
from app.http.problems import problem_of
from app.inference.decoding import EncodedImage
from app.inference.pipeline import DetectOptions, EncodedDetections, Pipeline
from model_store.detector import Detector

MEDIA_TYPE = "application/x-ndjson"

_log = logging.getLogger(__name__)

T = TypeVar("T")


class _Room:
    """The views of photos that one batch may have in the scheduler at a time, so that it does not fill the queue."""

    def __init__(self, views: int) -> None:
        self._views = views
        self._taken = 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def take(self, views: int) -> AsyncIterator[None]:
        """Wait until there is room for the views of one photo. A photo with more than all the room has to be alone."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._taken or self._taken + views <= self._views)
            self._taken += views
        try:
            yield
        finally:
            async with self._changed:
                self._taken -= views
                self._changed.notify_all()


async def _in_order(work: Iterable[Coroutine[Any, Any, T]], *, at_once: int) -> AsyncGenerator[T, None]:
    """Run at most `at_once` coroutines at a time and yield their results in order. On exit, cancel those left."""
    begun: deque[asyncio.Task[T]] = deque()
    try:
        for one in work:
            begun.append(asyncio.create_task(one))
            if len(begun) >= at_once:
                yield await begun.popleft()
        while begun:
            yield await begun.popleft()
    finally:
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)


async def answer_in_order(
    pipeline: Pipeline, files: Sequence[Part], options: DetectOptions, *, request_id: str, max_bytes: int
) -> AsyncGenerator[bytes, None]:
    """Find the objects in each photo. A photo that fails does not affect the others.

    Args:
        pipeline: the app's pipeline.
        files: the files of a form.
        options: the request's options, with JSON as the format.
        request_id: the id that problems show.
        max_bytes: maximum number of bytes of a file.

    Yields:
        A `schemas.BatchLine` as JSON with a line break for each file, in their order.
    """
    room = _Room(pipeline.scheduler.at_once)
    work = (
        _line(pipeline, index, file, options, room=room, request_id=request_id, max_bytes=max_bytes)
        for index, file in enumerate(files)
    )
    async with aclosing(_in_order(work, at_once=pipeline.scheduler.at_once)) as lines:
        async for line in lines:
            yield line


async def answer_together(
    pipeline: Pipeline, images: Sequence[EncodedImage], options: DetectOptions, detector: Detector
) -> list[EncodedDetections]:
    """Find the objects in all photos. If one photo fails, all do.

    Args:
        pipeline: the app's pipeline.
        images: at least one photo.
        options: the request's options; their time limit applies to all photos together.
        detector: the current `Scheduler.detector`. It is used even if another one is swapped in meanwhile.

    Raises:
        ServiceError: as in `Pipeline.detect`; the detail names the photo by its index, from 0.
    """
    room = _Room(pipeline.scheduler.at_once)
    work = (_named(pipeline, index, image, options, detector, room=room) for index, image in enumerate(images))
    try:
        async with (
            asyncio.timeout(options.timeout_s),
            aclosing(_in_order(work, at_once=pipeline.scheduler.at_once)) as answers,
        ):
            return [answer async for answer in answers]
    except TimeoutError as error:
        raise errors.DeadlineExceeded(f"not finished within {options.timeout_s:g} s") from error


async def _named(
    pipeline: Pipeline, index: int, image: EncodedImage, options: DetectOptions, detector: Detector, *, room: _Room
) -> EncodedDetections:
    try:
        return await _detect(pipeline, image, options, detector, room)
    except errors.ServiceError as error:
        raise type(error)(f"image {index}: {error.detail}", retry_after_s=error.retry_after_s) from error


async def _detect(
    pipeline: Pipeline, image: EncodedImage, options: DetectOptions, detector: Detector, room: _Room
) -> EncodedDetections:
    views = await pipeline.count_views(image, options, detector)
    async with room.take(views):
        return await pipeline.detect(image, options, detector, views=views)


async def _line(
    pipeline: Pipeline, index: int, file: Part, options: DetectOptions, *, room: _Room, request_id: str, max_bytes: int
) -> bytes:
    detector = pipeline.scheduler.detector
    outcome, member = "ok", "result"
    try:
        if (size := sum(map(len, file.pieces))) > max_bytes:
            raise errors.UploadTooLarge(f"the file has {size} bytes, the limit is {max_bytes}")
        body = (await _detect(pipeline, file.image(), options, detector, room)).body
    except Exception as error:
        failure = (
            error if isinstance(error, errors.ServiceError) else errors.InternalError(errors.InternalError.example)
        )
        if failure is not error:
            _log.exception("unexpected error", extra={"fields": {"request_id": request_id, "index": index}})
        outcome, member = failure.slug, "problem"
        body = json.dumps(problem_of(failure, request_id=request_id).body()).encode()
    pipeline.metrics.asked(outcome, (detector.info.name, detector.info.version))
    return b'{"index":%d,"filename":%s,"%s":%s}\n' % (index, json.dumps(file.filename).encode(), member.encode(), body)


class LinesResponse(Response):
    """A response that sends each line as soon as it is ready. It ends early if the client disconnects."""

    media_type = MEDIA_TYPE

    def __init__(self, lines: AsyncGenerator[bytes, None], *, held: AbstractContextManager[object]) -> None:
        """Store the lines and `held`, a context manager that is entered and exited around the sending."""
        super().__init__()
        del self.headers["content-length"]
        self._lines = lines
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the answer."""
        with self._held, suppress(errors.ClientGone):
            await unless_gone(receive, self._send_lines(send))

    async def _send_lines(self, send: Send) -> None:
        async with aclosing(self._lines) as lines:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for line in lines:
                await send({"type": "http.response.body", "body": line, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
