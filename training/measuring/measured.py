"""A data set with one detector's results, measured once for every table and picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_store.engines import Engine
from model_store.manifest import Metrics
from rendersight.detections import Detections
from training.console import Bar
from training.data.dataset import LabelledImages
from training.measuring import bootstrap
from training.measuring.bootstrap import Interval
from training.measuring.evaluation import Evaluation, as_one_class, detect_all, evaluate

ANY_AP50 = "AP50_any"
"""Name of the AP50 with all classes merged into one, in addition to COCO's names."""


@dataclass(frozen=True, eq=False)
class Domain:
    """Labelled images with a detector's results on them.

    Attributes:
        name: display name.
        data: N images.
        found: N detections in the same order.
        result: accuracy with the classes apart.
        any_class: accuracy with all classes merged into one.
        resamples: figure -> float64 (B,), its bootstrap over images; NaN in a resample without objects.
    """

    name: str
    data: LabelledImages
    found: tuple[Detections, ...]
    result: Evaluation
    any_class: Evaluation
    resamples: Mapping[str, NDArray[np.float64]]

    def figures(self) -> dict[str, float]:
        """Return COCO's figures, AP50 of any class, and the best F1, without those that cannot be measured."""
        any_ap50 = self.any_class.figures.get("AP50")
        return {**self.result.summary(), **({} if any_ap50 is None else {ANY_AP50: round(any_ap50, 4)})}

    def intervals(self) -> dict[str, Interval]:
        """Return the 95 % intervals, rounded to 4 digits, of the figures that have one."""
        found = {name: bootstrap.interval(values) for name, values in self.resamples.items()}
        return {name: (round(pair[0], 4), round(pair[1], 4)) for name, pair in found.items() if pair is not None}

    def metrics(self) -> Metrics:
        """Return the figures in the form of a manifest."""
        return Metrics(
            data=self.name,
            image_count=self.result.image_count,
            figures=self.figures(),
            intervals=self.intervals(),
            per_class_ap=self.result.per_class_ap,
            per_class_ap50=self.result.per_class_ap50,
        )

    def sizes_px(self) -> NDArray[np.float64]:
        """Return the square root of the area of every true box: float64 (M,), px of its photo."""
        boxes = np.concatenate([image.boxes_xyxy.astype(np.float64) for image in self.data.images])
        sizes: NDArray[np.float64] = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
        return sizes


def detect(engine: Engine, name: str, data: LabelledImages, *, bar: Bar) -> Domain:
    """Run an engine on a data set and measure its detections."""
    return measure(name, data, detect_all(engine, data.images, progress=lambda images: bar(images, desc=name)))


def measure(name: str, data: LabelledImages, found: Sequence[Detections]) -> Domain:
    """Measure N detections on N images, class by class and with the classes merged."""
    result, any_class = evaluate(data, found), evaluate(*as_one_class(data, found))
    drawn, drawn_any = bootstrap.resample(result.matches), bootstrap.resample(any_class.matches)
    resamples = {"AP": drawn.ap, "AP50": drawn.ap50, ANY_AP50: drawn_any.ap50}
    return Domain(name, data, tuple(found), result, any_class, resamples)


def pool(domains: Sequence[Domain]) -> Domain:
    """Return the union of one or more data sets that have the same classes."""
    if len(domains) == 1:
        return domains[0]
    images = tuple(image for item in domains for image in item.data.images)
    data = LabelledImages(images, domains[0].data.class_names)
    return measure(" + ".join(item.name for item in domains), data, [one for item in domains for one in item.found])
