"""Entry point of `python -m rendersight`, the same program as the console script `rendersight`."""

import sys

from rendersight.cli import main

if __name__ == "__main__":
    sys.exit(main())
