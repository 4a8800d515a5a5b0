"""The endpoints of the Open Inference Protocol, version 2, for KServe and its clients."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Header, Request, Response

from app import errors
from app.dependencies import MemoryDep, PipelineDep, SchedulerDep, SettingsDep, TimeoutDep
from app.http.access import KeyCheck
from app.http.batch import answer_together
from app.http.disconnect import unless_gone
from app.http.uploads import read_body
from app.http.v2_protocol import (
    INPUTS,
    OUTPUTS,
    ROWS,
    check_headers,
    check_query,
    inference_response,
    read_request,
)
from app.http.v2_schemas import ModelMetadata, ModelReady, ServerLive, ServerMetadata, ServerReady
from app.inference.pipeline import DetectOptions
from app.observability.request_log import note_stages
from app.openapi.inference import INFER, METADATA, READY
from app.openapi.responses import error_responses
from app.routes import health
from app.schemas import SelectQuery
from model_store.model_info import ModelInfo

TOP = "/v2"

router = APIRouter(tags=["Open Inference Protocol"])

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


_SEE = "GET /models shows the served model"
_KEY = Depends(KeyCheck("detect"))


def _check_model(request: Request, info: ModelInfo) -> None:
    """Raise an error if the request's path does not name the served model.

    Raises:
        UnknownModel: the name or the version differs.
    """
    name, version = request.path_params["model_name"], request.path_params.get("model_version")
    if name != info.name:
        raise errors.UnknownModel(f"no model {errors.shown(name)!r} is served; {_SEE}")
    if version not in (None, info.version):
        raise errors.UnknownModel(f"no version {errors.shown(version)!r} of the model is served; {_SEE}")


def _of_model(
    method: str, end: str, metadata: dict[str, dict[str, Any]], *dependencies: Any
) -> Callable[[Endpoint], Endpoint]:
    """Return a decorator that adds an endpoint at the model's path and at its version's path."""

    def add(endpoint: Endpoint) -> Endpoint:
        for path, options in metadata.items():
            router.add_api_route(path + end, endpoint, methods=[method], dependencies=dependencies, **options)
        return endpoint

    return add


@router.get(TOP, summary="Describe the server", operation_id="server_metadata")
@router.get(f"{TOP}/", include_in_schema=False)
async def server_metadata(request: Request) -> ServerMetadata:
    """Return the server's name, version and protocol extensions. `/v2/` answers the same."""
    return ServerMetadata(name="rendersight", version=request.app.version, extensions=["binary_tensor_data"])


@router.get(
    f"{TOP}/health/live",
    summary="Check that the server is alive",
    operation_id="server_live",
    responses=error_responses(errors.NotAlive, path=TOP),
)
async def live(request: Request, settings: SettingsDep) -> ServerLive:
    """Answer as `GET /livez`."""
    await health.livez(request, settings)
    return ServerLive()


@router.get(
    f"{TOP}/health/ready",
    summary="Check that the server is ready",
    operation_id="server_ready",
    responses=error_responses(errors.NotReady, errors.NotAlive, path=TOP),
)
async def ready(scheduler: SchedulerDep, settings: SettingsDep) -> ServerReady:
    """Answer as `GET /readyz`."""
    await health.readyz(scheduler, settings)
    return ServerReady()


@_of_model("GET", "", METADATA, _KEY)
async def model_metadata(request: Request, scheduler: SchedulerDep) -> ModelMetadata:
    """Describe the inputs and outputs of the model. `GET /models` lists its classes and figures."""
    detector = scheduler.detector
    info = detector.info
    _check_model(request, info)
    return ModelMetadata(
        name=info.name, versions=[info.version], platform=detector.engine.name, inputs=INPUTS, outputs=OUTPUTS
    )


@_of_model("GET", "/ready", READY)
async def model_ready(request: Request, scheduler: SchedulerDep, settings: SettingsDep) -> ModelReady:
    """Answer as `GET /readyz` for the served model. No API key is needed, because probes have none."""
    await health.readyz(scheduler, settings)
    _check_model(request, scheduler.detector.info)
    return ModelReady(name=scheduler.detector.info.name)


_LENGTH = "Length of the JSON in bytes. Binary tensor data follows it. If absent, the whole body is JSON."


@_of_model("POST", "/infer", INFER, _KEY)
async def infer(
    request: Request,
    timeout_s: TimeoutDep,
    pipeline: PipelineDep,
    settings: SettingsDep,
    memory: MemoryDep,
    inference_header_content_length: Annotated[int | None, Header(ge=0, description=_LENGTH)] = None,
) -> Response:
    """Find the objects in N images. One answer covers all of them; if one image cannot be read, the request fails.

    The outputs are `boxes` FP32 `[N, M, 4]`, `labels` INT64 `[N, M]`, `scores` FP32 `[N, M]` and `num_detections`
    INT32 `[N]`. M is the largest number of objects in one image; shorter rows are padded with 0. The values are the
    same as from `POST /detect`.
    """
    _check_model(request, pipeline.scheduler.detector.info)
    pipeline.check(DetectOptions(SelectQuery(), timeout_s))
    check_query(request.query_params)
    check_headers(request.headers)
    is_json = inference_header_content_length is None
    with memory.share() as take:
        asked = await asyncio.to_thread(
            read_request,
            await read_body(
                request,
                max_bytes=settings.max_bytes if is_json else min(settings.max_batch_bytes, memory.max_bytes),
                timeout_s=settings.upload_timeout_s,
                take=take,
            ),
            inference_header_content_length,
            max_images=settings.max_parts,
            max_bytes=settings.max_bytes,
        )
        options = DetectOptions(asked.request.parameters, timeout_s, ROWS)
        detector = pipeline.scheduler.detector
        _check_model(request, detector.info)
        request.state.info = detector.info
        pipeline.check(options)
        answers = await unless_gone(request.receive, answer_together(pipeline, asked.images, options, detector))
    stages = answers[0].stages_s
    sums = {stage: sum(answer.stages_s[stage] for answer in answers) for stage in stages}
    note_stages(request, sums, tiles=sum(answer.tile_count for answer in answers))
    return await asyncio.to_thread(
        inference_response, asked.request, [answer.body for answer in answers], detector.info
    )
