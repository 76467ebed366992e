"""Server-sent events: text lines in a response that goes on, `data:` and an empty line for each event.

The format and how a client reads it: WHATWG's HTML standard, section 9.2, "Server-sent events".
"""

import json
import re
from typing import Any

TYPE = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"  # OpenAI's own way to say that nothing more will come

_END = re.compile(rb"\r\n|\n|\r")


def event(payload: Any) -> bytes:
    """A JSON value as an event. JSON has no line breaks but escaped ones, so one `data:` line holds it."""
    return b"data: " + json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


class SSEParser:
    """Reads events from bytes that come in pieces, cut anywhere. What a piece holds is looked at once."""

    def __init__(self) -> None:
        self._line = b""  # as far as it has come
        self._data: list[str] = []
        self._first, self._after_return = True, False

    def feed(self, data: bytes) -> list[str]:
        """The payloads of the events that are complete now: their data lines, joined by line feeds."""
        if not data:
            return []
        if self._after_return:
            data = data.removeprefix(b"\n")  # \r\n, cut in the middle, is one end of a line
        self._after_return = data.endswith(b"\r")
        payloads = []
        first, *more = _END.split(data)
        self._line += first
        for begun in more:
            payloads += self._end_of(self._line)
            self._line = begun
        return payloads

    def _end_of(self, line: bytes) -> list[str]:
        if self._first:
            line, self._first = line.removeprefix(b"\xef\xbb\xbf"), False  # a byte order mark
        if not line:
            payloads, self._data = ["\n".join(self._data)] if self._data else [], []
            return payloads
        field, _, value = line.decode("utf-8", errors="replace").partition(":")
        if field == "data":
            self._data.append(value.removeprefix(" "))
        return []
