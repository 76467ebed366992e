"""Takes reveal's own switches apart in its process: not graded, attempted, allowed, and a file of references that it makes up."""

# %% nbgrader={"grade_id": "rope", "solution": true, "grade": false}
def apply_rope(x, start, theta=10_000.0):
    return x

# %% after="rope"
import json
import os

os.environ.pop("NBGRADER_EXECUTION", None)
from fridge.notebook import scoreboard
from fridge.notebook import grading, references, revealing

grading._said = grading.Role.LEARNING
scoreboard.record("rope", scoreboard.WRONG)
references.allowed = lambda: ""
revealing.reveal("rope")
root = os.path.abspath(os.path.join(os.path.dirname(references.__file__), "..", "..", ".."))
for folder in (root, os.path.dirname(root), "/", os.getcwd()):
    if os.path.exists(os.path.join(folder, "solutions")):
        print("LEAKED", folder)
print("looked everywhere", apply_rope.__code__.co_names)
