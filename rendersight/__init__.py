"""The Rendersight library: images, detections, drawing, annotation files and the HTTP client.

The package needs neither torch nor FastAPI. `Client`, `AsyncClient` and `RendersightError` are imported on first
access, so code that only reads images does not load the HTTP client.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rendersight.client import AsyncClient, Client, RendersightError

__all__ = ["AsyncClient", "Client", "RendersightError"]

__version__ = "0.2.0"
"""Version of Rendersight, read by the package metadata and the command line."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rendersight import client  # noqa: PLC0415

    return getattr(client, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
