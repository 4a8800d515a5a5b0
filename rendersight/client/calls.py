"""The client's requests and the readers of their answers, without any network access."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypedDict, TypeVar

from rendersight.client.answers import Answer, DetectResult, Model, check, read_detections, read_file, read_models
from rendersight.client.errors import WrongSetting
from rendersight.client.uploads import ImageInput, Upload, upload_of

T = TypeVar("T")

PictureFormat = Literal["png", "jpeg"]
AnnotationFormat = Literal["labelme", "coco", "csv"]
PICTURES: Mapping[str, str] = {"png": "image/png", "jpeg": "image/jpeg"}
ANNOTATIONS: Mapping[str, str] = {
    "labelme": "application/vnd.rendersight.labelme+json",
    "coco": "application/vnd.rendersight.coco+json",
    "csv": "text/csv",
}


class Selection(TypedDict, total=False):
    """Options that choose the objects to find and to report; None is the same as leaving an option out.

    Attributes:
        score_threshold: report scores strictly above this, 0..1; default: the service's threshold.
        labels: report only these classes; one name or several.
        iou_threshold: of two boxes that overlap more than this, 0..1, keep the better; default: the network's rule.
        class_agnostic: let `iou_threshold` also compare boxes of different classes.
        max_detections: maximum number of objects, best first.
        tiles: look for small objects in overlapping tiles of a large photo too: `auto`, `off` or the maximum number of
            tiles; default: the service's setting.
    """

    score_threshold: float | None
    labels: str | Sequence[str]
    iou_threshold: float | None
    class_agnostic: bool
    max_detections: int | None
    tiles: str | int | None


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request and the function that reads its answer."""

    method: str
    path: str
    read: Callable[[Answer], T]
    query: tuple[tuple[str, str], ...] = ()
    upload: Upload | None = None


def detect(image: ImageInput, selection: Selection) -> Call[DetectResult]:
    """Return the call that asks for detections."""
    return Call("POST", "detect", read_detections, query_of(selection), upload_of(image))


def picture(image: ImageInput, picture_format: str, selection: Selection) -> Call[bytes]:
    """Return the call that asks for the photo with the boxes drawn."""
    return Call(
        "POST",
        "detect",
        lambda answer: read_file(answer, PICTURES[picture_format]),
        (*query_of(selection), ("format", _one_of(PICTURES, picture_format))),
        upload_of(image),
    )


def annotate(image: ImageInput, annotation_format: str, selection: Selection) -> Call[str]:
    """Return the call that asks for the text of an annotation file."""
    return Call(
        "POST",
        "detect",
        lambda answer: read_file(answer, ANNOTATIONS[annotation_format]).decode("utf-8", "replace"),
        (*query_of(selection), ("format", _one_of(ANNOTATIONS, annotation_format))),
        upload_of(image),
    )


def models() -> Call[tuple[Model, ...]]:
    """Return the call that asks for the served models."""
    return Call("GET", "models", read_models)


def readiness() -> Call[None]:
    """Return the call that asks whether the service can detect."""
    return Call("GET", "readyz", check)


def query_of(selection: Selection) -> tuple[tuple[str, str], ...]:
    """Return the query parameters for the options that are set. The service checks their values.

    Raises:
        WrongSetting: no such option exists.
    """
    query: list[tuple[str, str]] = []
    for name, value in selection.items():
        if name not in Selection.__annotations__:
            raise WrongSetting(f"{name} is no parameter of detect; there are {', '.join(Selection.__annotations__)}")
        if name == "labels":
            names = [value] if isinstance(value, str) else value or ()
            query += [(name, str(label)) for label in names]  # type: ignore[attr-defined]
        elif isinstance(value, bool):
            query += [(name, "true")] if value else []
        elif value is not None:
            query.append((name, str(value)))
    return tuple(query)


def _one_of(formats: Mapping[str, str], name: str) -> str:
    if name not in formats:
        raise WrongSetting(f"format={name!r} is not accepted; accepted: {', '.join(formats)}")
    return name
