"""The validated data of a release's `manifest.json`."""

import math
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from model_store.errors import BrokenRelease

FILE_NAME = "manifest.json"
SCHEMA_VERSION: Literal[3] = 3
"""Version of the manifest's schema. Schema 1 had no `engines`; schemas 1 and 2 had one golden image, `golden.jpg`."""

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"


def _inside(path: str) -> str:
    """Return a path if relative, with forward slashes and inside the release's folder, else raise `ValueError`."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or set(path) & set("\\:\0"):
        raise ValueError("the path must lie inside the release's folder")
    return path


ReleasePath = Annotated[str, AfterValidator(_inside)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Score = Annotated[float, Field(ge=0, le=1)]


class _Data(BaseModel):
    # JSON has no NaN; it would be written as null, which cannot be read back
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputRule(_Data):
    """Conversion of an image into the network's input: resized by `min_size` and `max_size` (px), then normalised."""

    min_size: PositiveInt
    max_size: PositiveInt
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def resized_hw(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width, px, of an image after resizing; 0 for a side of which nothing is left.

        The arithmetic, a float64 factor and rounding down, is torchvision's (`GeneralizedRCNNTransform`).
        """
        scale = min(self.min_size / min(height, width), self.max_size / max(height, width))
        return math.floor(height * scale), math.floor(width * scale)


class Metrics(_Data):
    """Figures of this release on one labelled data set.

    Attributes:
        data: description of the images.
        image_count: number of images.
        figures: name -> value, such as `AP`, `AP50`, `AR100`, `f1`, with COCO's names and definitions.
        intervals: name -> low and high end of the figure's 95 % interval, by a bootstrap over images.
        per_class_ap: class name -> mAP@[.5:.95]; a class that does not occur in the data is absent.
        per_class_ap50: the same at IoU 0.5.
    """

    data: str
    image_count: PositiveInt
    figures: dict[str, float]
    intervals: dict[str, tuple[float, float]] = {}
    per_class_ap: dict[str, float] = {}
    per_class_ap50: dict[str, float] = {}


class Origin(_Data):
    """The origin of a release, enough to make it again.

    Attributes:
        dataset_fingerprint: sha256 over names, boxes and labels of the training images; None if unknown.
        config: resolved training configuration.
        seed: seed of the training.
        commit: commit of the training code; None outside a repository.
        library_versions: package -> version.
        continued_from: release or file with the initial weights.
    """

    dataset_fingerprint: str | None = None
    config: dict[str, JsonValue] = {}
    seed: int | None = None
    commit: str | None = None
    library_versions: dict[str, str] = {}
    continued_from: str | None = None


class Drift(_Data):
    """An engine's differences on the golden images when it was prepared: medians over the clear objects.

    Attributes:
        box: distance of a box's edge from that of eager fp32, as a fraction of the box's side.
        logit: change of the score's logit.
    """

    box: Annotated[float, Field(ge=0)]
    logit: Annotated[float, Field(ge=0)]


class EngineRecord(_Data):
    """A faster way to run a release, measured on labelled images when it was prepared.

    Attributes:
        graphs: folder of the graphs inside the release; None runs the state dict.
        data: description of the images.
        image_count: number of images.
        figures: name -> value with this engine, as in `Metrics.figures`.
        reference: the same figures with eager fp32.
        rpn_score_floor: the engine drops proposals below this objectness; None uses the release's `options`.
        is_judged: whether eager fp32 was accurate enough on these images to show a loss; an engine that is not judged
            runs only if it is requested by name.
        library_versions: package -> version at preparation.
        golden_drift: differences on the golden images at preparation; None if not measured, as in schemas 1 and 2.
    """

    graphs: ReleasePath | None = None
    data: str
    image_count: PositiveInt
    figures: dict[str, float]
    reference: dict[str, float]
    rpn_score_floor: Score | None = None
    is_judged: bool = True
    library_versions: dict[str, str] = {}
    golden_drift: Drift | None = None


class ExpectedDetection(_Data):
    """One object that eager fp32 found on a golden image: box x0, y0, x1, y1 in px."""

    label_id: PositiveInt
    score: Score
    box_xyxy: tuple[float, float, float, float]


class GoldenImage(_Data):
    """An image of the release with the eager fp32 detections above the recommended threshold, best first."""

    file: ReleasePath = "golden.jpg"
    expected: tuple[ExpectedDetection, ...] = ()


class Manifest(_Data):
    """Everything about a release except its weights. Labels 1..K are `class_names` in their order.

    `score_threshold_from` names the data sets used to choose the threshold, as `metrics` does; if it is empty, the
    images held out of the training were used. `one_label_iou` is set if an object has one label: boxes of different
    classes with a larger IoU suppress each other. `provenance` describes which choice used which data.
    `refused_engines` lists each engine that was prepared and left out, with the reason.
    """

    schema_version: Literal[1, 2, 3] = SCHEMA_VERSION
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    version: PositiveInt
    created: str
    description: str = ""
    licence: str = ""
    architecture: str
    options: dict[str, JsonValue]
    class_names: tuple[str, ...] = Field(min_length=1)
    input: InputRule
    score_floor: Score
    detections_per_image: PositiveInt
    one_label_iou: float | None = Field(None, gt=0, le=1)
    score_threshold: Score
    score_threshold_from: tuple[str, ...] = ()
    provenance: str = ""
    files: dict[ReleasePath, Sha256]
    metrics: tuple[Metrics, ...] = ()
    origin: Origin = Origin()
    engines: dict[str, EngineRecord] = {}
    refused_engines: dict[str, str] = {}
    golden: tuple[GoldenImage, ...] = (GoldenImage(),)

    @field_validator("golden", mode="before")
    @classmethod
    def _read_one_image(cls, value: Any) -> Any:
        """Accept the form of schemas 1 and 2: the detections on `golden.jpg`, without the file's name."""
        is_list = isinstance(value, list | tuple)
        if is_list and not any(isinstance(item, GoldenImage) or "file" in dict(item) for item in value):
            return [{"expected": value}]
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.class_names)) != len(self.class_names):
            raise ValueError("class_names contains a name twice")
        golden = [expected for image in self.golden for expected in image.expected]
        if any(expected.label_id > len(self.class_names) for expected in golden):
            raise ValueError("golden names a label that has no class")
        for x0, y0, x1, y1 in (expected.box_xyxy for expected in golden):
            if not (x0 < x1 and y0 < y1):
                raise ValueError("golden has a box without area")
        return self

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest of a release folder.

        Raises:
            BrokenRelease: the manifest is missing or invalid; the message names the file and the first problems.
        """
        path = folder / FILE_NAME
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise BrokenRelease(f"{path}: {error.strerror}") from error
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(str(part) for part in item['loc']) or 'file'}: {item['msg']}" for item in error.errors()[:3]
            )
            raise BrokenRelease(f"{path}: {problems}") from error

    def write(self, folder: Path) -> None:
        """Write `manifest.json` into a folder."""
        (folder / FILE_NAME).write_text(self.model_dump_json(indent=2) + "\n", "utf-8")
