"""What tests of unit 05 own: two models that follow a script, and languages of a few tokens with known probabilities.

`ScriptedSpeaker` looks at the text that a cache holds, so that a cache which was not rewound, or rewound too far, shows
in what the model says and in its account. `TokenTable` and what follows it let a sampler run on a language so small
that the probability of each outcome can be written down.
"""

from bisect import bisect_right
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fridge.models.llama import Cache
from fridge.testing.expect import InWords, describe, wrong
from fridge.testing.given import expect_parts, expect_tensor, token_ids
from fridge.testing.scripted import MOST_FED, ids_fed, positions_held

Step = Callable[[Tensor, Tensor, list[int]], Any]


@dataclass(frozen=True)
class Heard:
    """One call of a `ScriptedSpeaker`: the text that the cache held, and the tokens that were fed."""

    held: list[int]
    fed: list[int]


class ScriptedSpeaker:
    """Stands for a language model that may be fed wrong guesses: call it as a `fridge.models.llama.Llama`.

    While the text is the conversation's beginning, the next token is the conversation's, or what `instead` says for
    that position. After any other text the next token follows from the whole text by a rule of no sense.

    Attributes:
        calls: what it was asked, in order, with the text that it found in the cache.
        learner_may: what a learner's code may use of it when the test runs in another process.
    """

    learner_may = ("__call__", "device")
    device = "cpu"

    def __init__(self, conversation: list[int], instead: dict[int, int] | None = None, vocab_size: int = 64):
        self.conversation = list(conversation)
        self.instead = dict(instead or {})
        self.vocab_size = vocab_size
        self.calls: list[Heard] = []

    @property
    def positions(self) -> int:
        """Positions processed in all calls: the work done."""
        return sum(len(call.fed) for call in self.calls)

    def next_token(self, text: list[int]) -> int:
        """What it says after a text."""
        place = len(text)
        if place < len(self.conversation) and list(text) == self.conversation[:place]:
            return self.instead.get(place, self.conversation[place])
        return (sum((i + 1) * token for i, token in enumerate(text)) + 7 * place) % self.vocab_size

    def __call__(self, tokens: Tensor, cache: Cache | None = None, last_only: bool = False) -> Tensor:
        """Logits [1, new, vocab_size] (or [1, 1, vocab_size]) for tokens [1, new]; the cache grows by `new`.

        Raises:
            Wrong: tokens of another shape or kind.
        """
        positions_held(cache)
        fed = ids_fed(tokens, last_only, rows=1, vocab_size=self.vocab_size)[0].tolist()
        text = fed if cache is None else self._extended(cache, fed)
        held = len(text) - len(fed)
        self.calls.append(Heard(text[:held], fed))
        logits = torch.zeros(1, len(fed), self.vocab_size)
        for row in range(len(fed)):
            logits[0, row, self.next_token(text[: held + row + 1])] = 10.0
        return logits[:, -1:] if last_only else logits

    def _extended(self, cache: Cache, fed: list[int]) -> list[int]:
        # The text in the cache with what is fed behind it, as the cache says: it may be a learner's own.
        pieces = torch.tensor(fed, dtype=torch.float32).reshape(1, 1, -1, 1)
        what = "what the cache's update returns"
        keys = expect_tensor(expect_parts(cache.update(0, pieces, pieces), "keys, values", what)[0], what)
        text = keys.flatten().tolist()
        if keys.shape != (1, 1, len(text), 1) or len(text) > MOST_FED or text[-len(fed) :] != fed:
            raise wrong(what, "the keys that it held and behind them the new ones", keys)
        return [int(token) for token in text]


def agreed(draft: list[int], logits: Tensor, stop_token: int | None = None) -> list[int]:
    """Works as exercise `verify-greedy` asks, for the tests of what is built on it."""
    chosen = logits.argmax(dim=-1).tolist()
    right = [*map(int.__eq__, map(int, draft), chosen), False].index(False)
    tokens = chosen[: right + 1]
    return tokens[: tokens.index(stop_token) + 1] if stop_token in tokens else tokens


class TokenTable:
    """A language of `vocab` tokens: for each text a row of probabilities, float32.

    Args:
        row: text, a tuple of tokens -> probabilities that sum to 1.
    """

    def __init__(self, vocab: int, row: Callable[[tuple[int, ...]], list[float]]):
        self.vocab = vocab
        self._row = row
        self._kept: dict[tuple[int, ...], tuple[Tensor, np.ndarray]] = {}
        self._sums: dict[tuple[int, ...], tuple[list[float], int]] = {}

    def after(self, text: tuple[int, ...]) -> tuple[Tensor, np.ndarray]:
        """The row after a text, as the learner's code gets it and in float64."""
        if text not in self._kept:
            row = torch.tensor(self._row(text), dtype=torch.float64)
            row = (row / row.sum()).float()
            exact = row.double().numpy()
            self._kept[text] = row, exact / exact.sum()
        return self._kept[text]

    def draw(self, text: tuple[int, ...], number: float) -> int:
        """The token after a text that a number from 0 to 1 chooses."""
        if text not in self._sums:
            row = self.after(text)[1]
            self._sums[text] = row.cumsum().tolist(), int(np.flatnonzero(row)[-1])
        sums, last = self._sums[text]
        return min(bisect_right(sums, number), last)

    def law(self, length: int) -> dict[Hashable, float]:
        """The probability of each text of a length."""
        texts = product(range(self.vocab), repeat=length)
        return {text: float(np.prod([self.after(text[:i])[1][text[i]] for i in range(length)])) for text in texts}


def random_table(vocab: int, seed: int, sharpness: float = 1.0) -> TokenTable:
    """A language whose rows are a softmax of normal numbers, another one after each text."""

    def row(text: tuple[int, ...]) -> list[float]:
        normal = np.random.default_rng([seed, *text]).normal(size=vocab)
        return np.exp(sharpness * normal).tolist()

    return TokenTable(vocab, row)


def accepted_law(target: TokenTable, draft: TokenTable, k: int) -> dict[Hashable, float]:
    """The probability that 0, 1, … k drafts are accepted when each is with probability min(1, p/q)."""
    reached = {(): 1.0}  # accepted text -> probability that it is drafted and accepted
    law: dict[Hashable, float] = {}
    for count in range(k + 1):
        total = sum(reached.values())
        reached = {
            (*text, token): mass * min(target.after(text)[1][token], draft.after(text)[1][token])
            for text, mass in reached.items()
            for token in range(target.vocab)
        }
        law[count] = float(total - sum(reached.values())) if count < k else float(total)
    return {count: max(0.0, p) if p > 1e-6 else 0.0 for count, p in law.items()}


def speculated(
    step: Step, target: TokenTable, draft: TokenTable, k: int, runs: int, seed: int
) -> tuple[list[tuple[int, ...]], list[int]]:
    """Let a sampling step run many times, each time on k tokens that were drawn from the draft.

    A step that ends early is continued from the target's own rows, so that every text has k + 1 tokens: if the step is
    right, the texts have exactly the target's law.

    Args:
        step: step(target_probs, draft_probs, draft_tokens) -> accepted tokens and one more.

    Returns:
        (texts, accepted): a text of k + 1 tokens and the number of accepted drafts, for each run.

    Raises:
        Wrong: it returned something else than 1 to k + 1 tokens of which all but the last are the draft's.
    """
    numbers = iter(np.random.default_rng(seed).random(2 * runs * (k + 1)).tolist())
    given: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}  # drafted text -> rows of target and draft
    texts, accepted = [], []
    for _ in range(runs):
        drafted: tuple[int, ...] = ()
        while len(drafted) < k:
            drafted += (draft.draw(drafted, next(numbers)),)
        if drafted not in given:
            rows = [draft.after(drafted[:i])[0] for i in range(k)]
            target_probs = torch.stack([target.after(drafted[:i])[0] for i in range(k + 1)])
            given[drafted] = target_probs, torch.stack(rows) if rows else torch.zeros(0, draft.vocab)
        rows_of_both = [rows.clone() for rows in given[drafted]]
        text = token_ids(step(*rows_of_both, list(drafted)), "what the step returns")
        right = 1 <= len(text) <= k + 1 and text[:-1] == drafted[: len(text) - 1]
        if not right or not 0 <= text[-1] < target.vocab:
            expected = f"the accepted drafts and one more token, 1 to {k + 1} in all"
            raise wrong(f"what the step returns for the draft {list(drafted)}", expected, InWords(describe(list(text))))
        accepted.append(len(text) - 1)
        while len(text) <= k:
            text += (target.draw(text, next(numbers)),)
        texts.append(text)
    return texts, accepted
