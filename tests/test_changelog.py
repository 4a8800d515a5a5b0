"""CHANGELOG.md follows Keep a Changelog and opens with the version of the code."""

import re
from datetime import date
from pathlib import Path

from rendersight import __version__

CHANGELOG = (Path(__file__).parents[1] / "CHANGELOG.md").read_text("utf-8")
VERSIONS = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)


def test_opens_with_the_version_of_the_code() -> None:
    assert re.fullmatch(rf"{re.escape(__version__)} - (unreleased|\d{{4}}-\d\d-\d\d)", VERSIONS[0])


def test_released_versions_have_dates_newest_first() -> None:
    released = [re.fullmatch(r"\d+\.\d+\.\d+ - (\d{4}-\d\d-\d\d)", heading) for heading in VERSIONS[1:]]
    dates = [date.fromisoformat(match[1]) if match else None for match in released]
    assert None not in dates
    assert dates == sorted(filter(None, dates), reverse=True)


def test_groups_changes_by_their_kind() -> None:
    kinds = set(re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
