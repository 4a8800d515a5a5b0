"""Request ids: the client's own id or a new one."""

import random
import re

from starlette.datastructures import Headers

REQUEST_ID_HEADER = "X-Request-ID"

_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def request_id_of(headers: Headers) -> str:
    """Return the client's id for its request, or a new id if the client's is missing or invalid."""
    asked = headers.get(REQUEST_ID_HEADER, "")
    return asked if _ACCEPTED_ID.fullmatch(asked) else f"{random.getrandbits(128):032x}"
