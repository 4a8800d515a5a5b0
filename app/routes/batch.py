"""`POST /detect/batch`: many photos in, one JSON line for each out."""

import asyncio
from contextlib import ExitStack
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from app.dependencies import MemoryDep, PipelineDep, SettingsDep, TimeoutDep
from app.http.access import KeyCheck
from app.http.batch import LinesResponse, answer_in_order
from app.http.multipart import FormLimits
from app.http.query import known_once
from app.http.uploads import read_upload
from app.inference.pipeline import DetectOptions
from app.openapi.detection import BATCH
from app.schemas import SelectQuery

router = APIRouter(tags=["Detection"])


@router.post(
    "/detect/batch",
    response_class=LinesResponse,
    dependencies=[Depends(KeyCheck("detect")), Depends(known_once(SelectQuery))],
    **BATCH,
)
async def detect_batch(
    request: Request,
    query: Annotated[SelectQuery, Query()],
    timeout_s: TimeoutDep,
    pipeline: PipelineDep,
    settings: SettingsDep,
    memory: MemoryDep,
) -> LinesResponse:
    """Detect the objects in many photos. The answer is JSON lines in the photos' order, each sent once it is ready.

    If one photo cannot be read, or its time runs out, its line has a `problem` instead of a `result`. The others are
    not affected. The time limit applies to each photo and starts when its turn comes.
    """
    options = DetectOptions(query, timeout_s)
    pipeline.check(options)
    with ExitStack() as held:
        upload = await read_upload(
            request,
            max_bytes=min(settings.max_batch_bytes, memory.max_bytes),
            form_only=True,
            limits=FormLimits(settings.max_parts, settings.max_part_header_bytes),
            timeout_s=settings.upload_timeout_s,
            take=held.enter_context(memory.share()),
        )
        lines = answer_in_order(
            pipeline,
            await asyncio.to_thread(upload.files),
            options,
            request_id=request.state.request_id,
            max_bytes=settings.max_bytes,
        )
        return LinesResponse(lines, held=held.pop_all())
