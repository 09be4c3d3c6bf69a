"""``python -m kerasortho``: the same as the command ``kerasortho``."""

import sys

from kerasortho.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
