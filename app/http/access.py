"""Access control: the API key and scope that an endpoint requires."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Depends, Request

from app.errors import Forbidden, Unauthorized
from app.http.keys import Keys

_SCOPE = "x-scope"
_SCHEMES = {"key": {"type": "http", "scheme": "bearer", "description": "An API key, as `Authorization: Bearer KEY`."}}


def needs(scope: str) -> dict[str, Any]:
    """Return the arguments of a route that requires a key with this scope if the service has keys."""
    return {"dependencies": [Depends(_check(scope, always=False))], "openapi_extra": {_SCOPE: scope}}


def always_needs(scope: str) -> dict[str, Any]:
    """Return the arguments of a route that requires a key with this scope even if the service has no keys."""
    return {"dependencies": [Depends(_check(scope, always=True))], "openapi_extra": {_SCOPE: scope, "x-always": True}}


def _check(scope: str, *, always: bool) -> Callable[[Request], Coroutine[Any, Any, None]]:
    async def check(request: Request) -> None:
        """Raise an error if the request has no valid key. Store the key's name in `request.state.key`.

        Raises:
            Unauthorized: the key is missing or unknown.
            Forbidden: the key lacks the scope.
        """
        keys: Keys | None = request.app.state.keys
        if keys is None and not always:
            return
        given = _given(request)
        if not given:
            raise Unauthorized(f"a key with the scope {scope} is needed, as Authorization: Bearer KEY")
        key = (keys or Keys()).find(given)
        if key is None:
            raise Unauthorized("the key is not known")
        request.state.key = key.name
        if scope not in key.scopes:
            raise Forbidden(f"the key of {key.name} is for {', '.join(sorted(key.scopes))}; this needs {scope}")

    return check


def _given(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def describe(document: dict[str, Any], *, has_keys: bool) -> None:
    """Write into an OpenAPI document which operations require a key."""
    document["components"]["securitySchemes"] = _SCHEMES
    for item in document["paths"].values():
        for operation in item.values():
            scope, always = operation.pop(_SCOPE, None), operation.pop("x-always", False)
            if scope and (has_keys or always):
                operation["security"] = [{name: []} for name in _SCHEMES]
                operation["description"] += f"\n\nNeeds a key with the scope `{scope}`."
