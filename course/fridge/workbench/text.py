"""Text that is there without a download: the reference manual's topics, English and technical, in every CPython."""

from functools import cache
from pydoc_data.topics import topics


@cache
def prose() -> str:
    """Some 450 kB of English prose about Python, the same for everyone who has the same Python."""
    return "\n\n".join(topics[name] for name in sorted(topics))
