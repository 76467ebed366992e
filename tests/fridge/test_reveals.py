"""Which exercises a notebook gives up: what counts as a call of `fridge.reveal`, and what must cost nobody anything."""

import time

import pytest

from fridge.notebook.cells import STUB, read_cells
from fridge.notebook.handouts import stubs_of
from fridge.notebook.reveals import called, given_up


def cells(*sources: str, kind: str = "code") -> list:
    return read_cells([{"cell_type": kind, "source": source, "metadata": {}} for source in sources])


@pytest.mark.parametrize(
    "source",
    [
        'import fridge\nfridge.reveal("rope")',
        "fridge.reveal('rope', 'references.json')",
        'fridge.reveal(exercise="rope")',
        'from fridge import reveal\nreveal("rope")',
        'from fridge import *\nreveal("rope")',
        'from fridge import reveal as show\nshow("rope")',
        'import fridge as f\nf.reveal("rope")',
        'r = fridge.reveal\nr("rope")',
        'from fridge.notebook.revealing import reveal\nreveal("rope")',
        'from fridge.notebook import revealing\nrevealing.reveal("rope")',
        'import fridge.notebook.revealing\nfridge.notebook.revealing.reveal("rope")',
        'if True:\n    for _ in range(3):\n        fridge.reveal("rope")',
        'def stuck():\n    return fridge.reveal("rope")',
        'fridge.reveal("ro" "pe")',
        '%matplotlib inline\nfridge.reveal("rope")',
        '%%time\nfridge.reveal("rope")',
        '%time fridge.reveal("rope")',
        '!ls\nfridge.reveal("rope")\nfridge.reveal?',
        'try:\n    fridge.reveal("rope")\nexcept Exception:\n    pass',
    ],
)
def test_a_call(source: str) -> None:
    """Guards against a reference that is asked for in another form, while the points stay."""
    assert called(cells(source)) == {"rope"}


def test_an_alias_of_another_cell() -> None:
    """Guards against an import in one cell and the call in the next."""
    assert called(cells("from fridge import reveal as r", 'r("rope")\nr("work")')) == {"rope", "work"}


@pytest.mark.parametrize(
    "source",
    [
        '# fridge.reveal("rope")',
        '"""If you are stuck: fridge.reveal("rope")"""',
        "print('fridge.reveal(\"rope\")')",
        'def reveal(name):\n    return name\n\nreveal("rope")',
        'magic.reveal("rope")',
        "from cards import reveal\nreveal('rope')",
        "from fridge import reveal",
        "fridge.reveal",
        "fridge.reveal()",
        "name = 'rope'",
        'fridge.reveal(3)\nfridge.reveal(None)\nfridge.reveal(["rope"])',
        'fridge.reveal("rope"',  # it never ran
        '%%html\n<p>fridge.reveal("rope")</p>',
        '%%writefile notes.py\nfridge.reveal("rope")',
        '!echo fridge.reveal("rope")',
    ],
)
def test_no_call(source: str) -> None:
    """Guards against points lost for a word in a comment, a string, another language or a function of one's own."""
    assert called(cells(source)) == set()


def test_a_note_is_no_call() -> None:
    """Guards against a Markdown cell that costs points: it is never run."""
    assert called(cells('fridge.reveal("rope")', kind="markdown")) == set()
    assert called(cells('fridge.reveal("rope")', kind="raw")) == set()


def test_hostile_cells() -> None:
    """Guards against text that stops, or slows down, the grader that reads it."""
    deep, long = "(" * 5000 + 'fridge.reveal("rope")' + ")" * 5000, 'fridge.reveal("rope")\n' * 200_000
    many = [f'fridge.reveal("x{number}")' for number in range(1500)]
    assert len(called(cells(deep, "%" * 100_000 + "fridge.reveal('rope')", "\0fridge.reveal('rope')", *many))) == 1500
    assert called(cells(long)) == set(), "longer than what is given to Python's parser"


def test_all_tests_of_a_stub_are_given_up() -> None:
    """Guards against half of a class's points for a class that was shown whole."""

    def graded(grade_id: str, source: str, solution: bool) -> dict:
        marks = {"grade_id": grade_id, "solution": solution, "grade": not solution}
        return {"cell_type": "code", "source": source, "metadata": {"nbgrader": marks}}

    handout = [
        graded("kv-cache", f"class KVCache:\n    {STUB}", True),
        graded("kv-update-test", "", False),
        graded("kv-state-test", "", False),
        graded("rope", f"def apply_rope(x):\n    {STUB}", True),
        graded("rope-test", "", False),
    ]
    stubs = stubs_of("03-kv-cache", read_cells(handout))
    for name in ("kv-update", "kv-state", "kv-cache"):
        (stub,) = given_up(cells(f"fridge.reveal({name!r})"), stubs)
        assert stub.exercises == ("kv-update", "kv-state")
    assert given_up(cells("fridge.reveal('another-unit-s')"), stubs) == []


@pytest.mark.parametrize(
    "text",
    [
        "from fridge.models.llama import *\ndef reveal(w):\n    print(w)\nreveal('rope')",
        "notebook = Board()\nnotebook.reveal('rope')",
        "revealing = Board()\nrevealing.reveal('rope')",
    ],
)
def test_a_thing_of_the_learners_own_is_no_call(text: str) -> None:
    """Guards against points lost by a name that the library has somewhere, too."""
    assert called(cells(text)) == set()


def test_a_chain_of_names_without_an_end_takes_no_time() -> None:
    """Guards against a cell of 20 kB that keeps a grader busy for ten seconds, and one of 200 kB for ever."""
    chain = "".join(f"a{i}=a{i + 1}\n" for i in range(15_000)) + "a15000=fridge.reveal\nfridge.reveal('rope')\n"
    began = time.process_time()
    assert called(cells(chain, "x = 1\n" * 100_000)) == {"rope"}
    assert time.process_time() - began < 5
