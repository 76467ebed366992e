"""Lengths of requests, as a server sees them: log-normal, many short ones and a few long ones.

Two traces have the mean lengths that Kwon et al. (2023, section 6.1) give for ShareGPT's conversations (161 tokens in,
338 out) and Alpaca's instructions (19 in, 58 out); the shape is an assumption of ours. The third is a fixed set of
requests with tokens, on which the course's engines are measured.
"""

import math
import random
from dataclasses import dataclass

SHAREGPT_MEANS, ALPACA_MEANS = (161, 338), (19, 58)  # tokens in, tokens out
SIGMA = 1.0  # standard deviation of the lengths' logarithms
LONGEST = 1024  # tokens in, and tokens out: together a model's 2048
SMOLLM2_VOCABULARY = 49_152


@dataclass(frozen=True)
class Request:
    """One request of the serving trace: a prompt, and the number of tokens of its reply."""

    prompt: list[int]
    output: int


def sharegpt_like(count: int = 400, seed: int = 0) -> list[tuple[int, int]]:
    """(tokens in, tokens out) of `count` requests with ShareGPT's means."""
    return _pairs(SHAREGPT_MEANS, count, seed)


def alpaca_like(count: int = 2000, seed: int = 0) -> list[tuple[int, int]]:
    """(tokens in, tokens out) of `count` requests with Alpaca's means."""
    return _pairs(ALPACA_MEANS, count, seed)


def serving_trace(count: int = 32, seed: int = 0, vocabulary: int = SMOLLM2_VOCABULARY) -> list[Request]:
    """The course's serving benchmark: skewed lengths, ShareGPT's divided by about four; the same for a seed."""
    draw = random.Random(seed)
    trace = []
    for _ in range(count):
        prompt = _clip(draw.lognormvariate(3.3, 0.8), 4, 160)
        output = _clip(draw.lognormvariate(4.0, 0.9), 4, 256)
        trace.append(Request([draw.randrange(1000, vocabulary - 1000) for _ in range(prompt)], output))
    return trace


def _pairs(means: tuple[int, int], count: int, seed: int) -> list[tuple[int, int]]:
    draw = random.Random(seed)
    normal = [[draw.gauss(0, 1) for _ in range(count)] for _ in means]
    columns = (_lengths(mean, numbers) for mean, numbers in zip(means, normal, strict=True))
    return list(zip(*columns, strict=True))


def _lengths(mean: float, normal: list[float]) -> list[int]:
    # Cutting off the longest lowers the mean, so the scale is raised until the mean is right again.
    scale = mean
    for _ in range(50):
        lengths = [_clip(scale * math.exp(SIGMA * number), 1, LONGEST) for number in normal]
        scale *= mean * len(lengths) / sum(lengths)
    return lengths


def _clip(length: float, least: int, most: int) -> int:
    return max(least, min(most, int(length)))
