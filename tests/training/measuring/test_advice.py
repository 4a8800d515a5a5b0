from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rendersight.annotations import AnnotatedImage, LabelledBox
from rendersight.detections import Detections
from tests.training.truth import INPUT, NOTHING, labelled
from training.data.dataset import LabelledImages
from training.measuring.advice import advise, mean_greys
from training.measuring.evaluation import evaluate
from training.measuring.measured import Domain
from training.measuring.sim2real import Sim2Real
from training.reports.markdown import page

Object = tuple[str, tuple[float, float, float, float]]

CAT: Object = ("cat", (20, 20, 60, 60))
DOG: Object = ("dog", (120, 20, 160, 60))
BOTH = [CAT, DOG]


def right(data: LabelledImages) -> list[Detections]:
    """Return the true objects as detections."""
    return [Detections.of(image.boxes_xyxy, data.label_ids(image), [0.9] * len(image.labels)) for image in data.images]


def unsampled(name: str, data: LabelledImages, found: Sequence[Detections]) -> Domain:
    """Measure without the resamples for intervals, which take most of the time."""
    result = evaluate(data, found)
    return Domain(name, data, tuple(found), result, any_class=result, resamples={})


def report(
    photos: Sequence[list[Object]], found: Sequence[Detections] | None = None, renders: Sequence[list[Object]] = (BOTH,)
) -> Sim2Real:
    """Build the report of a detector that is right in the renders; None makes it right in the photos too."""
    synthetic, real = labelled(*renders), labelled(*photos)
    return Sim2Real.of(
        "pets@3",
        sha256="0" * 64,
        input_rule=INPUT,
        score_threshold=0.5,
        synthetic=unsampled("renders", synthetic, right(synthetic)),
        real=[unsampled("desk", real, found or right(real))],
    )


def changes(drawn: Sim2Real, *, greys: tuple[float, float] = (120, 120)) -> dict[str, str]:
    """Return check -> the finding and the advice."""
    found = advise(drawn, render_greys=[greys[0]], photo_greys=[greys[1]])
    return {item.check: f"{item.what} {item.advice}" for item in found}


def test_says_nothing_if_nothing_stands_out() -> None:
    drawn = report([BOTH, BOTH, []])
    assert changes(drawn) == {}
    assert "## What to change\n\nNothing stands out. Compared were object sizes" in page(drawn, [])


def test_says_nothing_of_what_cannot_be_measured() -> None:
    for drawn in (report([[]], [NOTHING]), report([BOTH], renders=[[]])):
        assert advise(drawn, render_greys=[], photo_greys=[]) == []


def test_page_lists_changes() -> None:
    drawn = report([BOTH])
    text = page(drawn, advise(drawn, render_greys=[130], photo_greys=[80]))
    assert (
        "\n## What to change\n\n- **The photos are darker: a mean luminance of 80, against 130 in the renders" in text
    )
    assert "Nothing stands out" not in text


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (27, None),
        (
            26,
            "18.4% of the picture's side (median of 1 object; 10th to 90th percentile 18.4% to 18.4%)",
        ),
        (59, None),
        (61, "larger in the photos: 43.1% of the picture's side (median"),
    ],
)
def test_compares_sizes_by_their_share_of_the_picture(side: float, expected: str | None) -> None:
    """A box of 40 px in 200 x 100 px is 28.3 % of the picture's side, the root of its area."""
    told = changes(report([[("cat", (20, 20, 20 + side, 20 + side))]])).get("object-size")
    assert (told is None) == (expected is None)
    if told is not None and expected is not None:
        assert expected in told
        assert "against 28.3% in the renders (median of 2 objects" in told
        assert f"reach a zoom of {side / 40:.2g}." in told


@pytest.mark.parametrize(
    ("count", "moved", "expected"),
    [
        (10, (4, 4, -4, -4), "larger than the detections: left 4.0, top 4.0, right 4.0, bottom 4.0 px"),
        (10, (-2, -4, 2, 4), "smaller than the detections: left 2.0, top 4.0, right 2.0, bottom 4.0 px"),
        (10, (4, 4, 4, 4), None),  # shifted, and of the right size
        (10, (0.5, 0.5, -0.5, -0.5), None),
        (4, (4, 4, -4, -4), None),
    ],
)
def test_compares_boxes_with_matched_detections(
    count: int, moved: tuple[float, float, float, float], expected: str | None
) -> None:
    found = Detections.of(np.array([CAT[1], DOG[1]]) + moved, [1, 2], [0.9, 0.9])
    told = changes(report([BOTH] * (count // 2), [found] * (count // 2))).get("box-margin")
    assert (told is None) == (expected is None)
    if told is not None and expected is not None:
        assert expected in told
        assert f"(medians of {count} matched objects)" in told
        margin = 4 / 32 if moved[0] > 0 else (2 / 44 + 4 / 48) / 2
        advice = f"--set box_margin={margin:.2f}`" if moved[0] > 0 else f"lower it by {margin:.2f}"
        assert advice in told


def test_boxes_both_larger_and_smaller_are_not_systematic() -> None:
    found = [
        Detections.of(np.array([CAT[1], DOG[1]]) + sign * np.array([4, 4, -4, -4]), [1, 2], [0.9, 0.9])
        for sign in (1, 1, 1, -1, -1)
    ]
    assert "box-margin" not in changes(report([BOTH] * 5, found))


@pytest.mark.parametrize(
    ("greys", "kind"), [((120, 94), "darker"), ((120, 96), None), ((120, 144), None), ((120, 146), "brighter")]
)
def test_compares_brightness(greys: tuple[float, float], kind: str | None) -> None:
    told = changes(report([BOTH]), greys=greys).get("brightness")
    assert (told is None) == (kind is None)
    if told is not None:
        assert f"The photos are {kind}: a mean luminance of {greys[1]}, against 120 in the renders" in told


def test_names_pairs_of_classes_that_are_confused() -> None:
    swapped = Detections.of([CAT[1], DOG[1]], [2, 1], [0.9, 0.4])  # the second one is below the threshold
    told = changes(report([BOTH] * 4, [*right(labelled(BOTH)), swapped, swapped, swapped]))
    assert "above score 0.5: 3 of 4 `cat` as `dog`." in told["confusion"]
    once = report([BOTH] * 2, [*right(labelled(BOTH)), swapped])
    assert "confusion" not in changes(once)


def test_names_classes_never_found() -> None:
    cat = Detections.of([CAT[1]], [1], [0.9])
    told = changes(report([BOTH] * 3, [cat] * 3))
    assert (
        "Never found in the photos above score 0.5: `dog` (0 of 3 objects; AP50 in the renders 1.00)."
        in (told["never-found"])
    )
    unrendered = changes(report([BOTH], [cat], renders=[[CAT]]))
    assert "`dog` (0 of 1 object; not in the renders)" in unrendered["never-found"]
    assert "never-found" not in changes(report([[CAT]]))  # the photos show no dog
    assert "never-found" not in changes(report([BOTH] * 2, [cat, *right(labelled(BOTH))]))


def test_counts_false_alarms_in_photos_without_objects() -> None:
    alarms = Detections.of([CAT[1], DOG[1], (1, 1, 9, 9)], [1, 2, 1], [0.9, 0.8, 0.2])
    told = changes(report([BOTH, [], []], [*right(labelled(BOTH)), alarms, NOTHING]))
    assert "1 of 2 photos without objects have false alarms, 2 in all above score 0.5." in told["false-alarms"]
    rare = report([[]] * 11 + [BOTH], [alarms, *[NOTHING] * 10, *right(labelled(BOTH))])
    assert "false-alarms" not in changes(rare)
    beside = Detections.of([*(box for _, box in BOTH), (1, 1, 9, 9)], [1, 2, 1], [0.9, 0.9, 0.8])
    assert "false-alarms" not in changes(report([BOTH], [beside]))


def test_detection_in_an_ignored_box_is_no_false_alarm() -> None:
    drawn = report([[]], [Detections.of([CAT[1]], [1], [0.9])])
    assert "false-alarms" in changes(drawn)
    image = replace(drawn.photos.data.images[0], ignored=(LabelledBox("cat", CAT[1]),))
    data = LabelledImages((image,), drawn.photos.data.class_names)
    assert "false-alarms" not in changes(replace(drawn, photos=unsampled("desk", data, drawn.photos.found)))


def test_mean_luminance_is_that_of_the_pixels(tmp_path: Path) -> None:
    images = []
    for number, colour in enumerate([(0, 0, 0), (255, 255, 255), (100, 100, 100)]):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (50, 40), colour).save(path)
        images.append(AnnotatedImage(path.name, path, None, (50, 40), np.zeros((0, 4), np.float32), ()))
    assert mean_greys(LabelledImages(tuple(images), ("cat",))) == pytest.approx([0, 255, 100])
