"""The presets in `training/configs/`, and what the verb `make` takes where nothing is said."""

from pathlib import Path

CONFIGS = Path(__file__).parent / "configs"

MAKE_PRESETS = {"cpu": "make-cpu", "cuda": "make-gpu"}
MAKE_COUNTS = {"cpu": 800, "cuda": 3000}
"""Photos to render, by the kind of device."""


def preset_names() -> list[str]:
    """Return the names of the presets."""
    return sorted(path.stem for path in CONFIGS.glob("*.toml"))
