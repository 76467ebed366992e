"""The questions as they stand in `<unit>.toml`, checked when they are read.

A file has tables `[[question]]` with `ask`, `options` (3 or 4), `right` (the number of the right one, from 0) and
`because` (one or two sentences).
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
FEWEST, MOST = 3, 5  # questions of a unit
OPTIONS = (3, 4)
KEYS = {"ask": (str, "a text"), "options": (list, "a list"), "right": (int, "a number"), "because": (str, "a text")}


class BadQuestions(ValueError):
    """A unit has no questions, or a file of them is not in order. The message says what is wrong."""


@dataclass(frozen=True)
class Question:
    """One question with its options.

    Attributes:
        right: the right option's number, from 0.
        because: why it is right.
    """

    ask: str
    options: tuple[str, ...]
    right: int
    because: str


def read(unit: str, folder: Path = FOLDER) -> list[Question]:
    """A unit's questions.

    Raises:
        BadQuestions: there are none, or they are not in order.
    """
    path = folder / f"{unit}.toml"
    if not path.is_file():
        there = ", ".join(sorted(path.stem for path in folder.glob("*.toml"))) or "no unit"
        raise BadQuestions(f"there are no questions about {unit!r}; {there} has some")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("question", [])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadQuestions(f"{path.name} is no TOML: {error}") from None
    if findings := problems(tables):
        raise BadQuestions(f"{path.name}: {'; '.join(findings)}")
    return [Question(q["ask"], tuple(q["options"]), q["right"], q["because"]) for q in tables]


def problems(tables: list[dict[str, Any]]) -> list[str]:
    """What is wrong with a file's tables, each a few words; empty if nothing is."""
    found = [] if FEWEST <= len(tables) <= MOST else [f"{len(tables)} questions, not {FEWEST} to {MOST}"]
    for number, table in enumerate(tables, 1):
        found += [f"question {number}: {problem}" for problem in _problems(table)]
    return found


def _problems(table: dict[str, Any]) -> list[str]:
    wanted = [f"`{key}` must be {words}" for key, (kind, words) in KEYS.items() if type(table.get(key)) is not kind]
    if wanted or (strangers := sorted(set(table) - set(KEYS))):
        return wanted or [f"nobody reads `{strangers[0]}`"]
    options, found = table["options"], []
    if len(options) not in OPTIONS or not all(type(option) is str and option.strip() for option in options):
        found.append("3 or 4 options, each a text")
    elif len(set(options)) < len(options):
        found.append("two options are the same")
    if not 0 <= table["right"] < len(options):
        found.append(f"`right` is {table['right']}, and the options count from 0 to {len(options) - 1}")
    found += [f"`{key}` is empty" for key in ("ask", "because") if not table[key].strip()]
    return found
