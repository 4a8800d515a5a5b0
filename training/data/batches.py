"""The batches of an epoch, and the part of each that one of several processes computes.

All of it follows from (seed, epoch) and is the same in every process, so that nobody has to hand images out.
"""

from collections.abc import Sequence

import torch

from training.seeds import mixed_seed


def epoch_order(count: int, *, seed: int, epoch: int) -> list[int]:
    """Return the order in which an epoch visits `count` images."""
    generator = torch.Generator().manual_seed(mixed_seed(seed, epoch))
    order: list[int] = torch.randperm(count, generator=generator).tolist()
    return order


def epoch_batches(count: int, *, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Cut the order of an epoch into batches; the last one has what is left."""
    order = epoch_order(count, seed=seed, epoch=epoch)
    return [order[first : first + batch_size] for first in range(0, count, batch_size)]


def part(batch: Sequence[int], *, rank: int, size: int) -> list[int]:
    """Return the images of a batch that process `rank` of `size` computes; none where there are fewer than processes.

    The parts are disjoint, make up the batch, and differ in length by one at most.
    """
    return list(batch[rank::size])
