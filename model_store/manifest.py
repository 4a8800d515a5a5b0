"""A release's data, validated: what `manifest.json` says, and nothing that only code knows."""

import math
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

import numpy as np
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
"""1 had no `engines`; 1 and 2 had one golden image, `golden.jpg`."""

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"


def _inside(path: str) -> str:
    """A release's file path: relative, with forward slashes, and never out of the release's folder."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or set(path) & set("\\:\0"):
        raise ValueError("a file of a release lies inside its folder")
    return path


ReleasePath = Annotated[str, AfterValidator(_inside)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Score = Annotated[float, Field(ge=0, le=1)]


class _Data(BaseModel):
    # JSON has no NaN: it would be written as null and not be read back
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputRule(_Data):
    """How an image becomes the network's input: resized as `min_size` and `max_size` (px) say, then normalised."""

    min_size: PositiveInt
    max_size: PositiveInt
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def resized_hw(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width, px, that an image of this size is resized to; 0 where nothing is left of a side.

        The arithmetic, a float32 factor and rounding down, is torchvision's (`GeneralizedRCNNTransform`).
        """
        shorter, longer = np.float32(min(height, width)), np.float32(max(height, width))
        scale = float(min(np.float32(self.min_size) / shorter, np.float32(self.max_size) / longer))
        return math.floor(height * scale), math.floor(width * scale)


class Metrics(_Data):
    """Figures of this release on one labelled data set.

    Attributes:
        data: which images, in words.
        image_count: how many.
        figures: name -> value, such as `AP`, `AP50`, `AR100`, `f1`; COCO's names and definitions.
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
    """Where a release comes from: enough to make it again.

    Attributes:
        dataset_fingerprint: sha256 over names, boxes and labels of the images trained on; None where unknown.
        config: the resolved training configuration.
        seed: of the training.
        commit: of the code that trained; None outside a repository.
        library_versions: package -> version.
        continued_from: the release or file that the weights began as.
    """

    dataset_fingerprint: str | None = None
    config: dict[str, JsonValue] = {}
    seed: int | None = None
    commit: str | None = None
    library_versions: dict[str, str] = {}
    continued_from: str | None = None


class Drift(_Data):
    """What an engine moved on the golden images when it was prepared: medians over the clear objects.

    Attributes:
        box: distance of a box's edge from that of eager fp32, as a share of the box's side.
        logit: change of the score's logit.
    """

    box: Annotated[float, Field(ge=0)]
    logit: Annotated[float, Field(ge=0)]


class EngineRecord(_Data):
    """A faster way to run a release, measured on labelled images when it was prepared.

    Attributes:
        graphs: folder inside the release that holds its graphs; None runs the state dict.
        data: which images, in words.
        image_count: how many.
        figures: name -> value with this engine, as `Metrics.figures`.
        reference: the same with eager fp32.
        rpn_score_floor: the engine drops proposals below this objectness; None: as `options` of the release say.
        is_judged: whether eager fp32 was good enough on these images to tell what is lost; what is not judged is used
            only where it is asked for by name.
        library_versions: package -> version that prepared it.
        golden_drift: on the golden images, where it was prepared; None: not measured, as in schemas 1 and 2.
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
    """One object on a golden image, found by eager fp32: box x0, y0, x1, y1 in px."""

    label_id: PositiveInt
    score: Score
    box_xyxy: tuple[float, float, float, float]


class GoldenImage(_Data):
    """An image of the release and what eager fp32 found on it above the recommended threshold, best first."""

    file: ReleasePath = "golden.jpg"
    expected: tuple[ExpectedDetection, ...] = ()


class Manifest(_Data):
    """Everything about a release but its weights. Labels 1..K are `class_names` in their order.

    `score_threshold_from` names the data sets that chose the threshold, as `metrics` does; empty are the images held
    out of the training. `provenance` says in words which choice used which data. `refused_engines` has each engine that
    was prepared and left out, with the reason.
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
        """Accept the form of schemas 1 and 2: what was found on `golden.jpg`, without naming it."""
        is_list = isinstance(value, list | tuple)
        if is_list and not any(isinstance(item, GoldenImage) or "file" in dict(item) for item in value):
            return [{"expected": value}]
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.class_names)) != len(self.class_names):
            raise ValueError("class_names repeat a name")
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
            BrokenRelease: it is missing or does not validate; the message names the file and the first problems.
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
