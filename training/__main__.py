"""The command line of training: `python -m training VERB --help`."""

import sys

from training.cli import main

if __name__ == "__main__":
    sys.exit(main())
