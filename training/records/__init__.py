"""The files of a run on disk: its record, its checkpoints, its figures by epoch."""
