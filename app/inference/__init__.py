"""The path from an image to an answer (queue, decode, detect, select, format), and the reloading of the model."""
