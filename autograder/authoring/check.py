"""`autograder check`: do a unit's tests tell good answers from bad ones?

Grades the master (must get everything), the handout (nothing, and no crash), every wrong sample (loses exactly what it
says) and every right one (loses nothing), answers each exercise without a thought (`degenerate`: gains nothing) and
with the library's functions (`borrowed`: none that isn't on record), and counts per exercise; also, of how many wrong
answers the message tells the mistake, tells another, or is silent. In both modes, points and messages must agree; that
a wrong sample loses nothing else is then looked at in-process.
"""

from dataclasses import dataclass, field
from pathlib import Path

from nbformat import NotebookNode

from autograder.authoring import borrowed, degenerate
from autograder.authoring.agreement import disagreements
from autograder.authoring.runner import run_all
from autograder.authoring.samples import Sample, answered, read_samples, untouched
from autograder.course import Unit, find_units, nbgrader_configuration
from autograder.notebooks import TEST_SUFFIX, by_hand_points, grade_id, is_exercise, is_test, read_master, tested_points
from autograder.submissions.verdict import Verdict

FEWEST_WRONG, FEWEST_RIGHT = 5, 2  # samples that every exercise must have
BOTH = "both"


@dataclass
class Exercise:
    """How one exercise's tests did."""

    points: float
    wrong_caught: int = 0
    wrong_total: int = 0
    right_accepted: int = 0
    right_total: int = 0
    degenerate_refused: int = 0
    degenerate_total: int = 0
    told: int = 0
    misled: int = 0

    @property
    def fine(self) -> bool:
        """Enough samples, and all told apart."""
        return (
            FEWEST_WRONG <= self.wrong_total == self.wrong_caught
            and FEWEST_RIGHT <= self.right_total == self.right_accepted
        )


@dataclass
class UnitReport:
    """How one unit's tests did.

    Attributes:
        by_hand: what a person grades.
        findings: sentences about what is off.
        verdicts: of the master, the handout and each sample.
    """

    master_score: float
    handout_score: float
    handout_crashed: bool
    max_score: float
    exercises: dict[str, Exercise]
    by_hand: dict[str, float] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    verdicts: dict[str, dict[str, Verdict]] = field(default_factory=dict)

    @property
    def fine(self) -> bool:
        """Nothing is off."""
        return not self.findings


@dataclass
class Report:
    """The reports of some units."""

    units: dict[str, UnitReport]

    @property
    def fine(self) -> bool:
        """Nothing is off anywhere."""
        return all(unit.fine for unit in self.units.values())

    def as_json(self) -> dict:
        """{"units": {name: {"master", "handout", "exercises", "findings"}}}."""
        return {
            "units": {
                name: {
                    "master": {"score": unit.master_score, "max": unit.max_score},
                    "handout": {"score": unit.handout_score, "crashed": unit.handout_crashed},
                    "exercises": {exercise: vars(counts) for exercise, counts in unit.exercises.items()},
                    "findings": unit.findings,
                }
                for name, unit in self.units.items()
            }
        }


def check(root: Path, names: list[str] | None = None, mode: str = "inprocess", near: bool = False) -> Report:
    """Grade everything of the named units (default all); `mode` is "inprocess", "split" or "both".

    Args:
        near: of wrong samples run no tests but those of their own exercises, and those that they lose: that they lose
            no others isn't looked at, and it takes half the time.
    """
    if mode != BOTH:
        return Report({unit.name: _check_unit(unit, mode, near) for unit in find_units(root, names)})
    beside, apart = check(root, names, "inprocess", near), check(root, names, "split", near=True)
    for unit in find_units(root, names):
        _compare(unit, beside.units[unit.name], apart.units[unit.name])
    return beside


def _compare(unit: Unit, beside: UnitReport, apart: UnitReport) -> None:
    # The findings of both, and where they disagree.
    beside.findings += [f"apart: {finding}" for finding in apart.findings if finding not in beside.findings]
    expected = {f"wrong/{sample.name}" for sample in read_samples(unit, "wrong") if sample.modes_differ}
    beside.findings += disagreements(beside.verdicts, apart.verdicts, expected)


def table(report: Report) -> str:
    """The report for a terminal."""
    lines = []
    for name, unit in report.units.items():
        crashed = ", crashed" if unit.handout_crashed else ""
        lines.append(
            f"{name}: master {unit.master_score:g} of {unit.max_score:g}, handout {unit.handout_score:g}{crashed}\n"
            f"  {'exercise':<24}{'points':>7}{'wrong caught':>15}{'told/misled/silent':>20}{'right accepted':>17}"
            f"{'degenerate refused':>21}"
        )
        for exercise, counts in unit.exercises.items():
            caught = f"{counts.wrong_caught} of {counts.wrong_total}"
            accepted = f"{counts.right_accepted} of {counts.right_total}"
            refused = f"{counts.degenerate_refused} of {counts.degenerate_total}"
            silent = counts.wrong_total - counts.told - counts.misled
            told = f"{counts.told}/{counts.misled}/{silent}"
            lines.append(f"  {exercise:<24}{counts.points:>7g}{caught:>15}{told:>20}{accepted:>17}{refused:>21}")
        lines += [f"  {name:<24}{points:>7g}   graded by a person" for name, points in unit.by_hand.items()]
        lines += [f"  ! {finding}" for finding in unit.findings]
    return "\n".join(lines)


def _check_unit(unit: Unit, mode: str, near: bool) -> UnitReport:
    from nbgrader.preprocessors import ClearSolutions

    samples = {kind: read_samples(unit, kind) for kind in ("wrong", "right")}
    master = read_master(unit)
    clear_solutions = ClearSolutions(config=nbgrader_configuration(unit.root))
    notebooks = {"master": master, "handout": untouched(master, clear_solutions)}
    tests_of = _tests_of(master)
    for kind, found in samples.items():
        notebooks |= {f"{kind}/{sample.name}": answered(master, sample.answers) for sample in found}
    for sample in samples["wrong"] if near else ():
        tests = sample.loses.union(*(tests_of[answer] for answer in sample.answers))
        _cut(notebooks[f"wrong/{sample.name}"], tests, also_before=mode == "split")
    drills = {f"drill/{drill.exercise}": drill for drill in degenerate.drills(master, without_tests=mode == "split")}
    trials = {f"trial/{trial.name}": trial for trial in borrowed.trials(master, without_tests=mode == "split")}
    by_themselves = {name: both.notebook for name, both in (drills | trials).items()}
    verdicts = run_all(notebooks, master, mode, by_themselves)

    exercises = {name: Exercise(points) for name, points in tested_points(master).items()}
    report = UnitReport(
        master_score=_score(verdicts["master"]),
        handout_score=_score(verdicts["handout"]),
        handout_crashed=any("not attempted" not in verdict.message for verdict in verdicts["handout"].values()),
        max_score=sum(counts.points for counts in exercises.values()),
        exercises=exercises,
        by_hand=by_hand_points(master),
        verdicts={name: verdicts[name] for name in notebooks},
    )
    _judge_master_and_handout(report, verdicts)
    for sample in samples["wrong"]:
        _judge_wrong(report, sample, verdicts[f"wrong/{sample.name}"])
    for sample in samples["right"]:
        _judge_right(report, sample, verdicts[f"right/{sample.name}"], tests_of)
    record = degenerate.on_record(unit)
    for name, drill in drills.items():
        _judge_drill(report, drill, verdicts[name], record.get(drill.exercise, {}))
    borrowed_record = borrowed.on_record(unit.root, unit.name)
    for name, trial in trials.items():
        _judge_trial(report, trial, verdicts[name], borrowed_record.get(trial.name, {}))
    for name, counts in exercises.items():
        if counts.wrong_total < FEWEST_WRONG or counts.right_total < FEWEST_RIGHT:
            report.findings.append(
                f"{name}: has {counts.wrong_total} wrong and {counts.right_total} right samples, "
                f"needs {FEWEST_WRONG} and {FEWEST_RIGHT}"
            )
    return report


def _cut(notebook: NotebookNode, tests: frozenset[str], also_before: bool) -> None:
    # What stands behind the last of these tests, and other tests before it: in-process these are the master's own run.
    last = max(place for place, cell in enumerate(notebook.cells) if grade_id(cell) in tests)
    del notebook.cells[last + 1 :]
    if also_before:
        notebook.cells = [cell for cell in notebook.cells if not is_test(cell) or grade_id(cell) in tests]


def _judge_master_and_handout(report: UnitReport, verdicts: dict[str, dict[str, Verdict]]) -> None:
    for test, verdict in verdicts["master"].items():
        if not verdict.passed:
            report.findings.append(f"master: loses {test}: {verdict.message}")
    for test, verdict in verdicts["handout"].items():
        if verdict.points:
            report.findings.append(f"handout: earns {verdict.points:g} points in {test}")
        elif "not attempted" not in verdict.message:
            report.findings.append(f"handout: {test} is not reported as not attempted: {verdict.message}")


def _judge_wrong(report: UnitReport, sample: Sample, verdicts: dict[str, Verdict]) -> None:
    lost = {test for test, verdict in verdicts.items() if not verdict.passed}
    for test in sample.loses:
        counts = report.exercises[test.removesuffix(TEST_SUFFIX)]
        counts.wrong_total += 1
        counts.wrong_caught += lost == sample.loses
    if missed := sample.loses - lost:
        report.findings.append(f"wrong/{sample.name}: keeps its points in {', '.join(sorted(missed))}: too weak a test")
    for test in sorted(lost - sample.loses):
        report.findings.append(f"wrong/{sample.name}: also loses {test}: {verdicts[test].message}")
    if not missed:  # else there is no message to judge
        _judge_message(report, sample, verdicts)


def _judge_message(report: UnitReport, sample: Sample, verdicts: dict[str, Verdict]) -> None:
    said = _plain(" ".join(verdicts[test].message for test in sorted(sample.loses)))
    silent = [text for text in sample.told if _plain(text) not in said]
    misled = [text for text in sample.misleads if _plain(text) in said]
    for test in sample.loses:
        counts = report.exercises[test.removesuffix(TEST_SUFFIX)]
        counts.misled += bool(misled)
        counts.told += bool(sample.told) and not silent and not misled
    if silent:
        report.findings.append(f"wrong/{sample.name}: isn't told {silent}: {said}")
    if misled:
        report.findings.append(f"wrong/{sample.name}: is told {misled}, which is not the mistake: {said}")


def _plain(text: str) -> str:
    return " ".join(text.split()).lower()


def _judge_right(
    report: UnitReport, sample: Sample, verdicts: dict[str, Verdict], tests_of: dict[str, list[str]]
) -> None:
    for answer in sample.answers:
        for test in tests_of[answer]:
            counts = report.exercises[test.removesuffix(TEST_SUFFIX)]
            counts.right_total += 1
            counts.right_accepted += verdicts[test].passed
    for test, verdict in verdicts.items():
        if not verdict.passed:
            report.findings.append(f"right/{sample.name}: loses {test}, too strict a test: {verdict.message}")


def _judge_drill(
    report: UnitReport, drill: degenerate.Drill, verdicts: dict[str, Verdict], record: dict[str, str]
) -> None:
    outcome = degenerate.judge(drill, verdicts)
    if outcome.broken:
        report.findings.append(f"drill/{drill.exercise}: the master's own answer loses points: {outcome.broken}")
    for test in drill.tests:
        counts = report.exercises[test.removesuffix(TEST_SUFFIX)]
        counts.degenerate_total = outcome.tried
        counts.degenerate_refused = outcome.tried - len(outcome.gained)
    for answer, points in outcome.gained.items():
        if answer not in record:
            report.findings.append(f"drill/{drill.exercise}: {answer}: gets {points:g} points: too weak a test")
    for answer in record.keys() - outcome.gained.keys():
        report.findings.append(f"drill/{drill.exercise}: {answer} is on record as right, and gets no points")


def _judge_trial(
    report: UnitReport, trial: borrowed.Trial, verdicts: dict[str, Verdict], record: dict[str, str]
) -> None:
    passed = trial.passed(verdicts)
    for name in passed:
        if name not in record:
            report.findings.append(f"{trial.name}: {name} answers it, which is not on record in {borrowed.RECORD}")
    for name in record.keys() - set(passed):
        report.findings.append(f"{trial.name}: {name} is on record in {borrowed.RECORD}, and doesn't answer it")


def _tests_of(master: NotebookNode) -> dict[str, list[str]]:
    # An exercise's test cells are those between its cell and the next exercise's.
    tests: dict[str, list[str]] = {}
    for cell in master.cells:
        if is_exercise(cell):
            current = tests.setdefault(grade_id(cell), [])
        elif is_test(cell):
            current.append(grade_id(cell))
    return tests


def _score(verdicts: dict[str, Verdict]) -> float:
    return sum(verdict.points for verdict in verdicts.values())
