"""The class: students of the gradebook with the numbers that an LMS has for them, and how a list gets there.

nbgrader's table of students has room for one such number. A table of our own beside it keeps the others, so that one
id, the login, serves from the list to the export. `import_list` writes both in one transaction: all of a list, or none.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from nbgrader.api import Gradebook, Student
from nbgrader.coursedir import CourseDirectory
from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select
from traitlets.config import Config

from autograder.batch.gradebook import Joined, open_engine, said_plainly
from autograder.collecting.students import ClassList, Row
from autograder.course import CourseError
from autograder.printing import shown

NUMBERS = Table(
    "autograder_numbers",
    MetaData(),
    Column("student_id", String(128), primary_key=True),  # nbgrader's
    Column("kind", String(16), primary_key=True),  # a column of students.NUMBERS
    Column("number", String(128), nullable=False),
)
OF_ONE_ASSIGNMENT = "participant"  # Moodle's number, another one for each assignment: it isn't kept


@dataclass(frozen=True)
class Learner:
    """One learner of the class.

    Attributes:
        numbers: an LMS's own, by kind; nbgrader's `lms_user_id` among them.
        handed_in: one assignment, by a list that was joined.
    """

    id: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    numbers: dict[str, str] = field(default_factory=dict)
    handed_in: datetime | None = None

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.first_name} {self.last_name}".strip()

    def names(self) -> set[str]:
        """The forms in which an LMS writes the name, as `plain` makes them."""
        first, last = plain(self.first_name), plain(self.last_name)
        return {first + last, last + first, plain(self.id) + first + last} - {"", plain(self.id)}


class Roster:
    """The learners, found by login, number and name."""

    def __init__(self, learners: Iterable[Learner], is_list: bool = False):
        self.learners = {learner.id: learner for learner in learners}
        self._by_login = {id.casefold(): id for id in self.learners}
        self._by_number: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._by_name: dict[str, set[str]] = defaultdict(set)
        self._by_bare_name: dict[str, set[str]] = defaultdict(set)
        for learner in self.learners.values():
            for kind, number in learner.numbers.items():
                self._by_number[kind, number].add(learner.id)
            for name in learner.names():
                self._by_name[name].add(learner.id)
                self._by_bare_name[bare(name)].add(learner.id)
        # Students that grading made from folders are no class list: they have an id and nothing else.
        self.is_list = is_list or any(one.name or one.email or one.numbers for one in self.learners.values())

    def by_login(self, text: str) -> str | None:
        """The learner with this id, whatever the case of its letters."""
        return text if text in self.learners else self._by_login.get(text.casefold())

    def by_number(self, number: str, *kinds: str) -> set[str]:
        """Learners who have this number as one of these kinds."""
        return set().union(*(self._by_number.get((kind, number), set()) for kind in kinds))

    def by_name(self, name: str) -> set[str]:
        """Learners of this name; of the name without accents if nobody has it with them."""
        name = plain(name)
        return self._by_name.get(name) or self._by_bare_name.get(bare(name)) or set()

    def joined(self, rows: Iterable[Row]) -> "Roster":
        """This class with what another list knows of its learners, and the list's own learners beside them.

        A row without an id is somebody of the class by e-mail, an LMS's number or, if only one has it, the name.
        """
        found = dict(self.learners)
        for row in rows:
            id = self._of(row) or row.id
            if id:
                found[id] = replace(_with(found.get(id, Learner(id)), row), handed_in=row.handed_in)
        return Roster(found.values(), is_list=True)

    def _of(self, row: Row) -> str | None:
        if row.id and (known := self.by_login(row.id)):
            return known
        if row.email:
            same = [one.id for one in self.learners.values() if one.email.casefold() == row.email.casefold()]
            if len(same) == 1:
                return same[0]
        for kind, number in row.numbers.items():
            if len(same := self.by_number(number, kind)) == 1:
                return next(iter(same))
        same = self.by_name(f"{row.first_name} {row.last_name}")
        return next(iter(same)) if len(same) == 1 and not row.id else None


def plain(name: str) -> str:
    """A name's letters and digits alone, in small letters, composed: what is left of it in an LMS's file names."""
    return "".join(sign for sign in unicodedata.normalize("NFKC", name).casefold() if sign.isalnum() or _is_mark(sign))


def bare(name: str) -> str:
    """The same without accents."""
    return "".join(sign for sign in unicodedata.normalize("NFKD", name) if not _is_mark(sign))


def _is_mark(sign: str) -> bool:
    return unicodedata.category(sign) in ("Mn", "Mc")


def read_roster(gradebook: Gradebook) -> Roster:
    """The class as the gradebook has it."""
    numbers: dict[str, dict[str, str]] = defaultdict(dict)
    connection = gradebook.db.connection()
    was_imported = inspect(connection).has_table(NUMBERS.name)
    if was_imported:
        for row in connection.execute(select(NUMBERS)):
            numbers[row.student_id][row.kind] = row.number
    return Roster((_learner(student, numbers[student.id]) for student in gradebook.students), was_imported)


@dataclass(frozen=True)
class Imported:
    """How many learners of a list were new, changed and as they had been."""

    new: int
    changed: int
    unchanged: int


def import_list(config: Config, found: ClassList) -> Imported:
    """Write a list into the gradebook: all of it, or nothing. What a list doesn't say stays as it is.

    Raises:
        CourseError: the gradebook can't be written, or has such a number for somebody else.
    """
    course = CourseDirectory(config=config)
    with said_plainly():
        Gradebook(course.db_url, course.course_id).close()  # makes the tables
        engine = open_engine(course.db_url)
        try:
            NUMBERS.create(engine, checkfirst=True)
            with engine.begin() as connection:
                return _import(Joined(connection, course), connection, found)
        finally:
            engine.dispose()


def _import(gradebook: Joined, connection: Connection, found: ClassList) -> Imported:
    before = read_roster(gradebook)
    after = {}
    for row in found.rows:
        known = before.by_login(row.id)
        if known and known != row.id:
            raise CourseError(
                f"{shown(row.id)} differs from {shown(known)} of the gradebook in capitals alone. Write it as there."
            )
        kept = {kind: number for kind, number in row.numbers.items() if kind != OF_ONE_ASSIGNMENT}
        after[row.id] = _with(before.learners.get(row.id, Learner(row.id)), replace(row, numbers=kept))
    _check_numbers({**before.learners, **after})
    changed = [learner for id, learner in after.items() if before.learners.get(id) != learner]
    for learner in changed:
        _write(gradebook, connection, learner)
    gradebook.db.flush()
    new = sum(id not in before.learners for id in after)
    return Imported(new, len(changed) - new, len(after) - len(changed))


def _check_numbers(learners: dict[str, Learner]) -> None:
    owners: dict[tuple[str, str], str] = {}
    for learner in learners.values():
        for kind, number in learner.numbers.items():
            other = owners.setdefault((kind, number), learner.id)
            if other != learner.id:
                raise CourseError(
                    f"{shown(other)} and {shown(learner.id)} both have {kind} {shown(number)}. Nothing has changed."
                )


def _write(gradebook: Joined, connection: Connection, learner: Learner) -> None:
    columns = {"first_name": learner.first_name, "last_name": learner.last_name, "email": learner.email}
    # The one number for which nbgrader has room, which its own pages and other exporters read.
    numbers = learner.numbers
    one = (
        numbers.get("lms_user_id") or numbers.get("canvas_id") or numbers.get("id_number") or numbers.get("sis_user_id")
    )
    values = {**columns, "lms_user_id": one}
    gradebook.update_or_create_student(learner.id, **{name: value or None for name, value in values.items()})
    connection.execute(NUMBERS.delete().where(NUMBERS.c.student_id == learner.id))
    rows = [
        {"student_id": learner.id, "kind": kind, "number": number}
        for kind, number in numbers.items()
        if kind != "lms_user_id"
    ]
    if rows:
        connection.execute(NUMBERS.insert(), rows)


def _learner(student: Student, numbers: dict[str, str]) -> Learner:
    one = student.lms_user_id
    if one and one not in numbers.values():
        numbers = {"lms_user_id": one, **numbers}
    return Learner(student.id, student.first_name or "", student.last_name or "", student.email or "", numbers)


def _with(learner: Learner, row: Row) -> Learner:
    numbers = {**learner.numbers, **row.numbers, **({"lms_user_id": row.lms_user_id} if row.lms_user_id else {})}
    if row.lms_user_id and row.lms_user_id in row.numbers.values():
        numbers.pop("lms_user_id")
    texts = {name: getattr(row, name) for name in ("first_name", "last_name", "email") if getattr(row, name)}
    return replace(learner, numbers=numbers, **texts)
