"""The settings of a job, kept in its folder of predictions so that other settings are refused there."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deploy.ray.errors import JobError
from deploy.ray.storage import Storage
from model_store.model_info import ModelInfo

FILE = "_job.json"  # readers of the folder as one table skip names that begin with an underscore
FORMAT = 1

_MOST_IMAGES = 1000
_FEWEST_IMAGES = 16
_PARTS_EACH = 4


@dataclass(frozen=True)
class JobSettings:
    """The settings that determine the predictions.

    Attributes:
        model: name of the release.
        version: version of the release.
        sha256: SHA-256 of the release's weights.
        score_threshold: objects with a score strictly above it are kept.
        max_pixels: maximum number of pixels of an image.
    """

    model: str
    version: str
    sha256: str
    score_threshold: float
    max_pixels: int

    @classmethod
    def of(cls, info: ModelInfo, *, score_threshold: float | None, max_pixels: int) -> "JobSettings":
        """Return the job of a model. No threshold means the model's own; one below its floor is raised to the floor."""
        threshold = info.score_threshold if score_threshold is None else score_threshold
        return cls(info.name, info.version, info.sha256, max(threshold, info.score_floor), max_pixels)

    def __str__(self) -> str:
        release = f"{self.model}@{self.version} ({self.sha256[:8]})"
        return f"{release} above {self.score_threshold:g}, up to {self.max_pixels} px"

    def check(self, out: Storage) -> bool:
        """Return whether a folder already holds predictions of this job; False if it is empty.

        Raises:
            JobError: the folder holds another job's predictions or other files.
        """
        text = out.find(FILE)
        if text is None:
            if others := [name for name in out.names() if not name.startswith("_")]:
                raise JobError(
                    f"{out.url} holds {others[0]} but no {FILE}; accepted: an empty folder or an earlier run's"
                )
            return False
        try:
            held = _read(text)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise JobError(f"{out.url}/{FILE} is not a job file of format {FORMAT}: {error}") from error
        if held != self:
            raise JobError(f"{out.url} holds predictions of {held}; choose another folder for {self}")
        return True

    def claim(self, out: Storage) -> None:
        """Write this job's settings into a folder, to mark its predictions as this job's."""
        out.write(FILE, (json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n").encode())


def _read(text: bytes) -> JobSettings:
    fields: dict[str, Any] = json.loads(text)
    if (found := fields.pop("format")) != FORMAT:
        raise ValueError(f"format is {found!r}")
    return JobSettings(**fields)


def parts_of(photos: Sequence[str], *, actors: int) -> Iterator[Sequence[str]]:
    """Yield the photos in parts, one output file each: several parts per actor, so that none idles at the end."""
    size = math.ceil(len(photos) / (_PARTS_EACH * actors))
    size = min(_MOST_IMAGES, max(_FEWEST_IMAGES, size))
    for first in range(0, len(photos), size):
        yield photos[first : first + size]
