"""The verbs of `rendersight`, one module each; `rendersight/cli.py` lists them."""
