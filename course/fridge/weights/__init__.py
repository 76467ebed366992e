"""A model's files: where they come from, whether they are whole, and how they get into a module."""
