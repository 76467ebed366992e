"""`autograder similar`: submissions whose own code is alike, for a person to look at.

Reads a class and the public sources (the masters' answers and the right samples stand in the course's repository), has
them compared, and says what was found. Nothing is executed.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.authoring.samples import read_samples
from autograder.course import CourseError, Unit, find_units, nbgrader_configuration
from autograder.failures import sentence
from autograder.notebooks import grade_id, is_solution, read_master
from autograder.printing import shown
from autograder.results.comparison import Cluster, Comparison, FromSources, Pair
from autograder.results.fingerprints import Token, read, tokens
from autograder.submissions.folder import handed_in, submissions
from autograder.submissions.submission import find_notebook, read_notebook

MOST_CHARACTERS = 50_000  # of one exercise that are looked at; a right answer has 2,000
OTHER_CELLS = "other cells"
TOP = 20  # pairs that are shown
MOST_NAMES = 8  # of a cluster in a terminal
PUBLIC_SOLUTION = "the public solution"

LIMITS = """\
It proves nothing. What this can't tell: who wrote it first, whether a third source (a book, a model, an earlier class)
stands behind both, whether working together was allowed. It sees copying that keeps the order of steps; code that was
written anew from the same idea isn't seen, and two people may write the same few lines. What many of a class share
weighs little. Read both before you say anything."""


@dataclass(frozen=True)
class Own:
    """What somebody wrote in an exercise: its text, and where in it which tokens stand."""

    text: str
    tokens: list[Token]

    @property
    def words(self) -> list[str]:
        """The tokens, as they are compared."""
        return [token.word for token in self.tokens]


Cells = dict[str, Own]  # exercise -> what was written in it


@dataclass(frozen=True)
class Findings:
    """What was compared and found.

    Attributes:
        learners: id -> what they wrote.
        sources: name -> what stands in it.
        unread: a sentence for each submission that can't be read, or not whole.
    """

    unit: str
    learners: dict[str, Cells]
    sources: dict[str, Cells]
    comparison: Comparison
    unread: list[str]

    @property
    def pairs(self) -> list[Pair]:
        """The most alike first."""
        return self.comparison.pairs

    @property
    def clusters(self) -> list[Cluster]:
        """The largest first."""
        return self.comparison.clusters

    @property
    def from_sources(self) -> list[FromSources]:
        """By name."""
        return self.comparison.from_sources

    def as_json(self, top: int | None = None) -> str:
        """One object: unit, submissions, clusters, from_sources, pairs (all, or the first `top`), unread."""
        found = {
            "unit": self.unit,
            "submissions": len(self.learners),
            "clusters": [asdict(cluster) for cluster in self.clusters],
            "from_sources": [asdict(found) for found in self.from_sources],
            "pairs": [asdict(pair) for pair in self.pairs[:top]],
            "unread": self.unread,
        }
        return json.dumps(found, indent=2)


def similar(root: Path, name: str) -> Findings:
    """Compare all submissions of a unit with each other and with the public sources.

    Raises:
        CourseError: fewer than two were handed in, or the unit is unknown.
    """
    unit = find_units(root, [name])[0]
    folder = root / nbgrader_configuration(root).CourseDirectory.submitted_directory
    handout = nbformat.read(unit.release, as_version=4)
    learners, unread = {}, []
    for submission in submissions(folder, unit.name):
        learner = submission.parent.name
        try:
            handed_in(submission, unit.notebook)
            own = own_cells(read_notebook(find_notebook(submission, f"{unit.notebook}.ipynb")), handout)
        except Exception as error:  # a stranger's file
            unread.append(f"{shown(learner)}: {sentence(error)}")
        else:
            learners[learner] = own
            unread += [f"{learner}: {cut}" for cut in _cut(own)]
    if len(learners) < 2:
        raise CourseError(f"{folder} holds {len(learners)} submissions of {unit.name}: two are needed to compare")
    sources = public_sources(unit)
    given = [tokens(cell.source) for cell in _code(handout)]
    return Findings(unit.name, learners, sources, Comparison(_words(learners), given, _words(sources)), unread)


def table(findings: Findings, top: int = TOP) -> str:
    """The findings for a terminal, with the method's limits."""
    alike = f"{_count(len(findings.pairs), 'pair')} in {_count(len(findings.clusters), 'cluster')}"
    parts = [[f"{findings.unit}: {len(findings.learners)} submissions compared, alike: {alike}"]]
    parts += [list(_clusters(findings.clusters)), list(_sources(findings.from_sources))]
    parts += [list(_pairs(findings.pairs, top)), [shown(line) for line in findings.unread], [LIMITS]]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def own_cells(notebook: NotebookNode, handout: NotebookNode) -> Cells:
    """What a learner wrote, by exercise. Cells that are as they were handed out count for nothing."""
    given = {cell.source for cell in _code(handout)}
    exercises = {grade_id(cell) for cell in _code(handout) if grade_id(cell)}
    own: dict[str, list[str]] = {}
    for cell in _code(notebook):
        if cell.source not in given:
            own.setdefault(grade_id(cell) if grade_id(cell) in exercises else OTHER_CELLS, []).append(cell.source)
    return {name: written(sources) for name, sources in own.items()}


def written(sources: Iterable[str]) -> Own:
    """The cells of one exercise, one below the other."""
    text, found = "", []
    for source in sources:
        start = len(text)
        source = source[: MOST_CHARACTERS - start]
        found += [Token(token.word, start + token.start, start + token.end) for token in read(source)]
        text += f"{source}\n\n"
    return Own(text[:-2], found)


def public_sources(unit: Unit) -> dict[str, Cells]:
    """What anybody may have read: the public solution, and the right answers among the samples."""
    answers = {grade_id(cell): cell.source for cell in read_master(unit).cells if is_solution(cell)}
    texts = {PUBLIC_SOLUTION: answers} | {f"sample {one.name}": one.answers for one in read_samples(unit, "right")}
    return {name: {exercise: written([source]) for exercise, source in own.items()} for name, own in texts.items()}


def _clusters(clusters: list[Cluster]) -> Iterator[str]:
    for number, cluster in enumerate(clusters, 1):
        shares = [pair.share for pair in cluster.strongest]
        yield (
            f"cluster {number}: {len(cluster.members)} submissions, share up to {max(shares):.0%}, "
            f"centre {shown(cluster.centre)}: {_some(cluster.members)}"
        )


def _sources(found: list[FromSources]) -> Iterator[str]:
    for source, count in Counter(one.source for one in found).most_common():
        names = [one.learner for one in found if one.source == source]
        yield f"as in {source}: {_count(count, 'submission')}: {_some(names)}"


def _pairs(pairs: list[Pair], top: int) -> Iterator[str]:
    if not pairs:
        return
    strongest = [(shown(f"{pair.one}, {pair.other}"), pair) for pair in pairs[:top]]
    wide = max(len(names) for names, _ in strongest) + 2
    yield f"{'pair':<{wide}}{'share':>6}{'longest, tokens':>17}  exercises"
    for names, pair in strongest:
        yield f"{names:<{wide}}{pair.share:>6.0%}{pair.longest:>17}  {', '.join(pair.cells)}"
    if len(pairs) > top:
        yield f"and {len(pairs) - top} more: --top {len(pairs)} shows all"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _some(names: Iterable[str]) -> str:
    names = [shown(name) for name in names]
    rest = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + rest


def _cut(cells: Cells) -> Iterator[str]:
    for exercise, own in cells.items():
        if len(own.text) >= MOST_CHARACTERS:
            yield f"{exercise} is very long: only its first {MOST_CHARACTERS:,} characters were compared"


def _words(texts: dict[str, Cells]) -> dict[str, dict[str, list[str]]]:
    return {name: {exercise: own.words for exercise, own in cells.items()} for name, cells in texts.items()}


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]
