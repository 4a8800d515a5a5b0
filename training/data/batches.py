"""Batches of an epoch, and each process's part of a batch.

The batches depend only on (seed, epoch). Every process computes the same ones, so no process distributes images.
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
    """Divide the order of an epoch into batches. The last batch may be smaller."""
    order = epoch_order(count, seed=seed, epoch=epoch)
    return [order[first : first + batch_size] for first in range(0, count, batch_size)]


def part(batch: Sequence[int], *, rank: int, size: int) -> list[int]:
    """Return the part of a batch that process `rank` of `size` computes.

    The parts are disjoint, make up the batch, and differ in length by at most one. A part is empty if the batch has
    fewer images than there are processes.
    """
    return list(batch[rank::size])
