"""What unit 05 measures with: prompts of four kinds, and a meter between a decoding loop, its model and its drafter."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from fridge.models.caches import RewindableCache
from fridge.models.llama import Cache, Llama
from fridge.workbench import busy, measure

Propose = Callable[[list[int], int], list[int]]

_FUNCTION = """def total_price(items, discount):
    total = 0
    for item in items:
        price = item["price"] * item["count"]
        if price > 100:
            price = price * (1 - discount)
        total = total + price
    return round(total, 2)
"""
_PASSAGE = (
    "It was a bright cold morning when the elephant came to the kitchen door. Nobody had told her that a fridge has a "
    "door too, and a light that goes out when the door is closed. She put one foot on the lowest shelf, then a second, "
    'and listened. The milk bottles rang softly. "I shall need more room," said the elephant, "or fewer feet."'
)
# kind -> (what the user asks, how the answer begins). A model of this size needs the beginning to copy at all.
PROMPTS = {
    "code": (
        f"Add type hints to this function:\n\n```python\n{_FUNCTION}```",
        "```python\ndef total_price(items: list, discount: float) -> float:\n    total = 0\n    for item in items:",
    ),
    "quotation": (
        f"Quote this text word for word:\n\n{_PASSAGE}",
        "Here is the text, word for word:\n\nIt was a bright cold morning",
    ),
    "story": ("Write a short story about an elephant who wants to live in a fridge.", ""),
    "chat": ("Why is the sky blue? Answer in a few sentences.", ""),
}


def prompt(tokenizer, kind: str) -> list[int]:
    """Token ids of a prompt, with the beginning of the answer where the kind has one."""
    question, beginning = PROMPTS[kind]
    chat = [{"role": "user", "content": question}]
    tokens = list(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False))
    return tokens + (list(tokenizer(beginning, add_special_tokens=False).input_ids) if beginning else [])


@dataclass
class Run:
    """One decoding run. The first call of the model, the prompt's, counts in nothing but `reply`.

    Attributes:
        reply: the tokens.
        seconds: of everything behind the prompt's call.
        drafted, kept: for each further call, the drafts that it checked and those that were accepted.
        gaps: distance of the two largest logits where each call's last position chose.
    """

    reply: list[int]
    seconds: float
    drafted: list[int]
    kept: list[int]
    gaps: list[float]

    def first(self, count: int) -> "Run":
        """The same run with the reply cut, to compare it with one that was asked for fewer tokens."""
        return replace(self, reply=self.reply[:count])

    @property
    def tokens_per_call(self) -> float:
        """Tokens that a call of the model gave, on average."""
        return sum(count + 1 for count in self.kept) / max(1, len(self.kept))

    def readings(self, draft_share: float = 0.0) -> float:
        """How often all weights were read for each token, on average: a count of work; plain decoding has 1.

        Args:
            draft_share: what a guess reads, as a share of the target's weights.
        """
        return (len(self.kept) + draft_share * sum(self.drafted)) / (sum(self.kept) + max(1, len(self.kept)))

    @property
    def acceptance(self) -> float:
        """Share of the drafts that agreed, of those that were compared: none is, behind the first wrong one."""
        compared = sum(kept + (kept < drafted) for kept, drafted in zip(self.kept, self.drafted, strict=True))
        return sum(self.kept) / compared if compared else 0.0


@dataclass
class Meter:
    """Stands between a loop and its model and drafter, and notes what they are asked.

    Use it as the model; use `meter.propose` as the drafter; at the end ask for `result`.
    """

    model: Llama
    drafter: Propose
    _began: float = 0.0
    _calls: list[tuple[int, int]] = field(default_factory=list)  # (positions held, positions fed)
    _gaps: list[float] = field(default_factory=list)

    def __call__(self, tokens: Tensor, cache: Cache, last_only: bool = False) -> Tensor:
        """As the model's."""
        self._calls.append((len(cache), tokens.shape[1]))
        logits = self.model(tokens, cache, last_only=last_only or len(self._calls) == 1)
        first, second = logits[0, -1].topk(2).values.tolist()
        self._gaps.append(first - second)
        if len(self._calls) == 1:
            busy.look()
            self._began = time.perf_counter()
        return logits

    def propose(self, text: list[int], k: int) -> list[int]:
        """As the drafter's."""
        return self.drafter(text, k)

    def result(self, reply: list[int], cache: Cache) -> Run:
        """The account, when the loop has returned this reply and left the cache like this."""
        seconds = time.perf_counter() - self._began
        busy.look()
        calls = self._calls[1:]
        ends = [start for start, _ in calls[1:]] + [len(cache)]
        kept = [end - start - 1 for (start, _), end in zip(calls, ends, strict=True)]
        return Run(list(map(int, reply)), seconds, [fed - 1 for _, fed in calls], kept, self._gaps)


def nothing(text: list[int], k: int) -> list[int]:
    """A drafter that never guesses: the loop is then plain decoding with a cache."""
    return []


def costs(model: Llama, tokens: list[int], positions: list[int], repeats: int = 5) -> list[float]:
    """Seconds of one call with 1, 2, … new positions behind a text, the median of `repeats`.

    Args:
        tokens: the text; the cache holds it while the calls are timed.
        positions: how many new positions a call has.
    """
    cache = RewindableCache()
    model(torch.tensor([tokens]), cache, last_only=True)

    def call(count: int) -> None:
        model(torch.tensor([tokens[:count]]), cache)
        cache.rewind(len(tokens))

    return [measure.seconds(lambda count=count: call(count), repeats=repeats) for count in positions]


def compare(plain: Run, other: Run, tolerance: float = 1e-3) -> tuple[int, int, bool]:
    """How far two runs agree token for token.

    Args:
        plain: one token at a time, so that it has a gap for each token.
        tolerance: two logits that are closer are a near-tie: another order of additions may swap them.

    Returns:
        (equal, near_ties, explained): tokens before the first difference; near-ties of the plain run; whether there is
        no difference, or the first one stands at a near-tie.
    """
    pairs = zip(plain.reply, other.reply, strict=False)
    shorter, longer = sorted((len(plain.reply), len(other.reply)))
    equal = next((place for place, (a, b) in enumerate(pairs) if a != b), shorter)
    same = equal == longer
    near_ties = sum(gap < tolerance for gap in plain.gaps)
    return equal, near_ties, same or plain.gaps[equal] < tolerance


def verdict(plain: Run, other: Run) -> str:
    """`compare` in words."""
    equal, near_ties, explained = compare(plain, other)
    same = equal == len(plain.reply) == len(other.reply)
    how = "the same text" if same else "explained by a near-tie" if explained else "NOT explained by a near-tie"
    return f"{equal} of {len(plain.reply)} tokens equal, {near_ties} near-ties: {how}"
