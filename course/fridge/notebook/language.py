"""The language in which the library speaks to a learner: English, or what `FRIDGE_LANG` says, as far as it has words.

Code speaks English, and what a learner reads is looked up when it is shown. `words.zh.json`, which `make course` makes
from the catalogs in locale/, has sentences, and patterns with places to fill: "{name}: not right yet.". What
fills a place is looked up, too; what isn't found stays English.
"""

import json
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

ENGLISH = "en"
WORDS = Path(__file__).with_name("words.json")  # words.zh.json, words.fr.json, …
LONGEST = 2_000  # characters of a line that is looked up
DEEPEST = 16  # patterns in places of patterns: a list of so many kinds
_PLACE = re.compile(r"\{[^{}]*\}")
# What fills some places isn't all words: what was expected, a value or an error of a learner's, and code.
EXPECTED, VALUES, CODE = "{expected}", ("{value}", "{error}"), ("{code}", "{function}", "{argument}")


_chosen: str | None = None
_more: Mapping[str, str] = {}


def choose(language: str, more: Mapping[str, str] | None = None) -> None:
    """Speak a language from now on, whatever `FRIDGE_LANG` says; `more` are words that the library hasn't."""
    global _chosen, _more
    _chosen, _more = language, more or {}
    _patterns.cache_clear()


def current() -> str:
    """The language that is spoken: "en", "zh" …; English where there are no words of another."""
    wanted = _chosen or os.environ.get("FRIDGE_LANG", "").partition("_")[0].lower()
    return wanted if wanted in languages() else ENGLISH


def said(text: str) -> str:
    """What the library says, in the learner's language, line by line."""
    if current() == ENGLISH:
        return text
    return "\n".join(_line(line, 0) for line in text.split("\n"))


@cache
def languages() -> tuple[str, ...]:
    """Those that there are words in, beside English."""
    return tuple(sorted(path.name.split(".")[1] for path in WORDS.parent.glob("words.*.json")))


def _line(line: str, depth: int, place: str = "") -> str:
    words = line.strip()
    if not words or len(words) > LONGEST or place in CODE:
        return line
    known = _words(current())
    found = _more.get(words) or known.get(words) or _by_pattern(words, depth, place)
    return line.replace(words, found, 1) if found else line


def _by_pattern(words: str, depth: int, place: str) -> str:
    if depth >= DEEPEST:
        return ""
    for parts, names, template in _patterns(current()):
        # Half of all values would fit `{what}: {part}`, and a learner's may fit `{one} of {two}`, too.
        own = {EXPECTED: "".join(parts)} | dict.fromkeys(VALUES, parts[0])
        if place in own and not any(map(str.isalpha, own[place])):
            continue
        if (found := _places(parts, words)) is not None:
            values = {name: _line(value, depth + 1, name) for name, value in zip(names, found, strict=True)}
            return _filled(template, values)
    return ""


def _places(parts: list[str], words: str) -> list[str] | None:
    # What stands between these parts. Each is taken where it stands first: a search that goes back, as a regular
    # expression's does, would take years for a line that a learner wrote for that.
    first, *inner, last = parts
    place, end = len(first), len(words) - len(last)
    if not words.startswith(first) or not words.endswith(last) or place > end:
        return None
    values = []
    for part in inner:
        found = words.find(part, place, end)
        if found < 0:
            return None
        values.append(words[place:found])
        place = found + len(part)
    return [*values, words[place:end]]


def _filled(template: str, values: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda place: values[place[0]], template)


@cache
def _words(language: str) -> dict[str, str]:
    return json.loads(WORDS.with_suffix(f".{language}.json").read_text(encoding="utf-8"))


@cache
def _patterns(language: str) -> list[tuple[list[str], list[str], str]]:
    """(what stands around its places, its places, what is said for it), in the order in which they are tried.

    First those that begin with words of their own, then lists, which have none, then the others; longer ones first.
    """
    found = []
    for english, other in (_words(language) | dict(_more)).items():
        parts, names = _PLACE.split(english), _PLACE.findall(english)
        is_one = any(parts) and all(parts[1:-1]) and len(set(names)) == len(names)
        if names and is_one and set(_PLACE.findall(other)) <= set(names):
            found.append((parts, names, other))
    found.sort(key=lambda one: (not one[0][0], any(map(str.isalpha, "".join(one[0]))), -len("".join(one[0]))))
    return found
