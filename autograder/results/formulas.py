"""TeX formulas as MathML, which every browser shows without a script and without a network.

`latex2mathml` reads the TeX. What it makes of a stranger's formula isn't taken as it comes (it writes a `<` inside
`\\text` as it is, and links, and styles): names, attributes and lengths go through lists of what is known, and all text
is escaped when the tree is written.
"""

import re
from functools import lru_cache
from html import unescape
from xml.etree import ElementTree

from latex2mathml.converter import convert_to_element

LONGEST = 2_000  # characters of TeX
WIDEST = {"px": 300, "pt": 300, "mu": 360, "%": 100}  # of a length: a formula must not cover what isn't its own
WIDEST_OF_OTHERS = 20
_ELEMENTS = frozenset(
    (
        *("math", "menclose", "mfrac", "mi", "mmultiscripts", "mn", "mo", "mover", "mpadded", "mphantom"),
        *("mprescripts", "mroot", "mrow", "mspace", "msqrt", "mstyle", "msub", "msubsup", "msup", "mtable"),
        *("mtd", "mtext", "mtr", "munder", "munderover", "none"),
    )
)
_WORDS = frozenset(
    (
        *("accent", "accentunder", "align", "columnalign", "columnlines", "display", "displaystyle", "fence"),
        *("form", "frame", "largeop", "linebreak", "mathcolor", "mathvariant", "movablelimits", "notation"),
        *("numalign", "rowlines", "scriptlevel", "separator", "stretchy", "symmetric", "xmlns"),
    )
)
_LENGTHS = frozenset(
    (
        *("columnspacing", "depth", "height", "linethickness", "lspace", "mathsize", "maxsize", "minsize"),
        *("rowspacing", "rspace", "width"),
    )
)
_WORD = re.compile(r"[\w#+. :/-]{0,60}", re.ASCII)
_LENGTH = re.compile(r"[+-]?(\d{0,4}(?:\.\d{0,6})?)(em|ex|px|pt|mu|cm|mm|in|%)?", re.ASCII)


@lru_cache(maxsize=4096)
def mathml(tex: str, display: bool = False) -> str | None:
    """A formula as a `<math>` element; None if it can't be read as one.

    Args:
        tex: without the dollars around it.
        display: on a line of its own.
    """
    if len(tex) > LONGEST:
        return None
    try:
        tree = convert_to_element(tex, display="block" if display else "inline")
        _clean(tree)
        return ElementTree.tostring(tree, encoding="unicode")
    except Exception:  # it was written by a stranger, and the library has an error for each way to be wrong, and others
        return None


def _clean(tree: ElementTree.Element) -> None:
    """Keep what is known.

    Raises:
        ValueError: an unknown element.
    """
    for element in tree.iter():
        if element.tag not in _ELEMENTS:
            raise ValueError(element.tag)
        for name, value in list(element.attrib.items()):
            if not _is_known(name, value):
                del element.attrib[name]
        # The library's own symbols are written as character references.
        element.text = unescape(element.text) if element.text else None
        element.tail = unescape(element.tail) if element.tail else None


def _is_known(name: str, value: str) -> bool:
    if name in _LENGTHS:
        return all(_is_short(length) for length in value.split())
    return name in _WORDS and _WORD.fullmatch(value) is not None


def _is_short(length: str) -> bool:
    found = _LENGTH.fullmatch(length)
    return found is not None and float(f"0{found[1]}") <= WIDEST.get(found[2], WIDEST_OF_OTHERS)
