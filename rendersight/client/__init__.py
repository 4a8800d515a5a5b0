"""HTTP client for a running service: `Client`, `AsyncClient`, their results and their errors."""

from rendersight.client.aio import AsyncClient
from rendersight.client.answers import Detection, DetectResult, Model, ServedModel
from rendersight.client.calls import Selection
from rendersight.client.errors import (
    ConnectionLost,
    InputRefused,
    InvalidInput,
    KeyRefused,
    Overloaded,
    RendersightError,
    ServiceProblem,
    ServiceUnreachable,
    TimedOut,
    Unavailable,
    UnexpectedAnswer,
    UnusableImage,
    WrongSetting,
)
from rendersight.client.sync import Client
from rendersight.client.uploads import ImageInput

__all__ = [
    "AsyncClient",
    "Client",
    "ConnectionLost",
    "DetectResult",
    "Detection",
    "ImageInput",
    "InputRefused",
    "InvalidInput",
    "KeyRefused",
    "Model",
    "Overloaded",
    "RendersightError",
    "Selection",
    "ServedModel",
    "ServiceProblem",
    "ServiceUnreachable",
    "TimedOut",
    "Unavailable",
    "UnexpectedAnswer",
    "UnusableImage",
    "WrongSetting",
]
