"""Runs the command line: `python -m kzoo`."""

import kzoo.cli_rewrites  # noqa: F401 adds its commands
import kzoo.cli_text  # noqa: F401 adds its commands
from kzoo.cli import main

if __name__ == "__main__":
    main()
