"""The vocabulary of Rendersight: images, detections, drawing, annotation files and the service's client.

Needs neither torch nor FastAPI. `Client`, `AsyncClient` and the root of what they raise are imported when they are
first asked for: who only reads images loads no HTTP client.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rendersight.client import AsyncClient, Client, RendersightError

__all__ = ["AsyncClient", "Client", "RendersightError"]

__version__ = "0.2.0"
"""Version of Rendersight. The package's metadata and the command line read it from here."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rendersight import client  # noqa: PLC0415

    return getattr(client, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
