"""The one way out for what is printed: names and files are strangers' words, and a terminal obeys some of them.

A line break in a name forges a line of a summary, an escape sequence moves the cursor, a bidirectional control turns
words around. Here they are shown as what they are.
"""

import sys
import unicodedata
from collections.abc import Iterable
from typing import TextIO

LONGEST = 300
_JOINERS = "\u200c\u200d"  # parts of words in Persian and in India's scripts, without a power over a line
_CONTROLS = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def shown(text: object, longest: int = LONGEST) -> str:
    """One line for people: controls, line breaks and bidirectional signs as \\x1b or \\u202e, the middle cut out."""
    words = str(text)
    if len(words) > longest:
        half = longest // 2
        words = f"{words[:half]}…{words[-half:]}"
    return "".join(_escaped(letter) for letter in words)


def say(lines: Iterable[str] | str, file: TextIO | None = None) -> None:
    """Print lines, each of them shown, with `?` for a letter that the terminal lacks."""
    out = file or sys.stdout
    encoding = getattr(out, "encoding", None) or "utf-8"
    for line in [lines] if isinstance(lines, str) else lines:
        print(shown(line, 4000).encode(encoding, "replace").decode(encoding), file=out)


def _escaped(letter: str) -> str:
    if letter.isascii() and letter.isprintable():
        return letter
    if unicodedata.category(letter) not in _CONTROLS or letter in _JOINERS:
        return letter
    return letter.encode("ascii", "backslashreplace").decode("ascii") if ord(letter) > 0x7F else f"\\x{ord(letter):02x}"
