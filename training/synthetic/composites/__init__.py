"""Composites: training pictures pasted together from cut-outs and backdrops, a new one for each seed."""
