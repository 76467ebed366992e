"""The course library of *Elephant in the Fridge*: a real model, things that tests own, measuring and plotting."""

from fridge.notebook import runs

__version__ = "0.1.0"

from fridge.notebook.handing_in import submit

__all__ = ["reveal", "submit"]

runs.watch()  # so that a test can say when what it tested is not what the learner sees


def reveal(exercise: str, references: str | None = None) -> None:
    """After an attempt, show a reference solution and let it run in the exercise's place. The points are given up.

    For as long as the call stands in the notebook, the points stay given up.

    Args:
        exercise: as its test names it, "rope" say.
        references: a file that your instructor gave out; default references.json beside the notebook.
    """
    from fridge.notebook import revealing

    revealing.reveal(exercise, references)
