"""A training from its first weights to its best checkpoint, by one process or several."""
