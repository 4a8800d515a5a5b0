"""What to change before the next training: differences between renders and photos, each with its numbers."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from training.data.dataset import LabelledImages
from training.data.duplicates import look_at
from training.data.findings import Finding, counted
from training.measuring.confusion import NONE, counted_pairs, pair
from training.measuring.measured import Domain
from training.measuring.sim2real import Sim2Real

_SIZE_FACTOR = 1.5
_FEWEST_PAIRS = 10
_LEAST_MARGIN = 0.02
_GREY_STEP = 25.0
_FEWEST_CONFUSED = 2
_MOST_CONFUSIONS = 5
_FALSE_ALARM_SHARE = 0.1


def mean_greys(data: LabelledImages) -> list[float]:
    """Return the mean luminance of each of N images, 0 to 255.

    Raises:
        images.ImageError, OSError: an image has changed or vanished since the dataset was read.
    """
    return [look.mean_grey for look in look_at(data.images)]


def advise(report: Sim2Real, *, render_greys: Sequence[float], photo_greys: Sequence[float]) -> list[Finding]:
    """Return what to change, in the order of the checks; empty if nothing stands out.

    Args:
        report: the detector on renders and on photos.
        render_greys: mean luminance of each render, 0 to 255.
        photo_greys: mean luminance of each photo, 0 to 255.
    """
    return [
        *_object_sizes(report.synthetic, report.photos),
        *_box_margin(report),
        *_brightness(render_greys, photo_greys),
        *_confusions(report),
        *_never_found(report),
        *_empty_photos(report),
    ]


def _change(check: str, what: str, advice: str) -> Finding:
    return Finding(check, "warning", what, advice)


def _object_sizes(renders: Domain, photos: Domain) -> Iterator[Finding]:
    """Compare the objects' sides as shares of the picture's side."""
    rendered, real = _shares(renders.data), _shares(photos.data)
    if not (len(rendered) and len(real)):
        return
    ratio = float(np.median(real) / np.median(rendered))
    if 1 / _SIZE_FACTOR <= ratio <= _SIZE_FACTOR:
        return
    kind, distance = ("smaller", "farther from") if ratio < 1 else ("larger", "closer to")
    yield _change(
        "object-size",
        f"Objects are {kind} in the photos: {np.median(real):.1%} of the picture's side ({_spread(real)}), against "
        f"{np.median(rendered):.1%} in the renders ({_spread(rendered)}).",
        f"Place the camera {distance} the objects, or let `--set scale_jitter=[SMALLEST, LARGEST]` reach a zoom of "
        f"{ratio:.2g}.",
    )


def _shares(data: LabelledImages) -> NDArray[np.float64]:
    """Return the square root of each box's share of its image's area: float64 (M,)."""
    parts = []
    for image in data.images:
        boxes = image.boxes_xyxy.astype(np.float64)
        parts.append(np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / np.prod(image.size_wh)))
    return np.concatenate(parts)


def _spread(shares: NDArray[np.float64]) -> str:
    low, high = np.percentile(shares, (10, 90))
    return f"median of {counted(len(shares), 'object')}; 10th to 90th percentile {low:.1%} to {high:.1%}"


def _box_margin(report: Sim2Real) -> Iterator[Finding]:
    """Compare people's boxes with the detections on the same objects, side by side."""
    outwards, shares = _margins(report)
    if len(shares) < _FEWEST_PAIRS:
        return
    low, median, high = np.percentile(shares.mean(axis=1), (25, 50, 75))
    sign = 1 if median > 0 else -1
    sides = zip(("left", "top", "right", "bottom"), sign * np.median(outwards, axis=0), strict=True)
    numbers = ", ".join(f"{name} {px:.1f}" for name, px in sides)
    measured = f"{numbers} px (medians of {len(shares)} matched objects), {abs(median):.1%} of the box on each side"
    if low > 0 and median >= _LEAST_MARGIN:
        yield _change(
            "box-margin",
            f"Boxes in the photos are larger than the detections: {measured}.",
            f"Train with `--set box_margin={median:.2f}`; if this training set one, add the two.",
        )
    elif high < 0 and median <= -_LEAST_MARGIN:
        yield _change(
            "box-margin",
            f"Boxes in the photos are smaller than the detections: {measured}.",
            f"If this training set `box_margin`, lower it by {-median:.2f}. If not, check whether the photos' boxes "
            "cut off parts of the objects.",
        )


def _margins(report: Sim2Real) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far each side of a photo's true box lies outside the detection on it.

    Returns:
        float64 (M, 4), left, top, right, bottom, px; and the same as shares of the detection's width and height.
    """
    outwards, shares = [np.zeros((0, 4))], [np.zeros((0, 4))]
    for image, found in zip(report.photos.data.images, report.photos.found, strict=True):
        kept = found.above(report.score_threshold)
        taken = pair(image.boxes_xyxy, kept)
        boxes = kept.boxes_xyxy[taken != NONE].astype(np.float64)
        distance = (image.boxes_xyxy[taken[taken != NONE]] - boxes) * (-1, -1, 1, 1)
        outwards.append(distance)
        shares.append(distance / np.tile(boxes[:, 2:] - boxes[:, :2], 2))
    return np.concatenate(outwards), np.concatenate(shares)


def _brightness(render_greys: Sequence[float], photo_greys: Sequence[float]) -> Iterator[Finding]:
    if not (len(render_greys) and len(photo_greys)):
        return
    rendered, real = float(np.median(render_greys)), float(np.median(photo_greys))
    if abs(real - rendered) < _GREY_STEP:
        return
    kind, light = ("darker", "less") if real < rendered else ("brighter", "more")
    yield _change(
        "brightness",
        f"The photos are {kind}: a mean luminance of {real:.0f}, against {rendered:.0f} in the renders (medians, of "
        "255).",
        f"Render with {light} light and with grounds like those of the photos, or raise `--set photometric=0.8`.",
    )


def _confusions(report: Sim2Real) -> Iterator[Finding]:
    names, matrix = report.photos.data.class_names, report.confusion()
    totals, wrong = matrix.sum(axis=1), matrix[:-1, :-1].copy()
    np.fill_diagonal(wrong, 0)
    worst = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_CONFUSIONS]
    told = [
        f"{wrong[true, found]} of {totals[true]} `{names[true]}` as `{names[found]}`"
        for true, found in (divmod(int(place), len(names)) for place in worst)
        if wrong[true, found] >= _FEWEST_CONFUSED
    ]
    if told:
        yield _change(
            "confusion",
            f"Classes are confused in the photos, above score {report.score_threshold:g}: {', '.join(told)}.",
            "Compare crops of both, and check their labels. Show more views of what tells them apart, with more pixels "
            "(`--set min_size`) if it is small.",
        )


def _never_found(report: Sim2Real) -> Iterator[Finding]:
    names, matrix = report.photos.data.class_names, report.confusion()
    on_renders = report.synthetic.result.per_class_ap50
    told = [
        f"`{name}` (0 of {counted(int(total), 'object')}; "
        + (f"AP50 in the renders {on_renders[name]:.2f})" if name in on_renders else "not in the renders)")
        for name, total, right in zip(names, matrix.sum(axis=1), matrix.diagonal(), strict=False)
        if total and not right
    ]
    if told:
        yield _change(
            "never-found",
            f"Never found in the photos above score {report.score_threshold:g}: {', '.join(told)}.",
            "If the class is found in the renders, its material, light, pose or size differs: compare crops of both. "
            "If not, train on more of it, or for longer.",
        )


def _empty_photos(report: Sim2Real) -> Iterator[Finding]:
    counts = [
        len(counted_pairs(image, found.above(report.score_threshold))[0])
        for image, found in zip(report.photos.data.images, report.photos.found, strict=True)
        if not image.labels
    ]
    hit = sum(count > 0 for count in counts)
    if hit and hit >= _FALSE_ALARM_SHARE * len(counts):
        yield _change(
            "false-alarms",
            f"{hit} of {counted(len(counts), 'photo')} without objects have false alarms, {sum(counts)} in all above "
            f"score {report.score_threshold:g}.",
            "Add photos of such places and things: as backdrops (`make --backgrounds FOLDER`), or as images without a "
            "box (`train --negatives`).",
        )
