"""The README's figure, from unit 03's pair; `make render` ends with `python -m autograder.authoring.readme_figure`."""

import base64
from pathlib import Path

import nbformat

from autograder.course import CourseError, find_root, find_units

UNIT, SAYS = "03-kv-cache", "512 positions in"  # the figure's cell, by what its title says
FIGURE = Path("course/images/kv_cache.png")


def write(root: Path) -> Path:
    """Write the figure; return its file.

    Raises:
        CourseError: the pair has no such figure: it isn't rendered, or its cell says something else now.
    """
    (unit,) = find_units(root, [UNIT])
    for cell in nbformat.read(unit.pair, as_version=4).cells:
        if cell.cell_type == "code" and SAYS in cell.source:
            for output in cell.outputs:
                if png := output.get("data", {}).get("image/png"):
                    (root / FIGURE).write_bytes(base64.b64decode(png))
                    return root / FIGURE
    raise CourseError(f"{unit.pair} has no figure whose title says {SAYS!r}: `make render`, or change {__file__}")


if __name__ == "__main__":
    print(write(find_root()))
