"""A part of the scenes: machines that share a rendering take the seeds in turn and need not know of each other."""

import argparse
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """One of `total` parts, counted from 1; together they have every seed once."""

    number: int
    total: int

    def of(self, seeds: range) -> range:
        """Return the seeds of this part, every `total`-th one: those of a part stay its own when more follow."""
        return seeds[self.number - 1 :: self.total]

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


def shard(text: str) -> Shard:
    """Take i/n, from 1/n to n/n."""
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no part i/n with i from 1 to n, such as 1/4 or 4/4")
    return Shard(int(match[1]), int(match[2]))
