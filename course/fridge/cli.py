"""The command `fridge`, for learners: `fridge progress` shows the points of all units."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit code: 0 fine, 2 wrong usage or nothing found."""
    from fridge import progress

    parser = argparse.ArgumentParser(prog="fridge", description="The course's command for learners.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    about = "Show the points of all units, from the notebooks as they were last run and saved."
    sub = commands.add_parser("progress", help=about, description=about)
    where = "where the notebooks are; default: here"
    sub.add_argument("folder", nargs="?", type=Path, default=Path(), metavar="FOLDER", help=where)
    options = parser.parse_args(arguments)
    try:
        print(progress.read(options.folder))
    except progress.NoNotebooks as error:
        print(f"fridge: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
