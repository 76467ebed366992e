"""Fingerprints of code: what stays of a text when the names that a learner chose, comments, texts and layout go.

Winnowing (Schleimer, Wilkerson, Aiken: Winnowing: local algorithms for document fingerprinting, SIGMOD 2003) over
Python's tokens. Nothing is executed, and whatever a stranger wrote takes time in proportion to its length.
"""

import builtins
import hashlib
import io
import keyword
import re
import tokenize
from collections.abc import Iterator
from typing import NamedTuple

GRAM = 12  # tokens in a fingerprint
WINDOW = 6  # one of so many neighbours is kept: any common part of GRAM + WINDOW - 1 tokens is found
LONGEST_LINE = 2_000  # characters; Python's tokenizer looks at the whole line again for each token in it

Fingerprint = int
_PYTHONS = frozenset(keyword.kwlist) | frozenset(dir(builtins))
_LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING)
# From Python 3.12 on, an f-string is several tokens.
_TEXTS = {tokenize.STRING, *(getattr(tokenize, name) for name in dir(tokenize) if name.startswith("FSTRING_"))}
_ROUGHLY = re.compile(r"[^\W\d]\w*|\d[\w.]*|\S")
_LINE_END = re.compile(r"\r\n|\r|\n")  # as Python counts lines; str.splitlines knows more of them


class Token(NamedTuple):
    """One token: Python's own words and library's attributes as they are, a learner's names and texts as one."""

    word: str
    start: int  # in the source, in characters
    end: int


def tokens(source: str) -> list[str]:
    """The words of `read`."""
    return [token.word for token in read(source)]


def read(source: str) -> list[Token]:
    """A cell's tokens, without comments, layout and docstrings."""
    if max(map(len, _LINE_END.split(source))) <= LONGEST_LINE:
        try:
            return _without_docstrings(list(_python(source)))
        except (tokenize.TokenError, SyntaxError, ValueError):  # no Python: a magic, an open quote, half a character
            pass
    return _without_docstrings(list(_roughly(source)))


def grams(words: list[str]) -> list[Fingerprint]:
    """The hash of every run of `GRAM` tokens; of a shorter cell, of all that it has."""
    runs = ["\0".join(words[start : start + GRAM]) for start in range(max(1, len(words) - GRAM + 1))] if words else []
    return [int.from_bytes(hashlib.blake2b(run.encode(errors="replace"), digest_size=8).digest()) for run in runs]


def winnowed(hashes: list[Fingerprint]) -> set[Fingerprint]:
    """Of each `WINDOW` neighbouring hashes, the smallest."""
    windows = range(max(1, len(hashes) - WINDOW + 1)) if hashes else ()
    return {min(hashes[start : start + WINDOW]) for start in windows}


def _python(source: str) -> Iterator[Token]:
    starts = [0, *(found.end() for found in _LINE_END.finditer(source))]
    before: list[str] = ["", ""]
    for token in tokenize.generate_tokens(io.StringIO(source, newline=None).readline):
        if token.type in _LAYOUT or not token.string:
            continue
        word = _normal(token.type, token.string, before)
        before = [before[1], word]
        yield Token(word, starts[token.start[0] - 1] + token.start[1], starts[token.end[0] - 1] + token.end[1])


def _roughly(source: str) -> Iterator[Token]:
    for found in _ROUGHLY.finditer(source):
        word = found[0]
        yield Token(word if word in _PYTHONS or not word[0].isalpha() else "name", found.start(), found.end())


def _normal(kind: int, word: str, before: list[str]) -> str:
    if kind in _TEXTS:
        return "text"
    if kind != tokenize.NAME or word in _PYTHONS:
        return word
    own_attribute = before == ["name", "."]  # self.keys as well as cache.keys; F.softmax is one, too
    return f"name:{word}" if before[1] == "." and not own_attribute else "name"


def _without_docstrings(found: list[Token]) -> list[Token]:
    # A text right behind a colon or another text, or at the start, says something and does nothing.
    befores = [":", *(token.word for token in found)]
    return [
        token
        for token, before in zip(found, befores, strict=False)
        if token.word != "text" or before not in (":", "text")
    ]
