"""Many photos of one request: a few at a time, answered in order, a line of JSON for each as soon as it is done."""

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager, aclosing, suppress

from fastapi import Response
from starlette.types import Receive, Scope, Send

from app import errors
from app.detecting import Detecting
from app.form import Part
from app.problems import problem_of

MEDIA_TYPE = "application/x-ndjson"

_log = logging.getLogger(__name__)


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
    lines: deque[asyncio.Task[bytes]] = deque()
    try:
        for index, file in enumerate(files):
            lines.append(asyncio.create_task(_line(detecting, index, file, request_id, max_bytes)))
            if len(lines) >= detecting.scheduler.at_once:
                yield await lines.popleft()
        while lines:
            yield await lines.popleft()
    finally:
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)


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
