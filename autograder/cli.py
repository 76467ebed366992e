"""The command `autograder`: build, lint and render the course, test its tests, show a grading run."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from autograder.course import GITHUB, CourseError, find_root, nbgrader_configuration, slug, unfinished
from autograder.printing import say
from fridge.workbench.terminal import allow_any_letter, reader_has_gone

MODES = ("inprocess", "split", "both")
REVEAL = ("library", "file", "no")  # the library alone; files that you give out, too; nothing at all


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit code: 0 fine, 1 something is off, 2 wrong usage or a broken course."""
    allow_any_letter()
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        root = find_root()
        if not getattr(options, "units", True):  # all were asked for
            print("".join(f"autograder: {sentence}\n" for sentence in unfinished(root)), end="", file=sys.stderr)
        return options.run(root, options)
    except CourseError as error:
        say(f"autograder: {error}".splitlines(), file=sys.stderr)
        return 2
    except BrokenPipeError:
        return reader_has_gone()
    except KeyboardInterrupt:
        print("\nautograder: stopped. Run it again to go on.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="autograder", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run, help: str, units: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help)
        sub.set_defaults(run=run)
        if units:
            sub.add_argument("units", nargs="*", metavar="UNIT", help="03-kv-cache, say; default all")
        return sub

    sub = command("build", _build, "Make the pairs and the handouts from the masters.")
    sub.add_argument("--check", action="store_true", help="change nothing; exit 1 if a build would")
    sub = command("lint", _lint, "Check grade_ids, points, markers and tests of the masters.")
    sub.add_argument("--language", metavar="LANG", help="zh, say: how far that translation is, and what it breaks")
    sub = command("render", _render, "Execute the pairs in solutions/, so that they show outputs and plots.")
    sub.add_argument(
        "--limit", type=_bytes, metavar="SIZE", help="2G, say: beside JupyterLab, in so much memory; change nothing"
    )
    sub = command(
        "check", _check, "Grade the master, the handout and all sample submissions: do the tests tell them apart?"
    )
    sub.add_argument("--json", action="store_true", help="print JSON instead of a table")
    sub.add_argument(
        "--mode",
        choices=MODES,
        default="inprocess",
        help="tests beside the learner's code, apart from it, or both",
    )
    sub = command("new", _new, "Make a unit to write into: master, samples, its rows on the maps.", units=False)
    sub.add_argument("unit", metavar="UNIT", help="07-gptq-awq, say")
    sub.add_argument("--title", required=True, help='"GPTQ and AWQ", say')
    sub = command("mutate", _mutate, "Make small mistakes in the master's answers: do the exercises' tests notice?")
    sub.add_argument("--sample", type=_positive, metavar="N", help="so many of each exercise; default all")
    sub = command("report", _report, "Show a class's results as one page: grading/report.html.")
    sub.add_argument("--out", type=Path, metavar="FILE", help="where to write it")
    sub = command(
        "similar", _similar, "Find submissions whose own code is alike: grading/similar-UNIT.html.", units=False
    )
    sub.add_argument("unit", metavar="UNIT", help="03-kv-cache, say")
    sub.add_argument("--json", action="store_true", help="print JSON instead of a table, and make no page")
    sub.add_argument("--top", type=_positive, metavar="N", help="show so many pairs; default 20, and all in JSON")
    sub = command("publish", _publish, "Make what learners get, without solutions and grader.", units=False)
    where = sub.add_mutually_exclusive_group(required=True)
    where.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="a new folder, or one that publish made")
    where.add_argument("--branch", metavar="NAME", help="commit it to a git branch instead")
    where.add_argument("--gradescope", type=Path, metavar="DIR", help="each unit's zip for Gradescope, for you alone")
    where.add_argument("--site", type=Path, metavar="DIR", help="a website to read the course on, of what learners get")
    sub.add_argument("--reveal", choices=REVEAL, default=REVEAL[1], help="where `fridge.reveal` takes references from")
    sub.add_argument("--repo", metavar="OWNER/NAME", help="the learners' repository on GitHub, for the badges")
    sub = command("students", _students, "Import a class list into the gradebook, whole or not at all.", units=False)
    sub.add_argument("list", type=Path, metavar="LIST", help="students.csv, or what Canvas or Moodle export")
    sub = command(
        "collect", _collect, "Take a unit's submissions in, as Canvas, Moodle or folders hold them.", units=False
    )
    sub.add_argument("unit", metavar="UNIT", help="03-kv-cache, say")
    sub.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a zip archive, a folder or a notebook")
    sub.add_argument("--students", type=Path, metavar="LIST", help="a list that knows more than the gradebook")
    sub = command("references", _references, "Write a unit's solutions to a file for `fridge.reveal`.", units=False)
    sub.add_argument("unit", metavar="UNIT", help="03-kv-cache, say")
    sub.add_argument("--out", type=Path, required=True, metavar="FILE", help="call it references.json")
    for name, run, help in (
        ("grade", _grade, "Grade a unit's submissions into the gradebook; run it again after whatever stopped it."),
        ("regrade", _regrade, "Show whose points a changed release or grader would change; --write writes them."),
    ):
        sub = command(name, run, help, units=False)
        sub.add_argument("unit", metavar="UNIT", help="03-kv-cache, say")
        number = {"type": _positive, "default": 1, "metavar": "N"}
        sub.add_argument("--workers", help="worker processes on this machine; default 1", **number)
        sub.add_argument(
            "--student", nargs="+", action="extend", default=[], metavar="ID", dest="students", help="these alone"
        )
        sub.add_argument("--scheduler", default="", metavar="URL", help="of a Dask cluster: tcp://… or tls://…")
        sub.add_argument("--db", default="", metavar="URL", help="the gradebook's, for example postgresql://…")
    sub.add_argument("--write", action="store_true", help="write the new points into the gradebook")
    sub = command("feedback", _feedback, "Make a unit's feedback pages; those that are up to date stay.", units=False)
    sub.add_argument("unit", metavar="UNIT", help="03-kv-cache, say")
    sub.add_argument("--workers", type=_positive, default=1, metavar="N", help="processes on this machine; default 1")
    sub.add_argument(
        "--student", nargs="+", action="extend", default=[], metavar="ID", dest="students", help="these alone"
    )
    command("doctor", _doctor, "Say which layers of the sandbox this host gives.", units=False)
    sub = command("bench", _bench, "Measure submissions per minute against stock nbgrader.", units=False)
    sub.add_argument("--scaling", action="store_true", help="measure classes of 10 to 500 and a second worker")
    sub = command("demo", _demo, "Grade three made-up learners with nbgrader, in grading/demo/.", units=False)
    sub.add_argument("--learners", type=_positive, metavar="N", help="a class of N instead, with its report")
    return parser


def _build(root: Path, options: argparse.Namespace) -> int:
    from autograder.authoring.build import build, differences
    from autograder.translating.catalogs import languages
    from autograder.translating.lint import fuzzy

    if options.check:
        changed = differences(root)
        for path in changed:
            print(f"{path} is not what its master gives: run `make course` and commit the result")
        return int(bool(changed))
    for path in build(root, options.units):
        print(path.relative_to(root))
    for language in languages(root):
        say(fuzzy(root, language))
    return 0


def _lint(root: Path, options: argparse.Namespace) -> int:
    from autograder.authoring.lint import lint, notes
    from autograder.translating import lint as translations

    if options.language:
        found = translations.states(root, options.language)
        say(translations.table(found).split("\n"))
        return int(not all(state.fine for state in found.values()))
    findings = lint(root, options.units)
    print("\n".join(notes(root, options.units)))
    print("\n".join(findings) or "The masters are in order.")
    return int(bool(findings))


def _render(root: Path, options: argparse.Namespace) -> int:
    from autograder.authoring import confined, render

    if options.limit:
        measured = confined.measure(root, options.limit, options.units)
        print(confined.table(measured, options.limit))
        return int(any(one.killed for one in measured))
    print(render.table(render.render(root, options.units)))
    return 0


def _check(root: Path, options: argparse.Namespace) -> int:
    from autograder.authoring.check import check, table

    report = check(root, options.units, options.mode)
    print(json.dumps(report.as_json(), indent=2) if options.json else table(report))
    return int(not report.fine)


def _new(root: Path, options: argparse.Namespace) -> int:
    from autograder.authoring.new import new

    for path in new(root, options.unit, options.title):
        print(path.relative_to(root))
    print(
        f"A unit in small. Write into its master; autograder lint and check {options.unit} say when something is off."
    )
    return 0


def _mutate(root: Path, options: argparse.Namespace) -> int:
    from autograder.authoring.mutate import mutate, table

    units = mutate(root, options.units, options.sample)
    print(table(units))
    return int(not all(exercise.fine for exercises in units.values() for exercise in exercises.values()))


def _report(root: Path, options: argparse.Namespace) -> int:
    from autograder.results.report import report

    print(report(root, options.units, options.out))
    return 0


def _similar(root: Path, options: argparse.Namespace) -> int:
    from autograder.results.people import known_names
    from autograder.results.similar import TOP, similar, table
    from autograder.results.similar_page import write_page

    findings = similar(root, options.unit)
    if options.json:
        print(findings.as_json(options.top))
    else:
        print(f"{table(findings, options.top or TOP)}\n")
        print(write_page(root, findings, known_names(root), options.top or TOP))
    return 0


def _publish(root: Path, options: argparse.Namespace) -> int:
    from autograder.authoring.publish import publish, publish_branch
    from autograder.authoring.site import site
    from autograder.gradescope.archive import archives

    if options.site:
        print(f"{site(root, options.site, options.repo)} pages in {options.site}")
    elif options.gradescope:
        for path in archives(root, options.gradescope):
            print(path)
    elif options.branch:
        commit = publish_branch(root, options.branch, options.repo, options.reveal)
        print(f"{options.branch} is at {commit[:12]}. Push it to the learners' repository:")
        print(f"  git push {GITHUB}{slug(options.repo) if options.repo else 'OWNER/NAME'} {options.branch}:main")
    else:
        print(f"{publish(root, options.folder, options.repo, options.reveal)} files in {options.folder}")
    return 0


def _references(root: Path, options: argparse.Namespace) -> int:
    from autograder.authoring.references import references

    names = references(root, options.unit, options.out)
    print(
        f"{options.out} has the solutions of {', '.join(names)}. Give it to learners: they put it beside the notebook."
    )
    return 0


def _students(root: Path, options: argparse.Namespace) -> int:
    from autograder.collecting.roster import import_list
    from autograder.collecting.students import read_list

    found = read_list(options.list)
    done = import_list(nbgrader_configuration(root), found)
    say([f"{done.new} new, {done.changed} changed, {done.unchanged} unchanged", *found.remarks])
    return 0


def _collect(root: Path, options: argparse.Namespace) -> int:
    from autograder.collecting.collect import collect
    from autograder.collecting.summary import lines

    summary = collect(root, options.unit, options.files, options.students)
    say(lines(summary))
    return int(not summary.fine)


def _grade(root: Path, options: argparse.Namespace) -> int:
    from autograder.batch.grade import grade, table

    summary = grade(root, options.unit, options.workers, options.students, options.scheduler, options.db)
    say(table(summary, options.unit).split("\n"))
    return int(not summary.fine)


def _regrade(root: Path, options: argparse.Namespace) -> int:
    from autograder.batch import grade
    from autograder.batch.regrade import regrade, table

    wanted = (options.unit, options.write, options.workers, options.students, options.scheduler, options.db)
    result = regrade(root, *wanted)
    say(table(result, options.unit).split("\n"))
    if not result.summary.fine:
        say(grade.needs_a_person(result.summary).split("\n"))
    return int(not result.summary.fine)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _bytes(text: str) -> int:
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    try:
        return int(float(text.rstrip("KMG")) * units.get(text[-1:], 1))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: 2G or 1500M, say") from None


def _feedback(root: Path, options: argparse.Namespace) -> int:
    from autograder.batch.feedback import feedback, table

    pages = feedback(root, options.unit, options.workers, options.students)
    say(table(pages).split("\n"))
    return int(bool(pages.failed))


def _doctor(root: Path, options: argparse.Namespace) -> int:
    from autograder.isolation.doctor import doctor

    report, fit = doctor()
    print(report)
    return int(not fit)


def _bench(root: Path, options: argparse.Namespace) -> int:
    from autograder.trials.bench import bench
    from autograder.trials.scaling import scaling

    print(scaling(root) if options.scaling else bench(root))
    return 0


def _demo(root: Path, options: argparse.Namespace) -> int:
    from autograder.trials.demo import demo, demo_class

    print(demo_class(root, options.learners) if options.learners else demo(root))
    return 0


if __name__ == "__main__":
    sys.exit(main())
