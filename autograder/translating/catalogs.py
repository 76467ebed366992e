"""Catalogs of messages: a gettext PO file a unit and language, in locale/zh_CN/LC_MESSAGES/, by `babel`.

The masters stay English and single. When an English text changes, its translation stays under the new one and is marked
fuzzy until a translator has looked; what has no translation is shown in English.
"""

import datetime
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from nbformat import NotebookNode

from autograder.course import CATALOGS, CourseError
from autograder.translating.messages import Message, messages

LANGUAGES = {"zh": "zh_CN"}  # as FRIDGE_LANG and course/ call it -> as gettext does
WIDTH = 120
HEADER = "# `make course` brings this up to the masters: translate what is empty; where it says fuzzy, look at it."
# A drawing's words may be translated, and break elsewhere.
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# Of all times, not of now: a catalog changes with its messages alone.
_DATE = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
# Of a paragraph, what both sides must have alike.
_PARTS = {
    "code": re.compile(r"`[^`]+`"),
    "formula": re.compile(r"\$[^$]+\$"),
    "link": re.compile(r"\]\(([^)#]+)[^)]*\)"),  # a section of a translated page has a name of its own
    "tag": re.compile(r"</?[a-z][^>]*>"),
    "placeholder": re.compile(r"\{[^{}]*\}"),
    "number": re.compile(r"\d+(?:[.,]\d+)*"),
}


@dataclass(frozen=True)
class State:
    """How far a catalog is.

    Attributes:
        fuzzy: English messages that have changed since they were translated.
        untranslated: those without a translation.
        findings: what a translation lacks, or has and its message hasn't, in words.
    """

    messages: int
    fuzzy: list[str]
    untranslated: list[str]
    findings: list[str]

    @property
    def fine(self) -> bool:
        """All is translated, and nothing broken."""
        return not (self.fuzzy or self.untranslated or self.findings)


def languages(root: Path) -> list[str]:
    """Those that the course has catalogs of."""
    return [name for name, locale in LANGUAGES.items() if (root / CATALOGS / locale).is_dir()]


def path(root: Path, domain: str, language: str) -> Path:
    """Where a catalog lies; `domain` is a unit's name, or "course" for what all notebooks share."""
    return root / CATALOGS / LANGUAGES[language] / "LC_MESSAGES" / f"{domain}.po"


def read(file: Path, language: str) -> Catalog:
    """A catalog, empty if there is no file.

    Raises:
        CourseError: it can't be read.
    """
    if not file.exists():
        return _new(language)
    try:
        return read_po(io.BytesIO(file.read_bytes()), locale=LANGUAGES[language], abort_invalid=True)
    except Exception as error:
        raise CourseError(f"{file} can't be read as a catalog: {error}") from error


def updated(catalog: Catalog, found: list[Message], language: str) -> Catalog:
    """The catalog with just these messages, in this order; a changed one is fuzzy."""
    new = _new(language)
    for message in found:
        new.add(message.text, locations=[(message.cell, None)], auto_comments=[message.kind])
    kept = _new(language)
    for message in catalog:
        if message.id and message.string:
            kept.add(message.id, message.string, flags=message.flags)
    kept.update(new, no_fuzzy_matching=False)
    ordered = _new(language)
    for message in found:
        known = kept[message.text]
        ordered.add(
            message.text,
            known.string,
            locations=known.locations,
            flags=known.flags,
            auto_comments=known.auto_comments,
            previous_id=known.previous_id,
        )
    return ordered


def write(catalog: Catalog, file: Path) -> bool:
    """Write a catalog; whether that changed the file."""
    out = io.BytesIO()
    write_po(out, catalog, width=WIDTH, include_previous=True, include_lineno=False)
    if file.exists() and file.read_bytes() == out.getvalue():
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(out.getvalue())
    return True


def own_messages(notebook: NotebookNode) -> list[Message]:
    """A handout's messages, without those of the cells that all notebooks have."""
    own = NotebookNode(notebook | {"cells": [notebook.cells[1], *notebook.cells[3:-3]]})
    return [*{message.text: message for message in messages(own)}.values()]


def translator(catalog: Catalog) -> Callable[[str], str]:
    """What a message is shown as: its translation, unless that is missing or fuzzy."""

    def translate(text: str) -> str:
        message = catalog[text]
        return message.string if message is not None and message.string and not message.fuzzy else text

    return translate


def state(catalog: Catalog, glossary: dict[str, list[str]]) -> State:
    """How far a catalog is, and what is wrong with it."""
    there = [message for message in catalog if message.id]
    done = [message for message in there if message.string and not message.fuzzy]
    return State(
        messages=len(there),
        fuzzy=[message.id for message in there if message.fuzzy],
        untranslated=[message.id for message in there if not message.string],
        findings=[finding for message in done for finding in _findings(message.id, message.string, glossary)],
    )


def _findings(english: str, other: str, glossary: dict[str, list[str]]) -> list[str]:
    found = []
    english, other = _FENCED.sub("", english), _FENCED.sub("", other)
    short = next(iter(english.splitlines()), "")[:60]
    for kind, pattern in _PARTS.items():
        one, two = (sorted(" ".join(part.split()) for part in pattern.findall(text)) for text in (english, other))
        if one != two:
            missing = [part for part in one if part not in two] or [part for part in two if part not in one]
            found.append(
                f"{short!r}: not the same {kind} on both sides: {', '.join(missing) or 'another number of them'}"
            )
        if kind != "number":  # digits of code and links aren't numbers of the text
            english, other = pattern.sub(" ", english), pattern.sub(" ", other)
    for term, words in glossary.items():
        stays = term in other.lower()  # an argument's name, a paper's title
        if re.search(rf"\b{term}\b", english, re.IGNORECASE) and not stays and not any(word in other for word in words):
            found.append(f"{short!r}: the glossary calls {term!r} {' or '.join(words)}")
    return found


def _new(language: str) -> Catalog:
    return Catalog(
        locale=LANGUAGES[language],
        project="Elephant in the Fridge",
        version="1",
        header_comment=HEADER,
        creation_date=_DATE,
        revision_date=_DATE,
        last_translator="the course's authors",
        language_team="the course's authors",
        msgid_bugs_address="the course's repository",
        fuzzy=False,
    )
