"""Units and exercises with titles and points: `units.json`, which `make course` makes from the masters."""

import json
from functools import cache
from pathlib import Path
from typing import Any

UNITS = Path(__file__).with_name("units.json")


def units() -> dict[str, dict[str, float]]:
    """Unit -> exercise -> points, in the order of the course."""
    return {
        name: {exercise: listed["points"] for exercise, listed in unit["exercises"].items()}
        for name, unit in whole().items()
    }


@cache
def whole() -> dict[str, dict[str, Any]]:
    """Unit -> its title, its notebook's path and its exercises: all of `units.json`, in the order of the course."""
    return json.loads(UNITS.read_text(encoding="utf-8")) if UNITS.exists() else {}


def exercise(name: str) -> dict[str, Any]:
    """What `units.json` says of an exercise: its points, title and more; nothing of one that no unit lists (yet)."""
    found = (unit["exercises"] for unit in whole().values())
    return next((exercises[name] for exercises in found if name in exercises), {})


def points(name: str) -> float:
    """Points of an exercise, 0 for one that no unit lists (yet)."""
    return next((listed[name] for listed in units().values() if name in listed), 0)


def title(name: str) -> str:
    """An exercise as its heading names it ("2 · Memory"); its bare name if no unit lists it (yet)."""
    return exercise(name).get("title", name)


def notebook(name: str) -> str:
    """What the notebook of an exercise's unit is called, "kv_cache.ipynb"; empty if no unit lists the exercise."""
    found = (unit["notebook"] for unit in whole().values() if name in unit["exercises"] and "notebook" in unit)
    return Path(next(found, "")).name


def looks_at(name: str) -> str:
    """The kinds of cases that an exercise's hidden tests look at: "an empty reply; one token"."""
    return "; ".join(exercise(name).get("looks_at", []))


def because(name: str) -> str:
    """One sentence on why an exercise's answer is right."""
    return exercise(name).get("because", "")
