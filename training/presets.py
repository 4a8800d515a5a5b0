"""Names of the presets in `training/configs/`. Needs no torch, unlike `training.config`."""

from pathlib import Path

CONFIGS = Path(__file__).parent / "configs"


def preset_names() -> list[str]:
    """Return the names of the presets, sorted."""
    return sorted(path.stem for path in CONFIGS.glob("*.toml"))
