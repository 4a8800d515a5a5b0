"""Findings about a dataset: each names a problem, the places where it occurs, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

BoxXyxy = tuple[float, float, float, float]

Severity = Literal["fault", "warning", "note"]
"""How much a finding matters.

A fault stops training. A warning means a likely loss of accuracy, or figures that look too good. A note informs.
"""

SEVERITIES: tuple[Severity, ...] = ("fault", "warning", "note")


@dataclass(frozen=True)
class Spot:
    """Place where a finding occurs.

    Attributes:
        file: name of an image or of another file of the dataset.
        box_xyxy: x0, y0, x1, y1 of the box, px; None for the whole file.
        words: description of the place.
    """

    file: str
    box_xyxy: BoxXyxy | None = None
    words: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.words}" if self.words else self.file


@dataclass(frozen=True)
class Finding:
    """One result of a check.

    Attributes:
        check: name of the check, such as `duplicates`.
        severity: how much the finding matters.
        what: the finding, as a sentence with numbers.
        advice: what to do, as a sentence; empty if nothing needs to be done.
        spots: all places where the finding occurs, the most important first.
    """

    check: str
    severity: Severity
    what: str
    advice: str = ""
    spots: tuple[Spot, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the finding as plain JSON data."""
        return {
            "check": self.check,
            "severity": self.severity,
            "what": self.what,
            "advice": self.advice,
            "spots": [
                {
                    "file": spot.file,
                    "box": None if spot.box_xyxy is None else [round(value, 3) for value in spot.box_xyxy],
                    "words": spot.words,
                }
                for spot in self.spots
            ],
        }


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings sorted by severity, the most severe first."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun, such as "1 box" or "2 boxes"."""
    return f"{count} {one if count == 1 else many or one + 's'}"
