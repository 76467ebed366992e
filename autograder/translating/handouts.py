"""Handouts in other languages: the English handout, cell by cell, with a catalog's words; the same assignment."""

import json
import re
from functools import cache
from pathlib import Path

import nbformat
from babel.messages.catalog import Catalog

from autograder.authoring.edition import Edition
from autograder.authoring.navigation import title
from autograder.course import Unit, find_units
from autograder.notebooks import FORM_TITLE, header, read_master, template
from autograder.translating import catalogs, speech
from autograder.translating.messages import Message, messages, translated

COMMON = "course"  # the catalog of what all notebooks share
WORDS_JSON = Path("course/fridge/notebook/words.json")  # words.zh.json, by language
PAGES = ("README.md", "AGENTS.md")  # of course/; the first is the map
HEADER = (0, 2, -3, -2, -1)  # the cells that `header` gives

_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)[^)\s]+(?=\))")


def common_messages(root: Path) -> list[Message]:
    """What the cells say that all notebooks have, and the pages beside the notebooks."""
    form = template("setup.py").partition("\n")[0].removeprefix(FORM_TITLE)
    links = ("Map of the course", "previous", "map", "next", "(on Colab: {links})")
    texts = (template("badges.md").strip(), *links, form, template("hand_in.md").strip())
    found = [Message(text, "text", "header") for text in texts]
    for name in PAGES:
        if (root / "course" / name).exists():
            page = nbformat.v4.new_notebook(cells=[_page(root, name)])
            found += [Message(message.text, "text", name) for message in messages(page)]
    return [*{message.text: message for message in [*found, *speech.of_library()]}.values()]


def _page(root: Path, name: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell((root / "course" / name).read_text(encoding="utf-8"))


def edition(root: Path, language: str) -> Edition:
    """The edition of a language, by its catalogs."""
    shared = catalogs.translator(catalogs.read(catalogs.path(root, COMMON, language), language))

    @cache
    def titles() -> dict[str, str]:
        found = {}
        for unit in find_units(root):
            own = catalogs.translator(catalogs.read(catalogs.path(root, unit.name, language), language))
            found[title(unit)] = own(f"# {title(unit)}").removeprefix("# ")
        return found

    return Edition(language, shared, lambda english: titles().get(english, english))


def write_handout(unit: Unit, edition: Edition) -> Path:
    """Write a unit's handout of an edition beside the English one; return its path.

    Ids, metadata and code are the English handout's, which is what grading goes by.
    """
    notebook = nbformat.read(unit.release, as_version=4)
    say = catalogs.translator(catalogs.read(catalogs.path(unit.root, unit.name, edition.language), edition.language))
    for place, source in zip(HEADER, header(unit, edition), strict=True):
        notebook.cells[place].source = source
    own = range(3, len(notebook.cells) - 3)
    for cell in (notebook.cells[place] for place in (1, *own)):
        cell.source = translated(cell, say)
    notebook.metadata["fridge"] = {"language": edition.language}
    path = edition.release(unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    return path


def write_pages(root: Path, edition: Edition) -> list[Path]:
    """Write the pages of course/ beside an edition's handouts; return their paths."""
    written = []
    for name in PAGES:
        if (root / "course" / name).exists():
            path = root / edition.folder / name
            text = translated(_page(root, name), edition.say)
            path.write_text(_LINK.sub(lambda link, here=path.parent: _nearer(link[0], here), text), encoding="utf-8")
            written.append(path)
    return written


def _nearer(target: str, here: Path) -> str:
    # What has no translation lies where the English page has it. (Of the pages, one is written before the other.)
    file = target.partition("#")[0]
    is_here = file in PAGES or (here / file).exists()
    return target if is_here or not (here.parent / file).exists() else f"../{target}"


def write_words(root: Path, language: str) -> Path:
    """Write what the library and the visible tests say, for learners; return the path."""
    shown = {message.text for message in speech.of_library()}
    words = _spoken(catalogs.read(catalogs.path(root, COMMON, language), language), shown)
    for unit in find_units(root):
        words |= words_of(unit, language, speech.visible(read_master(unit)))
    path = root / WORDS_JSON.with_suffix(f".{language}.json")
    path.write_text(json.dumps(words, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def words_of(unit: Unit, language: str, these: set[str] | None = None) -> dict[str, str]:
    """What a unit's tests say, English -> translated; hidden ones too, unless `these` says which."""
    catalog = catalogs.read(catalogs.path(unit.root, unit.name, language), language)
    if these is None:
        these = {message.text for message in speech.of_tests(read_master(unit))}
    return _spoken(catalog, these)


def _spoken(catalog: Catalog, these: set[str]) -> dict[str, str]:
    say = catalogs.translator(catalog)
    return {text: say(text) for text in sorted(these) if say(text) != text}


def update_catalogs(root: Path, language: str) -> list[Path]:
    """Bring all catalogs up to the handouts; return those that changed."""
    wanted = {COMMON: common_messages(root)}
    for unit in find_units(root):
        own = catalogs.own_messages(nbformat.read(unit.release, as_version=4))
        wanted[unit.name] = [*{one.text: one for one in [*own, *speech.of_tests(read_master(unit))]}.values()]
    changed = []
    for domain, found in wanted.items():
        file = catalogs.path(root, domain, language)
        if catalogs.write(catalogs.updated(catalogs.read(file, language), found, language), file):
            changed.append(file)
    return changed
