"""Truth and detections without pixels: two classes, cat and dog, in photos of 200 x 100 px."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from model_store.manifest import InputRule
from rendersight.annotations import AnnotatedImage, LabelledBox
from rendersight.detections import Detections
from training.data.dataset import LabelledImages

INPUT = InputRule(min_size=200, max_size=1000, mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0))
"""An input rule that doubles these photos."""

NOTHING = Detections.of([], [], [])
Box = tuple[float, float, float, float]


def labelled(*images: list[tuple[str, Box]]) -> LabelledImages:
    return LabelledImages(
        tuple(
            AnnotatedImage(
                name=f"{number}.png",
                image_path=Path(f"{number}.png"),
                annotation_path=None,
                size_wh=(200, 100),
                boxes_xyxy=np.array([box for _, box in objects], np.float32).reshape(-1, 4),
                labels=tuple(label for label, _ in objects),
            )
            for number, objects in enumerate(images)
        ),
        ("cat", "dog"),
    )


def ignoring(data: LabelledImages, *boxes: Box) -> LabelledImages:
    """Every image of a dataset with some ignored boxes, whose label is not a class."""
    ignored = tuple(LabelledBox("smudge", box) for box in boxes)
    return replace(data, images=tuple(replace(image, ignored=ignored) for image in data.images))


def random_case(seed: int) -> tuple[LabelledImages, list[Detections]]:
    """Truth with detections around it: some shifted, some of another class, some from nowhere."""
    rng = np.random.default_rng(seed)
    images, found = [], []
    for _ in range(12):
        corners = rng.uniform(0, 100, (rng.integers(0, 6), 2))
        sides = rng.uniform(5, 100, corners.shape)
        boxes = np.hstack([corners, corners + sides])
        labels = rng.integers(1, 3, len(boxes))
        images.append([(("cat", "dog")[label - 1], tuple(box)) for label, box in zip(labels, boxes, strict=True)])
        extra = rng.uniform(0, 90, (rng.integers(0, 4), 2))
        guesses = np.vstack([boxes + rng.normal(0, 4, boxes.shape), np.hstack([extra, extra + 10])])
        flipped = np.where(rng.uniform(size=len(labels)) < 0.2, 3 - labels, labels)
        guess_labels = np.concatenate([flipped, rng.integers(1, 3, len(extra))])
        valid = (guesses[:, 2:] > guesses[:, :2]).all(axis=1)
        scores = rng.uniform(0.05, 1, len(guesses)).round(2)  # rounded, so that some are equal
        found.append(Detections.of(guesses[valid], guess_labels[valid], scores[valid]).by_score())
    return labelled(*images), found
