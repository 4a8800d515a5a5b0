"""The sim-to-real gap: a detector's figures on rendered and on real photos, as tables and JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_store.manifest import InputRule
from training.measuring import bootstrap
from training.measuring.bootstrap import Interval
from training.measuring.calibration import Reliability, reliability
from training.measuring.confusion import confusion_matrix
from training.measuring.measured import Domain, pool
from training.measuring.object_sizes import SizeBin, by_size
from training.measuring.tables import Column, cell, column_of
from training.measuring.thresholds import SURE, OperatingPoint, at_precision, at_score, worth_recommending

_NO_RATIO = ("threshold",)


@dataclass(frozen=True, eq=False)
class Sim2Real:
    """One detector on rendered and on real photos.

    Attributes:
        model: name@version.
        sha256: hash of the weights' file.
        input: how the detector resizes a photo.
        score_threshold: threshold in use; mistakes above it are counted and shown.
        synthetic: rendered photos that the detector was not trained on.
        real: one or more sets of real photos.
        photos: all real photos as one set.
        shown: real photos whose crops may appear in the galleries.
    """

    model: str
    sha256: str
    input: InputRule
    score_threshold: float
    synthetic: Domain
    real: tuple[Domain, ...]
    photos: Domain
    shown: Domain

    @classmethod
    def of(
        cls,
        model: str,
        *,
        sha256: str,
        input_rule: InputRule,
        score_threshold: float,
        synthetic: Domain,
        real: Sequence[Domain],
        shown: Sequence[Domain] = (),
    ) -> "Sim2Real":
        """Build the report from measured data sets; `real` is not empty. An empty `shown` shows all real ones."""
        return cls(model, sha256, input_rule, score_threshold, synthetic, tuple(real), pool(real), pool(shown or real))

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Data sets in the order of the report's columns."""
        return (self.synthetic, *self.real)

    def columns(self) -> list[Column]:
        """Return a column for each data set; the ratio to the synthetic set follows each real set."""
        columns = [column_of(self.synthetic.metrics())]
        for item in self.real:
            columns += [column_of(item.metrics()), self.ratio(item)]
        return columns

    def ratio(self, real: Domain) -> Column:
        """Return the ratios real / synthetic; a figure has none unless it is above 0 on the synthetic photos."""
        below, above = self.synthetic.figures(), real.figures()
        values = {
            name: round(above[name] / value, 4)
            for name, value in below.items()
            if value > 0 and name in above and name not in _NO_RATIO
        }
        return Column(f"ratio to {self.synthetic.name}", values, self._ratio_intervals(real))

    def _ratio_intervals(self, real: Domain) -> dict[str, Interval]:
        """Return intervals of real / synthetic, from the resamples of both sets.

        One set's resamples are shifted by one, because resamples of the same number pick the same positions in sets of
        equal size.
        """
        intervals = {}
        for name, drawn in self.synthetic.resamples.items():
            divisor = np.where(drawn > 0, drawn, np.nan)
            pair = bootstrap.interval(np.roll(real.resamples[name], 1) / divisor)
            if pair is not None:
                intervals[name] = (round(pair[0], 4), round(pair[1], 4))
        return intervals

    def summary(self) -> list[str]:
        """Return the main figures as lines for a terminal."""
        lines = []
        for item in self.domains:
            column = column_of(item.metrics())
            lines.append(f"{column.title}: {', '.join(f'{name} {cell(column, name)}' for name in item.resamples)}")
        return [*lines, f"{self.photos.name}: {self.photos.result.best_in_words()}"]

    def reliability(self) -> Reliability:
        """Return the calibration of scores on the real photos."""
        return reliability(self.photos.result.curve)

    def thresholds(self) -> dict[str, OperatingPoint]:
        """Return the recommended thresholds on the real photos; a threshold that cannot be reached is absent."""
        return worth_recommending(self.photos.result.curve)

    def confusion(self) -> NDArray[np.int64]:
        """Return the `confusion_matrix` of the real photos at the threshold in use."""
        return confusion_matrix(self.photos.data, self.photos.found, score_threshold=self.score_threshold)

    def sizes(self, item: Domain) -> list[SizeBin]:
        """Return the objects of a data set by their size at the network's input, at the threshold in use."""
        return by_size(item, self.input, score_threshold=self.score_threshold)

    def as_json(self) -> dict[str, Any]:
        """Return all figures, intervals, thresholds and counts, ready for JSON."""
        calibration = self.reliability()
        class_names = list(self.photos.data.class_names)
        return {
            "model": self.model,
            "sha256": self.sha256,
            "class_names": class_names,
            "score_threshold": self.score_threshold,
            "bootstrap": {"resamples": bootstrap.RESAMPLES, "seed": bootstrap.SEED, "level": bootstrap.LEVEL},
            "synthetic": self._domain_json(self.synthetic),
            "real": [{**self._domain_json(item), "ratio": self._ratio_json(item)} for item in self.real],
            "all_real": self._domain_json(self.photos),
            "reliability": {
                "data": self.photos.name,
                "error": calibration.error,
                "counts": calibration.counts.tolist(),
                "confidence": _or_none(calibration.confidence),
                "precision": _or_none(calibration.precision),
            },
            "confusion": {
                "data": self.photos.name,
                "rows_truth": [*class_names, "background"],
                "columns_found": [*class_names, "missed"],
                "counts": self.confusion().tolist(),
            },
        }

    def _domain_json(self, item: Domain) -> dict[str, Any]:
        sure = at_precision(item.result.curve, SURE)
        objects = [label for image in item.data.images for label in image.labels]
        return {
            **item.metrics().model_dump(mode="json"),
            "object_count": len(objects),
            "objects_by_class": {name: objects.count(name) for name in item.data.class_names},
            "detection_count": sum(len(found) for found in item.found),
            "dataset_fingerprint": item.data.fingerprint(),
            "objects_by_size": [
                asdict(one) | {"high_px": one.high_px if np.isfinite(one.high_px) else None} for one in self.sizes(item)
            ],
            "thresholds": {
                "best_f1": asdict(item.result.best_f1),
                "precision_95": None if sure is None else asdict(sure),
                "in_use": asdict(at_score(item.result.curve, self.score_threshold)),
            },
        }

    def _ratio_json(self, item: Domain) -> dict[str, Any]:
        column = self.ratio(item)
        return {"figures": dict(column.values), "intervals": dict(column.intervals)}


def _or_none(values: NDArray[np.float64]) -> list[float | None]:
    return [round(value, 4) if np.isfinite(value) else None for value in values.tolist()]
