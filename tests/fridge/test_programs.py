"""A program of a learner's is computed in the test's process: what it may do there, and what it may not."""

import pytest
import torch

from fridge.fusion import exporting
from fridge.testing import Wrong, expect_program, programs


def shifted(x, position):
    return x + position, (torch.arange(3) == position).float()


def test_a_program_is_computed_from_plain_data():
    made = exporting.program(shifted, (torch.zeros(3), torch.zeros(1, dtype=torch.int64)))
    run = expect_program(made, "case")
    out, hot = run([torch.ones(3), torch.tensor([2])], [torch.Size([3]), torch.Size([3])])
    assert out.tolist() == [3, 3, 3]
    assert hot.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (["y", "aten.rand.default", [[3]], {}], "core ATen"),
        (["y", "aten.add_.Tensor", [{"of": "x"}, 1], {}], "core ATen"),
        (["y", "aten.from_file.default", ["/etc/passwd"], {}], "core ATen"),
        (["y", "os.system", ["true"], {}], "core ATen"),
        (["y", "aten.full.default", [[1 << 40], 0], {}], "elements that"),
        (["y", "aten.add.Tensor", [{"of": "z"}, 1], {}], "earlier results"),
        (["y", "aten.add.Tensor", [1], {}], "without an error"),
        (["y", "getitem", [{"of": "x"}, 0], {}], "one of several"),
        (["y", "aten.embedding_dense_backward.default", [{"of": "x"}, {"of": "i"}, 2, -1, True], {}], "core ATen"),
        (["y", "aten._native_batch_norm_legit_no_training.default", [{"of": "x"}], {}], "core ATen"),
        (["y", "aten.polar.default", [{"of": "x"}, {"of": "x"}], {}], "real numbers"),
        (["y", "aten.empty.memory_format", [[3]], {}], "uninitialised"),
        (
            ["y", "aten.div.Scalar_mode", [{"of": "i"}, -1], {"rounding_mode": "trunc"}],
            "how aten.div",
        ),
        (["y", "aten.remainder.Scalar", [{"of": "i"}, -1], {}], "not -1"),
        (["y", "aten.fmod.Tensor", [{"of": "i"}, {"of": "l"}], {}], "not -1"),
        (["y", "aten.repeat.default", [{"of": "x"}, [1] * 300], {}], "256 parts at most"),
        (["y", "aten.repeat.default", [{"of": "x"}, [1] * 200], {}], "dimensions of"),
        (["y", "aten.as_strided.default", [{"of": "x"}, [9], [1]], {}], "core ATen"),
        (["y", "aten._cdist_forward.default", [{"of": "x"}, {"of": "x"}, 2.0, None], {}], "core ATen"),
        (["y", "aten._fft_r2c.default", [{"of": "x"}, [0], 0, True], {}], "core ATen"),
        (["y", "aten.view.default", [{"of": "x"}, [1] * 9 + [3]], {}], "dimensions of"),
        (["y", "aten._to_copy.default", [{"of": "x"}], {"dtype": 5}], "the dtype of"),
        (["y", "aten.expand.default", [{"of": "s"}, [1, 0, -1]], {}], "elements that"),
        (["y", "getitem", [[{"of": "x"}, {"of": "x"}], 0], {}], "one of several"),
        (["y", "aten.add.Tensor", [{"of": "x"}, {"number": 10**400}], {}], "earlier results"),
        (
            ["y", "aten.index_put.default", [{"of": "c"}, [{"of": "n"}, {"of": "m"}], {"of": "s"}], {}],
            "adds up or writes",
        ),
        (["y", "aten.index_put.default", [{"of": "c"}, [{"of": "n"}] * 2, {"of": "s"}], {}], "adds up or writes"),
        (["y", "aten.mm.default", [{"of": "n"}, {"of": "m"}], {}], "elements that"),
        (["y", "aten.full.default", [[0, 1 << 40], 0], {}], "elements that"),
        (["y", "aten._to_copy.default", [{"of": "x"}], {"layout": 1}], "given by name"),
        (["y", "aten.add.Tensor", [{"of": "x"}, 10**300], {}], "without an error"),
        (["y", "aten.index_select.default", [{"of": "x"}, 0, {"of": "i"}], {}], "without an error"),
        (["y", "aten.add.Tensor"], "a list of"),
    ],
)
def test_a_program_can_not_do_more_than_compute(node, words):
    """Guards against a learner's list of operations that reads files, writes memory or asks for too much of it."""
    long = torch.zeros(programs.MOST_ELEMENTS, 1, dtype=torch.int64)
    constants = {
        "i": torch.tensor([-(2**63)]),
        "s": torch.tensor(1),
        "n": long,
        "m": long.T,
        "c": long[:1],
        "l": torch.tensor([-1]),
    }
    made = {"inputs": ["x"], "constants": constants, "nodes": [node], "outputs": ["y"]}
    with pytest.raises(Wrong, match=words):
        expect_program(made, "case")([torch.ones(3)], [torch.Size([3])])


def test_a_program_has_an_end(monkeypatch):
    """Guards against one that takes a test's minutes, which the course would then be blamed for."""
    made = {"inputs": ["x"], "constants": {}, "outputs": ["x"]}
    node = ["x", "aten.mm.default", [{"of": "x"}, {"of": "x"}], {}]
    with pytest.raises(Wrong, match="2000 at most"):
        expect_program(made | {"nodes": [node] * 2001}, "case")
    run = expect_program(made | {"nodes": [node] * 2000}, "case")
    monkeypatch.setattr(programs, "MOST_SECONDS", 0.001)
    with pytest.raises(Wrong, match=r"at most 0.001 seconds of a processor"):
        run([torch.ones(128, 128, dtype=torch.int64)], [torch.Size([128, 128])])


@pytest.mark.parametrize(
    ("constant", "words"),
    [
        (torch.ones(129, 128), "at most 16384"),
        (torch.ones(3, dtype=torch.float16), "the dtype of a constant"),
        (torch.ones([1] * 9), "at most 8"),
        ("x", "a constant of the program"),
    ],
)
def test_constants_are_small_and_of_plain_numbers(constant, words):
    with pytest.raises(Wrong, match=words):
        expect_program({"inputs": [], "constants": {"c": constant}, "nodes": [], "outputs": []}, "case")


@pytest.mark.parametrize(
    "function",
    [
        lambda x, at: torch.stack([torch.where(at == i, x[i], 0 * x[i]) for i in range(3)]),
        lambda x, at: x[:, None].repeat(1, 4).tile(2, 1),
        lambda x, at: torch.nn.functional.pad(x, (1, 2)),
        lambda x, at: written(x.clone(), at),
        lambda x, at: torch.zeros(3).scatter_add(0, at, x[:1]),
        lambda x, at: x[at].repeat_interleave(3) % 2,
    ],
)
def test_what_steps_are_written_with_may_be_in_a_program(function):
    x, at = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1])
    run = expect_program(exporting.program(lambda *given: (function(*given),), (x, at)), "case")
    right = function(x, at)
    assert torch.equal(run([x, at], [right.shape])[0], right)


def written(x, at):
    for i in range(3):
        x[i] = torch.where(at == i, 9.0, x[i])[0]
    x[:2] = x[1:].clone()
    return x


def test_each_operation_that_is_allowed_exists_and_changes_nothing():
    for name in programs.ALLOWED:
        _, packet, overload = name.split(".")
        schema = getattr(getattr(torch.ops.aten, packet), overload)._schema
        assert not schema.is_mutable, name
