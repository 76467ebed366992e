"""What test cells are written with: outcomes, expectations, and objects that the test owns and can count with."""

from fridge.caches import ConcatCache
from fridge.testing.expect import expect_close, expect_equal, expect_raises, expect_true
from fridge.testing.outcome import NotAttempted, Wrong, exercise
from fridge.testing.scripted import Call, ScriptedModel
from fridge.testing.tiny import TINY, randn, tiny_llama

__all__ = [
    "TINY",
    "Call",
    "ConcatCache",
    "NotAttempted",
    "ScriptedModel",
    "Wrong",
    "exercise",
    "expect_close",
    "expect_equal",
    "expect_raises",
    "expect_true",
    "randn",
    "tiny_llama",
]
