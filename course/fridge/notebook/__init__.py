"""The learner's notebook as the library sees it: its cells as handed out, as run in this kernel, and as saved."""
