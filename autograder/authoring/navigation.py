"""The links between notebooks, at the head and the foot of each: previous, map, next.

Relative links work in JupyterLab and on Binder, in course/ and in solutions/ alike. Colab opens one notebook by its
address and knows no folder around it, so that it gets addresses of its own.
"""

import re

from autograder.authoring.edition import ENGLISH, Edition
from autograder.course import CourseError, Unit, find_units, repository, repository_slug

COLAB = "https://colab.research.google.com/github"
MAP = "README.md"  # in course/, and the folder's own page in solutions/
_TITLE = re.compile(r"^# # (.+)$", re.MULTILINE)


def links(unit: Unit, edition: Edition = ENGLISH) -> str:
    """The line of links of a unit's notebook, in Markdown."""
    units = find_units(unit.root)
    place = units.index(unit)
    before, after = units[place - 1 : place], units[place + 1 : place + 2]
    near = [f"[← {edition.say_title(title(one))}]({_relative(one)})" for one in before]
    near += [f"[{edition.say('Map of the course')}](../{MAP})"]
    near += [f"[{edition.say_title(title(one))} →]({_relative(one)})" for one in after]
    address = repository(unit.root)
    slug = repository_slug(unit.root)
    far = [f"[{edition.say('previous')}]({COLAB}/{slug}/blob/main/{_path(one, edition)})" for one in before]
    far += [f"[{edition.say('map')}]({address}/blob/main/{edition.folder}/{MAP})"]
    far += [f"[{edition.say('next')}]({COLAB}/{slug}/blob/main/{_path(one, edition)})" for one in after]
    return f"{' · '.join(near)} {edition.say('(on Colab: {links})').format(links=', '.join(far))}"


def title(unit: Unit) -> str:
    """What the master's first heading calls the unit, with its number.

    Raises:
        CourseError: it has no heading.
    """
    found = _TITLE.search(unit.master.read_text(encoding="utf-8"))
    if not found:
        raise CourseError(f"{unit.master} has no title: its first cell must begin with `# # 03 · Name`")
    return found[1].strip()


def _relative(unit: Unit) -> str:
    return f"../{unit.name}/{unit.release.name}"


def _path(unit: Unit, edition: Edition) -> str:
    return edition.release(unit).relative_to(unit.root).as_posix()
