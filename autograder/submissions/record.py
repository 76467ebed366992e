"""The verdict record: what grading one submitted file gave, as plain data that is checked wherever it comes in."""

import gzip
import hashlib
import json
import math
import zlib
from dataclasses import asdict, dataclass, field
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder.submissions.release import Release, graded_cells

MAX_BYTES = 128 * 2**20  # of a record's JSON; outputs are cut to 4 MB a notebook long before
CHECKSUM = 64  # hexadecimal digits


class BadRecord(Exception):
    """These bytes are no record, or not this one. The message says why."""


@dataclass(frozen=True)
class Record:
    """What grading one submitted file gave.

    Attributes:
        key: of the submission, release and grader: see `Release.key`.
        scores: grade_id of each test cell -> points.
        messages: grade_id -> what the learner reads.
        repairs: what was mended in the notebook, in words.
        faults: grade_ids of tests that are broken, which is the course's fault.
        layers: the sandbox's.
        seconds: that grading took.
        starved: the machine gave some part of it no time, and it must be graded again.
        notebook: the graded notebook with its outputs, as JSON; None if it was refused.
        refused: why it wasn't graded, in one sentence; empty if it was.
    """

    key: str
    unit: str
    scores: dict[str, float] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    repairs: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    layers: dict[str, bool] = field(default_factory=dict)
    seconds: float = 0.0
    starved: bool = False
    notebook: dict[str, Any] | None = None
    refused: str = ""

    def pack(self) -> bytes:
        """As compressed JSON behind its checksum, for a file or a wire."""
        text = json.dumps(asdict(self)).encode()
        return gzip.compress(hashlib.sha256(text).hexdigest().encode() + b"\n" + text, compresslevel=3, mtime=0)

    def read_notebook(self) -> NotebookNode:
        """The graded notebook."""
        return nbformat.from_dict(self.notebook)


def unpack(data: bytes, key: str, release: Release) -> Record:
    """The inverse of `Record.pack`, for bytes from a disk or another machine.

    Raises:
        BadRecord: cut off, altered, of another submission, or not of a record's form.
    """
    text = _inflate(data)
    checksum, _, text = text[:CHECKSUM], text[CHECKSUM : CHECKSUM + 1], text[CHECKSUM + 1 :]
    if hashlib.sha256(text).hexdigest().encode() != checksum:
        raise BadRecord("its checksum is wrong")
    try:
        record = Record(**json.loads(text))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRecord(f"it has another form: {error}") from error
    _check(record, key, release)
    return record


def _inflate(data: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    try:
        text = stream.decompress(data, MAX_BYTES)
    except zlib.error as error:
        raise BadRecord(f"it can't be read: {error}") from error
    if not stream.eof:
        raise BadRecord("it ends too early, or is larger than any record")
    return text


def _check(record: Record, key: str, release: Release) -> None:
    if (record.key, record.unit) != (key, release.unit):
        raise BadRecord("it is another submission's")
    if type(record.refused) is not str or not _all(str, record.repairs) or not _all(str, record.faults):
        raise BadRecord("its words are no text")
    if record.refused:
        return
    if type(record.scores) is not dict or set(record.scores) != set(release.points):
        raise BadRecord("its tests are not the release's")
    for name, points in record.scores.items():
        if type(points) is not float or not math.isfinite(points) or not 0 <= points <= release.points[name]:
            raise BadRecord(f"{name} can't have {points} points")
    try:
        nbformat.validate(record.notebook)
    except (nbformat.ValidationError, AttributeError, TypeError, KeyError) as error:
        raise BadRecord("its notebook is none") from error
    if graded_cells(record.notebook) != release.graded_cells:
        raise BadRecord("its notebook's exercises and tests are not the release's")


def _all(kind: type, values: Any) -> bool:
    return type(values) is list and all(type(value) is kind for value in values)
