"""What a detector is worth: COCO figures, thresholds, confusion, renders against photos, runs side by side."""
