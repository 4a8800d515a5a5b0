"""Static files of the browser pages."""

from mimetypes import guess_type
from pathlib import Path

from fastapi import Response

STATIC = Path(__file__).parents[1] / "static"


def whole_file(path: Path, headers: dict[str, str]) -> Response:
    """Return a whole file. FileResponse would answer an invalid Range with an error that is no problem document."""
    return Response(path.read_bytes(), media_type=guess_type(path.name)[0] or "text/plain", headers=headers)
