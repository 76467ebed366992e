"""Class lists as Excel, Canvas and Moodle save them: imported whole, or refused in a sentence with nothing changed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from autograder.cli import main
from autograder.collecting.roster import Learner, import_list, read_roster
from autograder.collecting.students import read_list
from autograder.course import CourseError, nbgrader_configuration

PLAIN = "id,first_name,last_name,email,lms_user_id\n007,Ada,One,a@example.org,41\n008,Bo,Two,b@example.org,42\n"
CHINESE = "id,first_name,last_name\nw1,伟,王\nl2,娜,李\n"
CANVAS = """Student,ID,SIS User ID,SIS Login ID,Section,03-kv-cache (4711),Current Score
,,,,,Manual Posting,
    Points Possible,,,,,25,(read only)
"Lovelace, Ada",4711,S1,ada,Main,20,80
"Müller, Bo",4712,S2,bo,Main,,
"Student, Test",99,,0a1b2c,Main,,
"""
MOODLE = """First name,Last name,ID number,Institution,Email address,Assignment: KV cache (Real)
Ada,Lovelace,S1,,ada@example.org,20
Bo,Müller,S2,,bo@example.org,-
"""
WORKSHEET = """Identifier,Full name,Email address,Status,Grade
Participant 7101,Ada Lovelace,ada@example.org,Submitted for grading,
Participant 7102,Bo Müller,bo@example.org,Submitted for grading,
"""


@pytest.fixture
def school(tmp_path: Path, root: Path, empty_gradebook: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course's root with nothing but its settings, and the command line in it."""
    (tmp_path / "solutions").mkdir()
    (tmp_path / "grading").mkdir()
    shutil.copy(empty_gradebook, tmp_path / "grading")
    shutil.copy(root / "nbgrader_config.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def imported(school: Path, data: bytes | str) -> dict[str, Learner]:
    """What the gradebook has after `autograder students`."""
    (school / "list.csv").write_bytes(data if isinstance(data, bytes) else data.encode())
    assert main(["students", "list.csv"]) == 0
    return learners(school)


def learners(school: Path) -> dict[str, Learner]:
    with Gradebook(nbgrader_configuration(school).CourseDirectory.db_url) as gradebook:
        return read_roster(gradebook).learners


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        PLAIN.encode("utf-8-sig"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t").encode("utf-16"),
        PLAIN.replace("008", ",,,,\n\n008") + ",,,,\n",
        PLAIN.replace("\n", ",,\n"),
        PLAIN.replace("id,first_name,last_name,email", "ID,First Name, Last name ,E-Mail"),
        "sep=;\n" + PLAIN.replace(",", ";"),
        PLAIN.replace("Ada", '"Ada"'),
    ],
    ids=["plain", "bom", "crlf", "semicolons", "utf-16", "empty rows", "trailing", "header", "sep", "quotes"],
)
def test_a_list_as_excel_saves_it(school, data):
    """nbgrader's import died of a byte order mark, of an empty row, and left half of the class behind."""
    assert imported(school, data) == {
        "007": Learner("007", "Ada", "One", "a@example.org", {"lms_user_id": "41"}),
        "008": Learner("008", "Bo", "Two", "b@example.org", {"lms_user_id": "42"}),
    }


@pytest.mark.parametrize(("encoding", "said"), [("gb18030", "GBK"), ("utf-16", "UTF-16"), ("utf-8", "")])
def test_chinese_names_in_chinese_encodings(school, capsys, encoding, said):
    """Excel in China saves CSV in GBK; what was guessed is said."""
    found = imported(school, CHINESE.encode(encoding))
    assert {(one.first_name, one.last_name) for one in found.values()} == {("伟", "王"), ("娜", "李")}
    assert (f"Read as {said}" if said else "2 new") in capsys.readouterr().out


def test_western_names_in_windows_encoding(school):
    """One letter beyond ASCII between others is no Chinese."""
    found = imported(school, "id;first_name;last_name\na;José;Müller\nb;Zoë;Ångström\n".encode("cp1252"))
    assert [found[id].last_name for id in "ab"] == ["Müller", "Ångström"]


def test_canvas_export_gives_logins_and_numbers(school):
    """ "ID" there is Canvas's number. Rows that are nobody's are no learners."""
    assert imported(school, CANVAS) == {
        "ada": Learner("ada", "Ada", "Lovelace", "", {"canvas_id": "4711", "sis_user_id": "S1"}),
        "bo": Learner("bo", "Bo", "Müller", "", {"canvas_id": "4712", "sis_user_id": "S2"}),
    }


def test_moodle_export_without_logins_says_what_the_ids_are(school, capsys):
    """Moodle's export of grades has no usernames."""
    assert set(imported(school, MOODLE)) == {"S1", "S2"}
    assert "the ids are those of id_number" in capsys.readouterr().out


def test_moodles_worksheet_is_a_list_of_numbers(tmp_path):
    """It explains the numbers of an archive's folders."""
    (tmp_path / "sheet.csv").write_text(WORKSHEET)
    rows = read_list(tmp_path / "sheet.csv", wants_ids=False).rows
    assert [(row.id, row.numbers["participant"], row.last_name) for row in rows] == [
        ("", "7101", "Lovelace"),
        ("", "7102", "Müller"),
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "empty"),
        ("ada,Ada\nbo,Bo\n", "no first line that names its columns"),
        ("first_name,last_name\nAda,One\n", "no column that could be an id"),
        (PLAIN + "008,Twice,Two,c@example.org,43\n", "stands there twice"),
        (PLAIN + "009,Same,Number,c@example.org,42\n", "lms_user_id 42 stands there twice"),
        (PLAIN + "Ada,A,B,,\nada,C,D,,\n", "the id ada stands there twice"),
        (PLAIN + "../x,Dot,Dot,c@example.org,43\n", "line 4: the id ../x begins with a dot"),
        (PLAIN + ",No,Id,c@example.org,43\n", "line 4: an id is missing"),
        (PLAIN + "1.23457E+11,A,B,c@example.org,43\n", "a number that Excel rounded"),
        (PLAIN + "009,Comma,More,c@example.org,43,44\n", "line 4 has more values"),
        (PLAIN + f"009,{'x' * 200},B,c@example.org,43\n", "first_name has 200 letters"),
        (PLAIN + "009,A\x1b[2J,B,c@example.org,43\n", "a sign that nobody can see"),
        (b"PK\x03\x04 a workbook", "is a workbook"),
        (b"id,first_name\na,\x81\x20\xff\xfe\n", "encoding that can't be told"),
    ],
)  # fmt: skip
def test_a_list_that_can_not_be_meant_changes_nothing(school, capsys, data, said):
    """Half a class in the gradebook is worse than none."""
    (school / "list.csv").write_bytes(data if isinstance(data, bytes) else data.encode())
    assert main(["students", "list.csv"]) == 2
    assert said in capsys.readouterr().err
    assert learners(school) == {}


def test_a_longer_list_adds_and_a_shorter_one_takes_nothing_away(school, capsys):
    """Learners come late; a list of three columns must not empty the others."""
    imported(school, PLAIN)
    found = imported(school, "id,first_name,canvas_id\n007,Augusta,5\n009,Cy,6\n")
    assert found["007"] == Learner("007", "Augusta", "One", "a@example.org", {"lms_user_id": "41", "canvas_id": "5"})
    assert set(found) == {"007", "008", "009"}
    assert "1 new, 1 changed, 0 unchanged" in capsys.readouterr().out
    imported(school, "id,first_name,canvas_id\n007,Augusta,5\n009,Cy,6\n")
    assert "0 new, 0 changed, 2 unchanged" in capsys.readouterr().out


def test_a_number_that_is_somebody_elses_changes_nothing(school):
    """Two learners with one number would get each other's files."""
    imported(school, PLAIN)
    (school / "list.csv").write_text("id,first_name,lms_user_id\n009,Cy,50\n010,Di,42\n")
    found = read_list(school / "list.csv")
    with pytest.raises(CourseError, match="008 and 010 both have lms_user_id 42"):
        import_list(nbgrader_configuration(school), found)
    assert set(learners(school)) == {"007", "008"}


@pytest.mark.parametrize(
    ("data", "said", "code"),
    [
        (PLAIN.replace("008", ",,,,\n\n008").encode("utf-8-sig"), "2 new, 0 changed, 0 unchanged", 0),
        (PLAIN + ",No,Id,c@example.org,43\n", "line 4: an id is missing", 1),
    ],
    ids=["from Excel", "can't be meant"],
)
def test_nbgraders_command_reads_a_list_as_ours_does(school, data, said, code):
    """Guards against a class that is imported to its first odd line, with a traceback, by a command people know."""
    (school / "list.csv").write_bytes(data if isinstance(data, bytes) else data.encode())
    command = [sys.executable, "-m", "nbgrader", "db", "student", "import", "list.csv"]
    done = subprocess.run(command, cwd=school, capture_output=True, text=True, timeout=540)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(learners(school)) == (0 if code else 2)
