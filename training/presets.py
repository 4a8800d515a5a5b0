"""Presets in `training/configs/`, and the defaults of the verb `make`."""

from pathlib import Path

CONFIGS = Path(__file__).parent / "configs"

MAKE_PRESETS = {"cpu": "make-cpu", "cuda": "make-gpu"}
MAKE_COUNTS = {"cpu": 800, "cuda": 3000}
"""Default number of scenes to render, by the kind of device."""


def preset_names() -> list[str]:
    """Return the names of the presets, sorted."""
    return sorted(path.stem for path in CONFIGS.glob("*.toml"))
