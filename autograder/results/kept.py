"""What a stranger's text holds that is large, or isn't HTML: pictures and formulas, kept aside while it is rendered.

A picture's place is taken by a short address of the same form, a formula's by a number between two characters that
no text has. Both are put back when the HTML is clean.
"""

import re
from html import escape
from typing import Any
from urllib.parse import unquote

from autograder.results.formulas import mathml

_OPEN, _CLOSE = "\ue000", "\ue001"  # of Unicode's private use
_NO_TEXT = dict.fromkeys(map(ord, _OPEN + _CLOSE), "\ufffd")
_PICTURE = re.compile(r"(data:image/(?:png|jpeg|gif);base64,)([A-Za-z0-9+/=]{100,})")
_PICTURES_PLACE = re.compile(r";base64,kept(\d{1,6})kept(?![A-Za-z0-9+/=])")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")
# A tag, whatever stands in its attributes, or a formula's place.
_TAG_OR_FORMULA = re.compile(rf"""<(?:[^"'<>]|"[^"]*"|'[^']*')*>|{_OPEN}(\d+){_CLOSE}""")
_FORMULA = re.compile(rf"{_OPEN}(\d+){_CLOSE}")
_SHOWN = ("image/png", "image/jpeg", "image/gif")


class Kept:
    """The pictures and formulas of one cell or output.

    Args:
        attachments: the cell's, of whatever form a stranger gave them.
    """

    def __init__(self, attachments: Any = None):
        self._pictures: list[str] = []
        self._formulas: list[tuple[str, str]] = []
        self._attachments: dict[str, str] = {}  # name -> address of the picture's place
        for name, bundle in attachments.items() if isinstance(attachments, dict) else ():
            if isinstance(name, str) and isinstance(bundle, dict) and (address := self._attached(bundle)):
                self._attachments[name] = address

    @property
    def is_empty(self) -> bool:
        """Whether nothing is kept."""
        return not (self._pictures or self._formulas)

    def attachment(self, name: str) -> str | None:
        """The address of an attached picture; None if there is none, or none that can be shown."""
        return self._attachments.get(name) or self._attachments.get(unquote(name))

    def take_pictures(self, text: str) -> str:
        """The text with short addresses in the place of its pictures."""
        return _PICTURE.sub(lambda found: found[1] + self._keep(found[2]), text.translate(_NO_TEXT))

    def formula(self, tex: str, display: bool, written: str) -> str | None:
        """A formula's place in the text; None if it can't be read as a formula."""
        made = mathml(tex.strip(), display)
        if made is None:
            return None
        self._formulas.append((made, written))
        return f"{_OPEN}{len(self._formulas) - 1}{_CLOSE}"

    def put_formulas(self, html: str) -> str:
        """Clean HTML with its formulas; inside a tag, as in a picture's description, they are as they were written."""

        def put(found: re.Match[str]) -> str:
            if found[1] is not None:
                return self._formulas[int(found[1])][0]
            return _FORMULA.sub(lambda place: escape(self._formulas[int(place[1])][1]), found[0])

        return _TAG_OR_FORMULA.sub(put, html) if self._formulas else html

    def put_pictures(self, html: str) -> str:
        """Clean HTML with its pictures. Much more than once each is none of them: a page can't be blown up by one."""
        left = 2 * sum(map(len, self._pictures)) + 2**20

        def put(found: re.Match[str]) -> str:
            nonlocal left
            number = int(found[1])
            body = self._pictures[number] if number < len(self._pictures) else ""
            left -= len(body)
            return f";base64,{body}" if left >= 0 else ";base64,"

        return _PICTURES_PLACE.sub(put, html)

    def _keep(self, body: str) -> str:
        self._pictures.append(body)
        return f"kept{len(self._pictures) - 1}kept"

    def _attached(self, bundle: dict[Any, Any]) -> str | None:
        for mime in _SHOWN:
            body = bundle.get(mime)
            if isinstance(body, list) and all(isinstance(line, str) for line in body):
                body = "".join(body)
            if isinstance(body, str) and body and _BASE64.fullmatch(body):
                return f"data:{mime};base64,{self._keep(''.join(body.split()))}"
        return None
