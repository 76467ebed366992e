"""`autograder lint --language zh`: how far a translation is, and what in it doesn't fit its English."""

import tomllib
from pathlib import Path

from autograder.course import CATALOGS, CourseError, find_units
from autograder.translating import catalogs
from autograder.translating.catalogs import LANGUAGES, State
from autograder.translating.handouts import COMMON

GLOSSARY = "glossary.toml"


def states(root: Path, language: str) -> dict[str, State]:
    """Catalog -> how far it is.

    Raises:
        CourseError: the course isn't translated into that language.
    """
    if language not in catalogs.languages(root):
        raise CourseError(f"there is no {root / CATALOGS / LANGUAGES.get(language, language)} to look at")
    terms = _glossary(root, language)
    domains = (COMMON, *(unit.name for unit in find_units(root)))
    found = {name: catalogs.read(catalogs.path(root, name, language), language) for name in domains}
    return {name: catalogs.state(catalog, terms) for name, catalog in found.items()}


def fuzzy(root: Path, language: str) -> list[str]:
    """A sentence for each message whose English has changed since it was translated."""
    return [
        f"{name}: fuzzy in {language}, and shown in English: {message.splitlines()[0][:80]}"
        for name, state in states(root, language).items()
        for message in state.fuzzy
    ]


def table(found: dict[str, State]) -> str:
    """Counts by catalog, and what is wrong, line by line."""
    lines = [f"{'catalog':<26}{'messages':>10}{'translated':>12}{'fuzzy':>8}{'broken':>8}"]
    for name, state in found.items():
        done = state.messages - len(state.fuzzy) - len(state.untranslated)
        lines.append(f"{name:<26}{state.messages:>10}{done:>12}{len(state.fuzzy):>8}{len(state.findings):>8}")
    for name, state in found.items():
        lines += [f"{name}: fuzzy: {message.splitlines()[0][:80]}" for message in state.fuzzy]
        lines += [f"{name}: not translated: {message.splitlines()[0][:80]}" for message in state.untranslated]
        lines += [f"{name}: {finding}" for finding in state.findings]
    return "\n".join(lines)


def _glossary(root: Path, language: str) -> dict[str, list[str]]:
    file = root / CATALOGS / LANGUAGES[language] / GLOSSARY
    return tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
