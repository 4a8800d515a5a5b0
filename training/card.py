"""The model card, `README.md` of a release: generated from its manifest."""

from pathlib import Path

from model_store.manifest import Manifest, Metrics

_FIGURES = {
    "AP": "mAP@[.5:.95]",
    "AP50": "AP50",
    "AP75": "AP75",
    "APs": "AP, objects below 32² px",
    "APm": "AP, 32² to 96² px",
    "APl": "AP, above 96² px",
    "AR100": "AR, 100 detections",
    "f1": "best F1 at IoU 0.5",
    "precision": "precision there",
    "recall": "recall there",
}


def write_card(path: Path, manifest: Manifest) -> None:
    """Write the card of a release."""
    path.write_text(card_text(manifest), "utf-8")


def card_text(manifest: Manifest) -> str:
    """Return the card's Markdown."""
    name = f"{manifest.name}@{manifest.version}"
    config = manifest.origin.config
    lines = [
        f"# {name}",
        "",
        f"{manifest.description} It finds: {', '.join(f'`{label}`' for label in manifest.class_names)}.",
        "",
        "![what it finds on its golden image](detections.jpg)",
        "",
        "## Figures",
        "",
        *_table(manifest.metrics),
        "",
        f"Measured in eager fp32. Recommended score threshold: **{manifest.score_threshold}**, where F1 is best on the "
        "held-out images.",
        "",
        "![precision over recall](precision_recall.png)",
        "",
        "AP by class:",
        "",
        *_per_class(manifest),
        "",
        "## Making",
        "",
        f"`{manifest.architecture}`, shorter side {manifest.input.min_size} px, begun from "
        f"{manifest.origin.continued_from or 'random weights'}; {config.get('epochs')} epochs, batch "
        f"{config.get('batch_size')}, {config.get('optimizer')} {config.get('learning_rate')}, "
        f"seed {manifest.origin.seed}. Everything else is in `manifest.json`.",
        "",
        "## Limits",
        "",
        "A detector knows what it was trained on: other cameras, grounds, lights and sizes than those of the data "
        "above lower its figures. Measure it on photos of your own before you rely on it:",
        f"`python -m training evaluate {name} YOUR_LABELLED_PHOTOS`.",
        "",
        "## Licence",
        "",
        manifest.licence or "Not stated.",
        "",
    ]
    return "\n".join(lines)


def _table(metrics: tuple[Metrics, ...]) -> list[str]:
    if not metrics:
        return ["Not measured."]
    rows = [
        "| | " + " | ".join(f"{item.data} ({item.image_count} images)" for item in metrics) + " |",
        "|---|" + "---|" * len(metrics),
    ]
    for key, label in _FIGURES.items():
        values = [item.figures.get(key, -1.0) for item in metrics]
        rows.append(f"| {label} | " + " | ".join("–" if value < 0 else f"{value:.3f}" for value in values) + " |")
    return rows


def _per_class(manifest: Manifest) -> list[str]:
    rows = ["| class | " + " | ".join(item.data for item in manifest.metrics) + " |"]
    rows.append("|---|" + "---|" * len(manifest.metrics))
    for label in manifest.class_names:
        values = [item.per_class_ap.get(label) for item in manifest.metrics]
        rows.append(f"| {label} | " + " | ".join("–" if value is None else f"{value:.3f}" for value in values) + " |")
    return rows
