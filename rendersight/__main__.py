"""`python -m rendersight`: the console script where it is not installed."""

import sys

from rendersight.cli import main

if __name__ == "__main__":
    sys.exit(main())
