"""Runs the command line: `python -m kzoo`."""

from kzoo.cli.commands import main

if __name__ == "__main__":
    main()
