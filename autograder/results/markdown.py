"""Markdown to HTML as nbconvert does it, but for what a stranger's cell may lack or have: pictures and formulas."""

import re
from html import escape, unescape

from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from autograder.results.kept import Kept

# In a block of HTML, where Markdown has no say, by the rule that money isn't a formula: no space inside the dollars.
_IN_HTML = re.compile(r"(?<![\\$])(\$\$?)(?=\S)([^$\n<>]+?)(?<=\S)\1(?![\d$])")
_ATTACHMENT = "attachment:"


def markdown_to_html(source: str, kept: Kept) -> str:
    """The HTML of Markdown, not clean yet, with places for the pictures and formulas that are kept."""
    return MarkdownWithMath(renderer=_Renderer(kept)).render(source)


class _Renderer(IPythonRenderer):
    def __init__(self, kept: Kept):
        super().__init__(escape=False)
        self._kept = kept

    def image(self, text: str, url: str, title: str | None = None) -> str:
        if not url.startswith(_ATTACHMENT):
            return super().image(text, url, title)
        name = url.removeprefix(_ATTACHMENT)
        if address := self._kept.attachment(name):
            return super().image(text, address, title)
        return f"<em>(The picture {escape(name)} is not in the notebook, or can't be shown.)</em>"

    def block_math(self, body: str) -> str:
        return self._formula(body, True, f"$${body}$$")

    def inline_math(self, body: str) -> str:
        return self._formula(body, False, f"${body}$")

    def latex_environment(self, name: str, body: str) -> str:
        whole = f"\\begin{{{name}}}{body}\\end{{{name}}}"
        return self._formula(whole, True, whole)

    def block_html(self, html: str) -> str:
        def formula(found: re.Match[str]) -> str:
            return self._kept.formula(unescape(found[2]), found[1] == "$$", found[0]) or found[0]

        return super().block_html(_IN_HTML.sub(formula, html))

    def _formula(self, tex: str, display: bool, written: str) -> str:
        return self._kept.formula(tex, display, written) or escape(written, quote=False)
