"""Detections of one image in COCO's form (see `coco.py`), for tools that read datasets."""

import json
from collections.abc import Sequence
from typing import Any

from rendersight.detections import Detections


def to_json(
    found: Detections, *, class_names: Sequence[str], image_name: str, size_wh: tuple[int, int], indent: int | None = 2
) -> str:
    """Return detections in one image as the text of a COCO dataset; each annotation also has its `score`.

    Args:
        found: boxes in px of the upright image.
        class_names: K names; label i is the category with id i, `class_names[i - 1]`.
        image_name: the image's file name.
        size_wh: width and height of the upright image, px.
        indent: as for `json.dumps`.
    """
    annotations: list[dict[str, Any]] = []
    for (x0, y0, x1, y1), label, score in zip(
        found.boxes_xyxy.astype(float).tolist(), found.labels.tolist(), found.scores.tolist(), strict=True
    ):
        box = [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)]
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": 1,
                "category_id": label,
                "bbox": box,
                "area": round(box[2] * box[3], 2),
                "segmentation": [],
                "iscrowd": 0,
                "score": round(score, 4),
            }
        )
    document = {
        "images": [{"id": 1, "file_name": image_name, "width": size_wh[0], "height": size_wh[1]}],
        "categories": [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(class_names, 1)],
        "annotations": annotations,
    }
    return json.dumps(document, indent=indent, ensure_ascii=False)
