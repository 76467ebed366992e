"""What a command prints, on any terminal: GBK, Latin-1, Windows' code pages and ASCII lack letters that it uses."""

import os
import sys


def allow_any_letter() -> None:
    """Let stdout and stderr print `?` for a letter that the terminal lacks. The first line of each command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # none where there is no terminal, nor in a notebook
            stream.reconfigure(errors="replace")


def reader_has_gone() -> int:
    """End in silence where `fridge | head` has read enough; return the exit code. For a command's BrokenPipeError."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more at its end
    return 1
