"""Labelled images for training: reading, splitting, checking, converting and augmenting."""
