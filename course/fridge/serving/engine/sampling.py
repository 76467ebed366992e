"""Choosing a token from logits: a penalty, a temperature, then top-k, top-p and min-p, and one draw.

The order is that of transformers' logits processors, and each filter sees what the one before it left. vLLM applies
min-p before top-k and top-p, llama.cpp the temperature last: with the same numbers they choose among other tokens.
"""

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor

FIRST = 64  # tokens looked at before a nucleus turns out to be larger: nearly all are smaller


@dataclass(frozen=True)
class Sampling:
    """How a request wants its tokens chosen.

    Attributes:
        temperature: divides the logits; 0 takes the largest one, and no filter matters.
        top_k: keeps so many of the likeliest (Fan et al. 2018); 0 keeps all.
        top_p: keeps the smallest number of the likeliest whose probabilities reach it together (nucleus; Holtzman et
            al. 2020); 1 keeps all.
        min_p: keeps those of at least this share of the largest probability (Nguyen et al. 2024); 0 keeps all.
        repetition_penalty: what stands in the prompt or the reply has a positive logit divided by it, a negative one
            multiplied (Keskar et al. 2019, CTRL); 1 changes nothing.
        seed: of the request's own draws; None takes another each time.
        logprobs: how many of the likeliest tokens are told beside each chosen one, with their log-probabilities
            before penalty, temperature and filters; None tells none, not the chosen one's either.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    logprobs: int | None = None

    def __post_init__(self) -> None:
        # Written so that NaN is refused, too.
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"a temperature is 0 or more, not {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k is 0 or more, not {self.top_k}")
        if not 0 <= self.top_p <= 1:
            raise ValueError(f"top_p is from 0 to 1, not {self.top_p}")
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p is from 0 to 1, not {self.min_p}")
        if not 0 < self.repetition_penalty < math.inf:
            raise ValueError(f"a repetition_penalty is more than 0, not {self.repetition_penalty}")
        if self.logprobs is not None and self.logprobs < 0:
            raise ValueError(f"logprobs is 0 or more, not {self.logprobs}")

    @property
    def is_greedy(self) -> bool:
        """Whether the token is the one of the largest logit, as it comes from the model."""
        return self.temperature == 0 and self.repetition_penalty == 1


GREEDY = Sampling()


class Sampler:
    """A request's choices: its wishes and its own source of random numbers, one number a token.

    So the same seed gives the same tokens, whoever else is in the batch and whatever order they came in.
    """

    def __init__(self, sampling: Sampling):
        self.sampling = sampling
        self._random = random.Random(sampling.seed)

    def __call__(self, logits: Tensor, tokens: list[int]) -> int:
        """The next token, from its logits [vocab_size] and all tokens of the sequence so far."""
        if self.sampling.is_greedy:
            return int(logits.argmax())
        ids, probabilities = distribution(logits, tokens, self.sampling)
        place = torch.searchsorted(probabilities.cumsum(0), self._random.random(), right=True)
        return int(ids[min(int(place), len(ids) - 1)])  # the sum may end a little below 1


def distribution(logits: Tensor, tokens: list[int], sampling: Sampling) -> tuple[Tensor, Tensor]:
    """The tokens that can be chosen, [kept], and their probabilities, [kept] in float64.

    Of equal logits the one of the lower number counts as the likelier.
    """
    scores = _penalised(logits.double(), tokens, sampling.repetition_penalty)
    if sampling.temperature == 0:
        return scores.argmax(0, keepdim=True), torch.ones(1, dtype=torch.float64)
    scores = (scores - scores.max()) / sampling.temperature  # the largest is 0 whatever the temperature
    ids = torch.arange(len(scores))
    if 0 < sampling.top_k < len(scores):
        ids = likeliest(scores, sampling.top_k)
    probabilities = scores[ids].softmax(0)
    if sampling.top_p < 1:
        places = _nucleus(probabilities, sampling.top_p)
        ids, probabilities = ids[places], probabilities[places]
    if sampling.min_p > 0:
        kept = probabilities >= sampling.min_p * probabilities.max()
        ids, probabilities = ids[kept], probabilities[kept]
    return ids, probabilities / probabilities.sum()


def likeliest(scores: Tensor, count: int) -> Tensor:
    """Where the `count` largest of [n] stand, largest first, of equal ones the first; without sorting all."""
    least = scores.topk(count).values[-1]
    places = (scores >= least).nonzero()[:, 0]
    return places[scores[places].sort(descending=True, stable=True).indices[:count]]


def log_probabilities(logits: Tensor, token: int, count: int) -> tuple[float, list[tuple[int, float]]]:
    """The token's log-probability, and the `count` likeliest tokens with theirs, from logits [vocab_size]."""
    all_of_them = logits.double().log_softmax(0)
    best = likeliest(all_of_them, min(count, len(all_of_them))).tolist() if count else []
    return float(all_of_them[token]), [(one, float(all_of_them[one])) for one in best]


def _penalised(scores: Tensor, tokens: list[int], penalty: float) -> Tensor:
    if penalty != 1:
        seen = torch.tensor(sorted(set(tokens)))
        scores[seen] = torch.where(scores[seen] > 0, scores[seen] / penalty, scores[seen] * penalty)
    return scores


def _nucleus(probabilities: Tensor, mass: float) -> Tensor:
    # Places, likeliest first, up to the one with which the sum reaches the mass; at least one.
    count = min(FIRST, len(probabilities))
    while True:
        places = likeliest(probabilities, count)
        reached = (probabilities[places].cumsum(0) >= mass).nonzero()
        if len(reached):
            return places[: int(reached[0]) + 1]
        if count == len(probabilities):  # a sum of many may end a little below a mass of nearly 1
            return places
        count = min(8 * count, len(probabilities))
