"""Unit 10's objects: kernels that may run and others that mayn't, the fewest, a device that captures, a clock."""

import random

import pytest
import torch

from fridge.fusion import counting, graphs, peers
from fridge.fusion.merged import MergedLlama, weights_of
from fridge.fusion.step import StaticStep
from fridge.models.caches import ConcatCache
from fridge.testing import Card, Device, Hbm, Wrong, expect_kernels, expect_lean, fewest_kernels, stepped, tiny_llama


def alone(ops):
    return [{"ops": [op["name"]], "reads": sorted(set(op["of"])), "writes": [op["name"]]} for op in ops]


CYCLE = graphs.listed("f = silu, x; p = product, f, w; y = add, x, p")


def test_every_operation_by_itself_may_run():
    assert expect_kernels(alone(CYCLE), CYCLE, ["y"], "") == alone(CYCLE)


@pytest.mark.parametrize(
    ("kernels", "words"),
    [
        ([(["f", "y"], ["x", "p"], ["f", "y"]), (["p"], ["f", "w"], ["p"])], "comes back"),
        ([(["p"], ["f", "w"], ["p"]), (["f"], ["x"], ["f"]), (["y"], ["x", "p"], ["y"])], "in which they can run"),
        ([(["f", "p"], ["x", "w"], ["p"]), (["y"], ["x", "p"], ["y"])], "a product is a kernel of its own"),
        ([(["f"], ["x"], ["f"]), (["p"], ["f", "w"], ["p"])], "without"),
        ([(["f"], ["x"], []), (["p"], ["f", "w"], ["p"]), (["y"], ["x", "p"], ["y"])], "must be written"),
        ([(["f"], ["x"], ["f"]), (["p"], ["f"], ["p"]), (["y"], ["x", "p"], ["y"])], "a kernel reads each value"),
        ([(["f"], ["x"], ["f"]), (["p"], ["f", "w"], ["p"]), (["y"], ["x", "p"], [])], "an output is needed"),
    ],
)
def test_kernels_that_cant_run_are_told_why(kernels, words):
    named = [dict(zip(("ops", "reads", "writes"), parts, strict=True)) for parts in kernels]
    with pytest.raises(Wrong, match=words):
        expect_kernels(named, CYCLE, ["y"], "case")


def test_a_reader_of_an_across_result_waits_for_the_kernels_end():
    ops = graphs.listed("m = largest of all rows, x; y = multiply, x, m")
    with pytest.raises(Wrong, match="complete only when"):
        expect_kernels([{"ops": ["m", "y"], "reads": ["x"], "writes": ["y"]}], ops, ["y"], "case")


def test_what_is_moved_in_vain_is_told():
    ops = graphs.listed("a = silu, x; y = square, a")
    kernels = [{"ops": ["a", "y"], "reads": ["x"], "writes": ["a", "y"]}]
    expect_kernels(kernels, ops, ["y"], "case")
    with pytest.raises(Wrong, match="the outside needs"):
        expect_lean(kernels, ops, ["y"], "case")


@pytest.mark.parametrize("seed", range(6))
def test_the_fewest_kernels_are_the_fewest(seed):
    """A bound that is too low would refuse right answers: held against all ways to group six operations."""
    draw = random.Random(seed)
    names, lines = ["x"], []
    for number in range(6):
        does = draw.choice(["add", "silu", "product", "largest of all rows"])
        of = {"add": f"{draw.choice(names)}, {draw.choice(names)}", "product": f"{draw.choice(names)}, w"}
        lines.append(f"v{number} = {does}, {of.get(does, draw.choice(names))}")
        names.append(f"v{number}")
    ops = graphs.listed("; ".join(lines))
    fewest = min(len(groups) for groups in _partitions(ops) if _can_run(groups, ops))
    assert fewest_kernels(ops) == fewest


def _partitions(ops):
    if not ops:
        yield []
        return
    for groups in _partitions(ops[:-1]):
        for place in range(len(groups)):
            yield [*groups[:place], [*groups[place], ops[-1]], *groups[place + 1 :]]
        yield [*groups, [ops[-1]]]


def _can_run(groups, ops):
    kinds = {op["name"]: op["kind"] for op in ops}
    home = {op["name"]: place for place, group in enumerate(groups) for op in group}
    for group in groups:
        if len(group) > 1 and any(op["kind"] == "product" for op in group):
            return False
        own = {op["name"] for op in group}
        if any(part in own and kinds[part] == "across" for op in group for part in op["of"]):
            return False
    waits = [
        {home[part] for op in group for part in op["of"] if part in home} - {at} for at, group in enumerate(groups)
    ]
    done = set()
    while ready := {at for at in range(len(groups)) if at not in done and waits[at] <= done}:
        done |= ready
    return len(done) == len(groups)


def test_a_layer_as_a_list_is_the_models_layer():
    model, tokens = tiny_llama(), torch.tensor([3, 1, 4, 1, 5])
    ops, last = graphs.model_ops(model.config.layers)
    values, functions = graphs.layer_inputs(model, tokens)
    hidden = graphs.run(alone(ops), ops, values, functions)[last]
    logits = model.lm_head(model.model.norm(hidden))
    torch.testing.assert_close(logits, model(tokens[None])[0], rtol=0, atol=1e-4)
    groups = [name for index in range(2) for group in graphs.layer_groups(index) for name in group]
    assert sorted(groups) == sorted(op["name"] for op in ops)


def test_sizes_are_those_of_the_values():
    model, tokens = tiny_llama(), torch.tensor([3, 1, 4])
    ops, _ = graphs.model_ops(1)
    values, functions = graphs.layer_inputs(model, tokens)
    values = graphs.run(alone(ops), ops, values, functions)
    sizes = graphs.bytes_of(model.config, ops, rows=3)
    assert sizes == {name: values[name].numel() * 4 for name in sizes}


def test_merged_layers_leave_the_logits():
    """With the plainest of answers: products that aren't merged at all."""
    model = tiny_llama()

    def merge(layer):
        return layer

    def run(x, layer, sizes, eps, linear, attend):
        def norm(x, weight):
            return torch.nn.functional.rms_norm(x, x.shape[-1:], weight, eps)

        h = norm(x, layer["input_norm"])
        x = x + linear(attend(*(linear(h, layer[name]) for name in "qkv")), layer["o"])
        h = norm(x, layer["post_norm"])
        gate = torch.nn.functional.silu(linear(h, layer["gate"]))
        return x + linear(gate * linear(h, layer["up"]), layer["down"])

    mine, tokens = MergedLlama(model, merge, run), torch.tensor([[3, 1, 4, 1, 5]])
    torch.testing.assert_close(mine(tokens), model(tokens), rtol=0, atol=1e-4)
    one, other = ConcatCache(), ConcatCache()
    for part in (tokens[:, :3], tokens[:, 3:]):
        torch.testing.assert_close(
            mine(part, one, last_only=True), model(part, other, last_only=True), rtol=0, atol=1e-4
        )
    assert set(weights_of(model.model.layers[0])) >= {"q", "q_bias", "o_bias", "input_norm", "post_norm"}


def test_a_step_on_static_buffers_is_the_models_step():
    """A mask that is off by one, or a key at another place, shows from the second token on."""
    model, tokens = tiny_llama(), [3, 1, 4, 1, 5, 9]
    step, right = StaticStep(model, places=8), model(torch.tensor([tokens]))[0]
    for position, token in enumerate(tokens):
        logits = step(torch.tensor([token]), torch.tensor([position]))
        torch.testing.assert_close(logits, right[position], rtol=0, atol=1e-4)


def test_what_was_measured_says_where_and_when():
    record = peers.kept()
    if record is None:
        pytest.skip("nothing has been measured yet")
    assert {"cpu", "cores", "date", "torch", "threads"} <= record["machine"].keys()
    assert all(part in peers.where(record) for part in (record["machine"]["cpu"], record["machine"]["date"]))
    assert {row["name"] for row in record["rows"]} | set(peers.missing(record)) == set(peers.WAYS)
    for row in record["rows"]:
        assert row["per_processor_second"] > 0
        assert {"name", "bits", "note", "says", "spent"} <= row.keys()


def test_calls_that_only_look_elsewhere_arent_counted():
    x, w = torch.ones(2, 3), torch.ones(4, 3)
    found = counting.calls(lambda: torch.nn.functional.silu(torch.nn.functional.linear(x, w).T.reshape(-1)))
    assert (found.total(), counting.products(found)) == (3, 1)


def test_columns_of_a_row_are_counted():
    hbm = Hbm(8, ("x",), x=torch.arange(8.0).reshape(2, 4))
    assert hbm.load("x", 2, 9, row=1).tolist() == [6, 7]
    hbm.store("x", 3, torch.tensor([5.0]), row=0)
    assert (hbm.bytes_loaded, hbm.bytes_stored, hbm.array("x")[0].tolist()) == (8, 4, [0, 1, 2, 5])
    for wrong in ({"row": 2}, {"row": 0, "head": 0}, {"row": -1}):
        with pytest.raises(Wrong, match="row= of 'x'"):
            hbm.load("x", 0, 1, **wrong)
    with pytest.raises(Wrong, match="at most 8 bytes"):
        hbm.load("x", 0, 3, row=0)


@pytest.mark.parametrize("strange", ["a", "nothing"])
def test_a_kernel_reads_what_others_make(strange):
    """Its own result, or a name that nobody has, would be an error in the run and no words about it."""
    ops = graphs.listed("a = silu, x; b = square, a")
    kernel = {"ops": ["a", "b"], "reads": ["x", strange], "writes": ["b"]}
    with pytest.raises(Wrong, match="'reads'"):
        expect_kernels([kernel], ops, ["b"], "two")


def test_a_graph_computes_what_lies_in_its_buffers():
    device, rows = Device(), torch.randn(3, 4)
    x, y = device.buffer(3), device.buffer(3)
    device.begin()
    device.step(x, y)
    graph = device.end()
    device.write(x, rows)
    device.replay(graph)
    first = device.read(y)
    torch.testing.assert_close(first.double(), stepped(rows), rtol=0, atol=1e-4)
    device.write(x, rows + 1)
    device.replay(graph)
    torch.testing.assert_close(first.double(), stepped(rows + 1), rtol=0, atol=1e-4)
    assert (device.launches, device.captures, device.buffers) == (2, 1, 2)
    first.zero_()  # what was read is no way to write
    device.replay(graph)
    torch.testing.assert_close(device.read(y).double(), stepped(rows + 1), rtol=0, atol=1e-4)


def test_within_a_capture_there_are_launches_alone():
    device = Device()
    x = device.buffer(1)
    device.begin()
    for call in (
        lambda: device.buffer(1),
        lambda: device.read(x),
        lambda: device.write(x, torch.ones(1, 4)),
        device.begin,
    ):
        with pytest.raises(Wrong, match="within a capture"):
            call()
    graph = device.end()
    with pytest.raises(Wrong, match="nothing was captured"):
        device.replay(graph)
    with pytest.raises(Wrong, match="a capture that has begun"):
        device.end()


@pytest.mark.parametrize("kept", ["buffers", "replays", "captures", "launches", "a graph"])
def test_a_device_keeps_so_much_and_no_more(kept, monkeypatch):
    monkeypatch.setattr("fridge.testing.fusion.MOST_ROWS", 40)
    monkeypatch.setattr("fridge.testing.fusion.MOST_STEPS", 30)
    device = Device()
    x, y = device.buffer(3), device.buffer(3)
    device.begin()
    device.step(x, y)
    graph = device.end()
    more = {
        "buffers": lambda: device.buffer(2),
        "replays": lambda: device.replay(graph),
        "captures": lambda: device.end() if device.begin() is None else None,
        "launches": lambda: device.step(x, y),
        "a graph": lambda: device.step(x, y),
    }[kept]
    if kept == "a graph":
        device.begin()

    def without_end():
        for _ in range(100):
            more()

    with pytest.raises(Wrong, match="of a device"):
        without_end()


@pytest.mark.parametrize("shape", [(1,) * 9, [2] * 1000, range(2**20), "4", 4, {4: 2}, None])
def test_a_card_runs_shapes(shape):
    card = Card({})
    with pytest.raises(Wrong, match=r"card.run\(tile, shape\)"):
        card.run(16, shape)
    assert not card.runs


def test_noise_adds_time_and_leaves_one_run_alone():
    shape = (4, 2, 2)
    card = Card({(16, shape): 0.5}, seed=3, calm=2)
    times = []
    for _ in range(4):
        before = card.clock()
        card.run(16, shape)
        times.append(card.clock() - before)
    assert times[0] > 1.5
    assert [round(time, 6) == 0.5 for time in times[1:]] == [False, True, False]
    with pytest.raises(ValueError, match="doesn't fit"):
        card.run(32, shape)
