"""The command `autograder`: build, lint and render the course, test its tests, show a grading run."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from autograder.course import CourseError, find_root

MODES = ("inprocess", "split")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit code: 0 fine, 1 something is off, 2 wrong usage or a broken course."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return options.run(find_root(), options)
    except CourseError as error:
        print(f"autograder: {error}", file=sys.stderr)
        return 2


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
    command("lint", _lint, "Check grade_ids, points, markers and tests of the masters.")
    command("render", _render, "Execute the pairs in solutions/, so that they show outputs and plots.")
    sub = command(
        "check", _check, "Grade the master, the handout and all sample submissions: do the tests tell them apart?"
    )
    sub.add_argument("--json", action="store_true", help="print JSON instead of a table")
    sub.add_argument(
        "--mode", choices=MODES, default="inprocess", help="tests beside the learner's code, or apart from it"
    )
    command("doctor", _doctor, "Say which layers of the sandbox this host gives.", units=False)
    command("bench", _bench, "Measure submissions per minute against stock nbgrader.", units=False)
    command("demo", _demo, "Grade three made-up learners with nbgrader, in grading/demo/.", units=False)
    return parser


def _build(root: Path, options: argparse.Namespace) -> int:
    from autograder.build import build, differences

    if options.check:
        changed = differences(root)
        for path in changed:
            print(f"{path} is not what its master gives: run `make course` and commit the result")
        return int(bool(changed))
    for path in build(root, options.units):
        print(path.relative_to(root))
    return 0


def _lint(root: Path, options: argparse.Namespace) -> int:
    from autograder.lint import lint

    findings = lint(root, options.units)
    print("\n".join(findings) or "The masters are in order.")
    return int(bool(findings))


def _render(root: Path, options: argparse.Namespace) -> int:
    from autograder.build import render

    for unit, seconds in render(root, options.units):
        print(f"{unit.pair.relative_to(root)}: {seconds:.0f} s")
    return 0


def _check(root: Path, options: argparse.Namespace) -> int:
    from autograder.check import check, table

    report = check(root, options.units, options.mode)
    print(json.dumps(report.as_json(), indent=2) if options.json else table(report))
    return int(not report.fine)


def _doctor(root: Path, options: argparse.Namespace) -> int:
    from autograder.doctor import doctor

    report, fit = doctor()
    print(report)
    return int(not fit)


def _bench(root: Path, options: argparse.Namespace) -> int:
    from autograder.bench import bench

    print(bench(root))
    return 0


def _demo(root: Path, options: argparse.Namespace) -> int:
    from autograder.demo import demo

    print(demo(root))
    return 0


if __name__ == "__main__":
    sys.exit(main())
