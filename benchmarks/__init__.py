"""Benchmarks as commands: `python -m benchmarks.NAME --help`. Run them on an idle machine.

They print ratios within one run, because absolute times differ between machines.
"""
