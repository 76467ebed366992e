"""The website: what learners get, as pages, with no link that leads nowhere and nothing asked from elsewhere."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from mini_course import ROOT

from autograder.authoring.publish import leaks
from autograder.authoring.site import site
from autograder.cli import main
from autograder.course import CourseError, find_units

REPO = "school/fridge-2027"
HOSTS = {  # of the links into the learners' repository: host -> what stands before the file's path
    "github.com": rf"/{REPO}/(?:blob|tree)/main/",
    "colab.research.google.com": rf"/github/{REPO}/blob/main/",
    "mybinder.org": rf"/v2/gh/{REPO}/main\?urlpath=(?:lab/)?tree/",
}


class Page(HTMLParser):
    """What a page links to, loads and can be linked to by."""

    def __init__(self, path: Path):
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if "src" in found or tag == "link":
            self.loaded.append(found.get("src") or found.get("href", ""))


@pytest.fixture(scope="module")
def built(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real course as a website."""
    folder = tmp_path_factory.mktemp("site") / "course"
    site(root, folder, REPO)
    return folder


@pytest.fixture(scope="module")
def pages(built: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in built.rglob("index.html")}


def test_every_unit_has_a_page_and_every_page_is_reached(built, root, pages):
    for path in (path for unit in find_units(root) for path in (unit.release, *unit.translations)):
        page = pages[built / path.relative_to(root).with_suffix("") / "index.html"]
        assert {"colab.research.google.com", "mybinder.org"} <= {urlsplit(link).netloc for link in page.links}, path
    reached = {target(path, link) for path, page in pages.items() for link in page.links if not urlsplit(link).netloc}
    assert set(pages) - reached <= {built / "search" / "index.html"}
    for name in ("index.html", "figures/index.html", "course/README/index.html", "course/zh/README/index.html"):
        hosts = {urlsplit(link).netloc for link in pages[built / name].links}
        assert {"colab.research.google.com", "mybinder.org"} <= hosts, name


def test_no_link_leads_nowhere(built, pages):
    """Guards against a page that was renamed, a section's old name, and a file that the repository doesn't have."""
    broken, checked = [], 0
    for path, page in pages.items():
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if not link or parts.scheme in ("mailto", "data"):
                continue
            checked += 1
            if not parts.netloc:
                there = target(path, link)
                found = there.exists() and (
                    not parts.fragment or there.suffix != ".html" or in_page(pages, there, link)
                )
                broken += [] if found else [f"{path.relative_to(built)}: {link}"]
            elif REPO in link and "/issues" not in link:
                inside = re.match(
                    HOSTS[parts.netloc], f"{parts.path}{'?' if parts.query else ''}{unquote(parts.query)}"
                )
                whole = f"{parts.path}{'?' if parts.query else ''}{unquote(parts.query)}"
                at_all = whole.rstrip("/") == f"/{REPO}"
                if not at_all and not (inside and (ROOT / whole[inside.end() :]).exists()):
                    broken.append(f"{path.relative_to(built)}: {link}")
    assert not broken
    assert checked > 1000


def target(page: Path, link: str) -> Path:
    """The file that a link of a page leads to."""
    path = unquote(urlsplit(link).path)
    there = (page.parent / path).resolve() if path else page
    return there / "index.html" if there.is_dir() else there


def in_page(pages: dict[Path, Page], there: Path, link: str) -> bool:
    return unquote(urlsplit(link).fragment) in (pages[there] if there in pages else Page(there)).anchors


def test_no_page_needs_another_server(pages):
    """Guards against formulas, fonts and scripts from a host that a reader can't reach, or that counts readers."""
    assert not [load for page in pages.values() for load in page.loaded if urlsplit(load).netloc]


def test_no_solution_and_no_hidden_test(built, root):
    """Guards against what the publishing of notebooks guards against, and a figure's code."""
    assert leaks(built, find_units(root)) == []
    shown = "\n".join(re.sub("<[^>]+>", "", path.read_text()) for path in built.rglob("*.html"))
    for unit in find_units(root):
        master = unit.master.read_text()
        public = re.sub(r"### BEGIN .*?### END", "", master, flags=re.DOTALL)
        blocks = re.findall(r"### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END", master, re.DOTALL)
        secret = [line.strip() for block in blocks for line in block.splitlines() if len(line.strip()) > 40]
        assert not [line for line in secret if line not in public and line in shown], unit.name
    assert "raise NotImplementedError" in shown


def test_figures_are_those_of_the_executed_pairs(built, pages):
    page = (built / "figures" / "index.html").read_text()
    assert len(set(re.findall(r"_images/[\w-]+\.png", page))) > 30
    assert "04-paged-attention" in page


def test_a_folder_with_something_else_stays(root, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    monkeypatch.chdir(root)
    assert main(["publish", "--site", str(tmp_path)]) == 2
    assert "mine.txt" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_without_sphinx_a_sentence_says_what_to_install(root, tmp_path, monkeypatch):
    """Guards against a traceback for an instructor, whose environment has no Sphinx."""
    monkeypatch.setattr(sys, "executable", str(Path(sys.base_prefix) / "bin" / "python3"))
    with pytest.raises(CourseError, match=r"\[site\]"):
        site(root, tmp_path / "site")
    assert not (tmp_path / "site").exists()
