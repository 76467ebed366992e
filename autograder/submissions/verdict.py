"""What grading says of a test cell, and of a whole notebook."""

from dataclasses import asdict, dataclass, field
from typing import Any

STARVED = "the machine was too busy to give it its time: grade it again when less runs beside it"


@dataclass(frozen=True)
class Verdict:
    """One test cell's result.

    Attributes:
        points: earned, between 0 and `max_points`.
        message: what the learner reads.
        courses_fault: the test itself is broken; an instructor must look.
    """

    points: float
    max_points: float
    message: str
    courses_fault: bool = False

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

    def as_json(self) -> dict[str, Any]:
        """For a pipe or a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Graded":
        """The inverse of `as_json`, after JSON made strings of the indices."""
        verdicts = {name: Verdict(**verdict) for name, verdict in data["verdicts"].items()}
        outputs = {int(index): shown for index, shown in data["outputs"].items()}
        return cls(verdicts, outputs, data["layers"], data["seconds"], data["starved"])
