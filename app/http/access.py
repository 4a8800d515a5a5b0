"""Access control: the API key and scope that an endpoint requires."""

from dataclasses import dataclass

from fastapi import Request

from app.errors import Forbidden, Unauthorized
from app.http.keys import Keys


@dataclass(frozen=True)
class KeyCheck:
    """A dependency that requires an API key.

    Attributes:
        scope: the scope that the key must have.
        always: whether a key is required even if the service has no keys.
    """

    scope: str
    always: bool = False

    async def __call__(self, request: Request) -> None:
        """Raise an error if the request has no valid key. Store the key's name in `request.state.key`.

        Raises:
            Unauthorized: the key is missing or unknown.
            Forbidden: the key lacks the scope.
        """
        keys: Keys | None = request.app.state.keys
        if keys is None and not self.always:
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else ""
        if not given:
            raise Unauthorized(
                f"an API key with the scope {self.scope} is required; send it as Authorization: Bearer KEY"
            )
        key = (keys or Keys()).find(given)
        if key is None:
            raise Unauthorized("the API key is unknown")
        request.state.key = key.name
        if self.scope not in key.scopes:
            raise Forbidden(
                f"the API key of {key.name} lacks the scope {self.scope}; it has {', '.join(sorted(key.scopes))}"
            )
