"""Objects by size: bins at the network's input, found at IoU 0.5, named right."""

from rendersight.detections import Detections
from tests.training.truth import INPUT, labelled
from training.measuring.measured import measure
from training.measuring.object_sizes import SizeBin, by_size, size_rows

SMALL, MIDDLE, LARGE = (0, 0, 10, 10), (20, 20, 60, 60), (100, 0, 200, 100)


def bins(found: Detections) -> dict[str, SizeBin]:
    """Measure photos of 200 x 100 px, which the network doubles."""
    data = labelled([("cat", SMALL), ("cat", MIDDLE), ("dog", LARGE)])
    return {item.words(): item for item in by_size(measure("desk", data, [found]), INPUT, score_threshold=0.5)}


def test_counts_by_size_at_the_networks_input() -> None:
    found = bins(Detections.of([MIDDLE, LARGE, SMALL], [1, 1, 1], [0.9, 0.8, 0.4]))

    assert (found["12 to 25"].count, found["12 to 25"].found) == (1, 0)  # its score is below the threshold
    assert (found["50 to 100"].count, found["50 to 100"].right) == (1, 1)
    large = found["200 to 400"]
    assert (large.count, large.found, large.right) == (1, 1, 0)  # taken for a cat
    assert sum(item.count for item in found.values()) == 3


def test_rows_leave_out_sizes_without_objects() -> None:
    found = list(bins(Detections.of([LARGE], [2], [0.9])).values())

    assert size_rows([found]) == [
        ["12 to 25", "1", "0.0%", "–"],
        ["50 to 100", "1", "0.0%", "–"],
        ["200 to 400", "1", "100.0%", "100.0%"],
    ]


def test_no_objects_give_no_rows() -> None:
    empty = measure("desk", labelled([], []), [Detections.of([], [], [])] * 2)

    assert size_rows([by_size(empty, INPUT, score_threshold=0.5)]) == []
