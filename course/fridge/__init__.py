"""The course library of *Elephant in the Fridge*: a real model, things that tests own, measuring and plotting."""

__version__ = "0.1.0"

from fridge.handing_in import submit

__all__ = ["submit"]
