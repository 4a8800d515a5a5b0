"""Measuring a detector: COCO figures, thresholds, confusion, renders against photos, comparison of runs."""
