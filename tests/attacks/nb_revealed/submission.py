"""Asks for a reference, and hands in a right answer."""

# %% after="rope-test"
import fridge

fridge.reveal("rope")
