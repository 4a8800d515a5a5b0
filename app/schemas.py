"""The public contract: query parameters and JSON answers."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from app import errors
from app.inference.reloading import Reload
from model_store.detector import Detector
from model_store.manifest import Metrics
from model_store.model_info import ModelInfo
from rendersight.detections import Detections

SCORE_DECIMALS = 4
BOX_DECIMALS = 2
MAX_DETECTIONS = 1000
MAX_LABELS = 100

FormatName = Literal["json", "jpeg", "png", "labelme", "coco", "csv"]


class SelectQuery(BaseModel):
    """The query parameters that select the reported objects."""

    model_config = ConfigDict(frozen=True)

    score_threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Objects are reported whose score is strictly above this; without it the service's default holds, "
        "which `GET /models` shows. Below the network's own floor the floor is used; the answer says which.",
        examples=[0.7],
    )
    max_detections: int | None = Field(
        None,
        ge=1,
        le=MAX_DETECTIONS,
        description="The most objects to report, best first; the network itself may give fewer.",
        examples=[20],
    )
    labels: list[str] = Field(
        [],
        max_length=MAX_LABELS,
        description="Report only these classes; repeat the parameter for several. `GET /models` lists the names.",
    )
    iou_threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Of two objects of a class whose boxes have a larger intersection over union only the better one "
        "is reported; the network's own limit, where that is less, has been applied before.",
        examples=[0.3],
    )
    class_agnostic: bool = Field(False, description="With iou_threshold: compare objects of different classes as well.")


class DetectQuery(SelectQuery):
    """The query parameters of `POST /detect`."""

    format: FormatName | None = Field(
        None,
        description="The form of the answer: `json`; `jpeg` or `png`, the upright photo with its boxes, a small one "
        "enlarged; `labelme` or `coco`, an annotation file; `csv`. Without it the header Accept chooses, by the media "
        "types of the answer.",
        examples=["json"],
    )


class AnswerModel(BaseModel):
    """Base of the JSON answers."""

    model_config = ConfigDict(frozen=True)


class ModelIdentity(AnswerModel):
    """The model that answered."""

    name: str = Field(description="The release's name, or the stem of a bare state dict's file.")
    version: str = Field(description="The release's number; for a bare state dict the start of its sha256.")
    engine: str = Field(description="What ran it: runtime and arithmetic.")
    device: str = Field(description="Where it ran: `cpu` or `cuda:N`.")

    @classmethod
    def of(cls, detector: Detector) -> Self:
        """Return name, version, engine and device of a detector."""
        card, engine = detector.card, detector.engine
        return cls(name=card.name, version=card.version, engine=engine.name, device=engine.device)


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
        description="x0, y0, x1, y1 in pixels of the upright image, origin top-left, continuous "
        f"(the width is x1 - x0), inside the image and with an area, rounded to {BOX_DECIMALS} decimals."
    )


class DetectionsOut(AnswerModel):
    """The objects found in one image, best score first."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "model": {"name": "dice", "version": "1", "engine": "torch-fp32", "device": "cpu"},
                    "image": {"width": 640, "height": 640},
                    "score_threshold": 0.5,
                    "detections": [{"label": "five", "label_id": 5, "score": 0.98, "box": [10.5, 20.0, 52.1, 61.7]}],
                }
            ]
        },
    )

    model: ModelIdentity
    image: ImageSize
    score_threshold: float = Field(
        ge=0, le=1, description="The one that was used. Scores are compared with it before they are rounded."
    )
    detections: list[DetectionOut]

    @classmethod
    def from_domain(
        cls, found: Detections, *, detector: Detector, size_wh: tuple[int, int], score_threshold: float
    ) -> Self:
        """Build the answer from selected detections. Clip the boxes to the image and round them.

        Args:
            found: the objects in the order to report, boxes in px of the upright image.
            detector: the detector that found them.
            size_wh: width and height of the upright image, px.
            score_threshold: the threshold that was applied.
        """
        width, height = size_wh
        least = 10.0**-BOX_DECIMALS  # rounding must not leave a box without an area
        boxes = found.boxes_xyxy.astype(np.float64)
        low = boxes[:, :2].clip(0, (width - least, height - least)).round(BOX_DECIMALS)
        high = np.maximum(boxes[:, 2:].clip(0, size_wh), low + least).round(BOX_DECIMALS)
        scores = found.scores.astype(np.float64).round(SCORE_DECIMALS)
        names = detector.card.class_names
        return cls(
            model=ModelIdentity.of(detector),
            image=ImageSize(width=width, height=height),
            score_threshold=score_threshold,
            detections=[
                DetectionOut(label=names[label - 1], label_id=label, score=score, box=tuple(box))
                for box, label, score in zip(
                    np.hstack([low, high]).tolist(), found.labels.tolist(), scores.tolist(), strict=True
                )
            ],
        )


class BatchLine(AnswerModel):
    """The answer for one photo of a batch: a result or a problem."""

    index: int = Field(ge=0, description="Its place among the files of the form, from 0.")
    filename: str = Field(description="As sent.")
    result: DetectionsOut | None = Field(None, description="As `POST /detect` answers; absent where it failed.")
    problem: "Problem | None" = Field(None, description="Why it failed; absent where it did not.")


class MetricsOut(AnswerModel):
    """Figures of a release on one labelled data set."""

    data: str = Field(description="Which images, in words.")
    image_count: int = Field(description="How many.")
    figures: dict[str, float] = Field(description="COCO's names and definitions, such as `AP`, `AP50`, `AR100`.")
    per_class_ap: dict[str, float] = Field(description="Class name -> mAP@[.5:.95].")

    @classmethod
    def of(cls, metrics: Metrics) -> Self:
        """Copy the figures of a manifest."""
        return cls.model_validate(metrics.model_dump())


class SkippedEngineOut(AnswerModel):
    """A faster engine that does not run on this machine."""

    engine: str = Field(description="Runtime and arithmetic.")
    reason: str = Field(description="Why it does not run.")


class ModelOut(ModelIdentity):
    """A served model in full: classes, thresholds and figures."""

    architecture: str = Field(description="torchvision's name of the network, or ours.")
    classes: list[str] = Field(description="Class names; the label_id of the first is 1.")
    sha256: str = Field(description="Of the state dict's file.")
    score_floor: float = Field(description="The network reports nothing at or below this score.")
    score_threshold: float = Field(description="The release's recommendation.")
    default_score_threshold: float = Field(description="What holds where a request names no score_threshold.")
    detections_per_image: int = Field(description="The most objects that the network reports for one image.")
    metrics: list[MetricsOut] = Field(description="Figures of the release; empty for a bare state dict.")
    skipped_engines: list[SkippedEngineOut] = Field(
        description="Faster engines that were left out at the start, and why; empty if the fastest one runs."
    )

    @classmethod
    def from_card(cls, detector: Detector, *, default_score_threshold: float) -> Self:
        """Describe a detector and the default threshold."""
        card: ModelInfo = detector.card
        return cls(
            **ModelIdentity.of(detector).model_dump(),
            architecture=card.architecture,
            classes=list(card.class_names),
            sha256=card.sha256,
            score_floor=card.score_floor,
            score_threshold=card.score_threshold,
            default_score_threshold=default_score_threshold,
            detections_per_image=card.detections_per_image,
            metrics=[MetricsOut.of(metrics) for metrics in card.metrics],
            skipped_engines=[SkippedEngineOut(engine=item.name, reason=item.reason) for item in detector.skipped],
        )


class ReloadOut(AnswerModel):
    """Result of the last check for a newer release."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {"at": "2026-01-31T12:00:00Z", "outcome": "swapped", "detail": "dice@7 is served, before it dice@6"}
            ]
        },
    )

    at: datetime = Field(description="When, in UTC.")
    outcome: Literal["swapped", "unchanged", "refused"] = Field(
        description="`refused`: there was something newer that could not take over."
    )
    detail: str = Field(description="Which model serves, or why one was refused.")

    @classmethod
    def of(cls, reload: Reload) -> Self:
        """Copy a reload's result."""
        return cls(at=reload.at, outcome=reload.outcome, detail=reload.detail)


class ModelsOut(AnswerModel):
    """The served models."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "models": [
                        {
                            "name": "dice",
                            "version": "1",
                            "engine": "torch-fp32",
                            "device": "cpu",
                            "architecture": "fasterrcnn_mobilenet_v2_fpn",
                            "classes": ["one", "two", "three", "four", "five", "six"],
                            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                            "score_floor": 0.05,
                            "score_threshold": 0.6,
                            "default_score_threshold": 0.6,
                            "detections_per_image": 100,
                            "metrics": [
                                {
                                    "data": "40 held-out photos of a desk",
                                    "image_count": 40,
                                    "figures": {"AP": 0.55, "AP50": 0.93},
                                    "per_class_ap": {"one": 0.55, "two": 0.56},
                                }
                            ],
                            "skipped_engines": [],
                        }
                    ],
                    "last_reload": None,
                }
            ]
        },
    )

    models: list[ModelOut]
    last_reload: ReloadOut | None = Field(
        None, description="What was last found to be newer, and what came of it; null where nothing was."
    )


class Health(AnswerModel):
    """The answer of a health check."""

    status: Literal["ok"] = Field("ok", examples=["ok"])


class InputFaultOut(AnswerModel):
    """One invalid query parameter, form field or header."""

    location: str = Field(description="`query`, `form` or `header`.")
    name: str = Field(description="Of the parameter, field or header.")
    value: str | None = Field(description="As sent; null where it is missing or is not text.")
    accepted: str = Field(description="What would be taken.")

    @classmethod
    def of(cls, item: errors.InputFault) -> Self:
        """Copy an invalid input."""
        return cls(location=item.location, name=item.name, value=item.value, accepted=item.accepted)


class Problem(AnswerModel):
    """An error, as RFC 9457 describes it: `application/problem+json`."""

    type: str = Field(
        description="What kind of problem; the same URN each time. `about:blank`: the status says it all."
    )
    title: str = Field(description="The kind in words.")
    status: int = Field(ge=400, le=599, description="The HTTP status.")
    detail: str = Field(description="What was wrong with this request.")
    request_id: str = Field(description="As in the header X-Request-ID; the service's log has it too.")
    errors: list[InputFaultOut] = Field([], description="With 422: each parameter, field or header at fault.")

    def body(self) -> dict[str, Any]:
        """Return the JSON members. `errors` is left out if it is empty."""
        return self.model_dump(exclude=set() if self.errors else {"errors"})
