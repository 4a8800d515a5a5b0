"""Training, from initial weights to the best checkpoint, in one process or several."""
