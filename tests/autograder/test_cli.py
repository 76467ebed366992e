"""The command line of `autograder` as a whole."""

import argparse

import pytest

from autograder.cli import _parser


@pytest.mark.parametrize("command", ["grade", "regrade"])
def test_a_repeated_option_adds_up(command):
    """`--student ada --student bo` graded bo alone, without a word."""
    options = _parser().parse_args([command, "03-kv-cache", "--student", "ada", "--student", "bo", "cem"])
    assert options.students == ["ada", "bo", "cem"]
    assert _parser().parse_args([command, "03-kv-cache"]).students == []


def test_every_option_that_takes_several_values_adds_up():
    """The next one that is written must, too."""
    (commands,) = (one for one in _parser()._actions if isinstance(one, argparse._SubParsersAction))
    takes_several = [
        (name, one.dest, type(one).__name__)
        for name, sub in commands.choices.items()
        for one in sub._actions
        if one.option_strings and one.nargs in ("+", "*")
    ]
    assert {kind for _, _, kind in takes_several} == {"_ExtendAction"}
