"""Conversion of errors to answers: `application/problem+json` (RFC 9457).

At and below /v2 errors have the shape of the Open Inference Protocol instead; see `shape_at`.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
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
    InputFault,
    InternalError,
    InvalidParameter,
    NotReady,
    ServiceError,
    Unauthorized,
    shown,
)
from app.http.v2_schemas import InferenceError
from app.schemas import InputFaultOut, Problem

MEDIA_TYPE = "application/problem+json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ErrorShape:
    """The form of error answers.

    Attributes:
        media_type: media type of the answer.
        schema: schema of the answer's body.
        body: returns the JSON members of a problem.
    """

    media_type: str
    schema: type[BaseModel]
    body: Callable[[Problem], dict[str, Any]]

    def response(self, problem: Problem, headers: dict[str, str]) -> Response:
        """Return the answer to a request that ends in a problem."""
        return JSONResponse(self.body(problem), problem.status, headers, self.media_type)


PROBLEM = ErrorShape(MEDIA_TYPE, Problem, Problem.body)
V2_ERROR = ErrorShape(
    "application/json", InferenceError, lambda problem: InferenceError(error=problem.detail).model_dump()
)


def shape_at(path: str) -> ErrorShape:
    """Return the shape of errors at a path: that of the Open Inference Protocol at and below /v2."""
    return V2_ERROR if f"{path}/".startswith("/v2/") else PROBLEM


def path_of(scope: Scope) -> str:
    """Return a request's path below the prefix that the app is mounted at."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def type_of(error: type[ServiceError]) -> str:
    """Return the problem type of an error class, a URN that never changes."""
    return f"urn:rendersight:problem:{error.slug}"


def install(app: FastAPI) -> None:
    """Add the handlers of all expected errors to an app. `CatchUnexpected` handles the others."""
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
    details = {404: f"no such path: {request.url.path}", 405: f"{request.url.path} does not accept {request.method}"}
    problem = Problem(
        type="about:blank",
        title=HTTPStatus(error.status_code).phrase,
        status=error.status_code,
        detail=details.get(error.status_code, str(error.detail)),
        request_id=request.state.request_id,
    )
    if "GET" in (allowed := headers.get("Allow", "").split(", ")):
        headers["Allow"] = ", ".join(sorted({*allowed, "HEAD"}))  # `HeadAsGet` answers HEAD
    return shape_at(path_of(request.scope)).response(problem, headers)


def problem_of(error: ServiceError, *, request_id: str) -> Problem:
    """Return the problem document of an expected error."""
    return Problem(
        type=type_of(type(error)),
        title=error.title,
        status=error.status,
        detail=error.detail,
        request_id=request_id,
        errors=[InputFaultOut.model_validate(item) for item in error.errors],
    )


def response_to(request: Request, error: ServiceError) -> Response:
    """Return the answer to a request that ends in an expected error."""
    request.state.outcome = error.slug
    problem = problem_of(error, request_id=request.state.request_id)
    headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return shape_at(path_of(request.scope)).response(problem, headers)


class CatchUnexpected:
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
            _log.exception("unexpected error", extra={"fields": {"request_id": request.state.request_id}})
            await response_to(request, InternalError(InternalError.example))(scope, receive, send)
