"""Outputs for an autograded notebook: what a learner's process showed, cut to size and to known kinds."""

import re
from typing import Any

MIME_TYPES = ("text/plain", "text/html", "text/markdown", "text/latex", "image/png", "image/jpeg")
PER_CELL, PER_NOTEBOOK = 2**20, 4 * 2**20  # characters
MOST_OUTPUTS = 100
EACH = 100  # characters that an output takes in the notebook besides its own
CUT = "\n… the rest was cut: a cell may show 1 MB, a notebook 4 MB\n"


class Budget:
    """Characters of output that a notebook may still show."""

    def __init__(self, left: int = PER_NOTEBOOK):
        self._left = left

    def clean(self, shown: Any) -> list[dict[str, Any]]:
        """nbformat outputs from what the learner's process sent; whatever has another form is left out."""
        if type(shown) is not list:
            return []
        known = (_known(output) for output in shown[:MOST_OUTPUTS])
        return self.take([output for output in known if output is not None])

    def take(self, shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Outputs of one cell, as far as there is room: then one that is cut, then none."""
        taken, room = [], min(PER_CELL, self._left)
        for output in shown:
            size = EACH + _size(output)
            if size > room and (output["output_type"] == "display_data" or room <= EACH):
                continue
            if size > room:
                output = _cut(output, room - EACH)
                size = room
            room -= size
            self._left -= size
            taken.append(output)
        return taken


def error(kind: str, message: str, lines: list[str] | None = None) -> dict[str, Any]:
    """An error output. `lines` are what is shown; default the message."""
    return {"output_type": "error", "ename": kind, "evalue": message, "traceback": lines or message.splitlines()}


def stream(text: str) -> dict[str, Any]:
    """Text on stdout."""
    return {"output_type": "stream", "name": "stdout", "text": text}


def score(points: float) -> dict[str, Any]:
    """What nbgrader reads a test cell's points from: the cell's last value, a plain number."""
    data = {"text/plain": repr(float(points))}
    return {"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": None}


def _known(output: Any) -> dict[str, Any] | None:
    if type(output) is not dict:
        return None
    kind, name = output.get("output_type"), output.get("name")
    if type(kind) is not str:  # an array that is compared has no truth value
        return None
    if kind == "stream" and type(name) is str and name in ("stdout", "stderr") and type(output.get("text")) is str:
        return {"output_type": "stream", "name": name, "text": output["text"]}
    if kind == "display_data" and type(output.get("data")) is dict:
        data = {key: value for key, value in output["data"].items() if key in MIME_TYPES and type(value) is str}
        data = {key: value for key, value in data.items() if not key.startswith("image/") or _is_base64(value)}
        return {"output_type": "display_data", "data": data, "metadata": {}}
    if kind == "error" and all(type(output.get(name)) is str for name in ("ename", "evalue", "traceback")):
        return error(output["ename"][:100], output["evalue"][:2000], output["traceback"][:PER_CELL].splitlines())
    return None


def _is_base64(text: str) -> bool:
    # An image's text goes into an attribute of a page; it must not be able to end it.
    return re.fullmatch(r"[A-Za-z0-9+/=\s]*", text) is not None


def _size(output: dict[str, Any]) -> int:
    if output["output_type"] == "display_data":
        return sum(map(len, output["data"].values()))
    if output["output_type"] == "stream":
        return len(output["text"])
    return len(output["ename"]) + len(output["evalue"]) + sum(len(line) + 1 for line in output["traceback"])


def _cut(output: dict[str, Any], room: int) -> dict[str, Any]:
    if output["output_type"] == "stream":
        return output | {"text": output["text"][:room] + CUT}
    name, words = output["ename"][:room], output["evalue"][: max(0, room - len(output["ename"]))]
    room = max(0, room - len(name) - len(words))
    return output | {"ename": name, "evalue": words, "traceback": ["\n".join(output["traceback"])[:room] + CUT]}
