"""COCO's JSON as data: datasets, detections in one image, and the results that COCO's evaluation reads.

Ids of images, annotations and categories count from 1. `bbox` is [x, y, width, height] in px.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from rendersight.annotations import IGNORE_LABEL, AnnotatedImage
from rendersight.annotations.boxes import plain
from rendersight.detections import Detections

_DECIMALS = 9


def dataset(images: Sequence[AnnotatedImage], class_names: Sequence[str]) -> dict[str, Any]:
    """Return images with their true boxes, unrounded, as a COCO dataset.

    Ignored boxes are crowds. If their label is not a class, they are of the category `__ignore__`, which is the last.
    """
    ids = {name: number for number, name in enumerate(class_names, 1)}
    boxes = [
        (number, ids[label], box, False)
        for number, image in enumerate(images, 1)
        for box, label in zip(image.boxes_xyxy, image.labels, strict=True)
    ]
    crowds = [
        (number, ids.get(item.label, len(ids) + 1), box, True)
        for number, image in enumerate(images, 1)
        for box, item in zip(image.ignored_xyxy, image.ignored, strict=True)
    ]
    annotations = [
        _annotation(image_id, category_id, plain(box), decimals=_DECIMALS, is_crowd=is_crowd)
        for image_id, category_id, box, is_crowd in (*boxes, *crowds)
    ]
    names = [*class_names, IGNORE_LABEL] if any(crowd[1] > len(ids) for crowd in crowds) else class_names
    return _document([(image.name, image.size_wh) for image in images], annotations, names)


def truth(images: Sequence[AnnotatedImage], class_names: Sequence[str]) -> dict[str, Any]:
    """Return images as the truth for COCO's evaluation, in which an ignored box counts for every class."""
    for_all = [
        replace(image, ignored=tuple(replace(item, label=name) for item in image.ignored for name in class_names))
        for image in images
    ]
    return dataset(for_all, class_names)


def detections_to_json(
    found: Detections, *, class_names: Sequence[str], image_name: str, size_wh: tuple[int, int]
) -> str:
    """Return detections in one image as the text of a COCO dataset; each annotation also has its `score`.

    Args:
        found: boxes in px of the upright image, written with two decimals.
        class_names: K names; label i is the category with id i, `class_names[i - 1]`.
        image_name: the image's file name.
        size_wh: width and height of the upright image, px.
    """
    annotations = [
        {**_annotation(1, label, box, decimals=2), "score": round(score, 4)} for box, label, score in _rows(found)
    ]
    return json.dumps(_document([(image_name, size_wh)], annotations, class_names), indent=2, ensure_ascii=False)


def results(found: Sequence[Detections]) -> list[dict[str, Any]]:
    """Return the detections of images 1, 2, ... as the list of results that COCO's evaluation reads."""
    return [
        {"image_id": number, "category_id": label, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score}
        for number, item in enumerate(found, 1)
        for (x0, y0, x1, y1), label, score in _rows(item)
    ]


def _rows(found: Detections) -> Iterable[tuple[list[float], int, float]]:
    return zip(found.boxes_xyxy.astype(float).tolist(), found.labels.tolist(), found.scores.tolist(), strict=True)


def _annotation(
    image_id: int, category_id: int, box_xyxy: Sequence[float], *, decimals: int, is_crowd: bool = False
) -> dict[str, Any]:
    x0, y0, x1, y1 = box_xyxy
    box = [round(value, decimals) for value in (x0, y0, x1 - x0, y1 - y0)]
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": box,
        "area": round(box[2] * box[3], decimals),
        "segmentation": [],
        "iscrowd": int(is_crowd),
    }


def _document(
    images: Sequence[tuple[str, tuple[int, int]]], annotations: Sequence[dict[str, Any]], class_names: Sequence[str]
) -> dict[str, Any]:
    return {
        "info": {},
        "images": [
            {"id": number, "file_name": name, "width": width, "height": height}
            for number, (name, (width, height)) in enumerate(images, 1)
        ],
        "categories": [{"id": number, "name": name, "supercategory": ""} for number, name in enumerate(class_names, 1)],
        "annotations": [{"id": number, **annotation} for number, annotation in enumerate(annotations, 1)],
    }
