"""The public contract: query parameters and JSON answers."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from model_store.detector import Detector
from model_store.model_info import MOST_DETECTIONS, ModelInfo
from rendersight.detections import Detections
from rendersight.tiles import ACCEPTED, MAX_TILES, TileChoice, parse_tiles

SCORE_DECIMALS = 4
BOX_DECIMALS = 2
MAX_LABELS = 100

_MODEL: dict[str, JsonValue] = {
    "name": "dice", "version": "1", "engine": "torch-fp32", "device": "cpu",
    "architecture": "fasterrcnn_mobilenet_v2_fpn", "classes": ["one", "two", "three", "four", "five", "six"],
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "score_floor": 0.05, "score_threshold": 0.6, "default_score_threshold": 0.6, "detections_per_image": 100,
    "metrics": [
        {
            "data": "40 held-out photos of a desk", "image_count": 40,
            "figures": {"AP": 0.55, "AP50": 0.93}, "per_class_ap": {"one": 0.55, "two": 0.56},
        }
    ],
    "skipped_engines": [],
}  # fmt: skip
_DETECTIONS: dict[str, JsonValue] = {
    "model": {name: _MODEL[name] for name in ("name", "version", "engine", "device")},
    "image": {"width": 640, "height": 640},
    "score_threshold": 0.5,
    "tiles": 0,
    "detections": [{"label": "five", "label_id": 5, "score": 0.98, "box": [10.5, 20.0, 52.1, 61.7]}],
}
_RELOAD: dict[str, JsonValue] = {"at": "2026-01-31T12:00:00Z", "outcome": "swapped", "detail": "dice@7 replaces dice@6"}

FormatName = Literal["json", "jpeg", "png", "labelme", "coco", "csv"]


def _tiles(value: object) -> TileChoice:
    """Return the choice that a value stands for; raise an error that gives the accepted ones."""
    try:
        return parse_tiles(value)
    except ValueError as error:
        raise PydanticCustomError("tiles", "Input should be {accepted}", {"accepted": ACCEPTED}) from error


Tiles = Annotated[
    TileChoice,
    PlainValidator(_tiles),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": ["auto", "off"]},
                {"type": "integer", "minimum": 1, "maximum": MAX_TILES},
            ]
        }
    ),
]
"""The tiles that a request asks for."""


class SelectQuery(BaseModel):
    """The query parameters that say how to look at a photo and which objects to report."""

    model_config = ConfigDict(frozen=True)

    score_threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Report objects with a score strictly above this. `GET /models` shows the default. A value below "
        "the network's score floor is raised to it; the answer contains the value used.",
        examples=[0.7],
    )
    max_detections: int | None = Field(
        None,
        ge=1,
        le=MOST_DETECTIONS,
        description="Maximum number of objects to report, best score first. The network reports at most "
        "`detections_per_image` of `GET /models`, whatever this is; the setting `DETECTIONS_PER_IMAGE` raises that.",
        examples=[20],
    )
    labels: list[str] = Field(
        [],
        max_length=MAX_LABELS,
        description="Report only these classes. Repeat the parameter for several. `GET /models` lists the names.",
    )
    iou_threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Of two objects of one class whose boxes overlap by more than this (intersection over union), "
        "report only the one with the higher score. The network has already applied its own limit.",
        examples=[0.3],
    )
    class_agnostic: bool = Field(False, description="With iou_threshold, also compare objects of different classes.")
    tiles: Tiles | None = Field(
        None,
        description="Look for small objects in overlapping tiles of the photo, besides the whole photo. `auto` tiles a "
        "photo that the network sees at less than half its size; a number is the maximum number of tiles; `off` uses "
        "the whole photo alone. Each tile takes as long as a photo. The answer contains the number of tiles. The "
        "setting `TILES` is the default.",
        examples=["auto", 6],
    )


class DetectQuery(SelectQuery):
    """The query parameters of `POST /detect`."""

    format: FormatName | None = Field(
        None,
        description="Format of the answer: `json`; `jpeg` or `png` for the upright photo with its boxes (a small photo "
        "is enlarged); `labelme` or `coco` for an annotation file; `csv`. By default the header Accept decides.",
        examples=["json"],
    )


class AnswerModel(BaseModel):
    """Base of the JSON answers."""

    model_config = ConfigDict(frozen=True)


class ModelIdentity(AnswerModel):
    """The model that answered."""

    name: str = Field(description="Name of the release, or the file name of a bare state dict without its suffix.")
    version: str = Field(description="Version of the release, or the first digits of a bare state dict's sha256.")
    engine: str = Field(description="Runtime and arithmetic, such as `openvino-int8`.")
    device: str = Field(description="`cpu` or `cuda:N`.")

    @classmethod
    def of(cls, detector: Detector) -> Self:
        """Return name, version, engine and device of a detector."""
        info, engine = detector.info, detector.engine
        return cls(name=info.name, version=info.version, engine=engine.name, device=engine.device)


class ImageSize(AnswerModel):
    """Size of the upright image, after its EXIF orientation is applied."""

    width: int = Field(ge=1, description="px")
    height: int = Field(ge=1, description="px")


Coordinate = Annotated[float, Field(ge=0)]


class DetectionOut(AnswerModel):
    """One object."""

    label: str = Field(description="Class name.")
    label_id: int = Field(ge=1, description="Class number, 1..K, in the order of the classes in `GET /models`.")
    score: float = Field(ge=0, le=1, description=f"Confidence, rounded to {SCORE_DECIMALS} decimals.")
    box: tuple[Coordinate, Coordinate, Coordinate, Coordinate] = Field(
        description="x0, y0, x1, y1 in pixels of the upright image: origin top-left, continuous (the width is "
        f"x1 - x0), inside the image, never empty, rounded to {BOX_DECIMALS} decimals."
    )


class DetectionsOut(AnswerModel):
    """The objects found in one image, best score first."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [_DETECTIONS]})

    model: ModelIdentity
    image: ImageSize
    score_threshold: float = Field(
        ge=0, le=1, description="The threshold used. Scores are compared with it before they are rounded."
    )
    tiles: int = Field(
        ge=0, description="Number of tiles in which the network looked for objects, besides the whole photo."
    )
    detections: list[DetectionOut]

    @classmethod
    def from_domain(
        cls,
        found: Detections,
        *,
        detector: Detector,
        size_wh: tuple[int, int],
        score_threshold: float,
        tile_count: int = 0,
    ) -> Self:
        """Build the answer from selected detections. Clip the boxes to the image and round them.

        Args:
            found: the objects in the order to report, boxes in px of the upright image.
            detector: the detector that found them.
            size_wh: width and height of the upright image, px.
            score_threshold: the threshold that was applied.
            tile_count: number of tiles that the detector saw besides the whole image.
        """
        width, height = size_wh
        least = 10.0**-BOX_DECIMALS  # rounding must not leave a box without an area
        boxes = found.boxes_xyxy.astype(np.float64)
        low = boxes[:, :2].clip(0, (width - least, height - least)).round(BOX_DECIMALS)
        high = np.maximum(boxes[:, 2:].clip(0, size_wh), low + least).round(BOX_DECIMALS)
        scores = found.scores.astype(np.float64).round(SCORE_DECIMALS)
        names = detector.info.class_names
        return cls(
            model=ModelIdentity.of(detector),
            image=ImageSize(width=width, height=height),
            score_threshold=score_threshold,
            tiles=tile_count,
            detections=[
                DetectionOut(label=names[label - 1], label_id=label, score=score, box=tuple(box))
                for box, label, score in zip(
                    np.hstack([low, high]).tolist(), found.labels.tolist(), scores.tolist(), strict=True
                )
            ],
        )


class BatchLine(AnswerModel):
    """The answer for one photo of a batch: a result or a problem."""

    index: int = Field(ge=0, description="Position of the file in the form, from 0.")
    filename: str = Field(description="File name as sent.")
    result: DetectionsOut | None = Field(None, description="The answer of `POST /detect`; absent if the photo failed.")
    problem: "Problem | None" = Field(None, description="The error; absent if the photo did not fail.")


class MetricsOut(AnswerModel):
    """Figures of a release on one labelled data set."""

    data: str = Field(description="Description of the images.")
    image_count: int = Field(description="Number of images.")
    figures: dict[str, float] = Field(description="Figures as COCO defines and names them: `AP`, `AP50`, `AR100`.")
    per_class_ap: dict[str, float] = Field(description="Class name -> AP at IoU 0.5 to 0.95.")


class SkippedEngineOut(AnswerModel):
    """A faster engine that does not load here or fails the golden check."""

    engine: str = Field(description="Runtime and arithmetic.")
    reason: str = Field(description="Reason why it does not run.")


class ModelOut(ModelIdentity):
    """A served model in full: classes, thresholds and figures."""

    architecture: str = Field(description="Name of the network's architecture.")
    classes: list[str] = Field(description="Class names. The label_id of the first is 1.")
    sha256: str = Field(description="SHA-256 of the state dict file.")
    score_floor: float = Field(description="The network reports only objects with a score above this.")
    score_threshold: float = Field(description="Score threshold that the release recommends.")
    default_score_threshold: float = Field(description="Score threshold of a request without score_threshold.")
    detections_per_image: int = Field(description="Maximum number of objects that the network reports for one image.")
    metrics: list[MetricsOut] = Field(description="Figures of the release; empty for a bare state dict.")
    skipped_engines: list[SkippedEngineOut] = Field(
        description="Faster engines that do not run here, with the reason; empty if the fastest engine runs."
    )

    @classmethod
    def from_card(cls, detector: Detector, *, default_score_threshold: float) -> Self:
        """Describe a detector and the default threshold."""
        info: ModelInfo = detector.info
        return cls(
            **ModelIdentity.of(detector).model_dump(),
            architecture=info.architecture,
            classes=list(info.class_names),
            sha256=info.sha256,
            score_floor=info.score_floor,
            score_threshold=info.score_threshold,
            default_score_threshold=default_score_threshold,
            detections_per_image=info.detections_per_image,
            metrics=[MetricsOut.model_validate(metrics.model_dump()) for metrics in info.metrics],
            skipped_engines=[SkippedEngineOut(engine=item.name, reason=item.reason) for item in detector.skipped],
        )


class ReloadOut(AnswerModel):
    """Result of the last check for a newer release."""

    model_config = ConfigDict(frozen=True, from_attributes=True, json_schema_extra={"examples": [_RELOAD]})

    at: datetime = Field(description="Time of the check, UTC.")
    outcome: Literal["swapped", "unchanged", "refused"] = Field(
        description="`refused` means that a newer release exists, but cannot be served."
    )
    detail: str = Field(description="The model that serves now, or the reason for the refusal.")


class ModelsOut(AnswerModel):
    """The served models."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [{"models": [_MODEL], "last_reload": None}]})

    models: list[ModelOut]
    last_reload: ReloadOut | None = Field(
        None, description="Result of the last check that found something new; null if none did."
    )


class Health(AnswerModel):
    """The answer of a health check."""

    status: Literal["ok"] = Field("ok", examples=["ok"])


class InputFaultOut(AnswerModel):
    """One invalid query parameter, form field or header."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    location: str = Field(description="`query`, `form` or `header`.")
    name: str = Field(description="Name of the parameter, field or header.")
    value: str | None = Field(description="Value as sent; null if it is missing or not text.")
    accepted: str = Field(description="Accepted values.")


class Problem(AnswerModel):
    """An error, as RFC 9457 describes it: `application/problem+json`."""

    type: str = Field(
        description="Kind of the problem: a URN that never changes, or `about:blank` for a wrong path or method."
    )
    title: str = Field(description="The kind in words.")
    status: int = Field(ge=400, le=599, description="HTTP status.")
    detail: str = Field(description="What is wrong with this request.")
    request_id: str = Field(description="The id in the header X-Request-ID and in the service's log.")
    errors: list[InputFaultOut] = Field([], description="With 422, the invalid parameters, fields and headers.")

    def body(self) -> dict[str, Any]:
        """Return the JSON members. `errors` is left out if it is empty."""
        return self.model_dump(exclude=set() if self.errors else {"errors"})
