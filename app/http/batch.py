"""Detection in the photos of one request, a few at a time, answered line by line or all together."""

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
    detecting: Detecting, files: Sequence[Part], *, request_id: str, max_bytes: int
) -> AsyncGenerator[bytes, None]:
    """Find the objects in each photo. A photo that fails does not affect the others.

    Args:
        detecting: the request's detection, with JSON as its format.
        files: the files of a form.
        request_id: request id, for the problems.
        max_bytes: maximum number of bytes of a file.

    Yields:
        A `schemas.BatchLine` as JSON with a line break for each file, in their order.

    Raises:
        ClientGone: the client has disconnected.
    """
    work = (_line(detecting, index, file, request_id, max_bytes) for index, file in enumerate(files))
    async with aclosing(_in_order(work, at_once=detecting.scheduler.at_once)) as lines:
        async for line in lines:
            yield line


async def answer_together(detecting: Detecting, images: Sequence[EncodedImage], detector: Detector) -> list[Answer]:
    """Find the objects in all photos. If one photo fails, all do.

    Args:
        detecting: the request's detection; its time limit applies to all photos together.
        images: at least one photo.
        detector: the current `Scheduler.detector`. It is used even if another one is swapped in meanwhile.

    Raises:
        ServiceError: as in `Detecting.answer`; the detail names the photo by its index, from 0.
        ClientGone: the client has disconnected.
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
            async with aclosing(self._lines) as lines:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                async for line in lines:
                    await send({"type": "http.response.body", "body": line, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
