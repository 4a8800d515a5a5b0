import pytest

from training.data.batches import epoch_batches, epoch_order, part


def test_an_epoch_visits_every_image_once_in_an_order_of_its_own() -> None:
    first, second = epoch_order(20, seed=1, epoch=0), epoch_order(20, seed=1, epoch=1)
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_the_batches_of_an_epoch_are_its_order_cut() -> None:
    batches = epoch_batches(10, batch_size=4, seed=1, epoch=2)
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert [image for batch in batches for image in batch] == epoch_order(10, seed=1, epoch=2)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 8])
def test_parts_are_disjoint_make_up_the_batch_and_are_of_one_length(count: int, size: int) -> None:
    batch = [10 * number for number in range(count)]
    parts = [part(batch, rank=rank, size=size) for rank in range(size)]
    assert sorted(image for some in parts for image in some) == batch
    lengths = [len(some) for some in parts]
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)
