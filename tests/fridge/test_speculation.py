"""Unit 05's library: the meter's account, the cache that rewinds, the early exit, and the objects that tests own."""

import matplotlib.pyplot as plt
import pytest
import torch

from fridge import pictures
from fridge.models.caches import RewindableCache
from fridge.speculation import measuring
from fridge.speculation.early_exit import agreement, early_exit
from fridge.testing import (
    ScriptedSpeaker,
    TokenTable,
    Wrong,
    accepted_law,
    agreed,
    as_tensor,
    expect_distribution,
    randn,
    random_table,
    speculated,
    tiny_llama,
    token_ids,
)
from fridge.testing.chance import p_value

TALK = list(range(11, 31))


def ids(*tokens: int) -> torch.Tensor:
    return torch.tensor([tokens])


def loop(model, prompt, count, cache, propose, k):
    """Speculative decoding in short, for the meter."""
    text = list(prompt)
    chosen = agreed([], model(ids(*text), cache)[0, -1:])
    while len(text) + len(chosen) < len(prompt) + count:
        text += chosen
        draft = propose(text, min(k, len(prompt) + count - len(text) - 1))
        chosen = agreed(draft, model(ids(text[-1], *draft), cache)[0])
        cache.rewind(len(text) + len(chosen) - 1)
    return [*text, *chosen][len(prompt) :]


def test_rewindable_cache_forgets_in_every_layer() -> None:
    """Guards against a rewind that leaves a layer behind, and one that changes something before it refuses."""
    cache, piece = RewindableCache(), randn(1, 1, 5, 2)
    for layer in (0, 1):
        cache.update(layer, piece, -piece)
    cache.rewind(2)
    assert len(cache) == 2
    for length in (-1, 3):
        with pytest.raises(ValueError, match="holds 2 positions"):
            cache.rewind(length)
    for layer in (0, 1):
        k, v = cache.update(layer, piece[:, :, 4:], piece[:, :, 4:])
        assert torch.equal(k, piece[:, :, [0, 1, 4]])
        assert torch.equal(v[:, :, :2], -piece[:, :, :2])
    cache.rewind(0)
    assert len(cache) == 0


def test_early_exit_is_the_first_layers_alone() -> None:
    """Guards against a short model that shortens the long one too, for they share their weights."""
    model = tiny_llama()
    short, tokens = early_exit(model, 1), ids(5, 9, 2)
    assert (len(model.model.layers), len(short.model.layers), short.config.layers) == (2, 1, 1)
    states = []
    hook = model.model.layers[0].register_forward_hook(lambda _, __, out: states.append(out))
    whole = model(tokens)
    hook.remove()
    assert torch.equal(short(tokens), model.lm_head(model.model.norm(states[0])))
    assert torch.equal(early_exit(model, 2)(tokens), whole)
    for layers in (0, 3):
        with pytest.raises(ValueError, match="the model has 2"):
            early_exit(model, layers)


def test_agreement_ends_with_certainty() -> None:
    """Guards against rows that are off by one: the last layer agrees with itself, layer 1 as its short model says."""
    model, tokens = tiny_llama(seed=3), [5, 9, 2, 61, 4, 4, 17, 8]
    first, last = agreement(model, tokens, 3, [1, 2])
    assert last == 1.0
    mine, whole = (part(ids(*tokens))[0, 2:-1].argmax(-1) for part in (early_exit(model, 1), model))
    assert first == pytest.approx(float((mine == whole).float().mean()))


def test_meter_counts_calls_drafts_and_acceptance() -> None:
    """Guards against an acceptance that counts guesses behind a wrong one, and a last round that is forgotten."""
    target, cache = ScriptedSpeaker(TALK), RewindableCache()
    meter = measuring.Meter(target, lambda text, k: [*TALK[len(text) : len(text) + 2], 63, 63][:k])
    run = meter.result(loop(meter, TALK[:3], 7, cache, meter.propose, 4), cache)
    assert run.reply == TALK[3:10]
    assert (run.drafted, run.kept) == ([4, 2], [2, 2])
    assert run.tokens_per_call == 3
    assert run.acceptance == pytest.approx(4 / 5)
    assert len(run.gaps) == 3
    plain = measuring.Meter(ScriptedSpeaker(TALK), measuring.nothing)
    cache = RewindableCache()
    other = plain.result(loop(plain, TALK[:3], 7, cache, plain.propose, 0), cache)
    assert (other.tokens_per_call, other.acceptance) == (1, 0)
    assert other.readings() == 1
    assert measuring.compare(other, run) == (7, 0, True)


def test_differences_are_excused_by_a_near_tie_alone() -> None:
    """Guards against a lossy loop that passes as lossless."""

    def run(reply: list[int], gaps: list[float]) -> measuring.Run:
        return measuring.Run(reply, 1.0, [], [], gaps)

    plain = run([1, 2, 3], [5.0, 1e-5, 5.0])
    assert measuring.compare(plain, run([1, 9, 3], [])) == (1, 1, True)
    assert measuring.compare(plain, run([1, 2, 9], [])) == (2, 1, False)
    assert measuring.compare(plain, run([1, 2], [])) == (2, 1, False)
    assert measuring.compare(plain.first(2), run([1, 2], [])) == (2, 1, True)
    assert measuring.verdict(plain, plain) == "3 of 3 tokens equal, 1 near-ties: the same text"
    assert measuring.verdict(plain, run([1, 9, 3], [])).endswith(": explained by a near-tie")
    assert measuring.verdict(plain, run([1, 2, 9], [])).endswith("NOT explained by a near-tie")


def test_readings_count_calls_and_guesses_for_each_token() -> None:
    """Guards against a count of calls in which the drafter's own reading is free, and a division by no token."""
    run = measuring.Run([1] * 7, 1.0, [4, 4, 2], [4, 0, 0], [])  # three calls, ten guesses, seven tokens
    assert run.readings() == 3 / 7
    assert run.readings(0.25) == (3 + 10 / 4) / 7
    assert measuring.Run([], 1.0, [], [], []).readings() == 0


def test_costs_leave_the_text_alone() -> None:
    """Guards against calls that are timed behind a longer and longer text."""
    lengths = []
    model = tiny_llama()

    def call(tokens: torch.Tensor, cache: RewindableCache, last_only: bool = False) -> torch.Tensor:
        lengths.append((len(cache), tokens.shape[1]))
        return model(tokens, cache, last_only)

    assert len(measuring.costs(call, [1, 2, 3, 4], [1, 3], repeats=2)) == 2
    assert lengths == [(0, 4), *[(4, 1)] * 3, *[(4, 3)] * 3]


def test_speaker_says_nonsense_on_a_stale_cache() -> None:
    """Guards against a test that can't see a cache which was not rewound."""
    speaker, cache = ScriptedSpeaker(TALK, instead={2: 7}), RewindableCache()
    logits = speaker(ids(11, 12, 13, 63), cache)
    assert logits.argmax(-1)[0, :3].tolist() == [12, 7, 14]
    stale = speaker(ids(14), cache).argmax(-1)
    assert int(stale) == speaker.next_token([11, 12, 13, 63, 14]) != 15
    cache.rewind(3)
    assert int(speaker(ids(14), cache).argmax(-1)) == 15
    assert [(call.held, call.fed) for call in speaker.calls][-1] == ([11, 12, 13], [14])
    assert speaker.positions == 6
    assert speaker(ids(11, 12), last_only=True).shape == (1, 1, 64)
    for tokens in ([1], torch.tensor([1]), torch.zeros(1, 0, dtype=torch.long), torch.tensor([[1.0]])):
        with pytest.raises(Wrong, match="tokens fed to the model"):
            speaker(tokens)


def test_laws_sum_to_one_and_meet() -> None:
    """Guards against expected counts that are themselves wrong."""
    target, draft = random_table(3, seed=1), random_table(3, seed=2)
    law = target.law(2)
    assert sum(law.values()) == pytest.approx(1)
    rows = target.after((1,))[1]
    assert law[(1, 2)] == pytest.approx(float(target.after(())[1][1] * rows[2]))
    counts = accepted_law(target, draft, 1)
    overlap = sum(min(a, b) for a, b in zip(target.after(())[1], draft.after(())[1], strict=True))
    assert [counts[0], counts[1]] == pytest.approx([1 - overlap, overlap])
    assert sum(accepted_law(target, draft, 3).values()) == pytest.approx(1)
    assert accepted_law(target, target, 2) == pytest.approx({0: 0, 1: 0, 2: 1})


def test_chi_square_matches_known_values() -> None:
    """Guards against a wrong tail: 3.841 is the 5 % point of one degree of freedom, 11.345 the 1 % point of three."""
    off = (3.841458820694124 * 250) ** 0.5
    assert p_value({0: 500 + off, 1: 500 - off}, {0: 0.5, 1: 0.5}) == pytest.approx(0.05)
    off = (11.344866730144373 * 100 / 4) ** 0.5
    counts = {0: 100 + off, 1: 100 - off, 2: 100 + off, 3: 100 - off}
    assert p_value(counts, dict.fromkeys(range(4), 0.25)) == pytest.approx(0.01)
    assert p_value({0: 5, 9: 1}, {0: 1.0}) == 0.0
    assert p_value({0: 5}, {0: 1.0, 1: 0.0}) == 1.0


def test_rare_outcomes_are_counted_together() -> None:
    """Guards against false alarms from cells that expect a hundredth of a count."""
    many = dict.fromkeys(range(1000), 1e-05) | {-1: 0.99}
    assert p_value({-1: 993, 5: 1, 17: 1, 100: 5}, many) > 0.01
    assert p_value({-1: 900, 5: 100}, many) < 1e-6


def test_distribution_says_what_is_off() -> None:
    """Guards against a message without the outcome, and an impossible outcome that passes because it is rare."""
    expect_distribution([0, 1] * 500, {0: 0.5, 1: 0.5}, "coin")
    with pytest.raises(Wrong, match=r"coin: '.' in 1000 runs\n  expected: 50.0 % of the runs\n  got:      .*chance"):
        expect_distribution(["a"] * 700 + ["b"] * 300, {"a": 0.5, "b": 0.5}, "coin")
    with pytest.raises(Wrong, match="never 2"):
        expect_distribution([0, 1] * 500 + [2], {0: 0.5, 1: 0.5, 2: 0.0}, "coin")
    with pytest.raises(Wrong, match=r"expected: 0.05 % of the runs\n  got:      0.6 %,"):
        expect_distribution([0] * 9940 + [1] * 60, {0: 0.9995, 1: 0.0005}, "coin")
    with pytest.raises(Wrong, match="got:      none"):
        expect_distribution([], {0: 1.0}, "coin")


@pytest.mark.parametrize("returned", [None, [], [1, 1, 1], [9], [0.5], "ab", [[1]]])
def test_steps_of_another_form(returned: object) -> None:
    """Guards against an IndexError of the test's own, and a draft of k tokens that passes for k + 1."""
    table = TokenTable(2, lambda _: [1.0, 0.0])
    with pytest.raises(Wrong):
        speculated(lambda p, q, draft: returned, table, table, 1, 5, 0)


def test_plain_forms_of_answers() -> None:
    """Guards against right answers that are refused because they are tensors, arrays or floats."""
    assert token_ids(torch.tensor([1, 2]), "") == token_ids([1.0, torch.tensor(2)], "") == (1, 2)
    assert as_tensor(0.5).dtype == as_tensor([1, 2]).dtype == torch.float64
    assert as_tensor("x") == "x"
    assert as_tensor(None) is None


def test_drawings(no_window: None) -> None:
    """Guards against a drawing that raises in a learner's notebook, and a title that counts wrongly."""
    pictures.one_round()
    pictures.overlap([0.6, 0.3, 0.1], [0.1, 0.3, 0.6], ["a", "b", "c"])
    assert plt.gca().get_title(loc="left").startswith("50 % of the drafts survive")
    pictures.shares({"x": [0.5, 0.5], "y": [0.4, 0.6]}, ["a", "b"], "title")
    pictures.speedups([("a", 1.2, 0.9), ("b", 2.0, 2.5)], "title")
    assert len(plt.get_fignums()) == 4
