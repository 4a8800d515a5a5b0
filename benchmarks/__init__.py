"""Benchmarks as commands; each prints ratios within one run, because absolute times differ between machines."""
