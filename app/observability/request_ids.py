"""The id of a request: a client's own, or a new one."""

import random
import re

from starlette.datastructures import Headers

REQUEST_ID_HEADER = "X-Request-ID"

_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def request_id_of(headers: Headers) -> str:
    """Return the id that a client gave its request, or a new one where there is none or one that is not taken."""
    asked = headers.get(REQUEST_ID_HEADER, "")
    return asked if _ACCEPTED_ID.fullmatch(asked) else f"{random.getrandbits(128):032x}"
