"""Similarity: copies are found under other names and in another order, independent answers aren't accused."""

import copy
import json
import os

import nbformat
import pytest

from autograder.authoring.build import build
from autograder.authoring.samples import read_samples
from autograder.cli import main
from autograder.course import CourseError, find_units
from autograder.notebooks import is_solution
from autograder.results.comparison import Comparison, Pair, Part, Text, clusters, common_parts
from autograder.results.fingerprints import grams, read, tokens
from autograder.results.similar import MOST_CHARACTERS, OTHER_CELLS, own_cells, similar, table, written
from autograder.results.similar_page import sides, write_page
from autograder.trials.generated import submit

UNIT = "03-kv-cache"
SOURCE = "numpy_throughout"
HOSTILE = "<script>document.title=`pwned`</script>"


@pytest.fixture(scope="module")
def unit(request):
    """The real course's unit."""
    return find_units(request.config.rootpath, [UNIT])[0]


def built(mini):
    """The mini course's unit, handed out."""
    build(mini)
    return find_units(mini)[0]


def right_answers(unit) -> dict[str, dict[str, str]]:
    """Sample -> exercise -> source, each written apart from the others."""
    return {sample.name: sample.answers for sample in read_samples(unit, "right")}


def as_tokens(answers: dict[str, str]) -> dict[str, list[str]]:
    return {exercise: tokens(source) for exercise, source in answers.items()}


def disguised(source: str) -> str:
    """A copy by somebody who takes trouble: other names, other comments, other layout."""
    lines = [line for line in source.splitlines() if not line.strip().startswith("#")]
    words = ("scores", "mask", "keys", "values", "start", "layer", "length", "prompt", "cache", "positions", "angles")
    for number, word in enumerate(words):
        lines = [line.replace(word, f"thing{number}") for line in lines]
    return "\n\n".join(
        f"{line}  # mine" if line and not line.endswith("\\") and '"""' not in line else line for line in lines
    )


def test_a_copy_with_other_names_in_another_order_is_found(unit):
    """What a copier changes first must not hide a copy: names, comments, layout, the order of the functions."""
    original = right_answers(unit)
    class_ = {name: as_tokens(answers) for name, answers in original.items()}
    changed = as_tokens({exercise: disguised(source) for exercise, source in reversed(original[SOURCE].items())})
    pairs = Comparison(class_ | {"copier": changed}).pairs
    assert [(pair.one, pair.other) for pair in pairs] == [("copier", SOURCE)]
    assert pairs[0].share > 0.7
    assert len(pairs[0].cells) >= 5


def test_independent_right_answers_are_not_accused(unit):
    """Right answers to the same exercises, each written apart: none may be called alike."""
    class_ = {name: as_tokens(answers) for name, answers in right_answers(unit).items()}
    assert len(class_) >= 5
    assert Comparison(class_).pairs == []


def test_what_everybody_writes_weighs_little():
    """The obvious three lines that half the class has must not outweigh what two alone share."""
    obvious = tokens(
        "def add(first, second):\n    total = first + second\n    return total + 0 * first - 0 * second\n" * 2
    )
    own = {
        name: tokens(f"table = [{', '.join(f'{name} * {step}' for step in range(start, start + 40))}]")
        for name, start in (("a", 0), ("b", 100), ("c", 200), ("d", 300))
    }
    class_ = {name: {"add": obvious, "table": rest} for name, rest in own.items()}
    assert Comparison(class_).pairs == []
    class_["b"]["table"] = class_["a"]["table"]
    assert [(pair.one, pair.other) for pair in Comparison(class_).pairs] == [("a", "b")]


def test_the_handout_counts_for_nobody(unit):
    """Cells that are as handed out, and stubs, are in every submission."""
    handout = nbformat.read(unit.release, as_version=4)
    assert own_cells(handout, handout) == {}
    changed = copy.deepcopy(handout)
    next(cell for cell in changed.cells if is_solution(cell)).source = "def mine():\n    return 1"
    changed.cells.append(nbformat.v4.new_code_cell("x = 2"))
    assert sorted(own_cells(changed, handout)) == sorted(["work", OTHER_CELLS])


def test_the_command_reads_a_class_and_states_its_limits(mini, capsys, monkeypatch):
    """Submissions that are no notebooks are named, the table ends with what the method can't tell, JSON is JSON."""
    unit = built(mini)
    monkeypatch.chdir(mini)
    body = "\n".join(f"    step{number} = a * {number} + b ** {number}" for number in range(20))
    for learner, name in (("ada", "a"), ("bo", "a"), ("cy", None)):
        submit(unit, learner, {"add": f"def add({name}, b):\n{body}\n    return {name} + b"} if name else {})
        beside = mini / "grading" / "submitted" / learner / unit.name / "timestamp.txt"
        beside.write_text("2027-03-01 12:00:00 UTC")  # a class that was collected: it was taken for the notebook
    broken = mini / "grading" / "submitted" / "broken" / unit.name / "mini.ipynb"
    broken.parent.mkdir(parents=True)
    broken.write_text("[" * 100_000)
    assert main(["similar", unit.name]) == 0
    said = capsys.readouterr().out
    assert "3 submissions compared, alike: 1" in said
    assert "ada, bo" in said
    assert "broken:" in said
    assert "Read both before you say anything" in said
    assert main(["similar", unit.name, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pairs"][0]["cells"] == ["add"]
    for learner in ("bo", "cy"):
        (mini / "grading" / "submitted" / learner / unit.name / "mini.ipynb").unlink()
    with pytest.raises(CourseError, match="two are needed"):
        similar(mini, unit.name)


def test_code_that_python_can_not_read_still_has_tokens():
    """A learner's last state may have a bracket open, or a magic in it."""
    one, other = tokens("%timeit add(first, 2\nx = 'a"), tokens("%timeit plus(second, 2\ny = 'a")
    assert one == other
    assert len(one) > 5


def code(name: str, start: int, steps: int = 20) -> str:
    """Code that nobody else writes: other numbers, other methods."""
    body = "\n".join(f"    total = {name}.step{start + step}(total, {start + step})" for step in range(steps))
    return f"def solve({name}, total):\n{body}\n    return total\n"


def as_class(**sources: str) -> dict[str, dict[str, list[str]]]:
    return {name: {"solve": tokens(source)} for name, source in sources.items()}


def test_copies_of_a_public_source_are_no_pairs():
    """All who copied the public solution are alike to each other: 115 of them gave 6,139 lines."""
    public = code("x", 0)
    class_ = as_class(**{f"copier-{number}": public for number in range(5)}, own=code("y", 100))
    found = Comparison(class_, sources=as_class(solution=public))
    assert found.pairs == []
    assert [one.learner for one in found.from_sources] == [f"copier-{number}" for number in range(5)]
    assert {(one.source, one.share, one.cells) for one in found.from_sources} == {("solution", 1.0, ("solve",))}


def test_a_copy_beside_the_public_solution_is_still_a_pair():
    """Who takes one exercise from the public solution must not hide that the others are a neighbour's."""
    public, own = tokens(code("x", 0)), tokens(code("y", 100, 40))
    class_ = {name: {"first": public, "second": own} for name in ("ada", "bo")}
    class_ |= {"cy": {"first": public, "second": tokens(code("z", 200, 40))}}
    found = Comparison(class_, sources={"solution": {"first": public}})
    assert [(pair.one, pair.other, pair.cells) for pair in found.pairs] == [("ada", "bo", ("second",))]


def test_a_small_change_to_a_public_source_makes_no_pair():
    """Two that copied it and changed the same word have a word in common, no more."""
    changed = code("x", 0).replace("total, 7)", "total, 8)")
    class_ = as_class(ada=changed, bo=changed, cy=code("z", 200))
    assert Comparison(class_, sources=as_class(solution=code("x", 0))).pairs == []


@pytest.mark.parametrize(("public_steps", "own_steps"), [(60, 6), (3, 3)])
def test_a_pair_is_measured_without_and_beside_what_is_public(public_steps, own_steps):
    """Little in common beside much that is public is no 100 %, and a public run of tokens makes no short one long."""
    public = code("x", 0, public_steps)
    own = "\n".join(f"later{step}.go{step}(total, {step})" for step in range(own_steps))
    class_ = as_class(ada=f"{public}{own}", bo=f"{public}{own}", cy=code("z", 200))
    assert Comparison(class_).pairs != [], "with nothing public it would be one"
    assert Comparison(class_, sources=as_class(solution=public)).pairs == []


def test_independent_right_answers_are_not_called_public(unit):
    """The master and samples that were written apart: none may be said to stand in the others."""
    answers = {name: as_tokens(own) for name, own in right_answers(unit).items() if name != "counts_by_layer"}
    for name, own in answers.items():  # counts_by_layer is the master but for one exercise
        others = {other: theirs for other, theirs in answers.items() if other != name}
        assert Comparison({name: own}, sources=others).from_sources == []


def test_what_a_whole_class_copied_is_found():
    """Rarity alone hides it: in a class of copies the copied part is the commonest there is, an own line the rarest."""
    shared = code("x", 0, 40)
    class_ = as_class(**{f"s{number:02}": f"{shared}\n{code('y', 100 * number + 100, 4)}" for number in range(30)})
    found = Comparison(class_)
    assert len(found.pairs) == 30 * 29 // 2
    assert [len(cluster.members) for cluster in found.clusters] == [30]


def test_clusters_their_centre_and_their_strongest_pairs():
    """Two groups must not run into one, and the one whom both others copied from is the centre."""
    pairs = [Pair("b", "c", 0.9, 50, ()), Pair("a", "b", 0.8, 50, ()), Pair("x", "y", 0.7, 50, ())]
    first, second = clusters(pairs)
    assert (first.members, first.centre, first.pairs) == (("a", "b", "c"), "b", 2)
    assert first.strongest == tuple(pairs[:2])
    assert second.members == ("x", "y")


@pytest.mark.parametrize("text", ["x=1;" * 50_000, "é=1;" * 50_000, "x=1\n" * 50_000, "(" * 200_000, "x " * 100_000])
@pytest.mark.timeout(120)
def test_repetition_takes_time_in_proportion_to_its_length(text):
    """One line of 200 kB, said again and again, kept the comparison busy for ever."""
    texts = [written([text]).words, written([f"y = 2\n{text}"]).words]
    found = Comparison({"one": {"solve": texts[0]}, "other": {"solve": texts[1]}})
    assert len(found.pairs) == 1


def test_common_parts_are_found_where_they_stand():
    """A part that moved must be marked in its place on both sides, and what the handout shows not at all."""
    one, other = tokens(code("x", 0)), tokens(code("y", 100))
    given = tokens("while True:\n    pass\n" * 20)
    texts = {"a": [*one, *given], "b": other}, {"b": other, "a": one, "c": given}
    parts = common_parts(*(Text(exercises, set(grams(given))) for exercises in texts))
    assert parts == [Part(0, len(other), len(one)), Part(len(one + given), 0, len(other))]


def test_tokens_know_where_they_stand():
    """Line ends of all systems, letters outside ASCII, and text behind a form feed: a mark must not be off by one."""
    source = 'é = "ü"\r\nif é:\r    naïve = 1  # a comment\n\f\nlast = naïve'
    assert [source[token.start : token.end] for token in read(source)] == [
        *("é", "=", '"ü"', "if", "é", ":", "naïve", "=", "1", "last", "=", "naïve")
    ]


def test_a_long_exercise_is_cut_and_the_reader_is_told(mini, monkeypatch):
    """A silent cut would pass for a comparison of the whole."""
    unit = built(mini)
    for learner in ("ada", "bo"):
        submit(unit, learner, {"add": "x=1;" * 50_000})
    findings = similar(mini, unit.name)
    assert [len(cells["add"].text) for cells in findings.learners.values()] == [MOST_CHARACTERS] * 2
    assert "ada: add is very long: only its first 50,000 characters were compared" in table(findings)


def test_the_page_shows_both_texts_and_runs_nothing(mini):
    """Code, names and exercises come from strangers: all of it must be text in the instructor's browser."""
    unit = built(mini)
    body = "\n".join(f"    step{number} = a * {number} + b ** {number}" for number in range(20))
    answer = f"def add(a, b):\n{body}\n    return '{HOSTILE}'"
    for learner in ("ada", "bo"):
        submit(unit, learner, {"add": answer})
    findings = similar(mini, unit.name)
    path = write_page(mini, findings, {"ada": HOSTILE})
    page = path.read_text()
    assert path == mini / "grading" / "similar-00-mini.html"
    assert path.stat().st_mode & 0o077 == 0, "names and work are not for everybody"
    assert page.count("<script") == 1, "the page's own"
    assert "default-src 'none'" in page
    assert "&lt;script&gt;" in page
    assert page.index('id="clusters"') < page.index('id="pairs"')
    assert 'href="#p1-other-1"' in page
    assert 'id="p1-other-1"' in page
    shown = sides(findings, "ada", "bo")
    assert "".join(piece.text for piece in shown[0].one) == answer, "nothing is lost between the marks"
    assert "step7 = a * 7 + b ** 7" in "".join(piece.text for piece in shown[0].one if piece.part)


def test_top_and_json(mini, capsys, monkeypatch):
    """A class of copies must not flood the terminal; a program that reads JSON gets all, with the clusters."""
    unit = built(mini)
    monkeypatch.chdir(mini)
    for learner in ("ada", "bo", "cy"):
        submit(unit, learner, {"add": code("x", 0)})
    assert main(["similar", unit.name, "--top", "1"]) == 0
    said = capsys.readouterr().out
    assert "cluster 1: 3 submissions" in said
    assert "and 2 more: --top 3 shows all" in said
    assert said.count("ada, bo ") == 1
    assert "bo, cy " not in said.partition("pair ")[2]
    assert main(["similar", unit.name, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["pairs"]) == 3
    assert found["clusters"][0]["members"] == ["ada", "bo", "cy"]


def test_a_name_neither_steers_the_terminal_nor_forges_a_line(mini):
    """An id is a folder's name, and that is whatever an archive said: escapes, line ends, halves of a character."""
    unit = built(mini)
    hostile = ("ada\x1b[2J", "bo\nnothing was found", os.fsdecode(b"c\xff"))
    for learner in ("ada", "bo", *hostile):
        submit(unit, learner, {"add": code("x", 0)})
    findings = similar(mini, unit.name)
    assert set(findings.learners) == {"ada", "bo"}
    assert len(findings.unread) == len(hostile)
    said = table(findings)
    assert "\x1b" not in said
    assert "\nnothing was found" not in said
    said.encode()
    assert write_page(mini, findings, {}).is_file()
