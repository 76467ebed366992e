"""Strangers' Markdown and HTML as safe HTML, for the pages of feedback and formgrader: nbconvert's filters.

nbgrader's pages show Markdown cells as they come, whatever `sanitize_html` says. Here nothing runs, loads or sends;
nothing that stands in a cell keeps a page from being made, or its maker busy: what can't be rendered is shown as text.
Formulas become MathML, so that a page shows them without a network.
"""

import os
import re
import resource
from functools import cache, lru_cache
from html import escape
from typing import Any

from bleach.css_sanitizer import CSSSanitizer
from bleach.html5lib_shim import Filter
from bleach.sanitizer import Cleaner
from jinja2 import pass_context
from pygments.token import STANDARD_TYPES

from autograder.isolation import namespaces
from autograder.isolation.children import in_child
from autograder.results.kept import Kept
from autograder.results.markdown import markdown_to_html

MOST = 500_000  # characters of a cell or an output, without its pictures
MOST_AT_ONCE, MOST_TAGS_AT_ONCE = 10_000, 150  # in this process: whatever they are, they take less than two seconds
MOST_SHOWN = 20_000  # characters of what is shown as text
MOST_MADE = 8 * MOST  # characters of HTML
SECONDS_FOR_ONE, SECONDS_FOR_PAGE = 5, 30  # of the processor
WAITED = 60  # by the clock, for the child that has SECONDS_FOR_ONE
MEMORY = 2**30  # bytes for that child
AS_TEXT = "This is shown as text: it is too large, or too odd, to be shown as it was meant."
NO_DESCRIPTION = "No description has been provided for this image"

_TAGS = frozenset(
    (
        *("a", "abbr", "b", "blockquote", "br", "caption", "code", "col", "colgroup", "dd", "del", "details"),
        *("div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "ins", "kbd", "li"),
        *("ol", "p", "pre", "s", "small", "span", "strong", "sub", "summary", "sup", "table", "tbody", "td"),
        *("tfoot", "th", "thead", "tr", "ul"),
    )
)
# No id: the formgrader finds a test's buttons by it, and a learner's element could pose as a test's. Of classes those
# of coloured code and of tables: what else a page's style sheets know could lie over the instructor's buttons.
_WORDS = frozenset(("title", "align", "alt", "open"))
_CLASSES = frozenset(
    ("highlight", "hl-ipython3", "hl-python", "dataframe", "anchor-link", *filter(None, STANDARD_TYPES.values()))
)
_SIZE = re.compile(r"\d{1,3}%?|[12]\d{3}")
_SPAN = re.compile(r"\d{1,2}")
_STYLE = re.compile(r"[a-z-]{1,30}|\d{1,3}(\.\d{1,3})?(px|pt|%)|\d{1,2}(\.\d{1,3})?(em|ex)|0")
# Nothing inside is shown outside of its own box, whatever size or place it has.
_BOX = '<div style="contain: layout paint; overflow: auto">'
_PICTURE = re.compile(r"data:image/(png|jpeg|gif);base64,[A-Za-z0-9+/=\s]*")
_STYLES = ("text-align", "vertical-align", "width", "height", "font-weight", "font-style")


class Safe(str):
    """HTML that has been cleaned, and holds formulas that a second cleaning would take for a stranger's tags."""

    __slots__ = ()


@pass_context
def safe_html(context: Any, html: str | bytes) -> Safe:
    """HTML without anything that runs, loads or sends: known tags and attributes, pictures that are in the page."""
    if isinstance(html, Safe):
        return html
    text = html.decode("utf-8", "replace") if isinstance(html, bytes) else str(html)
    return _page(context).show(text, Kept(), is_markdown=False)


@pass_context
def safe_markdown(context: Any, source: str) -> Safe:
    """Markdown as safe HTML, with the attachments of the cell that is shown."""
    kept = Kept(context.get("cell", {}).get("attachments"))
    return _page(context).show(str(source), kept, is_markdown=True)


def _page(context: Any) -> "_Page":
    return context.get("resources", {}).setdefault("markup", _Page())


class _Page:
    """One page, which has its share of the processor."""

    def __init__(self) -> None:
        self._left = SECONDS_FOR_PAGE

    def show(self, source: str, kept: Kept, is_markdown: bool) -> Safe:
        text = kept.take_pictures(source)
        if len(text) > MOST or self._left <= 0:
            return _as_text(text)
        began = _processor()
        try:
            if len(text) > MOST_AT_ONCE or text.count("<") > MOST_TAGS_AT_ONCE:
                made = in_child(lambda: _made_within_limits(text, kept, is_markdown), WAITED)
            elif kept.is_empty:
                made = _made_before(text, is_markdown)
            else:
                made = _made(text, kept, is_markdown)
        except Exception:  # whatever a stranger's text makes a renderer do
            return _as_text(text)
        finally:
            self._left -= _processor() - began
        return Safe(f"{_BOX}{kept.put_pictures(made)}</div>")


def _processor() -> float:
    return sum(os.times()[:4])  # seconds of this process and of its children


@lru_cache(maxsize=1024)
def _made_before(text: str, is_markdown: bool) -> str:
    """`_made` of what many pages have, as the handout's cells."""
    return _made(text, Kept(), is_markdown)


def _made_within_limits(text: str, kept: Kept, is_markdown: bool) -> str:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS_FOR_ONE, SECONDS_FOR_ONE))
    namespaces.limit_memory(MEMORY)
    return _made(text, kept, is_markdown)


def _made(text: str, kept: Kept, is_markdown: bool) -> str:
    html = markdown_to_html(text, kept) if is_markdown else text
    made = kept.put_formulas(_cleaner().clean(html))
    if len(made) > MOST_MADE:
        raise ValueError(f"{len(text)} characters became {len(made)}")
    return made


@cache
def _cleaner() -> Cleaner:
    return Cleaner(
        tags=_TAGS,
        attributes=_is_safe,
        protocols=("http", "https", "mailto", "data"),  # of a link; `_is_safe` knows which data
        filters=[_Described],
        css_sanitizer=CSSSanitizer(allowed_css_properties=_STYLES),
    )


def _is_safe(tag: str, name: str, value: str) -> bool:
    if name == "src":
        return tag == "img" and _PICTURE.fullmatch(value) is not None
    if name == "href":
        return tag == "a" and value.strip().lower().startswith(("http:", "https:", "mailto:", "#"))
    if name == "class":
        return _CLASSES.issuperset(value.split())
    if name == "style":  # whose properties the cleaner knows
        return all(_STYLE.fullmatch(one.partition(":")[2].strip()) for one in value.strip().rstrip(";").split(";"))
    if name in ("width", "height"):
        return _SIZE.fullmatch(value) is not None
    if name in ("colspan", "rowspan"):
        return _SPAN.fullmatch(value) is not None
    return name in _WORDS


class _Described(Filter):
    """Gives pictures a description where they have none, in nbconvert's words."""

    def __iter__(self):
        for token in super().__iter__():
            if token.get("name") == "img" and "data" in token:
                token["data"].setdefault((None, "alt"), NO_DESCRIPTION)
            yield token


def _as_text(text: str) -> Safe:
    cut = "\n…" if len(text) > MOST_SHOWN else ""
    return Safe(f"<p><em>{AS_TEXT}</em></p><pre>{escape(text[:MOST_SHOWN])}{cut}</pre>")
