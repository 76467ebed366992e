"""What a page shows of strangers' Markdown and HTML: everything safe, nothing lost that could be shown, no end."""

import time

import pytest
from bleach import html5lib_shim  # noqa: F401 - whose parser lies beside it
from bleach._vendor import html5lib

from autograder.results import markup
from autograder.results.formulas import mathml

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)
MISSING = "is not in the notebook"


def markdown(source: str, attachments: object = None, resources: dict | None = None) -> str:
    cell = {} if attachments is None else {"attachments": attachments}
    return markup.safe_markdown({"cell": cell, "resources": {} if resources is None else resources}, source)


def html(source: str | bytes) -> str:
    return markup.safe_html({"resources": {}}, source)


# --- pictures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attachments",
    [
        None,
        {},
        [1],
        "image.png",
        {"image.png": None},
        {"image.png": []},
        {"image.png": {}},
        {"image.png": {"image/png": 3}},
        {"image.png": {"image/png": "not base64!"}},
        {"image.png": {"image/png": '"><script>alert(1)</script>'}},
        {"image.png": {"image/svg+xml": PIXEL}},
        {"another.png": {"image/png": PIXEL}},
        {3: {"image/png": PIXEL}},
    ],
    ids=repr,
)
def test_a_picture_that_is_not_there_is_named(attachments):
    """Guards against a page that isn't made: nbconvert raises, the feedback fails and formgrader answers 500."""
    page = markdown("My sketch:\n\n![image.png](attachment:image.png)", attachments)
    assert "My sketch" in page
    assert MISSING in page
    assert "<img" not in page


@pytest.mark.parametrize(
    ("name", "address"), [("a.png", "a.png"), ("a b.png", "a%20b.png"), ("图.png", "%E5%9B%BE.png")], ids=str
)
@pytest.mark.parametrize("body", [PIXEL, [PIXEL[:20], PIXEL[20:]], PIXEL[:20] + "\n" + PIXEL[20:]], ids=str)
def test_an_attached_picture_is_shown(name, address, body):
    """Guards against pictures that Jupyter shows and the page doesn't: names with spaces, base64 in lines."""
    assert f'src="data:image/png;base64,{PIXEL}"' in markdown(
        f"![x](attachment:{address})", {name: {"image/png": body}}
    )


def test_pictures_in_the_text_are_kept_and_cost_nothing():
    """Guards against Colab's screenshots, megabytes in the text of a cell, that are parsed like text."""
    large = PIXEL[:-28] + "A" * 6_000_000
    started = time.process_time()
    page = markdown(f'![x](data:image/png;base64,{large}) <img src="data:image/jpeg;base64,{large}">')
    assert time.process_time() - started < 2
    assert page.count(large) == 2
    assert page.count("alt=") == 2


def test_one_picture_cannot_blow_up_a_page():
    """Guards against a file of 1 MB that becomes a page of gigabytes."""
    page = markdown("![x](attachment:a.png)\n" * 300, {"a.png": {"image/png": "A" * 1_000_000}})
    assert len(page) < 4_000_000


# --- formulas ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "$x^2$",
        "$$\n\\frac{a}{b}\n$$",
        "\\begin{align}\na &= b \\\\\nc &= d\n\\end{align}",
        "\\\\(x\\\\)",
        "<details><summary>Hint</summary>As $x_1 &lt; 2$ says.</details>",
    ],
)
def test_formulas_become_mathml(source):
    """Guards against formulas that need a script from another machine."""
    assert "<math" in markdown(source)


@pytest.mark.parametrize(
    "source", ["`$x$`", "\\$5 and \\$6", "$x", "$$ a", "<pre>\n$HOME and $PATH\n</pre>", "$\\left($"]
)
def test_what_is_no_formula_stays_text(source):
    """Guards against prices, shell variables and halves of a formula that disappear."""
    page = markdown(source)
    assert "<math" not in page
    assert "$" in page


@pytest.mark.parametrize(
    "tex",
    [
        "\\text{<script>alert(1)</script>}",
        "\\text{<img src=x onerror=alert(1)>}",
        "\\href{javascript:alert(1)}{x}",
        "\\style{position:fixed}{x}",
        "\\class{btn}{x}",
        "\\text{&lt;script&gt;alert(1)&lt;/script&gt;}",
        "\\text{&#60;script&#62;alert(1)}",
        "\\unicode{<img src=x onerror=alert(1)>}",
        '\\color{red" onclick="alert(1)}{x}',
        "\\text{]]><script>alert(1)</script><!--}",
    ],
)
def test_a_formula_is_no_way_for_scripts(tex):
    """Guards against the library, which writes a `<` in a text as it is, and links and styles."""
    page = markdown(f"${tex}$").removeprefix(markup._BOX) + (mathml(tex) or "")
    for danger in ("<script", "<img", 'javascript:alert(1)"', "href=", "style=", 'class="btn', ' onclick="'):
        assert danger not in page, page


@pytest.mark.parametrize(
    "tex",
    [
        *("\\hspace{9999em}x", "\\hspace{-9999em}x", "\\rule{500em}{500em}", "\\hspace{1e9em}x"),
        *("\\hspace{-9999px}x", "\\hspace{9999pt}x", "\\hspace{-500%}x", "\\rule{9999px}{500pt}"),
    ],
)
def test_a_formula_does_not_cover_the_page(tex):
    """Guards against a learner's box over the instructor's buttons."""
    assert "999" not in (mathml(tex) or "")
    assert "500" not in (mathml(tex) or "")
    assert "1e9" not in (mathml(tex) or "")


def test_a_formula_in_a_description_stays_inside_its_attribute():
    """Guards against MathML, with quotes of its own, inside an attribute."""
    page = markdown(f'![$x^2$ "a" > b](data:image/png;base64,{PIXEL} "$y$ \' > z")')
    assert page.count("<math") == 0
    assert 'alt="$x^2$' in page


def test_places_cannot_be_forged():
    """Guards against a text that names another formula's or picture's place."""
    page = markdown("\ue0000\ue001 \ue00099\ue001 $x$ data:image/png;base64,kept0kept data:image/png;base64,kept99kept")
    assert page.count("<math") == 1
    assert "\ue000" not in page


# --- the instructor's buttons --------------------------------------------------------------------------------------

COVERS = {
    "bootstrap's bar": '<div class="navbar navbar-fixed-top">x</div>',
    "a button's class among harmless ones": '<span class="highlight full-credit k">x</span>',
    "a dialog's": '<div class="modal-backdrop in">x</div>',
    "a class of nbgrader's": '<div class="nbgrader_cell"><b class="score">x</b><p class="help">x</p></div>',
    "a place": '<div style="position: fixed; top: 0">x</div>',
    "a place behind a comment": '<div style="width:1px;/**/position:/**/fixed;top:0">x</div>',
    "sizes by style": '<div style="width: 9999px; height: 900em">x</div>',
    "sizes that are calculated": '<div style="width: calc(100px * 100)">x</div>',
    "sizes of the window": '<div style="width: 100vw; height: 100vh">x</div>',
    "margins": '<div style="margin: -900px; padding: 900px">x</div>',
    "sizes by attribute": '<table width="99999" height="1e9"><tr><td colspan="1000" rowspan="65534">x</table>',
    "a picture's size": f'<img width="99999" src="data:image/png;base64,{PIXEL}">',
}
COVERING = ("navbar", "credit", "modal", "nbgrader", "score", "help", "position", "999", "900", "calc", "vw", "margin")


@pytest.mark.parametrize("source", COVERS.values(), ids=list(COVERS))
@pytest.mark.parametrize("show", [markdown, html], ids=["markdown", "html"])
def test_nothing_lies_over_the_instructors_buttons(show, source):
    """Guards against a learner's box in the place of a button, and a copy of a button that a script finds."""
    page = show(source)
    for word in (*COVERING, "65534"):
        assert word not in page.removeprefix(markup._BOX), page
    assert page.startswith(markup._BOX)


def test_a_box_cannot_be_left():
    """Guards against ends of the box in a learner's text: what follows them would be shown outside of it."""
    for source in (
        "</div></div></div><p>x",
        "<div>x",
        "x</body></html><div",
        "<!-- </div>",
        "</details></table></div>x",
    ):
        for page in (markdown(source), html(source)):
            assert page.count("<div") == page.count("</div>")
            depths = [page[:end].count("<div") - page[:end].count("</div>") for end in range(len(page))]
            assert min(depths[len(markup._BOX) :]) > 0


def test_the_handouts_own_looks_stay():
    """Guards against tables and code that lose their look."""
    page = html(
        '<table class="dataframe"><tr style="text-align: right;"><td style=\'text-align:left\' colspan="2">x</td></tr>'
        '<tr><td width="50%" style="width: 12.5em; vertical-align: top">y</td></tr></table>'
    )
    for part in ('class="dataframe"', "text-align: right", 'colspan="2"', 'width="50%"', "width: 12.5em"):
        assert part in page
    assert '<span class="n">' in markdown("```python\nx = 1\n```")
    assert 'class="anchor-link"' in markdown("# A heading"), "its sign is hidden until somebody points at it"


# --- limits ------------------------------------------------------------------------------------------------------

BOMBS = {
    "formatting tags in paragraphs": "<p><b class=x>" * 8_000,
    "different formatting tags": "".join(f"<p><b title={i}>" for i in range(5_000)),
    "attributes": "<b " + " ".join(f"a{i}=1" for i in range(60_000)) + ">",
    "nested elements": "<div>" * 60_000,
    "nested tables": "<table><td>" * 30_000,
    "environments without ends": "\\begin{a}" * 50_000,
    "formulas without ends": "\\\\(" * 100_000,
    "brackets": "[" * 300_000,
    "emphasis": "*a **b _c " * 30_000,
    "quotes": "> " * 150_000,
    "a table of half a million cells": "|a" * 250_000 + "\n" + "|-" * 250_000 + "\n",
    "formulas": "$\\frac{a}{b}$ " * 30_000,
    "a long text": "word " * 400_000,
    "half a character": "\ud800 $x$",
    "zero bytes": "\0" * 1000 + "<b>x",
    "deep formulas": "$" + "{" * 900 + "}" * 900 + "$",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=list(BOMBS))
@pytest.mark.parametrize("show", [markdown, html], ids=["markdown", "html"])
def test_nothing_keeps_a_page_from_being_made(show, bomb, monkeypatch):
    """Guards against text that keeps a page's maker busy for minutes, takes its memory, or ends it."""
    monkeypatch.setattr(markup, "SECONDS_FOR_ONE", 1)
    started = markup._processor()
    page = show(bomb)
    assert page
    assert len(page) < 2 * markup.MOST_MADE
    assert markup._processor() - started < markup.SECONDS_FOR_ONE + 3


@pytest.mark.parametrize("length", [markup.MOST_AT_ONCE, 2_000])
def test_what_is_rendered_without_a_child_is_quick(length):
    """Guards against a bound for this process that lets something slow through."""
    for bomb in BOMBS.values():
        text = bomb[:length]
        if text.count("<") <= markup.MOST_TAGS_AT_ONCE:
            started = time.process_time()
            markdown(text)
            html(text)
            assert time.process_time() - started < 4, bomb[:20]


def test_a_page_has_only_so_much_time(monkeypatch):
    """Guards against two thousand cells of which each takes seconds."""
    monkeypatch.setattr(markup, "SECONDS_FOR_PAGE", 0.01)
    resources: dict = {}
    pages = [markdown(f"*{number}* " * 3000, None, resources) for number in range(5)]
    assert markup.AS_TEXT not in pages[0]
    assert markup.AS_TEXT in pages[-1]


def test_a_renderer_that_raises_shows_the_text(monkeypatch):
    """Guards against whatever a library does with a stranger's text."""

    def fail(*_: object) -> str:
        raise RuntimeError("a fault of the library's")

    monkeypatch.setattr(markup, "markdown_to_html", fail)
    assert "a &lt;b&gt; text" in markdown("a <b> text of one of a kind")


def test_clean_markdown_passes_a_second_cleaning():
    """Guards against the template of an output, which cleans what the Markdown filter has cleaned."""
    once = markdown("$x$")
    assert markup.safe_html({"resources": {}}, once) == once


def test_what_may_stay_stays():
    """Guards against a cleaner that takes away what a reader should see."""
    page = markdown("**bold** [a](https://a.org) <kbd>x</kbd>\n\n|a|b|\n|-|-|\n|1|2|\n\n```python\nx = 1\n```")
    for part in ("<strong>", 'href="https://a.org"', "<kbd>", "<td>", 'class="highlight"'):
        assert part in page
    assert html(b"<table><tr><td>\xff</td></tr></table>").count("<td>") == 1


# Texts that are harmless as they are written and aren't when a browser reads what a cleaner made of them: elements
# whose content is text for one reader and tags for the other, other namespaces, tables that throw out what is in them.
READ_ANEW = [
    '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">',
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    '<svg></p><style><a id="</style><img src=1 onerror=alert(1)>">',
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    '<xmp><p title="</xmp><img src=x onerror=alert(1)>">',
    '<textarea><img title="</textarea><img src=x onerror=alert(1)>"></textarea>',
    "<template><s><template><s><img src=x onerror=alert(1)>@s</template></s></template>",
    '<math><annotation-xml encoding="text/html"><img src=x onerror=alert(1)></annotation-xml></math>',
    "<p><svg><foreignObject><p></svg><img src=x onerror=alert(1)>",
    "<!--a--!><img src=x onerror=alert(1)>--> <![CDATA[<img src=x onerror=alert(1)>]]>",
    "<i title='a\"$x$\"b'>t</i> $a$ <i title=\"a'$\\text{<img src=x onerror=alert(1)>}$'b\">u</i>",
    '$x$ &#xE000;0&#xE001; <i title="&#xE000;0&#xE001;"> $&#xE000;9&#xE001;$ ;base64,kept0kept" onload=alert(1)',
    "</table></td></tr></details></ul></div></div><div>out</div>",
]


@pytest.mark.parametrize("around", ["{}", "| a |\n|---|\n| {}", "<table><tr><td>{}", "> - {}", "<div>\n\n{}"])
@pytest.mark.parametrize("show", [markdown, html])
def test_what_was_cleaned_is_as_clean_when_it_is_read_again(show, around):
    """Guards against scripts that arise between two readers, and against a box that the second one closes earlier."""
    for source in [*READ_ANEW, "\n\n".join(READ_ANEW)]:
        page = f'<div id="page">{show(around.format(source))}</div>'
        inside = html5lib.parse(page, namespaceHTMLElements=False).find(".//div[@id='page']")
        assert len(inside) == 1, source
        for element in list(inside.iter())[1:]:
            name = str(element.tag).rpartition("}")[2]
            assert name in markup._TAGS or name in ("math", "mrow", "mi", "mo", "mn", "mtext", "mspace"), (name, source)
            names = {str(key).rpartition("}")[2] for key in element.attrib}
            assert names <= {"alt", "display", "src", "style", "title", "xmlns"}, (names, source)
