"""Hostile archives: none stops a collection, fills memory or disk, or writes where its names say.

Each stands between two honest entries, which are collected.
"""

import io
import os
import stat
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from lms_archives import archive, notebook

from autograder.collecting.archives import MAX_BYTES, opened
from autograder.course import CourseError
from autograder.submissions.submission import Refused

FIRST, LAST = "ada_1_10_mini.ipynb", "zoe_9_90_mini.ipynb"
MODE_OF_LINK = (stat.S_IFLNK | 0o777) << 16


def info(name: str, mode: int = 0) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.external_attr, made.compress_type = mode, zipfile.ZIP_DEFLATED
    return made


def nested() -> bytes:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as file:
        file.writestr("lovelaceada_4711_815_mini.ipynb", notebook())
    return inner.getvalue()


HOSTILE = {
    "400 MB in 400 kB": (info("eve_66_77_mini.ipynb"), b" " * (MAX_BYTES + 1), "more than 20"),
    "packed 1000 to 1": (info("eve_66_77_mini.ipynb"), b" " * (MAX_BYTES - 1), "to 1, as no notebook is"),
    "a link": (info("eve_66_77_mini.ipynb", MODE_OF_LINK), b"/etc/passwd", "is a link"),
    "a device": (info("eve_66_77_mini.ipynb", (stat.S_IFCHR | 0o666) << 16), b"x", "another special file"),
    "an absolute name": (info("/etc/cron.d/eve_66_77_mini.ipynb"), b"x", "absolute name"),
    "a drive": (info("C:\\eve_66_77_mini.ipynb"), b"x", "absolute name"),
    "upwards": (info("../../eve_66_77_mini.ipynb"), b"x", ".. in it"),
    "upwards in Windows": (info("..\\..\\eve_66_77_mini.ipynb"), b"x", ".. in it"),
    "a student called ..": (info("../mini.ipynb"), b"x", ".. in it"),
    "2000 letters": (info("e" * 2000 + "_66_77_mini.ipynb"), b"x", "longer than any"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_entry_is_left_behind_with_its_reason(tmp_path, what):
    """Looked at before anything of it is read; the honest ones beside it can be read."""
    entry, data, reason = HOSTILE[what]
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr(info(FIRST), notebook("first"))
        file.writestr(entry, data)
        file.writestr(info(LAST), notebook("last"))
    with opened(tmp_path / "x.zip") as found:
        assert [one.problem for one in found][::2] == ["", ""]
        assert reason in found[1].problem
        assert [found[0].read(), found[2].read()] == [notebook("first"), notebook("last")]


def test_an_encrypted_entry_and_an_unknown_packing(tmp_path):
    """Flags that a table of contents bears: the entries beside them are read."""
    path = archive(tmp_path / "x.zip", {FIRST: "first", "eve_66_77_mini.ipynb": "eve", LAST: "last"})
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    struct.pack_into("<H", data, place + 8, 1)
    path.write_bytes(data)
    with opened(path) as found:
        assert "encrypted" in found[1].problem
        assert found[2].read() == notebook("last")


@pytest.mark.parametrize("place", [10, 16])
def test_damage_inside_costs_one_entry(tmp_path, place):
    """A flipped method or checksum: what can't be unpacked is said of that entry, in a sentence."""
    path = archive(tmp_path / "x.zip", {FIRST: "first", "eve_66_77_mini.ipynb": "eve", LAST: "last"})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1) + place
    data[at] ^= 0x5A
    path.write_bytes(data)
    with opened(path) as found:
        with pytest.raises(Refused, match="damaged inside the archive"):
            found[1].read()
        assert found[2].read() == notebook("last")


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_packing_that_knows_no_measure_is_left_behind(tmp_path, packing):
    """zipfile unpacks a whole block of these, whatever is asked for: 900 MB came from an entry that says 1000 bytes."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w", packing) as file:
        file.writestr(FIRST, notebook("first"), zipfile.ZIP_DEFLATED)
        file.writestr("eve_66_77_mini.ipynb", b" " * 2**20)
        file.writestr(LAST, notebook("last"), zipfile.ZIP_STORED)
    data = bytearray((tmp_path / "x.zip").read_bytes())
    struct.pack_into("<L", data, data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1) + 24, 1000)
    (tmp_path / "x.zip").write_bytes(data)
    with opened(tmp_path / "x.zip") as found:
        assert [bool(one.problem) for one in found] == [False, True, False]
        assert "no LMS packs" in found[1].problem
        assert [found[0].read(), found[2].read()] == [notebook("first"), notebook("last")]


@pytest.mark.parametrize(
    ("form", "place", "value"),
    [("<L", 12, 0xFFFFFFFF), ("<L", 12, 0), ("<L", 42, 0), ("<L", 42, 0xFFFFFFF0), ("<H", 10, 77)],
    ids=["no date at all", "the year 0", "another's place", "a place behind the end", "an unknown packing"],
)
def test_an_odd_line_of_the_table_costs_one_entry(tmp_path, form, place, value):
    """Whatever the table of contents says of one entry, the entries beside it are read."""
    path = archive(tmp_path / "x.zip", {FIRST: "first", "eve_66_77_mini.ipynb": "eve", LAST: "last"})
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1) + place, value)
    path.write_bytes(data)
    with opened(path) as found:
        assert [found[0].read(), found[2].read()] == [notebook("first"), notebook("last")]
        if place == 12:
            assert found[1].read() == notebook("eve")
        else:
            with pytest.raises(Refused, match="damaged inside the archive"):
                found[1].read()


def test_an_archive_inside_an_archive_stays_closed(tmp_path):
    """nbgrader unpacks it, and whoever is named inside has handed in."""
    path = archive(
        tmp_path / "x.zip", {FIRST: "first", "eve_66_77_hw.zip": nested(), "eve_66_78_mini.ipynb.zip": nested()}
    )
    with opened(path) as found:
        assert [one.is_notebook for one in found] == [True, False, False]


def test_a_table_of_contents_without_end_is_refused_before_it_is_read(tmp_path):
    """zipfile makes an object of each of its lines: a gigabyte of them would be ten."""
    path = archive(tmp_path / "x.zip", {FIRST: "first"})
    data = bytearray(path.read_bytes())
    struct.pack_into("<L", data, data.rindex(b"PK\x05\x06") + 12, 2**31)
    path.write_bytes(data)
    with pytest.raises(CourseError, match="table of contents of 2147 MB"), opened(path):
        pass


def test_a_hundred_thousand_entries_are_no_class(tmp_path):
    """Counted before any is looked at."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        for number in range(50_001):
            file.writestr(f"{number}", b"")
    with pytest.raises(CourseError, match="more than 50000 files"), opened(tmp_path / "x.zip"):
        pass


def test_entries_that_share_their_bytes_take_no_more_memory(tmp_path):
    """Fifield's bomb: many lines of contents, one piece of data. Each is bounded, and read alone."""
    payload = os.urandom(1000) + b" " * (2**20 - 2000)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("eve_66_77_mini.ipynb", payload)
    data = (tmp_path / "x.zip").read_bytes()
    start, end = data.index(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    line, tail = data[start:end], bytearray(data[end:])
    struct.pack_into("<HHL", tail, 8, 500, 500, 500 * len(line))
    (tmp_path / "x.zip").write_bytes(data[:start] + line * 500 + tail)
    code = f"""
import resource, sys
from pathlib import Path
from autograder.collecting.archives import opened
from autograder.submissions.submission import Refused
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with opened(Path({str(tmp_path / "x.zip")!r})) as found:
    for entry in found:
        try:
            entry.read()
        except Refused:
            pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=540, check=True)
    assert int(done.stdout) < 60_000, "kB"


def test_a_folder_of_everything_that_is_no_file(tmp_path):
    """Links, pipes, names in GBK, 255 letters, a gigabyte: nothing is followed, nothing blocks."""
    folder = tmp_path / "in"
    for name in ("ada", "eve", "zoe"):
        (folder / name).mkdir(parents=True)
        (folder / name / "mini.ipynb").write_bytes(notebook(name))
    (folder / "eve/link.ipynb").symlink_to("/etc/passwd")
    (folder / "eve/round").symlink_to("..")
    os.mkfifo(folder / "eve/pipe.ipynb")
    (folder / ("e" * 249 + ".ipynb")).write_bytes(notebook())
    with (folder / "eve/large.ipynb").open("wb") as file:
        file.truncate(10**9)
    try:
        (Path(os.fsdecode(os.fsencode(folder) + b"/" + "王伟".encode("gbk"))) / "x").mkdir(parents=True)
    except OSError:
        pytest.skip("this disk takes no names that aren't UTF-8")
    with opened(folder) as found:
        problems = {one.name.rpartition("/")[2]: one.problem for one in found}
        honest = [one.read() for one in found if one.name.endswith("/mini.ipynb")]
    assert problems["link.ipynb"] == problems["round"] == "is a link"
    assert problems["pipe.ipynb"] == "is no regular file"
    assert "1000 MB" in problems["large.ipynb"]
    assert set(honest) == {notebook("ada"), notebook("eve"), notebook("zoe")}


def test_an_archives_own_link_is_the_instructors(tmp_path):
    """~/Downloads may be a link; a link inside it is somebody else's."""
    archive(tmp_path / "x.zip", {FIRST: "first"})
    (tmp_path / "link.zip").symlink_to(tmp_path / "x.zip")
    with opened(tmp_path / "link.zip") as found:
        assert [one.name for one in found] == [FIRST]
