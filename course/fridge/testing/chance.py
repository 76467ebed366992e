"""Judging random results by what is promised of them, their distribution, and by nothing else.

Right code may draw its random numbers in any order and from any generator. So a test lets it run some thousand times
and compares the counts with the exact probabilities by Pearson's chi-square test. The threshold is so low that right
code fails once in a million tests, and the tests' own random numbers have a fixed seed.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping

import torch

from fridge.testing.expect import InWords, wrong

THRESHOLD = 1e-6  # of the p-value: how often right code may be called wrong, in one test
RARE = 5.0  # outcomes that are expected less often are counted together (Cochran 1954)


def expect_distribution(
    outcomes: Iterable[Hashable], probabilities: Mapping[Hashable, float], what: str, cause: str = ""
) -> None:
    """The outcomes could have been drawn with these probabilities.

    Args:
        outcomes: what was drawn, thousands of them.
        probabilities: of every possible outcome; they sum to 1.
        what, cause: as for the other expectations.

    Raises:
        Wrong: an impossible outcome occurred, or the p-value is below `THRESHOLD`; with the outcome that is off most.
    """
    counts = Counter(outcomes)
    total = sum(counts.values())
    if total == 0:
        raise wrong(what, "outcomes", InWords("none"), cause)
    for outcome in counts:
        if not probabilities.get(outcome, 0.0) > 0.0:
            times = InWords(f"{outcome!r}, {counts[outcome]} times of {total}")
            raise wrong(what, f"never {outcome!r}", times, cause)
    if p_value(counts, probabilities) < THRESHOLD:
        worst = max(probabilities, key=lambda outcome: _surprise(counts[outcome], total * probabilities[outcome]))
        expected, got = probabilities[worst], counts[worst] / total
        raise wrong(
            f"{what}: {worst!r} in {total} runs",
            f"{_percent(expected)} of the runs",
            InWords(f"{_percent(got)}, too far off for chance"),
            cause,
        )


def p_value(counts: Mapping[Hashable, int], probabilities: Mapping[Hashable, float]) -> float:
    """Chi-square p-value of counts; 0 if an impossible outcome was counted.

    Args:
        counts: outcome -> how often it was drawn.
        probabilities: of every possible outcome; they sum to 1.
    """
    total = sum(counts.values())
    if any(count and not probabilities.get(outcome, 0.0) > 0.0 for outcome, count in counts.items()):
        return 0.0
    cells = [(counts.get(outcome, 0), total * p) for outcome, p in probabilities.items() if p > 0.0]
    common = [cell for cell in cells if cell[1] >= RARE]
    rare = [cell for cell in cells if cell[1] < RARE]
    if rare:
        pooled = (sum(count for count, _ in rare), sum(expected for _, expected in rare))
        if pooled[1] >= RARE or not common:
            common.append(pooled)
        else:  # too few even together: they join the smallest of the others
            smallest = min(range(len(common)), key=lambda index: common[index][1])
            common[smallest] = (common[smallest][0] + pooled[0], common[smallest][1] + pooled[1])
    if len(common) < 2:
        return 1.0
    statistic = math.fsum(_surprise(count, expected) for count, expected in common)
    half = torch.tensor([(len(common) - 1) / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 or share == 0 else f"{100 * share:.1g} %"


def _surprise(count: int, expected: float) -> float:
    return (count - expected) ** 2 / expected if expected else 0.0
