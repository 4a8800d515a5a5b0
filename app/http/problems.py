"""Conversion of errors to answers: `application/problem+json` (RFC 9457).

At and below /v2 errors have the shape of the Open Inference Protocol instead; see `_SHAPES`.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import (
    MAX_FAULTS,
    ClientGone,
    EmptyUpload,
    ImageNotDecodable,
    ImageNotRecognized,
    InputFault,
    InternalError,
    InvalidParameter,
    MalformedBody,
    NotReady,
    ServiceError,
    TooManyPixels,
    Unauthorized,
    UnsupportedMediaType,
    shown,
)
from app.http.v2_schemas import InferenceError
from app.schemas import InputFaultOut, Problem

MEDIA_TYPE = "application/problem+json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Shape:
    """The format of error answers.

    Attributes:
        media_type: media type of the answer.
        schema: schema of the answer's body.
        body: returns the JSON members of a problem.
        examples: error class -> example of its detail; overrides the class's own example.
    """

    media_type: str
    schema: type[BaseModel]
    body: Callable[[Problem], dict[str, Any]]
    examples: Mapping[type[ServiceError], str] = field(default_factory=dict)

    def response(self, problem: Problem, headers: dict[str, str]) -> Response:
        return JSONResponse(self.body(problem), problem.status, headers, self.media_type)


_PROBLEM = _Shape(MEDIA_TYPE, Problem, Problem.body)
_SHAPES = {
    "/v2": _Shape(
        "application/json",
        InferenceError,
        lambda problem: InferenceError(error=problem.detail).model_dump(),
        {
            MalformedBody: "the connection closed after 81920 bytes of the body",
            EmptyUpload: "image 1: it is empty",
            UnsupportedMediaType: "Content-Type image/jpeg is not taken; "
            "accepted: application/json, application/octet-stream",
            InvalidParameter: "parameters.score_threshold: Input should be less than or equal to 1, but it is 1.5",
            **{error: f"image 1: {error.example}" for error in (TooManyPixels, ImageNotRecognized, ImageNotDecodable)},
        },
    )
}
"""Path -> shape of errors at and below it. All other paths use `_PROBLEM`."""


def _shape_at(path: str) -> _Shape:
    return next((shape for top, shape in _SHAPES.items() if f"{path}/".startswith(f"{top}/")), _PROBLEM)


def path_of(scope: Scope) -> str:
    """Return a request's path below the prefix that the app is mounted at."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _shape_of(scope: Scope) -> _Shape:
    return _shape_at(path_of(scope))


def type_of(error: type[ServiceError]) -> str:
    """Return the problem type of an error class, a URN that never changes."""
    return f"urn:rendersight:problem:{error.slug}"


def install(app: FastAPI) -> None:
    """Add the handlers of all expected errors to an app. `CatchUnforeseen` handles the others."""
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(ClientGone, _on_client_gone)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)


async def _on_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return response_to(request, error)


async def _on_client_gone(request: Request, _error: Exception) -> Response:
    """Return an empty response. The client is gone; only the log sees the status."""
    request.state.outcome = "client-gone"
    return Response(status_code=ClientGone.status)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    """Translate FastAPI's validation errors of the query and the headers to InvalidParameter."""
    assert isinstance(error, RequestValidationError)
    found = [
        InputFault(item["loc"][0], str(item["loc"][1]), shown(str(item["input"])), item["msg"])
        for item in error.errors()[:MAX_FAULTS]
    ]
    kinds = {"query": "query parameter", "header": "header"}
    detail = "; ".join(f"{kinds[item.location]} {item.name}: {item.accepted}" for item in found)
    return response_to(request, InvalidParameter(detail, errors=found))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Answer the router's errors: unknown path (404), wrong method (405)."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    details = {404: f"there is no {request.url.path}", 405: f"{request.method} is not for {request.url.path}"}
    problem = Problem(
        type="about:blank",
        title=HTTPStatus(error.status_code).phrase,
        status=error.status_code,
        detail=details.get(error.status_code, str(error.detail)),
        request_id=request.state.request_id,
    )
    if "GET" in (allowed := headers.get("Allow", "").split(", ")):
        headers["Allow"] = ", ".join(sorted({*allowed, "HEAD"}))  # `HeadAsGet` answers HEAD
    return _shape_of(request.scope).response(problem, headers)


def problem_of(error: ServiceError, *, request_id: str) -> Problem:
    """Return the problem document of an expected error."""
    return Problem(
        type=type_of(type(error)),
        title=error.title,
        status=error.status,
        detail=error.detail,
        request_id=request_id,
        errors=[InputFaultOut.of(item) for item in error.errors],
    )


def response_to(request: Request, error: ServiceError) -> Response:
    """Return the answer to a request that ends in an expected error."""
    request.state.outcome = error.slug
    problem = problem_of(error, request_id=request.state.request_id)
    headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return _shape_of(request.scope).response(problem, headers)


class CatchUnforeseen:
    """Middleware that logs an unexpected error with its traceback and answers 500 without internals."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app. Once its answer has begun, an error can only close the connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def watch(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except asyncio.CancelledError:  # the server cancels requests that are left when the time to drain is over
            if has_begun:
                raise
            await response_to(Request(scope), NotReady("the service has stopped"))(scope, receive, send)
        except Exception:
            if has_begun:
                raise
            request = Request(scope)
            _log.exception("unforeseen error", extra={"fields": {"request_id": request.state.request_id}})
            await response_to(request, InternalError(InternalError.example))(scope, receive, send)


def responses(*errors: type[ServiceError], path: str = "/") -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI `responses` of an endpoint that raises these errors, with an example of each.

    Args:
        errors: the errors that the endpoint raises.
        path: the endpoint's path or a parent of it; it decides the shape of the errors.
    """
    shape = _shape_at(path)
    schema = {"$ref": f"#/components/schemas/{shape.schema.__name__}"}
    by_status: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        response = by_status.setdefault(
            error.status,
            {"description": "", "content": {shape.media_type: {"schema": schema, "examples": {}}}},
        )
        response["description"] = " or ".join(filter(None, [response["description"], error.title]))
        response["content"][shape.media_type]["examples"][error.slug] = {
            "summary": error.title,
            "value": shape.body(_example(error, shape)),
        }
    return by_status


def _example(error: type[ServiceError], shape: _Shape) -> Problem:
    inputs = {
        "invalid-parameter": InputFaultOut(
            location="query", name="score_threshold", value="1.5", accepted="Input should be less than or equal to 1"
        ),
        "invalid-form": InputFaultOut(
            location="form", name="image", value=None, accepted="exactly one file, this form has none"
        ),
    }
    return Problem(
        type=type_of(error),
        title=error.title,
        status=error.status,
        detail=shape.examples.get(error, error.example),
        request_id="b1946ac92492d234",
        errors=[inputs[error.slug]] if error.slug in inputs else [],
    )


def describe(document: dict[str, Any]) -> dict[str, Any]:
    """Add the error schemas, which `responses` references, to an OpenAPI document."""
    for shape in (_PROBLEM, *_SHAPES.values()):
        schema = shape.schema.model_json_schema(ref_template="#/components/schemas/{model}")
        document["components"]["schemas"].update({**schema.pop("$defs", {}), shape.schema.__name__: schema})
    return document
