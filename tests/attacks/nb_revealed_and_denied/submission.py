"""Asks for a reference and says in the notebook's metadata that nothing was given up."""

# %% after="rope-test"
import fridge

fridge.reveal("rope")
