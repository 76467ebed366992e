"""Which of a class's texts are alike: pairs, clusters of them, and what stands in public sources.

What the handout shows is taken out. What stands in a public source (the public solution, say) makes nobody alike to
others who took it from there. And a fingerprint that many in the class have says little, because short right answers
are alike by nature. Pairs are found by an inverted index of fingerprints; only those are then read against each other.
"""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autograder.results.fingerprints import GRAM, Fingerprint, grams, winnowed

SHARE = 0.4  # of the smaller submission, by weight, from which a pair is shown
PLAIN_SHARE = 0.6  # the same by count: what a whole class copied is rare for nobody
FROM_SOURCES = 0.5  # of a submission's weight from which it is said to stand in public sources
SHORTEST = 40  # tokens in a row that must be common, about five lines
STRONGEST = 3  # pairs of a cluster that are named with it
MOST_PLACES = 4  # of a run that one text repeats; a repeated line must not make this quadratic

Exercises = Mapping[str, list[str]]  # exercise -> tokens


@dataclass(frozen=True)
class Pair:
    """Two submissions that are alike, in what stands in no public source.

    Attributes:
        share: of the smaller one's fingerprints that the other one has, by count or weighed by their rarity in the
            class, whichever is more; 0 to 1.
        longest: the longest common part, in tokens.
        cells: exercises in which at least half of the fingerprints are common.
    """

    one: str
    other: str
    share: float
    longest: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Cluster:
    """Submissions that are alike, each to at least one other of them.

    Attributes:
        centre: who is most alike to the others together.
        pairs: how many there are among the members.
        strongest: the first of these.
    """

    members: tuple[str, ...]
    centre: str
    pairs: int
    strongest: tuple[Pair, ...]


@dataclass(frozen=True)
class FromSources:
    """A submission that stands in public sources, to a large part.

    Attributes:
        share: of its fingerprints that stand in any of them, weighed by how few have them; 0 to 1.
        source: the one that has the most of it.
        longest: the longest part in common with that one, in tokens.
        cells: exercises of which at least half stands in a public source.
    """

    learner: str
    share: float
    source: str
    longest: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """A stretch of tokens that two texts have in common, by its places in both."""

    start: int
    other: int
    length: int


class Text:
    """One submission's or source's code, ready to be compared."""

    def __init__(self, exercises: Exercises, given: set[Fingerprint], public: set[Fingerprint] = frozenset()):
        """Take its fingerprints.

        Args:
            given: the handout's; they count for nobody.
            public: the public sources'.
        """
        self.marks: list[Fingerprint | None] = []  # of the run that begins at a token; None where none counts
        self.spans: list[int] = []  # length of that run
        self.prints: dict[str, set[Fingerprint]] = {}
        self._own = [0]  # tokens before each place that stand neither in the handout nor in a public source
        for exercise, words in exercises.items():
            hashes = grams(words)
            self.prints[exercise] = winnowed(hashes) - given
            self._count_own(hashes, len(words), given, public)
            self.marks += [None if mark in given else mark for mark in hashes] + [None] * (len(words) - len(hashes))
            self.spans += [min(GRAM, len(words))] * len(words)
        self.own = {exercise: prints - public for exercise, prints in self.prints.items()}
        self.hashes = np.array([mark or 0 for mark in self.marks], dtype=np.uint64)
        self.ahead = _ahead(self.marks)

    def _count_own(self, hashes: list[Fingerprint], length: int, given: set, public: set) -> None:
        end = 0
        for place in range(length):
            if place < len(hashes) and (hashes[place] in given or hashes[place] in public):
                end = place + GRAM
            self._own.append(self._own[-1] + (place >= end))

    @cached_property
    def places(self) -> dict[Fingerprint, list[int]]:
        """Where each run begins, the first few places."""
        found: dict[Fingerprint, list[int]] = {}
        for place, mark in enumerate(self.marks):
            if mark is not None and len(known := found.setdefault(mark, [])) < MOST_PLACES:
                known.append(place)
        return found

    def own_tokens(self, part: Part) -> int:
        """Tokens of a part that stand neither in the handout nor in a public source."""
        return self._own[part.start + part.length] - self._own[part.start]


def _ahead(marks: list[Fingerprint | None]) -> list[int]:
    """For each place, how many runs begin there and right behind it without a gap."""
    found = [0]
    for mark in reversed(marks):
        found.append(0 if mark is None else found[-1] + 1)
    return found[:0:-1]


def common_parts(one: Text, other: Text) -> list[Part]:
    """What two texts have in common, from the first one's beginning to its end; linear in their lengths."""
    common = one.places.keys() & other.places.keys()
    parts, end = [], 0
    for start in [place for place, mark in enumerate(one.marks) if mark in common]:
        if start >= end:
            places = other.places[one.marks[start]]
            runs, place = max((_runs(one, other, start, place), -place) for place in places)
            parts.append(Part(start, -place, runs + one.spans[start] - 1))
            end = start + parts[-1].length
    return parts


def _runs(one: Text, other: Text, start: int, place: int) -> int:
    most = min(one.ahead[start], other.ahead[place])
    seen, step = 0, 64
    while seen < most:  # in growing steps: many short common runs must not each look at all that follows
        end = min(most, seen + step)
        differ = one.hashes[start + seen : start + end] != other.hashes[place + seen : place + end]
        if differ.any():
            return seen + int(differ.argmax())
        seen, step = end, 2 * step
    return most


class Comparison:
    """A class compared.

    Attributes:
        pairs: the most alike first.
        clusters: the largest first.
        from_sources: by name.
    """

    def __init__(
        self,
        learners: Mapping[str, Exercises],
        handout: Iterable[list[str]] = (),
        sources: Mapping[str, Exercises] | None = None,
    ):
        """Compare all with all.

        Args:
            handout: tokens of its cells.
            sources: name -> exercise -> tokens of what anybody may have read.
        """
        given = set().union(*(grams(cell) for cell in handout))
        self.sources = {name: Text(exercises, given) for name, exercises in (sources or {}).items()}
        shown = {name: {mark for mark in text.marks if mark is not None} for name, text in self.sources.items()}
        public = set().union(*shown.values())
        self.learners = {name: Text(learners[name], given, public) for name in sorted(learners)}
        self.from_sources = self._from_sources(shown)
        self.pairs = self._pairs()
        self.clusters = clusters(self.pairs)

    def _from_sources(self, shown: dict[str, set[Fingerprint]]) -> list[FromSources]:
        weight = _by_rarity(Counter(itertools.chain.from_iterable(shown.values())), len(shown))
        most = math.log(len(shown) + 1)  # of what stands in none of them

        def weigh(prints: Iterable[Fingerprint]) -> float:
            return sum(weight.get(mark, most) for mark in prints)

        found = []
        for name, text in self.learners.items():
            prints = set().union(*text.prints.values())
            common = {mark for mark in prints if mark in weight}
            if not common or (share := weigh(common) / weigh(prints)) < FROM_SOURCES:
                continue
            source = max(shown, key=lambda source: weigh(common & shown[source]))
            longest = max((part.length for part in common_parts(text, self.sources[source])), default=0)
            cells = tuple(cell for cell, own in text.prints.items() if own and 2 * len(own & common) >= len(own))
            if longest >= SHORTEST:
                found.append(FromSources(name, round(share, 3), source, longest, cells))
        return found

    def _pairs(self) -> list[Pair]:
        pairs = []
        for one, other, share in _candidates(self.learners):
            ours, theirs = self.learners[one], self.learners[other]
            longest = max(map(ours.own_tokens, common_parts(ours, theirs)), default=0)
            if longest >= SHORTEST:
                pairs.append(Pair(one, other, round(share, 3), longest, _alike(ours.own, theirs.own)))
        return sorted(pairs, key=lambda pair: (-pair.share, -pair.longest, pair.one, pair.other))


def clusters(pairs: Iterable[Pair]) -> list[Cluster]:
    """The pairs' connected components; pairs come with the most alike first."""
    near: dict[str, dict[str, float]] = defaultdict(dict)
    for pair in pairs:
        near[pair.one][pair.other] = near[pair.other][pair.one] = pair.share
    found, seen = [], set()
    for first in sorted(near):
        if first in seen:
            continue
        members, waiting = set(), [first]
        while waiting:
            member = waiting.pop()
            if member not in members:
                members.add(member)
                waiting += near[member]
        seen |= members
        inside = [pair for pair in pairs if pair.one in members]
        centre = max(sorted(members), key=lambda member: sum(near[member].values()))
        found.append(Cluster(tuple(sorted(members)), centre, len(inside), tuple(inside[:STRONGEST])))
    return sorted(found, key=lambda cluster: (-len(cluster.members), cluster.members))


def _candidates(texts: Mapping[str, Text]) -> Iterator[tuple[str, str, float]]:
    """Who has enough of another's fingerprints: (one, other, share)."""
    names = list(texts)
    owners: dict[Fingerprint, list[int]] = defaultdict(list)
    for number, text in enumerate(texts.values()):
        for mark in set().union(*text.own.values()):
            owners[mark].append(number)
    weight = _by_rarity({mark: len(numbers) for mark, numbers in owners.items()}, len(names))
    # What stands in public sources makes a text larger and nobody alike.
    from_sources = [len(set().union(*text.prints.values()) - owners.keys()) for text in texts.values()]
    by_weight = _shares(owners.values(), weight.values(), [math.log(len(names) + 1) * count for count in from_sources])
    by_count = _shares(owners.values(), itertools.repeat(1.0), from_sources)
    enough = (by_weight >= SHARE) | (by_count >= PLAIN_SHARE)
    for one, other in np.argwhere(np.triu(enough, k=1)):
        yield names[one], names[other], float(max(by_weight[one, other], by_count[one, other]))


def _shares(owners: Iterable[list[int]], weights: Iterable[float], others: list[float]) -> np.ndarray:
    """Of each two texts, how much of the smaller one is common; `others` is what a text has besides."""
    common = np.zeros((len(others), len(others)))
    for numbers, weight in zip(owners, weights, strict=False):
        common[np.ix_(numbers, numbers)] += weight
    size = common.diagonal() + others
    return np.minimum(1.0, common / np.maximum(np.minimum.outer(size, size), np.finfo(float).tiny))


def _by_rarity(spread: Mapping[Fingerprint, int], texts: int) -> dict[Fingerprint, float]:
    # What two of n have in common weighs most, what all have next to nothing.
    return {mark: math.log((texts + 1) / max(1, count - 1)) for mark, count in spread.items()}


def _alike(ours: dict[str, set[Fingerprint]], theirs: dict[str, set[Fingerprint]]) -> tuple[str, ...]:
    return tuple(
        name
        for name, own in ours.items()
        if own and (other := theirs.get(name)) and 2 * len(own & other) >= min(len(own), len(other))
    )
