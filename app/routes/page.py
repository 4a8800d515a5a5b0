"""The browser page, its files and the example pictures."""

from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from app.http.assets import STATIC, whole_file

router = APIRouter(include_in_schema=False)

_OF_OTHERS = ("page.html", "docs.html", "docs.js")  # served under their own paths
_EXAMPLES = Path(__file__).parents[2] / "examples"  # an installed package has none
# The page shows the visitor's own photos from blob: addresses. It loads nothing from other sites and inlines nothing.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)


@router.get("/")
def page() -> Response:
    """Return the page."""
    return whole_file(STATIC / "page.html", {"Content-Security-Policy": _POLICY})


@router.get("/page/{name}")
def asset(name: str) -> Response:
    """Return a file of the page. Browsers revalidate each time, so that all modules have the same version."""
    path = STATIC / name
    if name in _OF_OTHERS or not path.is_file():
        raise HTTPException(404)
    return whole_file(path, {"Cache-Control": "no-cache"})


@router.get("/examples")
def examples() -> dict[str, list[str]]:
    """Return the names of the example pictures. `dice-1.jpg` is an example for the release `dice`."""
    return {"photos": sorted(_examples())}


@router.get("/examples/{name}")
def example(name: str) -> Response:
    """Return an example picture."""
    found = _examples()
    if name not in found:
        raise HTTPException(404)
    return whole_file(found[name], {"Cache-Control": "max-age=3600"})


def _examples() -> dict[str, Path]:
    return {path.name: path for path in _EXAMPLES.glob("*-*.jpg")}
