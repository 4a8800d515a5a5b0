"""Findings: what is wrong with a dataset, each with what to do about it and where to look."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

BoxXyxy = tuple[float, float, float, float]

Severity = Literal["fault", "warning", "note"]
"""A fault stops training; a warning likely costs accuracy or makes figures better than they are; a note is to know."""

SEVERITIES: tuple[Severity, ...] = ("fault", "warning", "note")


@dataclass(frozen=True)
class Spot:
    """Where a finding is to be seen.

    Attributes:
        file: an image's name, or that of another file of the dataset.
        box_xyxy: the box in question, px; None for the whole image.
        words: what is there.
    """

    file: str
    box_xyxy: BoxXyxy | None = None
    words: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing that a check has found.

    Attributes:
        check: the check's name, such as `duplicates`.
        severity: how much it matters.
        what: what was found, a sentence with its numbers.
        advice: what to do, a sentence; empty where there is nothing to be done.
        spots: all places, those most worth a look first.
    """

    check: str
    severity: Severity
    what: str
    advice: str = ""
    spots: tuple[Spot, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
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
    """Return findings, the severest first."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun: 1 box, 2 boxes."""
    return f"{count} {one if count == 1 else many or one + 's'}"
