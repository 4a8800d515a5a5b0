from model_store.manifest import Metrics
from training.measuring.tables import Column, class_table, column_of, figures_table, table

DESK = Metrics(
    data="the desk",
    image_count=4,
    figures={"AP": 0.51234, "APs": -1.0, "loss": 3.0},
    intervals={"AP": (0.4, 0.6)},
    per_class_ap={"cat": 0.5},
    per_class_ap50={"cat": 0.9},
)


def test_columns_stand_side_by_side_in_the_order_of_the_labels() -> None:
    lines = figures_table([column_of(DESK), Column("other", {"AP50": 0.25, "APs": 0.0})])
    assert lines == [
        "|  | the desk (4 images) | other |",
        "|---|---|---|",
        "| mAP@[.5:.95] | 0.512 (0.400 to 0.600) | – |",
        "| AP50 | – | 0.250 |",
        "| AP, objects below 32² px | – | 0.000 |",
    ]


def test_a_class_that_does_not_occur_has_a_dash_and_an_older_release_no_ap50() -> None:
    older = DESK.model_copy(update={"per_class_ap50": {}})
    assert class_table([DESK, older], ["cat", "dog"])[2:] == ["| cat | 0.500 / 0.900 | 0.500 |", "| dog | – / – | – |"]


def test_a_name_cannot_break_a_table() -> None:
    assert table(["a|b\nc"], [["x"]]) == ["| a\\|b c |", "|---|", "| x |"]
