"""Stop strings in a text that comes in pieces: the reply ends before the first one, and nobody sees its beginning.

Each stop string is looked for by Knuth, Morris and Pratt's algorithm (1977): after each letter it is known how much of
the string the text ends with, without a look back. The most that any of them ends with is what must be held back.
"""

from collections.abc import Sequence


class StopMatcher:
    """Shows a text up to the first stop string.

    The first is the one that is complete first; of two that are complete with the same letter the longer counts.

    Args:
        stops: strings, none of them empty; maybe none at all.

    Attributes:
        stopped: whether one is complete.

    Raises:
        ValueError: a stop string is empty: the reply would end before it begins.
    """

    def __init__(self, stops: Sequence[str] = ()):
        if not all(stops):
            raise ValueError("a stop string has at least one letter")
        self._patterns = [_Pattern(stop) for stop in stops]
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """What may be shown now: all that no stop string can begin with any more."""
        if self.stopped:
            return ""
        known = self._held + text
        for place in range(len(self._held), len(known)):
            complete = [pattern for pattern in self._patterns if pattern.push(known[place])]
            if complete:
                self.stopped, self._held = True, ""
                return known[: place + 1 - max(len(pattern.word) for pattern in complete)]
        shown = len(known) - max((pattern.matched for pattern in self._patterns), default=0)
        self._held = known[shown:]
        return known[:shown]

    def flush(self) -> str:
        """What was held back, at the end of a reply that no stop string has ended."""
        held, self._held = self._held, ""
        return held


class _Pattern:
    # `matched`: with how many of the word's letters the text ends; less than all, but while a push says True.
    def __init__(self, word: str):
        self.word = word
        self.matched = 0
        self._shorter = [0] * len(word)  # of word[: i + 1]: the longest beginning that it also ends with, not itself
        for place in range(1, len(word)):
            self._shorter[place] = self._longest(word[place], self._shorter[place - 1])

    def push(self, letter: str) -> bool:
        self.matched = self._longest(letter, self.matched)
        return self.matched == len(self.word)

    def _longest(self, letter: str, matched: int) -> int:
        while matched and self.word[matched] != letter:
            matched = self._shorter[matched - 1]
        return matched + (self.word[matched] == letter)
