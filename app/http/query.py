"""Checks of every query: no unknown parameter, and no repeated one unless it is a list."""

from collections import Counter
from collections.abc import Callable, Coroutine
from itertools import islice
from typing import Any, get_origin

from fastapi import Request
from pydantic import BaseModel

from app import errors


def known_once(query: type[BaseModel]) -> Callable[[Request], Coroutine[Any, Any, None]]:
    """Return the dependency that checks the query of a route whose parameters are the fields of `query`."""
    known = query.model_fields

    async def check(request: Request) -> None:
        """Raise an error for unknown parameters, such as misspelt ones, and for repeated ones.

        Raises:
            InvalidParameter: a parameter is unknown or repeated; the error names the first `errors.MAX_FAULTS`.
        """
        counts = Counter(name for name, _ in request.query_params.multi_items())
        found = (
            errors.InputFault("query", errors.shown(name), None, f"no such parameter; accepted: {', '.join(known)}")
            if name not in known
            else errors.InputFault("query", name, None, f"given {count} times; accepted once")
            for name, count in counts.items()
            if name not in known or (count > 1 and get_origin(known[name].annotation) is not list)
        )
        if wrong := list(islice(found, errors.MAX_FAULTS)):
            listed = "; ".join(f"query parameter {item.name}: {item.accepted}" for item in wrong)
            raise errors.InvalidParameter(listed, errors=wrong)

    return check
