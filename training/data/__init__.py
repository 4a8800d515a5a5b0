"""Labelled images for a training: read, split, checked, converted and augmented."""
