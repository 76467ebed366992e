"""Whose file is it: names' readings against the class, by number or login first, by name where nothing else is known.

A doubt costs the learner whom it concerns a look by a person, and nobody else anything: two learners of one name, one
name under two numbers, a blind number that no list explains.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from autograder.collecting.lms import Form, Label
from autograder.collecting.roster import OF_ONE_ASSIGNMENT, Roster, plain
from autograder.printing import shown
from autograder.submissions.ids import is_id

PARTICIPANT = "participant"
NUMBERS_OF = {Form.CANVAS: ("canvas_id", "lms_user_id"), Form.MOODLE: (OF_ONE_ASSIGNMENT,)}


@dataclass(frozen=True)
class Owner:
    """Whose file it is, or why nobody can tell.

    Attributes:
        id: the learner's; empty if unknown.
        label: the reading of the name that this follows.
        doubt: why it is held back, as a sentence's end; empty if `id` is sure or nobody of the class is meant.
        perhaps: the learners who may be meant then.
    """

    id: str
    label: Label
    doubt: str = ""
    perhaps: frozenset[str] = frozenset()


def owners(readings: Sequence[Sequence[Label]], roster: Roster) -> list[Owner]:
    """For each file, of whose name these are the readings, its owner."""
    blind, numbers_count = _blind_name(readings), _numbers_count(readings, roster)
    found = []
    for labels in readings:
        is_blind = labels[0].form is not Form.PLAIN and plain(labels[0].who) in ("", blind)
        found.append(_owner(labels, roster, numbers_count[labels[0].form], is_blind))
    return _one_number_a_name(found)


def _blind_name(readings: Sequence[Sequence[Label]]) -> str:
    # Moodle calls each learner "Participant" then, in its own language: one name under several numbers.
    of_moodle = [labels[0] for labels in readings if labels[0].form is Form.MOODLE]
    names, numbers = {plain(label.who) for label in of_moodle}, {label.number for label in of_moodle}
    return next(iter(names)) if len(names) == 1 and len(numbers) > 1 else PARTICIPANT


def _numbers_count(readings: Sequence[Sequence[Label]], roster: Roster) -> dict[Form, bool]:
    # A list's numbers can be another system's. They tell learners apart only if one of them is in the archive.
    known = defaultdict(bool)
    for labels in readings:
        for label in labels:
            known[label.form] |= bool(roster.by_number(label.number, *NUMBERS_OF.get(label.form, ())))
    return known


def _owner(labels: Sequence[Label], roster: Roster, numbers_count: bool, is_blind: bool) -> Owner:
    by_number = {
        (id, label) for label in labels for id in roster.by_number(label.number, *NUMBERS_OF.get(label.form, ()))
    }
    if by_number:
        return _only(by_number, labels[0], "its name can be read as that of {}")
    if is_blind and not roster.by_name(labels[0].who):
        return Owner("", labels[0], f"grading is blind, and no list says who {_named(labels[0])} is")
    if labels[0].form is Form.PLAIN and (logins := {(id, label) for label in labels if (id := _login(label, roster))}):
        return _only(logins, labels[0], "its name can be read as that of {}")
    if not roster.is_list:
        return _without_list(labels[0])
    by_name = {(id, label) for label in labels for id in _by_name(label, roster, numbers_count)}
    if not by_name:
        return Owner("", labels[0])
    return _only(by_name, labels[0], "{} have this name")


def _login(label: Label, roster: Roster) -> str | None:
    if id := roster.by_login(label.who):
        return id
    same = roster.by_number(label.who, "lms_user_id", "canvas_id", "id_number", "sis_user_id")
    return next(iter(same)) if len(same) == 1 else None


def _by_name(label: Label, roster: Roster, numbers_count: bool) -> set[str]:
    same = roster.by_name(label.who) | ({id} if (id := roster.by_login(label.who)) else set())
    if label.form is Form.MOODLE:  # a list may hold this number under nbgrader's name for one: with the name it is sure
        sure = {id for id in same if label.number in roster.learners[id].numbers.values()}
        same = sure or same
    if label.form is not Form.PLAIN and numbers_count:  # whose number is known to be another one can't be meant
        return {id for id in same if not any(roster.learners[id].numbers.get(kind) for kind in NUMBERS_OF[label.form])}
    return same


def _without_list(label: Label) -> Owner:
    id = "_".join(label.who.split())
    return Owner(id, label) if is_id(id) else Owner("", label, "there is no class list, and this can't be an id")


def _only(found: set[tuple[str, Label]], first: Label, why: str) -> Owner:
    ids = sorted({id for id, _ in found})
    if len(ids) == 1:
        return Owner(ids[0], next(label for _, label in found))
    return Owner("", first, why.format(" and ".join(ids[:4])), frozenset(ids))


def _one_number_a_name(found: list[Owner]) -> list[Owner]:
    # Two numbers under one name are two learners, of whom the list knows one, or somebody who borrowed a name.
    numbers: dict[tuple[str, Form], set[str]] = defaultdict(set)
    for owner in found:
        numbers[owner.id, owner.label.form].add(owner.label.number)
    why = "several learners of this name handed in, and the list doesn't say which number is whose"
    return [
        Owner("", owner.label, why, frozenset({owner.id}))
        if owner.id and len(numbers[owner.id, owner.label.form]) > 1
        else owner
        for owner in found
    ]


def _named(label: Label) -> str:
    return shown(f"{label.who} {label.number}".strip(), 60)
