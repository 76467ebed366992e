"""The scripted model counts the work that it was asked for, and objects to what a real model would misunderstand."""

import pytest
import torch
from torch import Tensor

from fridge.models.caches import ConcatCache
from fridge.testing import Call, ScriptedModel, Wrong

PROMPT, ANSWER = [5, 9, 2, 7], [11, 3, 3, 60]


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel(PROMPT + ANSWER)


def ids(*tokens: int) -> Tensor:
    return torch.tensor([tokens])


def test_greedy_generation_with_a_cache(model: ScriptedModel) -> None:
    """Guards against a count other than prompt + n - 1 positions for n tokens: the last one needs no call."""
    cache, answer, tokens = ConcatCache(), [], ids(*PROMPT)
    for _ in ANSWER:
        answer.append(int(model(tokens, cache, last_only=True)[0, -1].argmax()))
        tokens = ids(answer[-1])
    assert answer == ANSWER
    assert model.positions == len(PROMPT) + len(ANSWER) - 1 == len(cache)
    assert model.calls == [Call(0, PROMPT), Call(4, [11]), Call(5, [3]), Call(6, [3])]


def test_generation_without_a_cache_counts_everything_again(model: ScriptedModel) -> None:
    """Guards against a count of calls, which is the same for O(n) and O(n²)."""
    tokens = list(PROMPT)
    for _ in ANSWER:
        tokens.append(int(model(ids(*tokens), last_only=True)[0, -1].argmax()))
    assert tokens == PROMPT + ANSWER
    assert model.positions == 4 + 5 + 6 + 7


def test_prefill_in_chunks(model: ScriptedModel) -> None:
    """Guards against a learner who prefills in pieces being called wrong."""
    cache = ConcatCache()
    first, second = model(ids(5, 9, 2), cache), model(ids(7), cache)
    assert first.shape == (1, 3, 64)
    assert first.argmax(-1).tolist() == [[9, 2, 7]]
    assert second.argmax(-1).tolist() == [[11]]
    assert model.positions == 4


def test_last_only(model: ScriptedModel) -> None:
    """Guards against logits of the first position in the place of the last."""
    assert model(ids(*PROMPT), last_only=True).shape == (1, 1, 64)
    assert int(model(ids(*PROMPT), last_only=True).argmax()) == ANSWER[0]


@pytest.mark.parametrize(
    ("cached", "fed", "words"),
    [
        pytest.param([5, 9, 2, 7], [7], r"positions 4 to 4\n  expected: \[11\]\n  got:      \[7\]", id="fed again"),
        pytest.param([5, 9, 2, 7], [5, 9, 2, 7, 11], r"positions 4 to 8", id="everything again"),
        pytest.param([5, 9, 2, 7], [3], r"expected: \[11\]", id="skipped"),
        pytest.param([5, 9], [9, 2], r"positions 2 to 3", id="cache a position behind"),
        pytest.param([], [9, 2, 7], r"positions 0 to 2", id="without the first"),
        pytest.param([], PROMPT[::-1], r"expected: \[5, 9, 2, 7\]", id="another order"),
        pytest.param(PROMPT + ANSWER, [1], r"expected: \[\]\n  got:      \[1\]", id="after the end"),
    ],
)
def test_tokens_at_wrong_positions(model: ScriptedModel, cached: list[int], fed: list[int], words: str) -> None:
    """Guards against a generation loop that feeds tokens again, skips one, or ignores what the cache holds."""
    cache = ConcatCache()
    if cached:
        model(ids(*cached), cache)
    before = len(cache)
    with pytest.raises(Wrong, match=rf"(?s)Call {len(model.calls) + 1} .*{words}.*likely cause"):
        model(ids(*fed), cache)
    assert len(cache) == before


def test_rewound_caches_go_on_where_they_were_rewound_to(model: ScriptedModel) -> None:
    """Guards against positions that the model counts by itself, so that it can't notice a cache that went back."""
    cache = ConcatCache()
    model(ids(*PROMPT), cache)
    fresh = ConcatCache()
    model(ids(*PROMPT[:2]), fresh)
    assert model(ids(*PROMPT[2:]), fresh).argmax(-1)[0, -1] == ANSWER[0]


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (torch.tensor(PROMPT), r"got:      a tensor of shape \[4\]"),
        (torch.tensor([PROMPT, PROMPT]), r"shape \[2, 4\]"),
        (torch.zeros(1, 0, dtype=torch.int64), r"shape \[1, 0\]"),
        (torch.tensor(5), r"shape \[\]"),
        (torch.tensor([PROMPT], dtype=torch.float32), "torch.float32"),
        ([PROMPT], r"got:      \[\[5, 9, 2, 7\]\]"),
        (None, "got:      None"),
    ],
    ids=lambda value: str(getattr(value, "shape", value)),
)
def test_tokens_in_another_form(model: ScriptedModel, tokens: Tensor, words: str) -> None:
    """Guards against accepting in the test what the real model rejects two cells later."""
    with pytest.raises(Wrong, match=rf"(?s)tokens fed to the model.*{words}"):
        model(tokens, ConcatCache())
    assert model.calls == []


def test_the_test_keeps_its_own_conversation() -> None:
    """Guards against a list that the learner also holds, and against an IndexError for a test's own slip."""
    conversation = [1, 2, 3]
    model = ScriptedModel(conversation)
    conversation.append(4)
    assert int(model(ids(1, 2)).argmax(-1)[0, -1]) == 3
    assert not model(ids(1, 2, 3))[0, -1].any()
    with pytest.raises(ValueError, match=r"vocabulary of 64: \[64, -1\]"):
        ScriptedModel([1, 64, -1])


def test_a_long_call_that_is_wrong_shows_where() -> None:
    """Guards against a message of a thousand ids, in which nobody finds the one that is wrong."""
    text = list(range(1, 61))
    with pytest.raises(Wrong, match=r"from position 30 on\n  expected: \[31, .*, 50\]\n  got:      \[0, .*, 50\]"):
        ScriptedModel(text)(ids(*text[:30], 0, *text[31:55]), ConcatCache())
    with pytest.raises(Wrong, match=r"from position 60 on\n  expected: \[\]\n  got:      \[7\]"):
        ScriptedModel(text)(ids(*text, 7), ConcatCache())


def test_logits_may_lie_close_together() -> None:
    logits = ScriptedModel([1, 2, 3], lead=0.001)(ids(1, 2), ConcatCache())
    assert logits.argmax(-1)[0].tolist() == [2, 3]
    assert logits[0, :, 0].tolist() == pytest.approx([9.999, 9.999])
