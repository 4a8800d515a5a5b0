"""The verb `predict`: photos -> annotated pictures and LabelMe files, with no service."""

import argparse
from pathlib import Path

from rendersight.photos import find_photos
from training import flags
from training.console import bar_of, say


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Say what the verb does and what it takes."""
    parser.description = "Write pictures with the boxes drawn, and LabelMe files that can be corrected and trained on."
    flags.add_model(parser)
    parser.add_argument("photos", type=Path, nargs="+", help="image files, or folders of them")
    parser.add_argument(
        "--score-threshold", type=flags.score, help="objects must score above it (default: the model's own)"
    )
    parser.add_argument("--out", type=Path, default=Path("predictions"), help="folder of the results")
    flags.add_machine(parser)


def run(options: argparse.Namespace) -> None:
    """Run the verb."""
    from training.prediction import predict

    photos = find_photos(options.photos)
    loaded, engine = flags.open_model(options)
    threshold = loaded.card.score_threshold if options.score_threshold is None else options.score_threshold
    count = predict(
        engine,
        photos,
        options.out,
        class_names=loaded.card.class_names,
        score_threshold=threshold,
        progress=bar_of("photos"),
    )
    say(f"{count} objects above {threshold:g} in {len(photos)} photos: {options.out}")
