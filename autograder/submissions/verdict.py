"""What grading says of a test cell, and of a whole notebook."""

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

LONGEST_REASON = 300  # characters of each part that are kept
STARVED = "the machine was too busy to give it its time: grade it again when less runs beside it"


class Reason(NamedTuple):
    """Why an exercise was lost, for whoever counts reasons. The course's words and a learner's are kept apart.

    Attributes:
        words: the verdict's own, without the values of this one learner.
        theirs: the learner's, an exception's name, which is whatever its author wrote: a forged verdict, say.
    """

    words: str
    theirs: str = ""

    @classmethod
    def of(cls, words: str, theirs: str = "") -> "Reason":
        """Each part as long as a page has room for."""
        return cls(_short(words), _short(theirs))


@dataclass(frozen=True)
class Verdict:
    """One test cell's result.

    Attributes:
        points: earned, between 0 and `max_points`.
        message: what the learner reads.
        courses_fault: the test itself is broken; an instructor must look.
        reason: why it is lost.
    """

    points: float
    max_points: float
    message: str
    courses_fault: bool = False
    reason: Reason | None = None

    @property
    def passed(self) -> bool:
        """All points."""
        return self.points == self.max_points


@dataclass
class Graded:
    """A notebook's result.

    Attributes:
        verdicts: grade_id of each test cell -> verdict.
        outputs: index of each executed cell -> its outputs in nbformat's form.
        layers: the walls that stood around the learner's process, by name.
        seconds: grade_id of each test cell -> how long its test took, the learner's functions included.
        starved: the machine gave some part of it no time, and it must be graded again.
    """

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    outputs: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    layers: dict[str, bool] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    starved: bool = False

    def for_notebook(self) -> dict[str, Any]:
        """What the autograded notebook's metadata keep beside its outputs, for reports."""
        reasons = {name: verdict.reason for name, verdict in self.verdicts.items() if verdict.reason}
        return {"layers": self.layers, "seconds": self.seconds, "reasons": reasons}

    def as_json(self) -> dict[str, Any]:
        """For a pipe or a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Graded":
        """The inverse of `as_json`, after JSON made strings of the indices."""
        verdicts = {name: _verdict(**verdict) for name, verdict in data["verdicts"].items()}
        outputs = {int(index): shown for index, shown in data["outputs"].items()}
        return cls(verdicts, outputs, data["layers"], data["seconds"], data["starved"])


def _verdict(reason: list[str] | None, **others: Any) -> Verdict:
    return Verdict(**others, reason=Reason(*reason) if reason else None)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 1] + "…"
