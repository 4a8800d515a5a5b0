"""The verb `predict`: write annotated pictures and LabelMe files for photos, without a service."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rendersight.photos import find_photos
from training.commands import flags
from training.console import bar_of, say, show

if TYPE_CHECKING:
    from model_store.engines.tiled import TiledEngine
    from rendersight.detections import Detections


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments to the parser."""
    parser.description = (
        "Detect objects in photos without a service. Write pictures with the boxes drawn, and LabelMe files that you "
        "can correct and train on. For millions of photos on many machines, use `python -m deploy.ray.batch` "
        "(docs/batch.md)."
    )
    flags.add_model(parser)
    parser.add_argument("photos", type=Path, nargs="+", help="image files, or folders of them")
    parser.add_argument(
        "--score-threshold", type=flags.score, help="keep objects with a higher score (default: the model's own)"
    )
    flags.add_tiles(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("predictions"), help="folder for the results (default: predictions)"
    )
    parser.add_argument("--json", action="store_true", help="also print one line of JSON for each photo")
    flags.add_machine(parser)


def run(options: argparse.Namespace) -> None:
    """Detect the objects in the photos and write the results."""
    from training.measuring.prediction import predict
    from training.records.run_folder import check_folder

    check_folder(options.out)
    photos = find_photos(options.photos)
    loaded, whole = flags.open_model(options)
    engine = flags.tiled(options, loaded, whole)
    threshold = loaded.info.score_threshold if options.score_threshold is None else options.score_threshold
    count = predict(
        engine,
        photos,
        options.out,
        class_names=loaded.info.class_names,
        score_threshold=threshold,
        progress=bar_of("photos"),
        **({"tell": _line_of_json(loaded.info.class_names, threshold, engine)} if options.json else {}),
    )
    say(f"{count} objects above {threshold:g} in {len(photos)} photos: {options.out}")


def _line_of_json(
    class_names: Sequence[str], score_threshold: float, engine: "TiledEngine"
) -> "Callable[[Path, tuple[int, int], Detections], None]":
    """Return a function that prints a photo's detections as one line of JSON, in the format of the service."""

    def tell(photo: Path, size_wh: tuple[int, int], found: "Detections") -> None:
        detections = [
            {
                "label": class_names[label - 1],
                "label_id": label,
                "score": round(score, 4),
                "box": [round(value, 2) for value in box],
            }
            for label, score, box in zip(
                found.labels.tolist(), found.scores.tolist(), found.boxes_xyxy.tolist(), strict=True
            )
        ]
        image = {"width": size_wh[0], "height": size_wh[1]}
        tiles = engine.tile_count(size_wh[1], size_wh[0])
        result = {"image": image, "score_threshold": score_threshold, "tiles": tiles, "detections": detections}
        show(json.dumps({"filename": str(photo), "result": result}))

    return tell
