"""Request -> bytes, counted while read; bytes -> the one encoded image in them -> upright RGB pixels.

Reading happens on the event loop and never keeps more than the limit; taking a form apart and decoding are for a worker
thread. Nothing is ever written to a file. The format of a form: RFC 7578.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from app import errors
from rendersight import images
from rendersight.images import Need, Photo

FORM = "multipart/form-data"
FIELD = "image"
IMAGE_TYPES = tuple(f"image/{name.lower()}" for name in images.WEB_FORMATS)
"""The media types of the formats that are decoded; the signature decides, not the declared type."""

_ACCEPTED = (
    f"accepted: {FORM} with the file in the field {FIELD}, or the bare image as image/* or application/octet-stream"
)
_MAX_PART_HEADERS = 16
_PLAIN_ENCODINGS = ("", "binary", "8bit", "7bit")


@dataclass(frozen=True)
class FormLimits:
    """What a form may be, beside the bytes of the body.

    Attributes:
        max_parts: the most parts.
        max_header_bytes: the most bytes of one header line of a part.
    """

    max_parts: int
    max_header_bytes: int


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
    """

    data: bytes
    boundary: bytes | None


async def read_upload(request: Request, *, max_bytes: int, timeout_s: float, take: Callable[[int], None]) -> Upload:
    """Read a request's body, unless its headers already tell that it cannot be taken.

    Args:
        request: whose body nobody has read yet.
        max_bytes: the most bytes of the body.
        timeout_s: how long the body may take to arrive.
        take: called with the number of bytes before they are kept; see `BodyMemory.share`.

    Raises:
        UnsupportedMediaType: neither a form nor an image, by its Content-Type, or a body that is compressed.
        MalformedBody: a form without boundary, or a connection that closed too early.
        UploadTooLarge: more than `max_bytes`, by Content-Length or by what came.
        UploadTimeout: it did not arrive in time.
        EmptyUpload: no byte came.
        Overloaded: by `take`.
    """
    boundary = _boundary(request.headers)
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
    if not data:
        raise errors.EmptyUpload("the body is empty; send an image")
    return Upload(bytes(data), boundary)


def decode_upload(upload: Upload, *, limits: FormLimits, max_pixels: int, need: Need) -> Photo:
    """Take the image out of an upload and decode it; it blocks.

    Args:
        upload: a request's body.
        limits: of a form.
        max_pixels: the most pixels (width x height), by the image's header.
        need: as `images.decode_photo` takes it.

    Raises:
        MalformedBody: no well-formed form, or one beyond its limits.
        InvalidForm: a form that is not exactly one file named `image`.
        EmptyUpload: that file has no bytes.
        UnsupportedMediaType: that file is encoded for mail.
        UnknownImageFormat: no signature of `images.WEB_FORMATS`.
        ImageTooLarge: more than `max_pixels`, by its header.
        BrokenImage: a known format that does not decode.
    """
    data = upload.data if upload.boundary is None else _file_of(_parts(upload.data, upload.boundary, limits))
    try:
        return images.decode_photo(data, max_pixels=max_pixels, need=need)
    except images.UnknownImageFormat as error:
        raise errors.UnknownImageFormat(str(error)) from error
    except images.ImageTooLarge as error:
        raise errors.ImageTooLarge(str(error)) from error
    except images.BrokenImage as error:
        raise errors.BrokenImage(str(error)) from error


def _boundary(headers: Headers) -> bytes | None:
    """Return a form's boundary, None for a bare image, by the headers."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise errors.UnsupportedMediaType(
            f"Content-Encoding {errors.shown(encoding)} is not taken; send the bytes as they are"
        )
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


@dataclass
class _Part:
    """One part of a form: its headers, names in lower case, and its content in pieces."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)


class _FormReader:
    """Collects what the streaming parser calls back with, whole headers and parts at a time."""

    def __init__(self, limits: FormLimits) -> None:
        self._limits = limits
        self.parts: list[_Part] = []
        self.complete = False
        self._name = b""
        self._value = b""

    def on_part_begin(self) -> None:
        if len(self.parts) == self._limits.max_parts:
            raise errors.MalformedBody(f"{FORM}: more than {self._limits.max_parts} parts, the limit")
        self.parts.append(_Part())

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].pieces.append(data[start:end])

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self.parts[-1].headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def on_end(self) -> None:
        self.complete = True


def _parts(data: bytes, boundary: bytes, limits: FormLimits) -> list[_Part]:
    """Take a form apart."""
    reader = _FormReader(limits)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": reader.on_part_begin,
                "on_part_data": reader.on_part_data,
                "on_header_field": reader.on_header_field,
                "on_header_value": reader.on_header_value,
                "on_header_end": reader.on_header_end,
                "on_end": reader.on_end,
            },
            max_header_count=_MAX_PART_HEADERS,
            max_header_size=limits.max_header_bytes,
        )
        parser.write(data)
    except FormParserError as error:
        limited = f"; a part may have {_MAX_PART_HEADERS} headers of {limits.max_header_bytes} bytes"
        raise errors.MalformedBody(f"{FORM}: {error}{limited if 'Maximum' in str(error) else ''}") from error
    if not reader.complete:
        raise errors.MalformedBody(f"{FORM}: the closing boundary is missing")
    return reader.parts


def _file_of(parts: list[_Part]) -> bytes:
    """Return the content of the one file `image` of a form."""
    files: list[bytes] = []
    wrong: list[errors.InvalidInput] = []
    for part in parts:
        kind, options = parse_options_header(part.headers.get(b"content-disposition", b"").decode("latin-1"))
        if kind != b"form-data" or b"name" not in options:
            raise errors.MalformedBody(f"{FORM}: a part has no name in its Content-Disposition")
        name = options[b"name"].decode("utf-8", "replace")
        if name != FIELD:
            wrong.append(errors.InvalidInput("form", errors.shown(name), None, f"no field but {FIELD}"))
        elif not options.get(b"filename"):
            text = errors.shown(b"".join(part.pieces).decode("utf-8", "replace"))
            wrong.append(errors.InvalidInput("form", FIELD, text, "a file, with a filename"))
        else:
            _refuse_mail_encoding(part)
            files.append(b"".join(part.pieces))
    if len(files) != 1 and not wrong:
        wrong.append(
            errors.InvalidInput("form", FIELD, None, f"exactly one file, this form has {len(files) or 'none'}")
        )
    if wrong:
        listed = "; ".join(f"form field {item.name}: {item.accepted}" for item in wrong)
        raise errors.InvalidForm(listed, errors=wrong)
    if not files[0]:
        raise errors.EmptyUpload(f"the file in the form field {FIELD} is empty")
    return files[0]


def _refuse_mail_encoding(part: _Part) -> None:
    """Refuse base64 and quoted-printable, which RFC 7578 section 4.7 deprecates."""
    encoding = part.headers.get(b"content-transfer-encoding", b"").decode("latin-1").strip().lower()
    if encoding not in _PLAIN_ENCODINGS:
        raise errors.UnsupportedMediaType(
            f"Content-Transfer-Encoding {errors.shown(encoding)} is not taken; send the bytes as they are"
        )
