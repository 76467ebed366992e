"""`fridge.reveal`: after an attempt, a reference solution runs in an exercise's place, and its points are given up."""

from typing import Any

from fridge.notebook import grading, handouts, references, reveals, runs, saved, scoreboard, syllabus, this_notebook
from fridge.notebook.handouts import Stub
from fridge.notebook.references import NoReference, Reference

DELETE = "Delete this call: for as long as it stands in the notebook, the exercise counts as given up."

_in_place: dict[str, Any] = {}  # name in the notebook -> the reference that was put there


def reveal(exercise: str, file: str | None = None) -> None:
    """Show a reference and put it in the exercise's place, or say why not; see `fridge.reveal`."""
    stub = handouts.stub(exercise) if isinstance(exercise, str) else None
    if not grading.is_learning():
        print(f"fridge.reveal({exercise!r}): nothing is revealed while a notebook is graded or validated.")
        return
    shell = this_notebook.shell()
    if shell is None:
        print("fridge.reveal works in a notebook only.")
        return
    try:
        reference = _find(exercise, stub, file)
    except NoReference as error:
        print(f"fridge.reveal({exercise!r}) shows nothing: {error}\n{DELETE}")
        return
    _in_place.update(reference.values)
    shell.user_ns.update(reference.values)
    runs.replaced(reference.values)
    for name in stub.exercises:
        scoreboard.record(name, scoreboard.REVEALED)
    _show(stub, reference)


def is_in_place(exercise: str) -> bool:
    """Whether a reference runs where an exercise's own function should."""
    shell, stub = this_notebook.shell(), handouts.stub(exercise) if _in_place else None
    if shell is None or stub is None:
        return False
    return any(name in _in_place and shell.user_ns.get(name) is _in_place[name] for name in stub.names)


def stands(exercise: str, notebook: str) -> bool:
    """Whether a call that gives an exercise up stands in the saved notebook.

    Args:
        notebook: the name of its unit's notebook.
    """
    found = saved.read(notebook) if grading.is_learning() and this_notebook.shell() else None
    stub = handouts.stub(exercise) if found else None
    return found is not None and stub is not None and bool(reveals.given_up(found.cells, [stub]))


def _find(exercise: str, stub: Stub | None, file: str | None) -> Reference:
    if stub is None:
        raise NoReference('no exercise has this name. A test\'s first line has it: with exercise("…").')
    outcomes = scoreboard.outcomes()
    if not is_in_place(exercise):
        if all(outcomes.get(name) == scoreboard.RIGHT for name in stub.exercises):
            raise NoReference("you have solved it.")
        if not any(scoreboard.attempted(name) for name in stub.exercises):
            raise NoReference("try it first: write an answer, run it, and run its test, which says ✗.")
    return references.find(stub, syllabus.notebook(exercise), file)


def _show(stub: Stub, reference: Reference) -> None:
    from IPython.display import Markdown, display

    titles = "; ".join(syllabus.title(name) for name in stub.exercises)
    lost = sum(map(syllabus.points, stub.exercises))
    names = ", ".join(f"`{name}`" for name in sorted(reference.values))
    said = (
        f"**{titles}** is revealed, and its points are given up ({lost:g}). From here on a reference runs as {names}; "
        f"it comes from {reference.origin}. Run your own cell again, and your own function takes its place. "
        "For points, solve it, and delete the call of `fridge.reveal`."
    )
    display(Markdown(f"{said}\n\n```python\n{reference.source}\n```"))
