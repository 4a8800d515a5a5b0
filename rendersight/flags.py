"""Types of command-line values."""

import argparse
import csv
from collections.abc import Sequence

from rendersight.tiles import TileChoice, parse_tiles


def names(text: str) -> tuple[str, ...]:
    """Parse different names, separated by commas; a name with a comma stands in double quotes, as in CSV."""
    words = next(csv.reader([text], skipinitialspace=True), [])
    found = tuple(name.strip() for name in words if name.strip())
    if not found or len(set(found)) != len(found):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of different names, such as one,two")
    return found


def joined(names: Sequence[str]) -> str:
    """Return the text that `names` parses to these names."""
    return ",".join('"' + name.replace('"', '""') + '"' if set(name) & set(',"') else name for name in names)


def count(text: str) -> int:
    """Parse a whole number, 0 or more."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def positive(text: str) -> int:
    """Parse a whole number, 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return value


def score(text: str) -> float:
    """Parse a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def tiles(text: str) -> TileChoice:
    """Parse `auto`, `off` or a number of tiles."""
    try:
        return parse_tiles(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
