"""What a folder of predictions holds, so that only the same is added to it."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deploy.ray.errors import JobError
from deploy.ray.places import Place
from model_store.card import ModelCard

FILE = "_job.json"  # those who read the folder as one table skip what begins with an underscore
FORMAT = 1

_MOST_IMAGES = 1000
_FEWEST_IMAGES = 16
_PARTS_EACH = 4


@dataclass(frozen=True)
class Job:
    """What decides the predictions.

    Attributes:
        model: the release's name.
        version: its number.
        sha256: of its weights.
        score_threshold: objects score above it.
        max_pixels: the most pixels of an image.
    """

    model: str
    version: str
    sha256: str
    score_threshold: float
    max_pixels: int

    @classmethod
    def of(cls, card: ModelCard, *, score_threshold: float | None, max_pixels: int) -> "Job":
        """Return the job with a model; without a threshold its own counts, and none below its floor."""
        threshold = card.score_threshold if score_threshold is None else score_threshold
        return cls(card.name, card.version, card.sha256, max(threshold, card.score_floor), max_pixels)

    def __str__(self) -> str:
        release = f"{self.model}@{self.version} ({self.sha256[:8]})"
        return f"{release} above {self.score_threshold:g}, up to {self.max_pixels} px"

    def check(self, out: Place) -> bool:
        """Tell whether a folder holds predictions of this job already, rather than nothing.

        Raises:
            JobError: it holds those of another job, or something else.
        """
        text = out.find(FILE)
        if text is None:
            if others := [name for name in out.names() if not name.startswith("_")]:
                raise JobError(
                    f"{out.url} holds {others[0]} and no {FILE}: accepted is an empty folder or an earlier run's"
                )
            return False
        try:
            held = _read(text)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise JobError(f"{out.url}/{FILE} is not of a job of format {FORMAT}: {error}") from error
        if held != self:
            raise JobError(f"{out.url} holds predictions of {held}; of {self} they belong in another folder")
        return True

    def claim(self, out: Place) -> None:
        """Write down that a folder holds this job's predictions."""
        out.write(FILE, (json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n").encode())


def _read(text: bytes) -> Job:
    fields: dict[str, Any] = json.loads(text)
    if (found := fields.pop("format")) != FORMAT:
        raise ValueError(f"it says {found!r}")
    return Job(**fields)


def parts_of(photos: Sequence[str], *, actors: int) -> Iterator[Sequence[str]]:
    """Yield what is predicted, and written to a file, as one: some for each actor, so that none is idle at the end."""
    size = math.ceil(len(photos) / (_PARTS_EACH * actors))
    size = min(_MOST_IMAGES, max(_FEWEST_IMAGES, size))
    for first in range(0, len(photos), size):
        yield photos[first : first + size]
