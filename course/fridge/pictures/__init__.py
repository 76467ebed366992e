"""The course's drawings of ideas, a module a unit: code that a notebook would only hide."""

from fridge.pictures.kv_cache import repeated_work

__all__ = ["repeated_work"]
