"""Files of a run on disk: its record, its checkpoints and its metrics by epoch."""
