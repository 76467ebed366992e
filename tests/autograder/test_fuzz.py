"""Fuzzing: a second of each always, minutes where they are asked for: FUZZ_MINUTES=20 pytest -m long test_fuzz.py."""

import os

import fuzz
import pytest

SECONDS, MEGABYTES = 30.0, 1500.0  # of the processor and of memory, for one input up to the limits


@pytest.mark.parametrize("what", ["wire", "rebuild", "clean"])
def test_no_input_is_dear_or_raises_what_nobody_expects(what):
    """Guards against a message or notebook that ends the grader, or keeps it."""
    judge(fuzz.main(what, 1 / 60, seed=1))


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("what", ["wire", "rebuild", "clean"])
def test_for_minutes(what):
    """The same, for as long as you like, from a new seed each time."""
    judge(fuzz.main(what, float(os.environ.get("FUZZ_MINUTES", "5")), seed=int.from_bytes(os.urandom(4), "big")))


def judge(worst):
    print(f"\n{worst.table()}")
    for row in worst.rows.values():
        assert row["seconds"] < SECONDS, worst.table()
        assert row["MB"] < MEGABYTES, worst.table()
