"""`python -m autograder.gradescope ROOT`: grade what lies in ROOT/submission, and write ROOT/results/results.json.

ROOT is /autograder in Gradescope's container, where source/release.json is the unit's release.
"""

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path

from autograder.gradescope.archive import RELEASE
from autograder.gradescope.results import VISIBILITIES, for_instructor, results
from autograder.isolation.sandbox import NAMESPACES, Layers
from autograder.printing import say
from autograder.submissions.pipe import RECORD
from autograder.submissions.record import Record, unpack
from autograder.submissions.release import Release
from autograder.submissions.submission import Refused, find_notebook, read_bytes
from autograder.submissions.verdict import STARVED
from autograder.submissions.worker import Desk, pack_task

TRIES = 2
# Of the source, what a learner's code may see: it imports them.
SHOWN = (".venv", "autograder", "course")


def main() -> int:
    """Grade; return the exit status. Without results.json Gradescope says that the grader failed, not the learner."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--visibility", choices=VISIBILITIES, default="after_published")
    options = parser.parse_args()
    close(options.root)
    release = Release(**json.loads((options.root / "source" / RELEASE).read_text(encoding="utf-8")))
    try:
        record = grade(options.root / "submission", release)
    except Failed as failed:
        say(f"not graded: {failed}")
        return 1
    lacking = Layers(**record.layers).missing if record.layers else []
    say(for_instructor(record, release, lacking))
    written = json.dumps(results(record, release, options.visibility, lacking), indent=1)
    path = options.root / "results" / "results.json"
    path.with_suffix(".part").write_text(written, encoding="ascii")  # on a full disk none is better than half of one
    path.with_suffix(".part").replace(path)
    return 0


class Failed(Exception):
    """Grading broke, on the grader's side. The message says how."""


def close(root: Path) -> None:
    """Keep what is the grader's from everybody but its user: release, results, and who handed in."""
    others = [path for path in (root / "source").iterdir() if path.name not in SHOWN]
    for path in [*others, *(path for path in root.iterdir() if path.name != "source")]:
        with contextlib.suppress(OSError):  # it is somebody else's
            path.chmod(path.stat().st_mode & 0o700)


def grade(folder: Path, release: Release) -> Record:
    """The record of the notebook in a folder.

    Raises:
        Failed: there is none.
    """
    try:
        data = read_bytes(find_notebook(folder, f"{release.notebook}.ipynb"))
    except Refused as refused:
        return Record(
            "", release.unit, refused=str(refused).replace(f"{folder}{os.sep}", "").replace(str(folder), "it")
        )
    key = release.key(data)
    for _ in range(TRIES):
        # Without namespaces, root can give a learner's code another user; anybody else would share its own.
        desk = Desk(may_lack=NAMESPACES if os.getuid() == 0 else ())
        answer = desk.answer(pack_task(release, key, data))
        desk.close()
        if answer.startswith(RECORD):
            record = unpack(answer[1:], key, release)
            if not record.starved:
                return record
            answer = STARVED.encode()
    raise Failed(answer.decode(errors="replace"))


if __name__ == "__main__":
    sys.exit(main())
