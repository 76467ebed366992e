"""Unit 11's objects: plans and programs that tests trust, a stand-in that suffers where it should, devices, records."""

import math
import struct

import pytest
import torch

from fridge.fusion import exporting
from fridge.memory import devices, model_configs
from fridge.models import sinks
from fridge.models.llama import attend_causally, rope_table, rotate
from fridge.quantization import mixed
from fridge.serving import where
from fridge.testing import (
    StandIn,
    Wrong,
    arena_case,
    expect_arena,
    expect_shards,
    expect_small_file,
    randn,
    random_arena,
    sink_attention,
    step_attention,
    tiny_llama,
)
from fridge.testing.stand_in import MOST_CALLS


def test_sinks_of_a_text_that_is_held_as_a_whole_are_plain_attention():
    q, k, v, inv_freq = randn(4, 8), randn(5, 2, 8, seed=1), randn(5, 2, 8, seed=2), torch.tensor([1.0, 0.3, 0.1, 0.01])
    table = rope_table(torch.arange(5), inv_freq, torch.float32)
    keys = rotate(k.transpose(0, 1), *table)[None]
    query = rotate(q[:, None], *(part[-1:] for part in table))[None]
    right = attend_causally(query, keys, v.transpose(0, 1)[None])[0, :, 0]
    assert torch.allclose(sink_attention(q, k, v, 1, 4, inv_freq).float(), right, atol=1e-5)


def test_a_step_of_a_full_buffer_is_plain_attention():
    q, k, v, inv_freq = randn(4, 8), randn(2, 8, seed=1), randn(2, 8, seed=2), torch.tensor([1.0, 0.3, 0.1, 0.01])
    keys, values = randn(2, 3, 8, seed=3), randn(2, 3, 8, seed=4)
    out, new_keys, new_values = step_attention(q, k, v, keys, values, 2, inv_freq)
    table = rope_table(torch.tensor([2]), inv_freq, torch.float32)
    right = attend_causally(rotate(q[:, None], *table)[None], new_keys[None].float(), new_values[None].float())
    assert torch.allclose(out.float(), right[0, :, 0], atol=1e-5)
    assert torch.equal(new_keys[:, :2].float(), keys[:, :2])


def one_by_one(places, window, sinks_held):
    """`SinkCache` as the oracle has it."""

    class Cache:
        def __init__(self):
            self.pairs = []

        def add(self, k, v):
            self.pairs.append((k, v))

        def attend(self, q, inv_freq):
            k, v = (torch.stack(part) for part in zip(*self.pairs, strict=True))
            return sink_attention(q, k, v, sinks_held, window, inv_freq).float()

    return sinks.streamed(tiny_llama(), places, Cache)


@pytest.mark.parametrize(("first", "window"), [(0, 24), (0, 5), (2, 5), (4, 1)])
def test_losses_all_at_once_are_those_of_a_cache(first, window):
    """Guards against a figure that is drawn of something else than the exercise's cache."""
    places = torch.randint(64, (24,), generator=torch.Generator().manual_seed(0))
    apart = sinks.losses(tiny_llama(), places, first, window) - one_by_one(places, window, first)
    assert float(apart.abs().max()) < 1e-3


def test_shards_are_held_against_the_fewest():
    tensors = [("a", 3), ("b", 4), ("c", 3)]
    expect_shards([["a", "b"], ["c"]], tensors, 7, "case")
    for files, words in (
        ([["a"], ["b"], ["c"]], "files"),
        ([["a", "b", "c"]], "bytes of file 0"),
        ([["b", "a"], ["c"]], "in the order"),
        ([["a", "b"], [], ["c"]], "without tensors"),
        ([["a", "b"]], "each once"),
        ("abc", "a list of lists"),
    ):
        with pytest.raises(Wrong, match=words):
            expect_shards(files, tensors, 7, "case")


def test_arenas_are_held_against_lives():
    ops, sizes = arena_case("a 8 x; b 8 a; c 8 b")
    expect_arena({"a": 0, "b": 8, "c": 0}, ops, sizes, ["c"], 8, "case", most=1.0)
    for offsets, words in (
        ({"a": 0, "b": 0, "c": 8}, "both alive at operation 'b'"),
        ({"a": 0, "b": 8, "c": 4}, "a multiple of 8"),
        ({"a": 0, "b": 8, "c": 16}, "times the lower bound"),
        ({"a": 0, "b": 8}, "names in"),
        ({"a": 0.5, "b": 8, "c": 0}, "a multiple of 8"),
    ):
        with pytest.raises(Wrong, match=words):
            expect_arena(offsets, ops, sizes, ["c"], 8, "case", most=1.0)


def test_an_output_lives_to_the_end():
    ops, sizes = arena_case("a 8 x; b 8 a; c 8 b")
    with pytest.raises(Wrong, match="'a' and 'c'"):
        expect_arena({"a": 0, "b": 8, "c": 0}, ops, sizes, ["a", "c"], 1, "case")


def test_random_arenas_are_the_same_each_time():
    assert random_arena(3) == random_arena(3)
    assert random_arena(3) != random_arena(4)


@pytest.mark.parametrize("function", [lambda x: x[: int(x[0])], lambda x: x if x[0] > 0 else x + 1])
def test_a_function_that_asks_for_values_has_no_program(function, capfd):
    """In a sentence: torch would print all of it as a graph."""
    with pytest.raises(ValueError, match="asks for a tensor's value"):
        exporting.program(function, (torch.ones(3),))
    assert capfd.readouterr() == ("", "")


def test_a_whole_model_on_static_buffers_is_the_model():
    llama = tiny_llama()

    def attend_step(q, k, v, keys, values, position, inv_freq):
        table = rope_table(position, inv_freq, torch.float32)
        keys = keys.index_copy(1, position, rotate(k[:, None], *table))
        values = values.index_copy(1, position, v[:, None])
        seen = (torch.arange(keys.shape[1]) <= position)[None, None]
        parts = rotate(q[:, None], *table)[None], keys[None], values[None]
        out = torch.nn.functional.scaled_dot_product_attention(*parts, attn_mask=seen, enable_gqa=True)
        return out[0, :, 0], keys, values

    step = exporting.StaticModel(llama, 9, attend_step)
    program, spent = exporting.timed_export(step)
    assert spent > 0
    assert exporting.apart(step, program, llama, torch.tensor([3, 1, 4, 1, 5])) < 1e-4


def test_what_executorch_made_of_a_step_says_where_and_when():
    record = exporting.by_executorch()
    assert record["same_tokens"] == len(record["tokens"])
    assert record["machine"]["threads"] == 1
    assert set(record["versions"]) == {"executorch", "torch"}


def test_parameters_are_those_of_transformers():
    for name in ("SmolLM2-135M", "Llama-3-8B"):
        total, _ = model_configs.counted_by_transformers(name)
        assert devices.parameters(model_configs.read(name)) == total


def test_devices_are_as_the_exercise_takes_them():
    for one in devices.DEVICES.values():
        assert {"memory", "runtime", "mapped", "address_space", "source"} == set(one)
    known = devices.models_known(tiny_llama().config)
    assert all({"file", "layers", "kv_heads", "head_dim", "kv_bytes"} == set(one) for one in known.values())
    assert devices.gib(None) == ""
    assert devices.gib(2**30) == "1.00 GiB"


def test_a_file_is_kept_where_fridge_edge_finds_it(tmp_path, monkeypatch):
    monkeypatch.setenv("FRIDGE_CACHE", str(tmp_path / "the cache"))
    assert mixed.keep(b"GGUF").read_bytes() == b"GGUF"
    assert mixed.keep(b"GGUF2") == tmp_path / "the cache" / "small.gguf"


def test_a_mixed_file_is_read_again():
    tensors = {"a.weight": randn(4, 64), "norm.weight": randn(7, seed=1), "b.weight": randn(3, 32, seed=2)}
    raw = mixed.file(
        mixed.metadata_of({"general.architecture": "llama"}), tensors, {"a.weight": "Q8_0", "b.weight": "F16"}
    )
    found = mixed.read(raw)
    assert {name: kind for name, (kind, _) in found.items()} == {
        "a.weight": "Q8_0",
        "norm.weight": "F32",
        "b.weight": "F16",
    }
    assert torch.equal(found["norm.weight"][1], tensors["norm.weight"])
    for name, (kind, values) in found.items():
        assert torch.equal(values, mixed.rounded(kind, tensors[name]))
    assert mixed.kinds_in(raw) == "1 tensors Q8_0, 1 tensors F16, 1 tensors F32"


def test_gguf_py_reads_a_mixed_file(tmp_path):
    import gguf

    tensors = {"a.weight": randn(4, 64), "norm.weight": randn(7, seed=1)}
    path = tmp_path / "x.gguf"
    path.write_bytes(mixed.file(mixed.metadata_of({"general.architecture": "llama"}), tensors, {"a.weight": "Q5_1"}))
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    values = gguf.quants.dequantize(found["a.weight"].data, found["a.weight"].tensor_type)
    assert torch.equal(torch.from_numpy(values), mixed.rounded("Q5_1", tensors["a.weight"]))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: b"GGML" + raw[4:],
        lambda raw: raw[:-40],
        lambda raw: raw[:8] + struct.pack("<Q", 2**60) + raw[16:],
        lambda raw: raw[:16] + struct.pack("<Q", 2**60) + raw[24:],
        lambda raw: raw[:24] + struct.pack("<Q", 2**60) + raw[32:],
        lambda raw: raw[:20],
    ],
)
def test_files_that_lie_are_refused(spoil):
    """Guards against a grader that a learner's file sends round in circles."""
    raw = mixed.file(mixed.metadata_of({"general.architecture": "llama"}), {"a.weight": randn(4, 64)}, {})
    with pytest.raises(ValueError):  # noqa: PT011 - each with its own words
        mixed.read(spoil(raw))


def test_a_stand_in_suffers_from_four_bits_and_not_from_eight():
    model = StandIn(0)
    matrices = {name: values for name, values in model.tensors().items() if values.dim() == 2}
    times = {
        kind: model.times_as_perplexed({name: mixed.rounded(kind, values) for name, values in matrices.items()})
        for kind in ("Q4_0", "Q5_1", "Q8_0")
    }
    assert times["Q4_0"] > times["Q5_1"] > 1.3 > times["Q8_0"]
    assert model.times_as_perplexed(model.tensors()) == pytest.approx(1.0)
    assert model.file_bytes("Q5_1") == model.budget(6.0)


def test_a_stand_in_counts_and_checks_what_it_is_asked():
    model = StandIn(0)
    assert model.loss({"attn_q": "F32"}) == pytest.approx(model.loss({}))
    for kinds in ({"nobody": "F32"}, {"attn_q": "Q2_K"}, [("attn_q", "F32")]):
        with pytest.raises(Wrong, match="what loss is given"):
            model.loss(kinds)
    for _ in range(MOST_CALLS - 5):
        model.loss({})
    with pytest.raises(Wrong, match="calls of loss"):
        model.loss({})


def test_a_small_file_must_be_the_models():
    model = StandIn(0)
    kinds = {name: "Q8_0" for names in model.groups().values() for name in names}
    raw = mixed.file(model.metadata, model.tensors(), kinds)
    assert set(expect_small_file(raw, model, len(raw), "case")) == set(model.tensors())
    other = {name: values * 1.1 for name, values in model.tensors().items()}
    mixed_up = kinds | {"blk.1.attn_q.weight": "F16"}
    for made, budget, words in (
        (raw, len(raw) - 1, "bytes of the file"),
        (raw[:-64], len(raw), "the file loads"),
        (mixed.file(model.metadata, other, kinds), len(raw), "rounded by mixed.file"),
        (mixed.file(model.metadata, model.tensors(), mixed_up), 10**9, "formats in the group"),
        ("text", 10**9, "bytes"),
    ):
        with pytest.raises(Wrong, match=words):
            expect_small_file(made, model, budget, "case")


def test_the_table_of_what_goes_where_is_filled_from_records():
    rows = where.rows()
    assert all(len(row) == len(where.COLUMNS) for row in rows)
    assert [row[0] for row in rows] == ["a laptop", "a server", "a phone", "a browser tab"]
    assert "cores" in where.machines()
    device, server = where.rates()
    assert device["rate"] > 0
    assert server["alone"] > server["rate"] > 0
    assert all(math.isfinite(one["quality"] * one["speed"]) and one["memory"] > 0 for one in where.candidates())


def head_of(*tensors: bytes, metadata: bytes = struct.pack("<Q", 0)) -> bytes:
    """A file's head, padded, and a little data."""
    head = b"GGUF" + struct.pack("<IQ", 3, len(tensors)) + metadata + b"".join(tensors)
    return head + bytes(-len(head) % 32) + bytes(128)


def entry(name: str, sides: tuple[int, ...], offset: int = 0) -> bytes:
    """A tensor of the table, in F32."""
    return struct.pack(f"<Q{len(name)}sI{len(sides)}QIQ", len(name), name.encode(), len(sides), *sides, 0, offset)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (head_of(entry("a", ())), "has sides"),
        (head_of(entry("a", (4, 0))), "has sides"),
        (head_of(entry("a", (32,)), entry("b", (32,)), entry("c", (32,))), "in one another"),
        (head_of(entry("a" * 100, (4,))), "100 letters"),
        (head_of(metadata=struct.pack("<QQ1sI", 1, 1, b"k", 9) + struct.pack("<IQ", 9, 1) * 2000), "more than 8 deep"),
    ],
)
def test_hostile_files_are_refused_as_files(raw, words):
    """Guards against an error that is called the course's, or a small file that is gigabytes of tensors."""
    with pytest.raises(ValueError, match=words):
        mixed.read(raw)
