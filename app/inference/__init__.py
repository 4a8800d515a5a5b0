"""From an image to an answer: wait, decode, detect, select, write; and the model that does it."""
