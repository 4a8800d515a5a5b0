"""Request -> bytes, counted while read; bytes -> the encoded images in them.

Reading happens on the event loop and never keeps more than the limit; taking a form apart is for a worker thread.
Nothing is ever written to a file.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from app import errors
from app.http.multipart import FIELD, FORM, FormLimits, Part, default_name, files_in
from app.inference.decoding import EncodedImage
from rendersight import images

IMAGE_TYPES = tuple(f"image/{name.lower()}" for name in images.WEB_FORMATS)
"""The media types of the formats that are decoded; the signature decides, not the declared type."""

_ACCEPTED = (
    f"accepted: {FORM} with the file in the field {FIELD}, or the bare image as image/* or application/octet-stream"
)


class BodyMemory:
    """The memory that the bodies of all requests share.

    Attributes:
        max_bytes: so much there is.
        held_bytes: so much is taken.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Give one request what takes bytes for it, and raises Overloaded; at its end they are returned."""
        held = 0

        def take(count: int) -> None:
            nonlocal held
            if self.held_bytes + count > self.max_bytes:
                raise errors.Overloaded(
                    f"all requests' bodies have {self.held_bytes + count} bytes, the limit is {self.max_bytes}; "
                    "try again in 1 s"
                )
            self.held_bytes += count
            held += count

        try:
            yield take
        finally:
            self.held_bytes -= held


@dataclass(frozen=True)
class Upload:
    """A request's whole body.

    Attributes:
        data: at least one byte.
        boundary: what separates the parts of a form; None where the body is the image itself.
        limits: of a form.
    """

    data: bytes = field(repr=False)
    boundary: bytes | None
    limits: FormLimits

    @cached_property
    def image(self) -> EncodedImage:
        """The one image; of a large form it takes milliseconds to find.

        Raises:
            MalformedBody: no well-formed form, or one beyond its limits.
            InvalidForm: a form that is not exactly one file named `image`.
            EmptyUpload: that file has no bytes.
            UnsupportedMediaType: that file is encoded for mail.
        """
        if self.boundary is None:
            return EncodedImage(default_name(self.data), [self.data])
        files = self.files()
        if len(files) > 1:
            accepted = f"exactly one file, this form has {len(files)}"
            raise errors.InvalidForm(
                f"form field {FIELD}: {accepted}", errors=[errors.InvalidInput("form", FIELD, None, accepted)]
            )
        return files[0].image()

    def files(self) -> list[Part]:
        """Return the files of a form, at least one, in order; see `form.files_in`."""
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
) -> Upload:
    """Read a request's body, unless its headers already tell that it cannot be taken.

    Args:
        request: whose body nobody has read yet.
        max_bytes: the most bytes of the body.
        limits: of a form.
        timeout_s: how long the body may take to arrive.
        take: called with the number of bytes before they are kept; see `BodyMemory.share`.
        form_only: whether a bare image is refused.

    Raises:
        UnsupportedMediaType: neither a form nor an image, by its Content-Type, or a body that is compressed.
        MalformedBody: a form without boundary, or a connection that closed too early.
        UploadTooLarge: more than `max_bytes`, by Content-Length or by what came.
        UploadTimeout: it did not arrive in time.
        EmptyUpload: no byte came.
        Overloaded: by `take`.
    """
    boundary = _boundary(request.headers)
    if form_only and boundary is None:
        raise errors.UnsupportedMediaType(f"the body is no {FORM}; send files in the field {FIELD}")
    data = await read_body(request, max_bytes=max_bytes, timeout_s=timeout_s, take=take)
    if not data:
        raise errors.EmptyUpload("the body is empty; send an image")
    return Upload(data, boundary, limits)


async def read_body(request: Request, *, max_bytes: int, timeout_s: float, take: Callable[[int], None]) -> bytes:
    """Read a request's body, which may be empty.

    Args:
        request: whose body nobody has read yet.
        max_bytes: the most bytes of the body.
        timeout_s: how long the body may take to arrive.
        take: called with the number of bytes before they are kept; see `BodyMemory.share`.

    Raises:
        UnsupportedMediaType: a body that is compressed.
        UploadTooLarge: more than `max_bytes`, by Content-Length or by what came.
        UploadTimeout: it did not arrive in time.
        MalformedBody: a connection that closed too early.
        Overloaded: by `take`.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise errors.UnsupportedMediaType(
            f"Content-Encoding {errors.shown(encoding)} is not taken; send the bytes as they are"
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
                    raise errors.UploadTooLarge(f"the body has more than {max_bytes} bytes, the limit")
    except TimeoutError as error:
        came = f"{len(data)} bytes came"
        raise errors.UploadTimeout(f"the body did not arrive within {timeout_s:g} s; {came}") from error
    except ClientDisconnect as error:
        raise errors.MalformedBody(f"the connection closed after {len(data)} bytes of the body") from error
    return bytes(data)


def _boundary(headers: Headers) -> bytes | None:
    """Return a form's boundary, None for a bare image, by the headers."""
    declared = headers.get("content-type", "")
    kind, options = parse_options_header(declared)
    media_type = kind.decode("latin-1")
    if media_type == FORM:
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise errors.MalformedBody(f"Content-Type {errors.shown(declared)} names no boundary")
        return boundary
    if media_type and not media_type.startswith("image/") and media_type != "application/octet-stream":
        raise errors.UnsupportedMediaType(f"Content-Type {errors.shown(media_type)} is not taken; {_ACCEPTED}")
    return None
