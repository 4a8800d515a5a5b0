"""Parsing of multipart/form-data (RFC 7578): the image files in a form and their names."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice
from pathlib import PureWindowsPath

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app import errors
from app.inference.decoding import EncodedImage
from rendersight import images

FORM = "multipart/form-data"
FIELD = "image"

_MAX_PART_HEADERS = 16
_SNIFFED_BYTES = 64
_PLAIN_ENCODINGS = ("", "binary", "8bit", "7bit")
_SUFFIXES = {"JPEG": "jpg"}  # other formats use their own name


@dataclass(frozen=True)
class FormLimits:
    """Limits of a form: `Settings.max_parts` and `Settings.max_part_header_bytes`.

    Attributes:
        max_parts: maximum number of parts.
        max_header_bytes: maximum number of bytes of one header line of a part.
    """

    max_parts: int
    max_header_bytes: int


@dataclass
class Part:
    """One part of a form.

    Attributes:
        headers: the part's headers, names in lower case.
        pieces: the content in order, in one or more chunks.
    """

    headers: dict[bytes, bytes] = field(default_factory=dict)
    pieces: list[memoryview] = field(default_factory=list)

    @cached_property
    def _disposition(self) -> dict[bytes, bytes]:
        kind, options = parse_options_header(self.headers.get(b"content-disposition", b"").decode("latin-1"))
        if kind != b"form-data" or b"name" not in options:
            raise errors.MalformedBody(f"{FORM}: a part has no name in its Content-Disposition")
        return options

    @property
    def name(self) -> str:
        """Name of the form field."""
        return self._disposition[b"name"].decode("utf-8", "replace")

    @property
    def filename(self) -> str:
        """Name of the file; empty if the part is no file."""
        return self._disposition.get(b"filename", b"").decode("utf-8", "replace")

    def image(self) -> EncodedImage:
        """Return the file as an image, undecoded.

        Raises:
            EmptyUpload: the file is empty.
            UnsupportedMediaType: the file has a transfer encoding such as base64.
        """
        encoding = self.headers.get(b"content-transfer-encoding", b"").decode("latin-1").strip().lower()
        if encoding not in _PLAIN_ENCODINGS:  # RFC 7578, section 4.7, deprecates base64 and quoted-printable
            raise errors.UnsupportedMediaType(
                f"Content-Transfer-Encoding {errors.shown(encoding)} is not accepted; send the bytes unchanged"
            )
        if not any(self.pieces):
            raise errors.EmptyUpload(f"the file in the form field {FIELD} is empty")
        name = PureWindowsPath(self.filename).name  # splits at / and \
        return EncodedImage(name or default_name(bytes(islice(chain(*self.pieces), _SNIFFED_BYTES))), self.pieces)


def files_in(data: bytes, boundary: bytes, limits: FormLimits) -> list[Part]:
    """Return the files of a form, at least one, in order. The call blocks.

    Args:
        data: the body.
        boundary: the separator of its parts.
        limits: the limits of a form.

    Raises:
        MalformedBody: the form is not well-formed or exceeds `limits`.
        InvalidForm: the form has a field that is not a file named `image`, or is empty.
    """
    parts = _parts(data, boundary, limits)
    if faults := list(islice(_faults(parts), errors.MAX_FAULTS)):
        listed = "; ".join(f"form field {item.name}: {item.accepted}" for item in faults)
        raise errors.InvalidForm(listed, errors=faults)
    return parts


class _FormReader:
    """Callbacks of the streaming parser, which collect the parts of a form."""

    def __init__(self, limits: FormLimits) -> None:
        self._limits = limits
        self.parts: list[Part] = []
        self.complete = False
        self._name = b""
        self._value = b""

    def on_part_begin(self) -> None:
        if len(self.parts) == self._limits.max_parts:
            raise errors.MalformedBody(f"{FORM}: more parts than the limit of {self._limits.max_parts}")
        self.parts.append(Part())

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].pieces.append(memoryview(data)[start:end])  # a copy would double a batch's memory

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self.parts[-1].headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def on_end(self) -> None:
        self.complete = True


def _parts(data: bytes, boundary: bytes, limits: FormLimits) -> list[Part]:
    """Return all parts of a form, in order."""
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
        limited = f"; the limit is {_MAX_PART_HEADERS} headers of {limits.max_header_bytes} bytes per part"
        raise errors.MalformedBody(f"{FORM}: {error}{limited if 'Maximum' in str(error) else ''}") from error
    if not reader.complete:
        raise errors.MalformedBody(f"{FORM}: the closing boundary is missing")
    return reader.parts


def _faults(parts: list[Part]) -> Iterator[errors.InputFault]:
    """Yield each fault of a form that should hold only files named `image`."""
    for part in parts:
        if part.name != FIELD:
            yield errors.InputFault("form", errors.shown(part.name), None, f"only the field {FIELD}")
        elif not part.filename:
            text = errors.shown(b"".join(part.pieces).decode("utf-8", "replace"))
            yield errors.InputFault("form", FIELD, text, "a file with a filename")
    if not parts:
        yield errors.InputFault("form", FIELD, None, "a file, this form has none")


def default_name(data: bytes) -> str:
    """Return a name for an unnamed image: `photo`, plus the suffix of its format if that is known."""
    name = images.sniff(data)
    return "photo" if name is None else f"photo.{_SUFFIXES.get(name, name.lower())}"
