"""Measurements as commands; each prints ratios inside one run, because absolute times drift from machine to machine."""
