"""Many photos of one request: a few at a time, answered in order, each alone as soon as it is done or all together."""

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Iterable, Sequence
from contextlib import AbstractContextManager, aclosing, suppress
from typing import Any, TypeVar

from fastapi import Response
from starlette.types import Receive, Scope, Send

from app import errors
from app.http.multipart import Part
from app.http.problems import problem_of
from app.inference.decoding import EncodedImage
from app.inference.pipeline import Answer, Detecting
from model_store.detector import Detector

MEDIA_TYPE = "application/x-ndjson"

_log = logging.getLogger(__name__)

T = TypeVar("T")


async def _in_order(work: Iterable[Coroutine[Any, Any, T]], *, at_once: int) -> AsyncGenerator[T, None]:
    """Do a few things at a time, and yield what they give in their order; at the end none is left."""
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
    detecting: Detecting, files: Sequence[Part], *, request_id: str, max_bytes: int
) -> AsyncGenerator[bytes, None]:
    """Find the objects of each photo; one that fails fails alone.

    Args:
        detecting: what is wanted of each, as JSON.
        files: of a form.
        request_id: for the problems.
        max_bytes: the most bytes of a file.

    Yields:
        A `schemas.BatchLine` as JSON, with its line break, for each file in their order.

    Raises:
        ClientGone: nobody waits for the answer any more.
    """
    work = (_line(detecting, index, file, request_id, max_bytes) for index, file in enumerate(files))
    async with aclosing(_in_order(work, at_once=detecting.scheduler.at_once)) as lines:
        async for line in lines:
            yield line


async def answer_together(detecting: Detecting, images: Sequence[EncodedImage], detector: Detector) -> list[Answer]:
    """Find the objects of all photos; one that fails fails them all.

    Args:
        detecting: what is wanted of each; its time is for all of them together.
        images: at least one.
        detector: `Scheduler.detector` as it is now, whatever is swapped in meanwhile.

    Raises:
        ServiceError: as `Detecting.answer`; its detail names the photo by its place, from 0.
        ClientGone: nobody waits for the answer any more.
    """
    work = (_placed(detecting, index, image, detector) for index, image in enumerate(images))
    try:
        async with (
            asyncio.timeout(detecting.timeout_s),
            aclosing(_in_order(work, at_once=detecting.scheduler.at_once)) as answers,
        ):
            return [answer async for answer in answers]
    except TimeoutError as error:
        raise errors.DeadlineExceeded(f"it was not done within {detecting.timeout_s:g} s") from error


async def _placed(detecting: Detecting, index: int, image: EncodedImage, detector: Detector) -> Answer:
    try:
        return await detecting.answer(lambda: image, detector)
    except errors.ServiceError as error:
        raise type(error)(f"image {index}: {error.detail}", retry_after_s=error.retry_after_s) from error


async def _line(detecting: Detecting, index: int, file: Part, request_id: str, max_bytes: int) -> bytes:
    start = f'{{"index":{index},"filename":{json.dumps(file.filename)},'
    detector = detecting.scheduler.detector
    try:
        if (size := sum(map(len, file.pieces))) > max_bytes:
            raise errors.UploadTooLarge(f"the file has {size} bytes, the limit is {max_bytes}")
        answer = await detecting.answer(file.image, detector)
    except errors.ServiceError as error:
        failure = error
    except errors.ClientGone:
        raise
    except Exception:
        _log.exception("unforeseen error", extra={"fields": {"request_id": request_id, "index": index}})
        failure = errors.InternalError(errors.InternalError.example)
    else:
        detecting.metrics.asked("ok", (detector.card.name, detector.card.version))
        return b'%s"result":%s}\n' % (start.encode(), answer.body)
    detecting.metrics.asked(failure.slug, (detector.card.name, detector.card.version))
    problem = json.dumps(problem_of(failure, request_id=request_id).body())
    return f'{start}"problem":{problem}}}\n'.encode()


class LinesResponse(Response):
    """An answer that is sent line by line, as the lines are made; it ends with them, or with the connection."""

    media_type = MEDIA_TYPE

    def __init__(self, lines: AsyncGenerator[bytes, None], *, held: AbstractContextManager[object]) -> None:
        """Take the lines, and what is to be held until they are sent."""
        super().__init__()
        del self.headers["content-length"]
        self._lines = lines
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the answer."""
        with self._held, suppress(errors.ClientGone):
            async with aclosing(self._lines) as lines:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                async for line in lines:
                    await send({"type": "http.response.body", "body": line, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
