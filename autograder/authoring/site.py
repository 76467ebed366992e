"""`autograder publish --site DIR`: the course as a website to read, by Sphinx from what learners get.

What it shows is the learners' repository, as `publish` makes it and looks it through, and the figures of the executed
pairs. Sphinx turns it into pages (myst-nb, sphinx-book-theme); a link that leads nowhere ends the build.
"""

import base64
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import nbformat

from autograder.authoring.made import MARKER, made, mark
from autograder.authoring.publish import make
from autograder.course import GITHUB, CourseError, Unit, find_units, repository_slug
from autograder.course import slug as slug_of
from autograder.translating.catalogs import languages
from fridge.notebook import syllabus

MAP = "course/README.md"
INDEX = "index.md"  # what README.md becomes
TAGS = {"set-up": "remove-cell"}  # a cell's tag -> what myst-nb does with such a cell
TESTS = "hide-input"  # they are long, and are read when they say something
CONTENTS = """
```{toctree}
:hidden:
course/README
figures
```

```{toctree}
:hidden:
:caption: Units
:glob:
course/[0-9]*/*
```
"""
OTHER = """
```{{toctree}}
:hidden:
:caption: {name}
:glob:
course/{language}/README
course/{language}/*/*
```
"""
NAMES = {"zh": "中文"}
BUTTONS = {"en": "Open the first notebook on {links}", "zh": "打开第一个 notebook：{links}"}
FIGURES = """# What you will measure

Each figure is drawn in a notebook of the course by the code that stands above it there, from what it measured; here
are those of the last run, on two processor cores. Yours will differ, and the shapes won't.
"""
_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")


def site(root: Path, folder: Path, repo: str | None = None) -> int:
    """Make `folder` the website; return the number of pages.

    Args:
        folder: as `publish`'s.
        repo: owner/name on GitHub, for the links and buttons; default pyproject.toml's.

    Raises:
        CourseError: Sphinx isn't installed, a page has an error, or as `publish` does.
    """
    slug = slug_of(repo) if repo else repository_slug(root)
    with made(root, folder) as tree:
        source = tree.with_name("source")
        make(root, source, repo)
        _shorten(source, slug, find_units(root))
        figures = _figures(find_units(root), source / "figures")
        index = (source / INDEX).read_text(encoding="utf-8")
        (source / "figures.md").write_text(_with_buttons(figures, index, "en"), encoding="utf-8")
        (source / "conf.py").write_text(
            _template("conf.py").replace("{repository}", f"{GITHUB}{slug}"), encoding="utf-8"
        )
        (source / "_static").mkdir()
        (source / "_static" / "site.css").write_text(_template("site.css"), encoding="utf-8")
        _sphinx(source, tree)
        (tree / ".nojekyll").touch()  # GitHub would leave out folders that begin with an underscore
        mark(tree)
        return len([*tree.rglob("*.html")])


def _shorten(source: Path, slug: str, units: list[Unit]) -> None:
    # Of the learners' repository, its pages alone; what they link to beyond that is on GitHub.
    (source / MARKER).unlink()
    (source / "README.md").rename(source / INDEX)
    maps = {"en": source / MAP} | {name: source / "course" / name / "README.md" for name in languages(units[0].root)}
    notebooks = [source / path.relative_to(unit.root) for unit in units for path in (unit.release, *unit.translations)]
    pages = [source / INDEX, *maps.values(), *notebooks]
    for page in pages:
        links = _Links(source, page, slug, set(pages))
        if page.suffix == ".md":
            page.write_text(links.mended(page.read_text(encoding="utf-8")), encoding="utf-8")
            continue
        notebook = nbformat.read(page, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = links.mended(cell.source)
                continue
            wanted = {TAGS[tag] for tag in cell.metadata.get("tags", []) if tag in TAGS}
            if cell.metadata.get("nbgrader", {}).get("grade"):
                wanted.add(TESTS)
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), *sorted(wanted)]
        nbformat.write(notebook, page)
    index = (source / INDEX).read_text(encoding="utf-8")
    contents = [CONTENTS, *(OTHER.format(name=NAMES[name], language=name) for name in maps if name != "en")]
    (source / INDEX).write_text(index + "".join(contents), encoding="utf-8")
    for language, page in maps.items():
        page.write_text(_with_buttons(page.read_text(encoding="utf-8"), index, language), encoding="utf-8")


def _with_buttons(page: str, index: str, language: str) -> str:
    # The first notebook's, as the badges of the README have them; notebooks have their own.
    links = [f"[{name}]({link})" for name, link in re.findall(r"\[!\[Open \w+ (\w+)\]\([^)]+\)\]\(([^)]+)\)", index)]
    if language != "en":
        links = [link.replace("/course/", f"/course/{language}/") for link in links]
    title, _, rest = page.partition("\n")
    return f"{title}\n\n{BUTTONS[language].format(links=' · '.join(links))}\n{rest}"


class _Links:
    def __init__(self, source: Path, page: Path, slug: str, pages: set[Path]):
        self._source, self._page, self._slug, self._pages = source, page, slug, pages

    def mended(self, text: str) -> str:
        """Links to files that are no pages lead to GitHub; pictures stay."""
        return _LINK.sub(self._mended, text)

    def _mended(self, link: re.Match[str]) -> str:
        target = (self._page.parent / link[1]).resolve()
        name = target.relative_to(self._source.resolve()).as_posix()
        if name == "README.md":
            target = self._source / INDEX
        if target.suffix in (".svg", ".png") or target in {page.resolve() for page in self._pages}:
            return link[0].replace("README.md", INDEX) if target.name == INDEX else link[0]
        kind = "tree" if target.is_dir() else "blob"
        return f"{GITHUB}{self._slug}/{kind}/main/{name}{link[2] or ''}"


def _figures(units: list[Unit], folder: Path) -> str:
    folder.mkdir()
    parts = [FIGURES]
    for unit in units:
        found = [*_drawn(unit)]
        if found:
            listed = syllabus.whole().get(unit.name, {})
            page = unit.release.relative_to(unit.root).as_posix()
            parts.append(f"## [{listed.get('title', unit.name)}]({page})\n")
        for number, (heading, png) in enumerate(found, 1):
            name = f"{unit.name}-{number}.png"
            (folder / name).write_bytes(png)
            parts.append(f"![{heading}](figures/{name})\n")
            parts.append(f"*{heading}*\n")
    return "\n".join(parts)


def _drawn(unit: Unit) -> Iterator[tuple[str, bytes]]:
    """(the heading above, picture) of each figure of a unit's executed pair."""
    if not unit.pair.is_file():
        return
    heading = ""
    for cell in nbformat.read(unit.pair, as_version=4).cells:
        if cell.cell_type == "markdown":
            heading = ([*re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)] or [heading])[-1]
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).get("image/png"):
                yield heading, base64.b64decode(png)


def _sphinx(source: Path, tree: Path) -> None:
    doctrees = tree.with_name("doctrees")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-b",
        "dirhtml",
        "-q",
        "-W",
        "--keep-going",
        "-d",
        doctrees,
        source,
        tree,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if "No module named sphinx" in done.stderr:
        raise CourseError("a website needs packages of an extra: pip install -c requirements.lock -e '.[site]'")
    if done.returncode:
        said = done.stderr.replace(f"{source}/", "").strip()
        raise CourseError(f"the site was not made; Sphinx says:\n{said}")
    shutil.rmtree(doctrees)
    for name in (".buildinfo", "objects.inv"):
        (tree / name).unlink(missing_ok=True)


def _template(name: str) -> str:
    return resources.files("autograder").joinpath("templates", "site", name).read_text(encoding="utf-8")
