"""Types of command-line values."""

import argparse


def names(text: str) -> tuple[str, ...]:
    """Parse different names, separated by commas."""
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if not found or len(set(found)) != len(found):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of different names")
    return found


def count(text: str) -> int:
    """Parse a whole number from 0 on."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def positive(text: str) -> int:
    """Parse a whole number above 0."""
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
