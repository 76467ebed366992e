"""Unit 06's memory in a test: what it counts, what it refuses, and that a block doesn't outlive its place in SRAM."""

import pytest
import torch

from fridge.testing import Hbm, Wrong, exact_attention, randn


def memory(sram=None):
    return Hbm(sram, q=torch.arange(12.0).reshape(6, 2), lse=torch.zeros(6), kv=randn(2, 5, 4))


def test_bytes_are_counted_by_the_rows_that_move():
    """A partial last block counted as a whole one would make right answers exceed the formula."""
    hbm = memory()
    assert hbm.load("q", 4, 10).tolist() == [[8.0, 9.0], [10.0, 11.0]]
    hbm.store("lse", 2, torch.ones(3, dtype=torch.float64))
    assert (hbm.bytes_loaded, hbm.bytes_stored, hbm.bytes_moved) == (16, 12, 28)
    assert hbm.array("lse").tolist() == [0, 0, 1, 1, 1, 0]
    hbm.load("kv", head=1)
    assert hbm.bytes_loaded == 16 + 5 * 4 * 4


def test_the_budget_holds_what_is_loaded_and_not_yet_overwritten_or_freed():
    """Without overwriting, a loop of right loads would run out of SRAM; without adding up, a whole table would fit."""
    hbm = memory(sram=8 * 2 + 16 * 2)
    for start in range(0, 6, 2):
        hbm.load("q", start, start + 2)
    hbm.load("kv", 0, 2, head=0)
    assert hbm.peak_sram == 48
    with pytest.raises(Wrong, match="at most 48 bytes"):
        hbm.load("q", 0, 3)
    hbm.free("kv")
    hbm.free("kv")
    hbm.load("q")


def test_accesses_tell_rows_and_values_however_they_were_asked_for():
    hbm = memory()
    columns = hbm.shape("q")[1]
    hbm.load("q", 1, 3)
    hbm.load("q", 0, 2, row=3)
    hbm.store("q", 1, torch.ones(1), row=2)
    told = [(one.start, one.stop, one.columns, one.values) for one in (*hbm.loads, *hbm.stores)]
    assert told == [(1, 3, None, 2 * columns), (3, 4, (0, 2), 2), (2, 3, (1, 2), 1)]
    assert {(one.name, one.head) for one in hbm.loads} == {("q", None)}


def test_names_of_new_arrays_are_short_and_stay_out_of_the_words():
    hbm = memory()
    with pytest.raises(Wrong, match="100 characters at most"):
        hbm.new("n" * 101, 2)
    hbm.new("mine", 2)
    with pytest.raises(Wrong) as told:
        hbm.load("another")
    assert "mine" not in str(told.value)


def test_a_block_is_gone_with_its_place():
    """A learner who keeps blocks has more in SRAM than fits, which would not be seen otherwise."""
    hbm = memory()
    first = hbm.load("q", 0, 2)
    second = hbm.load("q", 2, 4)
    assert first.isnan().all()
    assert not second.isnan().any()
    hbm.free("q")
    assert second.isnan().all()
    assert not hbm.array("q").isnan().any()


def test_what_is_stored_and_what_was_given_are_copies():
    """A shared tensor would let code change HBM without a store, or the test's own tensors."""
    given = torch.zeros(4, 2)
    hbm = Hbm(o=given)
    block = torch.ones(2, 2)
    hbm.store("o", 0, block)
    block.fill_(5)
    hbm.array("o").fill_(7)
    assert given.sum() == 0
    assert hbm.array("o").tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]


def test_arrays_that_are_made_are_seen():
    """A table of scores in HBM must not pass for FlashAttention."""
    hbm = memory()
    assert hbm.largest_created == 0
    hbm.new("s", 6, 5)
    hbm.new("m", (6,))
    assert (hbm.largest_created, hbm.shape("s")) == (30, (6, 5))
    assert hbm.load("m", 0, 1).isnan().all()


@pytest.mark.parametrize(
    "misuse",
    [
        lambda hbm: hbm.load("nothing"),
        lambda hbm: hbm.load("q", 6, 8),
        lambda hbm: hbm.load("q", 3, 3),
        lambda hbm: hbm.load("q", -1, 3),
        lambda hbm: hbm.load("q", 0.5, 3),
        lambda hbm: hbm.load("q", None, 3),
        lambda hbm: hbm.load("kv", 0, 2),
        lambda hbm: hbm.load("kv", 0, 2, head=2),
        lambda hbm: hbm.load("kv", 0, 2, head=-1),
        lambda hbm: hbm.load("lse", 0, 2, head=0),
        lambda hbm: hbm.store("q", 5, torch.zeros(2, 2)),
        lambda hbm: hbm.store("q", 0, torch.zeros(2, 3)),
        lambda hbm: hbm.store("q", 0, torch.zeros(2)),
        lambda hbm: hbm.store("lse", 0, torch.zeros(6, 1)),
        lambda hbm: hbm.store("lse", 0, [0.0]),
        lambda hbm: hbm.new("q", 2),
        lambda hbm: hbm.new("s", 0),
        lambda hbm: hbm.new("s"),
        lambda hbm: hbm.new("s", 2**40),
    ],
)
def test_misuse_is_refused_in_words_and_changes_nothing(misuse):
    """An IndexError of torch's would say nothing about HBM; a store that is half done would be worse."""
    hbm = memory()
    before = hbm.array("q"), hbm.array("lse"), hbm.array("kv")
    with pytest.raises(Wrong, match="expected"):
        misuse(hbm)
    assert (hbm.bytes_moved, hbm.created) == (0, {})
    assert all(torch.equal(old, hbm.array(name)) for old, name in zip(before, ("q", "lse", "kv"), strict=True))


def test_what_is_given_to_read_is_not_stored_to():
    """Guards against an argument that a learner's code changes; results and arrays of its own it may."""
    hbm = Hbm(outputs=("o",), q=torch.zeros(2, 2), o=torch.zeros(2, 2))
    hbm.new("s", 2, 2)
    for name in ("o", "s"):
        hbm.store(name, 0, torch.ones(2, 2))
    with pytest.raises(Wrong, match="'q'"):
        hbm.store("q", 0, torch.ones(2, 2))
    assert torch.equal(hbm.array("q"), torch.zeros(2, 2))
    assert [access.name for access in hbm.stores] == ["o", "s"]


@pytest.mark.parametrize("causal", [False, True])
def test_the_oracle_is_sdpa(causal):
    """A wrong oracle would reject every right answer."""
    q, k, v = randn(4, 5, 8, seed=1), randn(2, 7, 8, seed=2), randn(2, 7, 8, seed=3)
    mask = torch.ones(5, 7, dtype=torch.bool).tril(2) if causal else None
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    o, lse = exact_attention(q, k, v, causal)
    torch.testing.assert_close(o.float(), expected, atol=1e-5, rtol=0)
    assert lse.shape == (4, 5)
