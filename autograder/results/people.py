"""Learners' names, as the gradebook has them."""

from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from autograder.course import nbgrader_configuration


def known_names(root: Path) -> dict[str, str]:
    """Id -> name of everybody in the gradebook; of nobody where there is none yet."""
    from nbgrader.api import Gradebook  # a second of imports

    address = nbgrader_configuration(root).CourseDirectory.db_url
    place = make_url(address)
    if place.drivername.startswith("sqlite") and not Path(place.database).is_file():
        return {}  # nbgrader would make one
    with Gradebook(address) as gradebook:
        return names_of(gradebook)


def names_of(gradebook: Any) -> dict[str, str]:
    """Id -> name, "" for one without."""
    return {
        student.id: " ".join(filter(None, (student.first_name, student.last_name))) for student in gradebook.students
    }
