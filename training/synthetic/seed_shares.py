"""Shards of the seeds, so that several machines can render one dataset without communicating."""

import argparse
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """One of `total` shards, numbered from 1; together the shards have every seed once."""

    number: int
    total: int

    def of(self, seeds: range) -> range:
        """Return every `total`-th seed, so that a shard keeps its seeds when the range is extended."""
        return seeds[self.number - 1 :: self.total]

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


def shard(text: str) -> Shard:
    """Parse i/n, from 1/n to n/n."""
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no part i/n with i from 1 to n, such as 1/4 or 4/4")
    return Shard(int(match[1]), int(match[2]))
