"""Class lists as people have them: students.csv, what Excel saves, and what Canvas and Moodle export.

A list is read whole or refused: an encoding or a separator that is guessed is said, and a line that can't be meant ends
in a sentence with its number.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from autograder.course import CourseError
from autograder.printing import shown
from autograder.submissions.ids import BadId, checked_id

MAX_BYTES, MAX_LEARNERS, MAX_TEXT = 10 * 10**6, 50_000, 128  # the last is nbgrader's column
SHOWN_FAULTS = 5
# A column's headers, in small letters: this course's own, then Canvas's and Moodle's.
COLUMNS = {
    "id": ("id", "login", "username", "user name", "sis login id", "login id"),
    "first_name": ("first_name", "first name", "firstname", "given name"),
    "last_name": ("last_name", "last name", "lastname", "surname", "family name"),
    "full_name": ("full_name", "full name", "name", "student", "student name"),
    "email": ("email", "e-mail", "email address", "e-mail address"),
    "lms_user_id": ("lms_user_id", "lms user id"),
    "canvas_id": ("canvas_id", "canvas id", "canvas user id"),
    "sis_user_id": ("sis_user_id", "sis user id", "sis id"),
    "id_number": ("id_number", "id number", "idnumber"),
    "participant": ("participant", "identifier"),
    "handed_in": ("last modified (submission)",),
}
NUMBERS = ("canvas_id", "sis_user_id", "id_number", "participant")
_ID_INSTEAD = ("id_number", "sis_user_id", "email", "canvas_id")  # where no column holds a login
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_MOODLES_DATES = ("%A, %d %B %Y, %I:%M %p", "%A, %d %B %Y, %H:%M")  # in English; 12 hours by default
_ROUNDED = re.compile(r"\d([.,]\d+)?E\+\d+")  # what Excel makes of a long number


@dataclass(frozen=True)
class Row:
    """One learner of a list.

    Attributes:
        id: the login, checked; empty in a list that doesn't know it and isn't imported, such as Moodle's worksheet.
        numbers: an LMS's own, by the name of their column in `NUMBERS`.
        handed_in: when, by Moodle's grading worksheet; it has no zone, so this machine's.
    """

    id: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    lms_user_id: str = ""
    numbers: dict[str, str] = field(default_factory=dict)
    handed_in: datetime | None = None


@dataclass(frozen=True)
class ClassList:
    """A list that was read whole.

    Attributes:
        remarks: what was guessed, a sentence each.
    """

    rows: tuple[Row, ...]
    remarks: tuple[str, ...]


def read_list(path: Path, wants_ids: bool = True) -> ClassList:
    """Read a list.

    Args:
        wants_ids: refuse a list whose learners have nothing that could be an id.

    Raises:
        CourseError: it can't be read, or a line of it can't be meant.
    """
    text, encoding = _decoded(_bytes_of(path), path)
    separator, lines = _table(text)
    header, rows = _header(lines, path)
    remarks = [f"Read as {encoding}, with {_SEPARATORS[separator]}."] if (encoding, separator) != ("UTF-8", ",") else []
    if wants_ids and "id" not in header:
        instead = next((column for column in _ID_INSTEAD if column in header), None)
        if instead is None:
            raise CourseError(
                f"{shown(path)} has no column that could be an id. Its first line must name one: "
                "id (the login), and where you have them first_name, last_name, email, canvas_id, id_number."
            )
        remarks.append(f"No column holds a login: the ids are those of {instead}.")
        rows = [(number, {**row, "id": row[instead]}) for number, row in rows]
    faults: list[str] = []
    found = [learner for number, row in rows if (learner := _row(number, row, wants_ids, faults))]
    faults += _twice(found)
    if "handed_in" in header and not any(one.handed_in for one in found):
        remarks.append("The worksheet's times of handing in aren't in English, or there are none: they aren't used.")
    if not found and not faults:
        faults.append("there is no learner in it")
    if faults:
        more = f"\n  … and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
        listed = "".join(f"\n  {fault}" for fault in faults[:SHOWN_FAULTS])
        raise CourseError(f"{shown(path)} isn't taken, and nothing has changed:{listed}{more}")
    return ClassList(tuple(found), tuple(remarks))


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CourseError(f"{shown(path)} can't be read: {error.strerror}.") from None
    if len(data) > MAX_BYTES:
        raise CourseError(f"{shown(path)} has more than {MAX_BYTES // 10**6} MB: no class list.")
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise CourseError(f"{shown(path)} is a workbook. In Excel: File, Save As, “CSV UTF-8 (comma delimited)”.")
    return data


def _decoded(data: bytes, path: Path) -> tuple[str, str]:
    for mark, encoding, name in (
        (b"\xef\xbb\xbf", "utf-8-sig", "UTF-8"),
        (b"\xff\xfe", "utf-16", "UTF-16"),
        (b"\xfe\xff", "utf-16", "UTF-16"),
    ):
        if data.startswith(mark):
            return _strictly(data, encoding, path), name
    try:
        return data.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError:
        # In Chinese text letters of two bytes stand side by side; in Western text a letter beyond ASCII stands alone.
        pairs = len(re.findall(rb"[\x81-\xfe][\xa1-\xfe]", data))
        alone = len(re.findall(rb"[\x80-\xff]", data)) - 2 * pairs
        encoding, name = ("gb18030", "GBK") if pairs > alone else ("cp1252", "Windows-1252")
        return _strictly(data, encoding, path), name


def _strictly(data: bytes, encoding: str, path: Path) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise CourseError(
            f"{shown(path)} is in an encoding that can't be told. Save it as “CSV UTF-8” and try again."
        ) from None


def _table(text: str) -> tuple[str, list[tuple[int, list[str]]]]:
    text = text.removeprefix("\ufeff")
    declared = re.match(r"sep=([,;\t])\r?\n", text)  # Excel's own first line
    if "\0" in text:
        raise CourseError("The list holds zeros: it is no text. Save it as “CSV UTF-8” and try again.")
    tables = {sign: _lines(text[declared.end() :] if declared else text, sign) for sign in _SEPARATORS}
    separator = declared[1] if declared else max(tables, key=lambda sign: _known_columns(tables[sign]))
    return separator, tables[separator]


def _lines(text: str, separator: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    found = []
    try:
        for line in reader:
            values = [value.strip("\ufeff \t\r\n\xa0\u200b") for value in line]
            if any(values):
                found.append((reader.line_num, values))
    except csv.Error:
        return []
    return found


def _known_columns(lines: list[tuple[int, list[str]]]) -> int:
    known = {name for names in COLUMNS.values() for name in names}
    return sum(header.lower() in known for header in lines[0][1]) if lines else 0


def _header(lines: list[tuple[int, list[str]]], path: Path) -> tuple[set[str], list[tuple[int, dict[str, str]]]]:
    if not lines:
        raise CourseError(f"{shown(path)} is empty, or no list with commas, semicolons or tabs.")
    names = [" ".join(name.lower().split()) for name in lines[0][1]]
    if not set(names) & {name for known in COLUMNS.values() for name in known}:
        raise CourseError(
            f"{shown(path)} has no first line that names its columns. Write one: id,first_name,last_name,email"
        )
    is_canvas = names[0] == "student" and "section" in names
    places: dict[str, int] = {}
    for column, known in COLUMNS.items():
        for name in known:  # the first that is there
            if name in names and not (is_canvas and name == "id"):
                places[column] = names.index(name)
                break
    if is_canvas and "id" in names:  # Canvas's own number, which it calls so
        places["canvas_id"] = names.index("id")
    rows = []
    for number, values in lines[1:]:
        if is_canvas and _is_no_learner_of_canvas(values):
            continue
        if any(values[len(names) :]):
            raise CourseError(
                f"{shown(path)} isn't taken, and nothing has changed: line {number} has more values than the first "
                "line has names. A value with a comma must stand in quotes."
            )
        rows.append((number, {column: values[at] if at < len(values) else "" for column, at in places.items()}))
    if len(rows) > MAX_LEARNERS:
        raise CourseError(f"{shown(path)} has {len(rows)} lines: no class list.")
    return set(places), rows


def _is_no_learner_of_canvas(values: list[str]) -> bool:
    first = values[0].lower()
    return first.startswith(("points possible", "student, test")) or not any(values[:3])


def _row(number: int, row: dict[str, str], wants_ids: bool, faults: list[str]) -> Row | None:
    id = row.get("id", "")
    for column, value in row.items():
        if len(value) > MAX_TEXT:
            faults.append(f"line {number}: {column} has {len(value)} letters, more than {MAX_TEXT}")
            return None
        if column in ("id", "lms_user_id", *NUMBERS) and _ROUNDED.fullmatch(value):
            faults.append(
                f"line {number}: {value} is a number that Excel rounded: make the column text, and fill it again"
            )
            return None
        if not value.isprintable():
            faults.append(f"line {number}: {column} is {shown(value)}, with a sign that nobody can see")
            return None
    try:
        id = checked_id(id) if id or wants_ids else ""
    except BadId as error:
        faults.append(f"line {number}: {error}")
        return None
    numbers = {column: row[column] for column in NUMBERS if row.get(column)}
    if "participant" in numbers:
        numbers["participant"] = re.sub(r"\D", "", numbers["participant"])  # "Participant 1234", in any language
    first, last = _names(row)
    return Row(
        id, first, last, row.get("email", ""), row.get("lms_user_id", ""), numbers, _date(row.get("handed_in", ""))
    )


def _date(text: str) -> datetime | None:
    for form in _MOODLES_DATES:
        try:
            return datetime.strptime(text, form).astimezone(UTC)
        except ValueError:
            continue
    return None


def _names(row: dict[str, str]) -> tuple[str, str]:
    first, last, full = (row.get(column, "") for column in ("first_name", "last_name", "full_name"))
    if first or last or not full:
        return first, last
    if "," in full:  # Canvas's sortable name
        last, _, first = full.partition(",")
        return first.strip(), last.strip()
    first, _, last = full.rpartition(" ")
    return first.strip(), last.strip()


def _twice(rows: list[Row]) -> Iterator[str]:
    columns = {"id": [row.id.casefold() for row in rows]}
    columns |= {column: [row.numbers.get(column, "") for row in rows] for column in NUMBERS}
    columns["lms_user_id"] = [row.lms_user_id for row in rows]
    for column, values in columns.items():
        seen: set[str] = set()
        for value in filter(None, values):
            if value in seen:
                yield f"the {column} {shown(value)} stands there twice"
            seen.add(value)
