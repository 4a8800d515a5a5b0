"""The docs page: Swagger UI from an installed package, so that it works without internet."""

from mimetypes import guess_type
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import RedirectResponse, Response
from fastapi_swagger import resources as swagger

router = APIRouter(include_in_schema=False)

_STATIC = Path(__file__).parent.parent / "static"
_SWAGGER = Path(swagger.__file__).parent
_ASSETS = {
    "docs.js": _STATIC / "docs.js",
    "swagger-ui-bundle.js": _SWAGGER / "swagger-ui-bundle.js",
    "swagger-ui.css": _SWAGGER / "swagger-ui.css",
    "favicon-32x32.png": _SWAGGER / "favicon-32x32.png",
}
# Swagger UI sets style attributes and shows pictures from data: and blob: addresses; nothing may come from elsewhere.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)


@router.get("/")
async def root() -> RedirectResponse:
    """Lead to the docs page."""
    return RedirectResponse("docs")


@router.get("/docs")
def docs() -> Response:
    """Return the docs page."""
    return _file(_STATIC / "docs.html", {"Content-Security-Policy": _POLICY})


@router.get("/docs/assets/{name}")
def asset(name: str) -> Response:
    """Return a file that the docs page needs."""
    if name not in _ASSETS:
        raise HTTPException(404)
    return _file(_ASSETS[name], {"Cache-Control": "max-age=3600"})


def _file(path: Path, headers: dict[str, str]) -> Response:
    """Return a whole file; FileResponse would answer an unfit Range with an error that is no problem document."""
    return Response(path.read_bytes(), media_type=guess_type(path.name)[0], headers=headers)
