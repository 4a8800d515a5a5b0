"""The model card of a release, `README.md`, generated from its manifest."""

import re
from pathlib import Path

from model_store.manifest import Manifest
from training.measuring.sim2real import Sim2Real
from training.measuring.tables import class_table, column_of, figures_table
from training.reports.markdown import MISTAKES, PRECISION_RECALL, figures, sections

_ENGINES = "## Engines"
_MAKING = "## Making"


def card_text(manifest: Manifest, report: Sim2Real | None = None, *, with_photos: bool = False) -> str:
    """Return the card's Markdown; it links to the report's pictures in the same folder.

    Args:
        manifest: manifest of the release.
        report: sim-to-real report to include; None includes none.
        with_photos: whether to show the report's crops of photos.
    """
    name = f"{manifest.name}@{manifest.version}"
    config = manifest.origin.config
    lines = [
        f"# {name}",
        "",
        f"{manifest.description} It finds: {', '.join(f'`{label}`' for label in manifest.class_names)}.",
        "",
        "![detections on the golden image](detections.jpg)",
        "",
        "## Figures",
        "",
        *(_figures(manifest) if report is None else figures(report)),
        "",
        f"Measured in eager fp32. {_threshold(manifest)}{_one_label(manifest)}",
        "",
        *(
            [f"![precision over recall]({PRECISION_RECALL})"][: len(manifest.metrics)]
            if report is None
            else sections(report, with_photos=with_photos)
        ),
        "",
        *(["## Data behind each choice", "", manifest.provenance, ""] if manifest.provenance else []),
        *_engines(manifest),
        _MAKING,
        "",
        f"`{manifest.architecture}`, shorter side {manifest.input.min_size} px, started from "
        f"{manifest.origin.continued_from or 'random weights'}; {config.get('epochs')} epochs, batch "
        f"{config.get('batch_size')}, {config.get('optimizer')} {config.get('learning_rate')}, "
        f"seed {manifest.origin.seed}. `manifest.json` has every setting.",
        "",
        "## Limits",
        "",
        "A detector works best on data like its training data. Other cameras, grounds, lights and object sizes lower "
        "its figures. Measure it on your own photos before you rely on it:",
        f"`python -m training evaluate {name} YOUR_LABELLED_PHOTOS`.",
        "",
        "## Licence",
        "",
        manifest.licence or "Not stated.",
        "",
    ]
    return "\n".join(lines)


def _threshold(manifest: Manifest) -> str:
    if not manifest.metrics:
        return f"Score threshold: {manifest.score_threshold}, that of {manifest.origin.continued_from}."
    if not manifest.score_threshold_from and manifest.metrics and not manifest.metrics[0].figures.get("f1"):
        return (
            f"Score threshold: {manifest.score_threshold}, the default. None can be recommended, because no object in "
            "the held-out images was found."
        )
    source = " + ".join(manifest.score_threshold_from) or "the held-out images"
    return f"Recommended score threshold: **{manifest.score_threshold}**, where F1 is best on {source}."


def _one_label(manifest: Manifest) -> str:
    if manifest.one_label_iou is None:
        return ""
    return (
        f" An object has one label: of boxes of different classes with an IoU above {manifest.one_label_iou:g}, "
        "only the best one is reported."
    )


def _figures(manifest: Manifest) -> list[str]:
    if not manifest.metrics:
        return ["Not measured."]
    return [
        *figures_table([column_of(item) for item in manifest.metrics]),
        "",
        "AP / AP50 of each class:",
        "",
        *class_table(manifest.metrics, manifest.class_names),
    ]


def rewrite_card(path: Path, manifest: Manifest, *, with_photos: bool) -> None:
    """Update a card copied from the previous version, if it exists: name, engines, licence, crops of photos."""
    if not path.exists():
        return
    ref = f"{manifest.name}@{manifest.version}"
    text = re.sub(r"\A# .*", f"# {ref}", path.read_text("utf-8"))
    text = re.sub(r"(?<=python -m training evaluate )\S+", ref, text)
    text = re.sub(rf"^{_ENGINES}\n.*?(?=^## |\Z)", "", text, flags=re.MULTILINE | re.DOTALL)
    if not with_photos:
        text = re.sub(rf"^{MISTAKES}\n.*?(?=^## |\Z)", "", text, flags=re.MULTILINE | re.DOTALL)
    licence = manifest.licence or "Not stated."
    text = re.sub(r"(?<=^## Licence\n\n).*", lambda _: licence, text, flags=re.MULTILINE)
    section = "\n".join(_engines(manifest)) + "\n"
    before, making, after = text.partition(f"{_MAKING}\n")
    path.write_text(f"{before}{section}{making}{after}", "utf-8")


def _engines(manifest: Manifest) -> list[str]:
    """Return lines on the accuracy of each prepared engine against eager fp32, and on why others are left out."""
    if not (manifest.engines or manifest.refused_engines):
        return []
    rows = [
        f"| `{name}` | {record.figures['AP']:.3f} | {record.reference['AP']:.3f} | {record.figures['AP50']:.3f} | "
        f"{record.reference['AP50']:.3f} | {record.data}, {record.image_count} images"
        f"{'' if record.is_judged else '; too weak to judge by: used only where asked for'} |"
        for name, record in manifest.engines.items()
    ]
    table = [
        "Prepared for faster runtimes; the service takes the fastest that runs.",
        "",
        "| engine | mAP@[.5:.95] | eager fp32 | AP50 | eager fp32 | measured on |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
    ]
    refused = [f"`{name}` is left out: {reason}." for name, reason in manifest.refused_engines.items()]
    return [_ENGINES, "", *(table if rows else []), *(line for text in refused for line in (text, ""))]
