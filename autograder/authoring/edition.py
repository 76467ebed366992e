"""The editions of a handout: the English one, which masters are written in, and translations of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autograder.course import Unit


def _as_it_is(text: str) -> str:
    return text


@dataclass(frozen=True)
class Edition:
    """How an edition calls things, and where its handouts lie.

    Attributes:
        language: "en", or as FRIDGE_LANG and course/ call it: "zh".
        say: an English message -> this edition's.
        say_title: a unit's English title -> this edition's.
    """

    language: str
    say: Callable[[str], str] = _as_it_is
    say_title: Callable[[str], str] = _as_it_is

    @property
    def folder(self) -> str:
        """Where its handouts and its map lie, from the course's root."""
        return "course" if self.language == "en" else f"course/{self.language}"

    @property
    def language_line(self) -> str:
        """What the set-up cell tells the library of the language; nothing in English."""
        return "" if self.language == "en" else f'os.environ.setdefault("FRIDGE_LANG", "{self.language}")\n'

    def release(self, unit: Unit) -> Path:
        """A unit's handout."""
        return unit.root / self.folder / unit.name / unit.release.name


ENGLISH = Edition("en")
