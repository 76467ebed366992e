"""What a run of `autograder collect` says at its end."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from autograder.printing import shown

LISTED = 400  # signs of learners' names in one line


@dataclass
class Summary:
    """What became of each learner, and of each file that is nobody's.

    Attributes:
        held_back: learner or name in a file -> why nothing of theirs is taken.
        unmatched: files of nobody in the class.
        left: learner or file -> why it can't be taken.
        redated: those of the unchanged whose timestamp.txt says another time now.
        notes: learner -> what a person may want to know.
    """

    collected: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    redated: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    held_back: dict[str, str] = field(default_factory=dict)
    unmatched: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def fine(self) -> bool:
        """Whether nothing needs a person. Who handed nothing in doesn't."""
        return not (self.held_back or self.unmatched or self.left)


def lines(summary: Summary) -> Iterator[str]:
    """The end of a run: how many went which way, then who needs a person and why."""
    rows = [
        ("collected", len(summary.collected), ""),
        ("replaced", len(summary.replaced), "by a newer file"),
        ("unchanged", len(summary.unchanged), f"{len(summary.redated)} with another time" if summary.redated else ""),
        ("late", len(summary.late), ", ".join(summary.late)),
        ("ambiguous", len(summary.held_back), "held back"),
        ("unmatched", len(summary.unmatched), "nobody of the class"),
        ("left behind", len(summary.left), ""),
        ("missing", len(summary.missing), ", ".join(summary.missing)),
    ]
    for what, count, remark in rows:
        yield f"{what:<12}{count:>6}  {shown(remark, LISTED) if count else ''}".rstrip()
    for title, found in (
        ("Taken:", summary.notes),
        ("Ambiguous, held back:", summary.held_back),
        ("Unmatched:", summary.unmatched),
        ("Left behind:", summary.left),
    ):
        if found:
            yield ""
            yield title
            yield from (f"  {shown(who, 80)}: {shown(why)}" for who, why in sorted(found.items()))
    if summary.held_back:
        yield "Canvas's gradebook export or Moodle's grading worksheet, as --students LIST, has their numbers."
        yield "Or put the file into a folder with the login's name, ada/kv_cache.ipynb, and collect that folder."
    if summary.remarks:
        yield ""
        yield from summary.remarks
