"""The model card, `README.md` of a release: generated from its manifest."""

from pathlib import Path

from model_store.manifest import Manifest
from training.page import PRECISION_RECALL, figures, sections
from training.sim2real import Sim2Real
from training.tables import class_table, column_of, figures_table


def write_card(path: Path, manifest: Manifest, report: Sim2Real | None = None) -> None:
    """Write the card of a release; a report's pictures lie beside it."""
    path.write_text(card_text(manifest, report), "utf-8")


def card_text(manifest: Manifest, report: Sim2Real | None = None) -> str:
    """Return the card's Markdown, with the report from renders to photos where there is one."""
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
        *(_figures(manifest) if report is None else figures(report)),
        "",
        f"Measured in eager fp32. Recommended score threshold: **{manifest.score_threshold}**, where F1 is best on "
        f"{' + '.join(manifest.score_threshold_from) or 'the held-out images'}.",
        "",
        *([f"![precision over recall]({PRECISION_RECALL})"] if report is None else sections(report)),
        "",
        *(["## Which data chose what", "", manifest.provenance, ""] if manifest.provenance else []),
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


def _figures(manifest: Manifest) -> list[str]:
    if not manifest.metrics:
        return ["Not measured."]
    return [
        *figures_table([column_of(item) for item in manifest.metrics]),
        "",
        "AP by class, AP50 behind it:",
        "",
        *class_table(manifest.metrics, manifest.class_names),
    ]
