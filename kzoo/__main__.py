"""Runs the command line: `python -m kzoo`."""

import kzoo.cli.rewriting_commands  # noqa: F401 adds its commands
import kzoo.cli.text_commands  # noqa: F401 adds its commands
from kzoo.cli.entry import main

if __name__ == "__main__":
    main()
