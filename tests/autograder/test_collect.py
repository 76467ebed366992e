"""`autograder collect`: each learner's file, whatever an LMS, a browser or a learner made of its name."""

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from lms_archives import NOON, UNIT, archive, raw_names, text_of
from mini_course import MASTER
from nbgrader.api import Gradebook

from autograder.collecting.collect import collect
from autograder.collecting.desk import LEDGER
from autograder.collecting.roster import import_list
from autograder.collecting.students import read_list
from autograder.collecting.summary import Summary, lines
from autograder.course import CourseError, nbgrader_configuration
from autograder.locks import alone

LIST = """id,first_name,last_name,email,canvas_id
ada,Ada,Lovelace,ada@example.org,4711
bo,Bo,Müller,bo@example.org,4712
ww1,Wei,Wang,ww1@example.org,4713
ww2,Wei,Wang,ww2@example.org,4714
wei,伟,王,wei@example.org,4715
omar,عمر,الخيام,omar@example.org,4716
eve,Eve,Evil,eve@example.org,66
"""
NAMES_ALONE = "\n".join(line.rpartition(",")[0] for line in LIST.splitlines())


@pytest.fixture
def school(tmp_path: Path, root: Path, empty_gradebook: Path) -> Path:
    """A course of one unit, without a handout: collecting needs none."""
    (tmp_path / "school/solutions" / UNIT).mkdir(parents=True)
    (tmp_path / "school/solutions/01-other").mkdir()
    for unit, name in ((UNIT, "mini"), ("01-other", "other")):
        (tmp_path / "school/solutions" / unit / f"{name}.py").write_text(MASTER)
    shutil.copy(root / "nbgrader_config.py", tmp_path / "school")
    (tmp_path / "school/grading").mkdir()
    shutil.copy(empty_gradebook, tmp_path / "school/grading")
    return tmp_path / "school"


def listed(school: Path, text: str = LIST) -> Path:
    """The course with its class imported."""
    (school / "list.csv").write_text(text, encoding="utf-8")
    import_list(nbgrader_configuration(school), read_list(school / "list.csv"))
    return school


def zipped(school: Path, *names: str, **named) -> Path:
    return archive(school / "submissions.zip", dict(zip(names, names, strict=True)), **named)


def there(school: Path) -> dict[str, str]:
    """Learner -> the text of the collected notebook."""
    found = (school / "grading/submitted").glob(f"*/{UNIT}/mini.ipynb")
    return {path.parent.parent.name: text_of(path) for path in found}


def stamp(school: Path, learner: str) -> str:
    return (school / f"grading/submitted/{learner}/{UNIT}/timestamp.txt").read_text().strip()


def due(school: Path, when: datetime) -> None:
    with Gradebook(nbgrader_configuration(school).CourseDirectory.db_url) as gradebook:
        gradebook.update_or_create_assignment(UNIT, duedate=when)


@pytest.mark.parametrize(
    ("name", "learner"),
    [
        ("lovelaceada_4711_815_mini.ipynb", "ada"),
        ("lovelaceada_LATE_4711_815_mini.ipynb", "ada"),
        ("lovelaceada_4711_815_mini-1.ipynb", "ada"),
        ("lovelaceada_4711_815_mini (1).ipynb", "ada"),
        ("lovelaceada_4711_815_Copy of mini.ipynb", "ada"),
        ("lovelaceada_4711_815_Copie de mini (2).ipynb", "ada"),
        ("lovelaceada_4711_815_my_own_name.ipynb", "ada"),
        ("lovelaceada_4711_815_2_mini.ipynb", "ada"),
        ("renamed_since_4711_815_mini.ipynb", "ada"),
        ("müllerbo_4712_815_mini.ipynb", "bo"),
        ("王伟_4715_815_mini.ipynb", "wei"),
        ("wangwei_4714_815_mini.ipynb", "ww2"),
        ("Ada Lovelace_1234_assignsubmission_file_/mini.ipynb", "ada"),
        ("Ada Lovelace_1234_assignsubmission_file/mini.ipynb", "ada"),
        ("Ada Lovelace_1234_assignsubmission_file_mini.ipynb", "ada"),
        ("Ada Lovelace_1234_assignsubmission_file_/a folder/mini.ipynb", "ada"),
        ("Bo Muller_1235_assignsubmission_file_/mini.ipynb", "bo"),
        ("عمر الخيام_1236_assignsubmission_file_/mini.ipynb", "omar"),
        ("ada Ada Lovelace_1234_assignsubmission_file_/mini.ipynb", "ada"),
        ("ada/mini.ipynb", "ada"),
        ("ADA/mini.ipynb", "ada"),
        (f"ada/{UNIT}/mini.ipynb", "ada"),
        (f"{UNIT}/ada/mini.ipynb", "ada"),
        (f"submitted/ada/{UNIT}/mini.ipynb", "ada"),
        ("submissions/ada\\mini.ipynb", "ada"),
        (f"repositories/ada/course/{UNIT}/mini.ipynb", "ada"),
        ("Ada Lovelace/mini.ipynb", "ada"),
        ("4711/mini.ipynb", "ada"),
        ("ada.ipynb", "ada"),
        ("mini_ada.ipynb", "ada"),
        ("ada_mini.ipynb", "ada"),
        ("Wang Wei_1237_assignsubmission_file_/mini.ipynb", None),
        ("wangwei_4799_815_mini.ipynb", None),
        ("mini.ipynb", None),
        ("anon_x5K2q_815_mini.ipynb", None),
        ("LATE_anon_x5K2q_815_mini.ipynb", None),
        ("Participant_7101_assignsubmission_file_/mini.ipynb", None),
        ("nobody_9999_815_mini.ipynb", None),
        ("01-other/ada/mini.ipynb", None),
        ("__MACOSX/ada/._mini.ipynb", None),
    ],
)
def test_names_that_lms_browsers_and_learners_give(school, name, learner):
    """Each form alone, in an archive: nbgrader's way needs a regular expression for one of them at a time."""
    collect(listed(school), UNIT, [zipped(school, name)])
    assert there(school) == ({learner: name} if learner else {})


def test_one_doubt_costs_one_learner(school):
    """nbgrader's zip_collect took 0 of 57 when one learner had uploaded twice."""
    names = ["lovelaceada_4711_815_mini.ipynb", "müllerbo_4712_816_mini.ipynb", "wangwei_4713_817_mini.ipynb"]
    names += ["wangwei_4714_818_mini.ipynb", "müllerbo_4712_820_mini-1.ipynb", "wangwei_4799_821_mini.ipynb"]
    summary = collect(listed(school), UNIT, [zipped(school, *names)])
    assert there(school) == {"ada": names[0], "bo": names[4], "ww1": names[2], "ww2": names[3]}
    assert summary.notes == {"bo": "mini-1.ipynb is the newest of 2 files"}
    assert list(summary.unmatched) == ["wangwei 4799"]
    assert summary.missing == ["eve", "omar", "wei"]


def test_namesakes_without_numbers_are_held_back_by_name(school):
    """Nothing says who is who, so nobody gets the other's points; the summary names both."""
    names = ["wangwei_1_815_mini.ipynb", "wangwei_2_816_mini.ipynb", "lovelaceada_3_817_mini.ipynb"]
    summary = collect(listed(school, NAMES_ALONE), UNIT, [zipped(school, *names)])
    assert set(there(school)) == {"ada"}
    assert set(summary.held_back) == {"wangwei 1", "wangwei 2"}
    assert not {"ww1", "ww2"} & set(summary.missing)
    assert "  wangwei 1: ww1 and ww2 have this name" in list(lines(summary))


def test_one_name_under_two_numbers_is_nobodys(school):
    """Learners may choose the name that Canvas shows: the second Ada isn't Ada."""
    names = ["lovelaceada_1_815_mini.ipynb", "lovelaceada_2_999_mini.ipynb", "müllerbo_3_817_mini.ipynb"]
    summary = collect(listed(school, NAMES_ALONE), UNIT, [zipped(school, *names)])
    assert set(there(school)) == {"bo"}
    assert len(summary.held_back) == 2


def test_a_name_that_hides_a_number_is_nobodys(school):
    """A learner whose own name ends in _4711 would hand in for Ada, who is absent."""
    summary = collect(listed(school), UNIT, [zipped(school, "lovelaceada_4711_66_77_mini.ipynb")])
    assert there(school) == {}
    assert "ada and eve" in str(summary.held_back)


@pytest.mark.parametrize(
    "name",
    [
        "eve_66_77_lovelaceada_4711_815_mini.ipynb",
        "Eve Evil_12_assignsubmission_file_/Ada Lovelace_1234_assignsubmission_file_/mini.ipynb",
        "Eve Evil_12_assignsubmission_file_Ada Lovelace_1234_assignsubmission_file_mini.ipynb",
        "eve/ada/mini.ipynb",
        "eve/lovelaceada_4711_815_mini.ipynb",
    ],
)
def test_what_a_learner_chose_says_nothing_about_whose_it_is(school, name):
    """A file or folder named like Ada's, inside Eve's upload, is Eve's."""
    collect(listed(school), UNIT, [zipped(school, name)])
    assert there(school) == {"eve": name}


@pytest.mark.parametrize(
    "own", ["Bo Müller_1_assignsubmission_file_mini.ipynb", "x_1_assignsubmission_file_/mini.ipynb"]
)
def test_a_learners_name_for_a_file_makes_no_folder_an_lmss(school, own):
    """Guards against one file that hands in for another learner, and that has the folders of all others left behind."""
    collect(listed(school), UNIT, [zipped(school, "ada/mini.ipynb", "bo/mini.ipynb", f"eve/{own}")])
    assert there(school) == {"ada": "ada/mini.ipynb", "bo": "bo/mini.ipynb", "eve": f"eve/{own}"}


def test_a_file_that_the_lms_did_not_name_is_left_behind(school):
    """In Canvas's archive each file bears Canvas's form; a folder `ada` was put there by somebody."""
    summary = collect(listed(school), UNIT, [zipped(school, "eve_66_77_mini.ipynb", "ada/mini.ipynb")])
    assert set(there(school)) == {"eve"}
    assert summary.left == {"ada/mini.ipynb": "isn't named as the LMS names the other files"}


def test_blind_marking_by_the_worksheet(school):
    """Moodle's number is another one in each assignment, and its worksheet says whose."""
    names = [f"Participant_{number}_assignsubmission_file_/mini.ipynb" for number in (7101, 7102, 7103)]
    sheet = school / "sheet.csv"
    sheet.write_text(
        "Identifier,Full name,Email address\nParticipant 7101,,ada@example.org\nParticipant 7102,Bo Müller,\n"
    )
    summary = collect(listed(school), UNIT, [zipped(school, *names)], sheet)
    assert there(school) == {"ada": names[0], "bo": names[1]}
    assert list(summary.held_back) == ["Participant 7103"]


def test_moodles_worksheet_knows_when(school, monkeypatch):
    """Its archive's dates are those of the download, and it marks nobody late."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    listed(school)
    due(school, datetime(2027, 3, 1, 22, 59))
    sheet = school / "sheet.csv"
    when = ["Monday, 1 March 2027, 11:59 PM", "Tuesday, 2 March 2027, 12:30 AM"]
    rows = [f'Participant {7101 + n},{who}@example.org,"{when[n]}"' for n, who in enumerate(("ada", "bo"))]
    sheet.write_text("\n".join(["Identifier,Email address,Last modified (submission)", *rows]))
    names = [f"Participant_{number}_assignsubmission_file_/mini.ipynb" for number in (7101, 7102)]
    summary = collect(school, UNIT, [zipped(school, *names)], sheet)
    assert summary.late == ["bo"]
    assert stamp(school, "ada") == "2027-03-01 22:59:00 UTC"
    assert summary.remarks == []
    canvas = ["lovelaceada_4711_815_mini.ipynb", "müllerbo_LATE_4712_816_mini.ipynb"]
    texts = dict(zip(canvas, names, strict=True))  # the same notebooks
    assert collect(school, UNIT, [archive(school / "canvas.zip", texts)]).redated == []
    assert stamp(school, "bo") == "2027-03-01 23:30:00 UTC", "Canvas knows that it is late, and not when"
    monkeypatch.undo()
    time.tzset()


def test_namesakes_of_moodle_by_a_number_of_the_list(school):
    """A list that has Moodle's numbers under nbgrader's name for one: number and name must agree."""
    moodle = "id,first_name,last_name,lms_user_id\nww1,Wei,Wang,1234\nww2,Wei,Wang,1299\nx,Xi,Li,1300\n"
    names = [f"{who}_assignsubmission_file_/mini.ipynb" for who in ("Wei Wang_1234", "Wei Wang_1299", "Ada L_1300")]
    summary = collect(listed(school, moodle), UNIT, [zipped(school, *names)])
    assert there(school) == {"ww1": names[0], "ww2": names[1]}
    assert list(summary.unmatched) == ["Ada L 1300"]


def test_without_a_list_namesakes_stay_apart(school):
    """No list is no reason to take nobody, nor to take two learners for one."""
    names = ["adams_4801_818_mini.ipynb", "wangwei_4711_815_mini.ipynb", "wangwei_4799_816_mini.ipynb"]
    summary = collect(school, UNIT, [zipped(school, *names)])
    assert there(school) == {"adams": names[0]}
    assert len(summary.held_back) == 2
    assert "no class list" in summary.remarks[0]


def test_again_changes_nothing_and_an_older_archive_neither(school):
    """Run twice, and with last week's download: what counts is the newest upload."""
    listed(school)
    old = archive(school / "old.zip", {"lovelaceada_4711_815_mini.ipynb": "old"}, NOON)
    new = archive(school / "new.zip", {"lovelaceada_4711_900_mini-1.ipynb": "new"}, NOON + timedelta(days=1))
    assert collect(school, UNIT, [old]).collected == ["ada"]
    assert collect(school, UNIT, [new]).replaced == ["ada"]
    before = {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (school / "grading/submitted").rglob("*.*")
    }
    for files in ([new], [old], [old, new], [new, old]):
        summary = collect(school, UNIT, files)
        assert (summary.collected, summary.replaced, summary.unchanged) == ([], [], ["ada"])
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before}
    assert there(school) == {"ada": "new"}


def test_two_files_of_one_age_are_held_back(school):
    """Nothing says which of them counts: neither by number, nor by name, nor by date."""
    folder = "Ada Lovelace_1234_assignsubmission_file_"
    files = {f"{folder}/a/mini.ipynb": "one", f"{folder}/b/mini.ipynb": "other"}
    summary = collect(listed(school), UNIT, [archive(school / "two.zip", files)])
    assert there(school) == {}
    assert "2 files that differ" in summary.held_back["ada"]


def test_the_notebooks_own_name_counts_before_the_date(school):
    """A learner hands in notes beside the notebook."""
    files = {"lovelaceada_4711_815_mini.ipynb": "this", "lovelaceada_4711_816_scratch.ipynb": "not this"}
    collect(listed(school), UNIT, [archive(school / "two.zip", files)])
    assert there(school) == {"ada": "this"}


def test_late_by_canvas_and_by_date(school, monkeypatch):
    """Canvas knows who is late and doesn't say how much; an archive's dates are those of the download, hours later."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    listed(school)
    due(school, NOON - timedelta(days=2))
    names = ["lovelaceada_LATE_4711_815_mini.ipynb", "müllerbo_4712_816_mini.ipynb"]
    summary = collect(school, UNIT, [zipped(school, *names)])
    assert summary.late == ["ada"]
    assert (stamp(school, "ada"), stamp(school, "bo")) == ("2027-02-27 12:00:01 UTC", "2027-02-27 12:00:00 UTC")
    monkeypatch.undo()
    time.tzset()


def test_times_of_folders_are_the_uploads_own(school):
    """A folder's files, or an archive that kept their dates: late is what is later than the date that counts."""
    listed(school)
    due(school, NOON)
    (school / "grading/extensions.csv").write_text(f"id,unit,due\nbo,{UNIT},2027-03-03 12:00 UTC\n")
    for learner, days in (("ada", 1), ("bo", 1), ("eve", -1)):
        path = school / "in" / learner / "mini.ipynb"
        archive(school / "x.zip", {"mini.ipynb": learner})
        path.parent.mkdir(parents=True)
        shutil.unpack_archive(school / "x.zip", path.parent)
        seconds = (NOON + timedelta(days=days) - datetime(1970, 1, 1)).total_seconds()
        os.utime(path, (seconds, seconds))
    summary = collect(school, UNIT, [school / "in"])
    assert summary.late == ["ada"]
    assert stamp(school, "bo") == "2027-03-02 12:00:00 UTC"
    assert set(there(school)) == {"ada", "bo", "eve"}


def test_single_files_and_folders(school):
    """A browser unpacks archives by itself, and somebody sends a file by mail."""
    listed(school)
    zipped(school, "lovelaceada_4711_815_mini.ipynb", "müllerbo_4712_816_mini.ipynb")
    shutil.unpack_archive(school / "submissions.zip", school / "Downloads")
    collect(school, UNIT, [school / "Downloads/lovelaceada_4711_815_mini.ipynb"])
    assert set(there(school)) == {"ada"}
    collect(school, UNIT, [school / "Downloads"])
    assert set(there(school)) == {"ada", "bo"}
    (school / "mail/wei").mkdir(parents=True)
    shutil.copy(school / "Downloads/lovelaceada_4711_815_mini.ipynb", school / "mail/wei/mini.ipynb")
    collect(school, UNIT, [school / "mail/wei/mini.ipynb"])
    assert set(there(school)) == {"ada", "bo", "wei"}


def test_who_handed_in_something_else_is_named(school):
    """A PDF in place of the notebook is a learner to write to."""
    files = {"lovelaceada_4711_815_mini.pdf": b"%PDF", "müllerbo_4712_816_mini.ipynb": "bo", "x_66_1_hw.zip": b"PK"}
    summary = collect(listed(school), UNIT, [archive(school / "pdf.zip", files)])
    assert summary.left["ada"] == "handed in no notebook, only mini.pdf"
    assert summary.left["eve"] == "handed in no notebook, only hw.zip"
    assert set(there(school)) == {"bo"}


@pytest.mark.parametrize("encoding", ["gb18030", "utf-8", "cp437"])
def test_names_without_the_flag_for_utf8(school, encoding):
    """Archives from Windows in China, from servers that forget the flag, and from DOS's heirs."""
    who, learner = ("Müller Bo", "bo") if encoding == "cp437" else ("王伟", "wei")
    name = f"{who}_1234_assignsubmission_file_/mini.ipynb"
    path = raw_names(school / "raw.zip", name.encode(encoding), "x")
    collect(listed(school, NAMES_ALONE), UNIT, [path])
    assert there(school) == {learner: "x"}


def test_the_summary_is_lines_that_a_name_can_not_forge(school):
    """An entry's name with a line break and an escape sequence."""
    evil = "eve\nww1: collected\x1b[2J_99_815_mini.ipynb"
    summary = collect(listed(school), UNIT, [zipped(school, f"x_1_1_{evil}", evil)])
    text = list(lines(summary))
    assert not any(line.startswith("ww1: collected") for line in text)
    assert all(line.isprintable() for line in text)


def test_killed_in_the_middle_each_submission_is_whole(school):
    """Of each learner the old or the new notebook is there, and a second run finishes."""
    students = "id,first_name,last_name,canvas_id\n" + "".join(f"s{i},F{i},L{i},{1000 + i}\n" for i in range(40))
    listed(school, students)
    for version in ("old", "new"):
        files = {f"l{i}f{i}_{1000 + i}_{5 if version == 'old' else 9}_mini.ipynb": version * 9999 for i in range(40)}
        archive(school / f"{version}.zip", files)
    collect(school, UNIT, [school / "old.zip"])
    command = [sys.executable, "-m", "autograder.cli", "collect", UNIT, "new.zip"]
    process = subprocess.Popen(command, cwd=school, stdout=subprocess.DEVNULL)
    while process.poll() is None and "new" * 9999 not in there(school).values():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert set(there(school).values()) <= {"old" * 9999, "new" * 9999}
    assert len(there(school)) == 40
    collect(school, UNIT, [school / "new.zip"])
    assert set(there(school).values()) == {"new" * 9999}
    assert not [path for path in (school / "grading/submitted").rglob(".*") if path.suffix == ".new" and path.is_dir()]


def test_a_learners_folder_that_is_a_link_is_left_alone(school, tmp_path):
    """Nothing is written through a link, and the others are collected."""
    listed(school)
    (school / "grading/submitted").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (school / "grading/submitted/ada").symlink_to(tmp_path / "elsewhere")
    names = ["lovelaceada_4711_815_mini.ipynb", "müllerbo_4712_816_mini.ipynb"]
    summary = collect(school, UNIT, [zipped(school, *names)])
    assert "link" in summary.left["ada"]
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert (school / f"grading/submitted/bo/{UNIT}/mini.ipynb").exists()


def test_one_folder_in_the_way_stops_nobody_else(school):
    """A folder where a file belongs, an id that nbgrader took from somewhere: each costs its learner alone."""
    listed(school)
    (school / f"grading/submitted/ada/{UNIT}/timestamp.txt/x").mkdir(parents=True)
    (school / f"grading/submitted/eve/{UNIT}/mini.ipynb").mkdir(parents=True)
    (school / "grading/submitted/wei").touch()
    with Gradebook(nbgrader_configuration(school).CourseDirectory.db_url) as gradebook:
        gradebook.add_student("../up", first_name="Up", last_name="Wards")
    names = ["lovelaceada_4711_1_mini.ipynb", "wardsup_99_2_mini.ipynb", "müllerbo_4712_3_mini.ipynb"]
    names += ["evileve_66_4_mini.ipynb", "王伟_4715_5_mini.ipynb", "عمرالخيام_4716_6_mini.ipynb"]
    summary = collect(school, UNIT, [zipped(school, *names)])
    assert set(summary.left) == {"ada", "../up", "eve", "wei"}
    assert summary.collected == ["bo", "omar"]
    assert not (school / "grading/up").exists()


def test_a_file_by_mail_is_newer_than_canvass_archive(school):
    """Canvas numbers its uploads, a folder's files have dates: between the two the date decides."""
    listed(school)
    collect(school, UNIT, [zipped(school, "lovelaceada_4711_815_mini.ipynb")])
    archive(school / "mail.zip", {"ada/mini.ipynb": "mail"}, NOON + timedelta(days=1))
    assert collect(school, UNIT, [school / "mail.zip"]).replaced == ["ada"]
    assert there(school) == {"ada": "mail"}


def test_nbgraders_own_command_points_here(school):
    """It unpacks archives within archives and takes ids from names."""
    (school / f"grading/downloaded/{UNIT}/archive").mkdir(parents=True)
    zipped(school, "x_1_2_mini.ipynb").rename(school / f"grading/downloaded/{UNIT}/archive/x.zip")
    command = [Path(sys.executable).with_name("nbgrader"), "zip_collect", UNIT]
    command += ["--ZipCollectApp.downloaded_directory=grading/downloaded"]
    done = subprocess.run(command, cwd=school, capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode == 1
    assert "autograder collect" in done.stderr
    assert there(school) == {}


@pytest.mark.parametrize("what", ["nothing.zip", "text.zip", "half.zip", "empty.zip"])
def test_what_is_no_archive_is_said(school, what):
    """A download that broke off: a sentence, and nothing has changed."""
    path = school / what
    if what == "text.zip":
        path.write_text("<html>sign in</html>")
    elif what == "half.zip":
        path.write_bytes(zipped(school, "lovelaceada_4711_815_mini.ipynb").read_bytes()[:80])
    elif what == "empty.zip":
        path.touch()
    with pytest.raises(CourseError, match=r"can't be read|not a zip"):
        collect(listed(school), UNIT, [path])
    assert there(school) == {}


def test_fine_is_when_nobody_has_to_be_looked_at():
    """Absent learners are no fault of a run."""
    assert Summary(missing=["ada"]).fine
    assert not Summary(held_back={"ada": "why"}).fine


def test_a_second_collection_at_the_same_time_is_refused(school):
    """Guards against two of one unit that each write what they remember, and forget what the other took in."""
    listed(school)
    upload = zipped(school, "lovelaceada_4711_815_mini.ipynb")
    with (
        alone(school / LEDGER / f"{UNIT}.lock", ""),
        pytest.raises(CourseError, match="being collected by another run"),
    ):
        collect(school, UNIT, [upload])
    assert not there(school)
    assert collect(school, UNIT, [upload]).collected == ["ada"]
