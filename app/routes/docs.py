"""The docs page: Swagger UI from an installed package, so that it works without internet access."""

from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response
from fastapi_swagger import resources as swagger

from app.http.assets import STATIC, whole_file

router = APIRouter(include_in_schema=False)

_SWAGGER = Path(swagger.__file__).parent
_ASSETS = {
    "docs.js": STATIC / "docs.js",
    "swagger-ui-bundle.js": _SWAGGER / "swagger-ui-bundle.js",
    "swagger-ui.css": _SWAGGER / "swagger-ui.css",
    "favicon-32x32.png": _SWAGGER / "favicon-32x32.png",
}
# Swagger UI sets style attributes and shows pictures from data: and blob: addresses. It loads nothing from other sites.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)


@router.get("/docs")
def docs() -> Response:
    """Return the docs page."""
    return whole_file(STATIC / "docs.html", {"Content-Security-Policy": _POLICY})


@router.get("/docs/assets/{name}")
def asset(name: str) -> Response:
    """Return a file that the docs page needs."""
    if name not in _ASSETS:
        raise HTTPException(404)
    return whole_file(_ASSETS[name], {"Cache-Control": "max-age=3600"})
