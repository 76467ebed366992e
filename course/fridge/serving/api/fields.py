"""A request's JSON, read field by field: each has a kind and bounds, and whatever is wrong names its field."""

import json
from collections.abc import Mapping
from typing import Any

from fridge.serving.api.refusal import Refused

LONGEST_SHOWN = 60  # letters of a wrong value in a message


def read(body: bytes) -> "Fields":
    """The body's JSON object.

    Raises:
        Refused: 400, it is no JSON or no object.
    """
    try:
        value = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # bytes that aren't UTF-8 are a ValueError, too
        raise Refused(400, f"the body isn't JSON: {_short(str(error))}") from error
    if not isinstance(value, dict):
        raise Refused(400, "the body is JSON, but no object")
    return Fields(value)


class Fields:
    """An object's fields. null counts as a field that isn't there.

    Args:
        inside: what its names begin with in messages, "options." say.
    """

    def __init__(self, values: Mapping[str, Any], inside: str = ""):
        self._values, self._inside = values, inside

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def any(self, name: str) -> Any:
        """Whatever stands there; None if nothing does."""
        return self._values.get(name)

    def whole(self, name: str, default: Any, least: int | None = None, most: int | None = None) -> Any:
        """A whole number within bounds."""
        value = self.any(name)
        if value is None:
            return default
        if not _is_whole(value):
            raise self.wrong(name, "a whole number")
        return self._within(name, int(value), least, most)

    def number(self, name: str, default: float, least: float, most: float | None = None) -> float:
        """A number within bounds."""
        value = self.any(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, "a number")
        try:
            return self._within(name, float(value), least, most)
        except OverflowError as error:
            raise self.wrong(name, "a number that fits") from error

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false."""
        value = self.any(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def text(self, name: str, default: str | None = None) -> str:
        """A string; required if there is no default."""
        value = self.any(name)
        if value is None and default is not None:
            return default
        return self.as_text(name, value)

    def inner(self, name: str) -> "Fields":
        """An object within this one; an empty one if there is none."""
        value = self.any(name)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return Fields(value or {}, f"{self._inside}{name}.")

    def objects(self, name: str) -> list["Fields"]:
        """The objects of a list, one at least; what is no object counts as an empty one."""
        values = self.any(name)
        if not isinstance(values, list) or not values:
            raise self.wrong(name, "a list of at least one object")
        return [
            Fields(value if isinstance(value, dict) else {}, f"{self._inside}{name}[{place}].")
            for place, value in enumerate(values)
        ]

    def as_text(self, name: str, value: Any) -> str:
        """The value, if it is text; a part of field `name`."""
        if not isinstance(value, str):
            raise self.wrong(name, "a string" if name in self else "there, and a string")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            name = self._inside + name
            raise Refused(400, f"{name} holds half a surrogate pair, which is no text", name) from error
        return value

    def neutral(self, **values: tuple[Any, ...]) -> None:
        """Refuse those that this server doesn't know, if they aren't of the given values, which change nothing."""
        for name, harmless in values.items():
            if name in self and self.any(name) not in harmless:
                raise Refused(
                    400, f"this server, which is for learning, doesn't know {self._inside}{name}", self._inside + name
                )

    def wrong(self, name: str, expected: str) -> Refused:
        """The refusal of a field's value."""
        name, value = self._inside + name, self.any(name)
        return Refused(400, f"{name} must be {expected}, not {_short(json.dumps(value))}", name)

    def _within(self, name: str, value: Any, least: Any, most: Any) -> Any:
        if (least is not None and not value >= least) or (most is not None and not value <= most):
            bounds = f"from {least} to {most}" if most is not None else f"{least} or more"
            raise self.wrong(name, bounds)
        return value


def _is_whole(value: Any) -> bool:
    # Some clients write 16.0 for 16.
    return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _no_number(written: str) -> None:
    raise ValueError(f"{written} is no number in JSON")
