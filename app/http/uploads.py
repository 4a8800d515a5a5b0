"""Reading of request bodies with size and time limits, and the encoded images in them.

The event loop reads the body and never keeps more than the limit. A worker thread parses forms. Nothing is written to
a file.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from app import errors
from app.http.multipart import FIELD, FORM, FormLimits, Part, default_name, files_in
from app.inference.decoding import EncodedImage
from rendersight import images

IMAGE_TYPES = tuple(
    dict.fromkeys((*(f"image/{name.lower()}" for name in images.WEB_FORMATS), "image/heif", "image/heic"))
)
"""Media types of photos; HEIC takes an optional plugin. The data's signature decides the format, not the type."""

_ACCEPTED = (
    f"accepted: {FORM} with the file in the field {FIELD}, or the image itself as image/* or application/octet-stream"
)


class BodyMemory:
    """The memory budget that the bodies of all requests share.

    Attributes:
        max_bytes: size of the budget.
        held_bytes: bytes in use.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that reserves bytes for one request; it raises ServiceOverloaded. Free them at the end."""
        held = 0

        def take(count: int) -> None:
            nonlocal held
            if self.held_bytes + count > self.max_bytes:
                raise errors.ServiceOverloaded(
                    f"the bodies of all requests have {self.held_bytes + count} bytes, the limit is {self.max_bytes}; "
                    "try again in 1 s"
                )
            self.held_bytes += count
            held += count

        try:
            yield take
        finally:
            self.held_bytes -= held


@dataclass(frozen=True)
class UploadedBody:
    """A request's whole body.

    Attributes:
        data: the body, at least one byte.
        boundary: the separator of a form's parts; None if the body is the image itself.
        limits: the limits of a form.
    """

    data: bytes = field(repr=False)
    boundary: bytes | None
    limits: FormLimits

    def image(self) -> EncodedImage:
        """Return the one image of the upload. Parsing a large form takes milliseconds.

        Raises:
            MalformedBody: the form is not well-formed or exceeds `limits`.
            InvalidForm: the form is not exactly one file named `image`.
            EmptyUpload: the file is empty.
            UnsupportedMediaType: the file has a transfer encoding such as base64.
        """
        if self.boundary is None:
            return EncodedImage(default_name(self.data), [self.data])
        files = self.files()
        if len(files) > 1:
            accepted = f"exactly one file, this form has {len(files)}"
            raise errors.InvalidForm(
                f"form field {FIELD}: {accepted}", errors=[errors.InputFault("form", FIELD, None, accepted)]
            )
        return files[0].image()

    def files(self) -> list[Part]:
        """Return the files of a form, at least one, in order; see `multipart.files_in`."""
        assert self.boundary is not None, "it is an image"
        return files_in(self.data, self.boundary, self.limits)


async def read_upload(
    request: Request,
    *,
    max_bytes: int,
    limits: FormLimits,
    timeout_s: float,
    take: Callable[[int], None],
    form_only: bool = False,
) -> UploadedBody:
    """Read the body of a request with an image or a form. Check the headers before reading.

    Args:
        request: a request whose body has not been read.
        max_bytes: maximum number of bytes of the body.
        limits: the limits of a form.
        timeout_s: time limit for the body to arrive.
        take: called with the number of bytes before they are kept; see `BodyMemory.share`.
        form_only: whether to refuse a bare image.

    Raises:
        UnsupportedMediaType: the Content-Type is neither a form nor an image.
        MalformedBody: the form has no boundary.
        EmptyUpload: the body is empty.
        ServiceError: as in `read_body`.
    """
    boundary = _boundary(request.headers)
    if form_only and boundary is None:
        raise errors.UnsupportedMediaType(f"the body is not {FORM}; send the files in the form field {FIELD}")
    data = await read_body(request, max_bytes=max_bytes, timeout_s=timeout_s, take=take)
    if not data:
        raise errors.EmptyUpload("the body is empty; send an image")
    return UploadedBody(data, boundary, limits)


async def read_body(request: Request, *, max_bytes: int, timeout_s: float, take: Callable[[int], None]) -> bytes:
    """Read a request's body, which may be empty.

    Args:
        request: a request whose body has not been read.
        max_bytes: maximum number of bytes of the body.
        timeout_s: time limit for the body to arrive.
        take: called with the number of bytes before they are kept; see `BodyMemory.share`.

    Raises:
        UnsupportedMediaType: the body is compressed.
        UploadTooLarge: the Content-Length or the received data exceeds `max_bytes`.
        UploadTimeout: the body did not arrive in time.
        MalformedBody: the connection closed too early.
        ServiceOverloaded: `take` raised it.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise errors.UnsupportedMediaType(
            f"Content-Encoding {errors.shown(encoding)} is not accepted; send the bytes unchanged"
        )
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise errors.UploadTooLarge(f"the body has {announced} bytes, the limit is {max_bytes}")
    data = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                take(len(chunk))
                data += chunk
                if len(data) > max_bytes:
                    raise errors.UploadTooLarge(f"the body has more bytes than the limit of {max_bytes}")
    except TimeoutError as error:
        raise errors.UploadTimeout(
            f"the body did not arrive within {timeout_s:g} s; {len(data)} bytes were received"
        ) from error
    except ClientDisconnect as error:
        raise errors.MalformedBody(f"the connection closed after {len(data)} bytes of the body") from error
    return bytes(data)


def _boundary(headers: Headers) -> bytes | None:
    """Return a form's boundary from the Content-Type, or None for a bare image."""
    declared = headers.get("content-type", "")
    kind, options = parse_options_header(declared)
    media_type = kind.decode("latin-1")
    if media_type == FORM:
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise errors.MalformedBody(f"Content-Type {errors.shown(declared)} has no boundary")
        return boundary
    if media_type and not media_type.startswith("image/") and media_type != "application/octet-stream":
        raise errors.UnsupportedMediaType(f"Content-Type {errors.shown(media_type)} is not accepted; {_ACCEPTED}")
    return None
