"""Asks for references where grading doesn't run them: in a cell with the for-real tag, in one of the course's own for-real cells, in a test cell, by another name."""

# %% tags=["for-real"] after="rope-test"
from fridge import reveal as look

look("rope")
import fridge
fridge.reveal("kv-state")
