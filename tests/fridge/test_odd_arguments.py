"""What a test lends, called with what nobody meant: each argument of each method that a learner may call.

For all of them: what is given is counted, or the call is refused in words that name the argument, and nothing has
changed. `pool.read(None, [0])` gave a whole layer for the price of a slot.
"""

import functools
import inspect
import math
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fridge.models.caches import ConcatCache, RewindableCache
from fridge.testing import (
    CountingPool,
    Hbm,
    KneeServer,
    RecordingModel,
    ScriptedEngine,
    ScriptedModel,
    ScriptedPipes,
    ScriptedSpeaker,
    SpareAllocator,
    Wrong,
    randn,
    tiny_llama,
)
from fridge.testing.blocks import RecordingBlock, RecordingLayer, Rounding
from fridge.testing.expect import describe
from fridge.testing.streaming import ScriptedPipe
from fridge.testing.tiny import TinyLlama
from fridge.workbench import arguments


class Liar:
    """Says something else each time that it is asked; `isinstance` believes all it says."""

    def __init__(self, *says: Any):
        self.says = list(says)

    def next(self, *_: Any) -> Any:
        return self.says.pop(0) if len(self.says) > 1 else self.says[0]

    __int__ = __index__ = __len__ = __float__ = next

    def __iter__(self):
        return iter([self] * 3)

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: self


class LyingTensor(torch.Tensor):
    """Shows two rows and has a hundred."""

    @property
    def shape(self):
        return torch.Size((2, 2))

    def __len__(self) -> int:
        return 2


def attributed() -> torch.Tensor:
    """A tensor with attributes in the way of its methods."""
    value = torch.zeros(100, 2)
    value.detach = value.to = lambda *_: torch.zeros(2, 2)
    return value


SCALARS = (
    *(None, True, False, 0.5, math.nan, math.inf, -math.inf, -1, -(2**70), 2**31, 2**70, 10**5000, 1e300, 1j, "0", "q"),
    *(b"\x00", ..., slice(None), slice(0, 1), np.float32("nan"), np.bool_(True), np.int8(1), object(), print, int),
)
TENSORS = (
    *(torch.tensor(1), torch.tensor(True), torch.tensor(math.nan), torch.tensor([1]), torch.tensor([[0], [1]])),
    *(torch.tensor([0, 1]), torch.tensor([0.5]), torch.tensor([True]), torch.zeros(0), torch.zeros(0, 2)),
    *(torch.zeros(2, 0, 2), torch.zeros(2, 2), torch.zeros(1, 1, 1, 1), torch.zeros(1, 2, 3, 4, 5), torch.zeros(2**22)),
    *(torch.zeros(2, 2, dtype=torch.complex64), torch.zeros(2, 2, dtype=torch.int8), torch.zeros(2, 2).to_sparse()),
    *(torch.empty(2, 2, device="meta"), torch.zeros(100, 2).as_subclass(LyingTensor), torch.zeros(1).expand(5)),
    *(torch.full((1, 2), -1), torch.full((1, 2), 10**6), torch.zeros(1, 10_000, dtype=torch.int64)),
)
LISTS = (
    *([], (), [0], [1, 1, 1], (0, 0), [[0]], [[0], [1, 2]], [[[0]]], [None], [True], [0.5], [math.nan], [-1], [2**70]),
    *(["0"], "01", b"\x00\x01", [slice(None)], [...], [torch.tensor([0, 1])], {0: 1}, {0, 1}, range(2), range(2**40)),
    *(np.arange(2), np.zeros((2, 2)), np.array(["a"]), np.array([None], dtype=object), [np.arange(2)], [0] * 5000),
)
LIARS = (lambda: Liar(0, 10**6), lambda: Liar(1), lambda: [Liar(0, 5)], lambda: iter([0, 1]), attributed, lambda: Liar)
ODD = [*(lambda value=value: value for value in (*SCALARS, *TENSORS, *LISTS)), *LIARS]
NUMBERS = st.one_of(st.integers(-3, 9), st.integers(), st.floats(), st.booleans(), st.none())
NESTED = st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner), max_leaves=5)
STRANGE = st.one_of(st.sampled_from(ODD).map(lambda make: make()), NUMBERS, NESTED)


@dataclass
class Case:
    """A method with arguments that are right, and how what it gives compares with what it counts.

    Attributes:
        make: a new object.
        count: what the object says of its work.
        given: the work that a returned value is, in the same unit.
    """

    make: Callable[[], Any]
    method: str
    right: dict[str, Any]
    count: Callable[[Any], int] = lambda _: 0
    given: Callable[[Any], int] = lambda _: 0

    def __str__(self) -> str:
        return f"{type(self.make()).__name__}.{self.method}"


def hbm() -> Hbm:
    return Hbm(10_000, q=randn(6, 2), lse=torch.zeros(6), kv=randn(2, 5, 4))


def loaded() -> Hbm:
    memory = hbm()
    memory.load("q", 0, 2)
    return memory


def pool() -> CountingPool:
    return CountingPool(2, 4, 2)


def owned() -> SpareAllocator:
    allocator = SpareAllocator(4, 2)
    allocator.allocate(4)
    return allocator


def block() -> RecordingBlock:
    return RecordingModel(1).blocks[0]


def running() -> ScriptedEngine:
    engine = ScriptedEngine()
    engine.add(prompt=[1, 2], max_new_tokens=2)
    return engine


def held(kind: type) -> Any:
    cache = kind()
    cache.update(0, torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4))
    return cache


def size(value: torch.Tensor) -> int:
    return value.numel() * value.element_size()


PIECE = torch.zeros(1, 2, 1, 4)
IDS = torch.tensor([[1, 2, 3]])
CASES = [
    Case(hbm, "shape", {"name": "q"}),
    Case(hbm, "load", {"name": "q", "start": 0, "stop": 2, "head": None, "row": None}, lambda o: o.bytes_loaded, size),
    Case(hbm, "load", {"name": "kv", "start": 0, "stop": 2, "head": 1}, lambda o: o.bytes_loaded, size),
    Case(
        hbm,
        "store",
        {"name": "q", "start": 0, "block": torch.ones(2, 2), "head": None, "row": None},
        lambda o: o.bytes_stored,
    ),
    Case(hbm, "store", {"name": "q", "start": 0, "block": torch.ones(2), "row": 1}, lambda o: o.bytes_stored),
    Case(hbm, "store", {"name": "kv", "start": 0, "block": torch.ones(2, 4), "head": 0}, lambda o: o.bytes_stored),
    Case(loaded, "free", {"name": "q"}),
    Case(hbm, "new", {"name": "s", "shape": (2, 2)}, lambda o: o.largest_created),
    Case(pool, "read", {"layer": 1, "slots": [0, 3]}, lambda o: o.slots_read, lambda kv: kv[0].numel() // 2),
    Case(pool, "copy_block", {"source": 1, "target": 2}, lambda o: o.blocks_copied),
    Case(lambda: SpareAllocator(4, 2), "allocate", {"count": 2}, lambda o: 4 - o.num_free, len),
    Case(owned, "share", {"blocks": [0, 3]}, lambda o: sum(map(o.ref_count, range(4)))),
    Case(owned, "free", {"blocks": [0, 3]}, lambda o: o.num_free),
    Case(owned, "ref_count", {"block": 1}),
    Case(owned, "blocks_for", {"tokens": 5}),
    Case(
        lambda: ScriptedModel([1, 2, 3, 4]),
        "__call__",
        {"tokens": IDS, "cache": None, "last_only": False},
        lambda o: o.positions,
        lambda logits: logits.shape[1],
    ),
    Case(
        lambda: ScriptedSpeaker([1, 2, 3, 4]),
        "__call__",
        {"tokens": IDS, "cache": None, "last_only": False},
        lambda o: o.positions,
        lambda logits: logits.shape[1],
    ),
    Case(tiny_llama, "forward", {"tokens": IDS, "cache": None, "last_only": False}),
    Case(lambda: held(ConcatCache), "update", {"layer": 0, "k": PIECE, "v": PIECE}, lambda o: o.nbytes),
    Case(lambda: held(RewindableCache), "update", {"layer": 0, "k": PIECE, "v": PIECE}, lambda o: o.nbytes),
    Case(lambda: held(RewindableCache), "rewind", {"length": 1}, len),
    Case(block, "__call__", {"x": torch.ones(2, 3, 6)}, lambda o: o.sequences, len),
    Case(lambda: block().layers["mix"], "register_forward_pre_hook", {"hook": print}, lambda o: o.hooks),
    Case(
        lambda: RecordingModel(1).quantize,
        "__call__",
        {"layer": block().layers["mix"], "inputs": torch.ones(2, 3, 6)},
        lambda o: len(o.calls),
    ),
    Case(
        lambda: ScriptedEngine(),
        "add",
        {"prompt": [1, 2], "max_new_tokens": 2, "stop_token": None},
        lambda o: len(o.numbers),
    ),
    Case(lambda: ScriptedEngine(), "add", {"others": None}, lambda o: len(o.numbers)),
    Case(running, "cancel", {"number": running().numbers[0]}, lambda o: len(o.running)),
    Case(lambda: ScriptedPipes()([]), "push", {"token": 1}),
    Case(lambda: ScriptedPipes(), "__call__", {"stops": []}, lambda o: len(o.made)),
    Case(lambda: KneeServer(2.0), "__call__", {"rate": 1.0}, lambda o: len(o.runs)),
]


# A right name of another array, or a right head, is told by what doesn't fit it.
NAMED = {"name": ("name", "block", "rows", "head"), "head": ("head", "block"), "blocks": ("block",)}
NAMED |= {
    "row": ("row", "block"),
    "source": ("source", "itself"),
    "target": ("target", "itself"),
    "start": ("start", "row"),
}


def test_every_method_that_is_lent_is_looked_at() -> None:
    """Guards against a method or an argument that is added without a case here."""
    for kind in (
        Hbm,
        CountingPool,
        SpareAllocator,
        ScriptedModel,
        ScriptedSpeaker,
        TinyLlama,
        ConcatCache,
        RewindableCache,
        RecordingBlock,
        RecordingLayer,
        Rounding,
        ScriptedEngine,
        ScriptedPipe,
        ScriptedPipes,
        KneeServer,
    ):
        for name in kind.learner_may:
            if name == "__len__" or not callable(getattr(kind, name, None)):
                continue
            method = "forward" if kind is TinyLlama else name
            cases = [case for case in CASES if type(case.make()) is kind and case.method == method]
            parameters = set(inspect.signature(getattr(kind, method)).parameters) - {"self"}
            assert {parameter for case in cases for parameter in case.right} == parameters, (kind, name)


@pytest.mark.parametrize("case", CASES, ids=str)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_what_is_given_is_counted_or_the_argument_is_named(case: Case, data: st.DataObject) -> None:
    """One argument or several are odd; whatever comes back was counted, and a refusal changes nothing."""
    odd = data.draw(st.sets(st.sampled_from(sorted(case.right)), min_size=1))
    check(case, {name: data.draw(STRANGE) for name in sorted(odd)})


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_odd_value_in_each_place(case: Case) -> None:
    """All of the list, one argument at a time."""
    for name in case.right:
        for make in ODD:
            check(case, {name: make()})


def check(case: Case, odd: dict[str, Any]) -> None:
    thing = case.make()
    before = case.count(thing)
    arguments = case.right | odd
    shape = arguments.pop("shape", None)
    try:
        if shape is None:
            got = getattr(thing, case.method)(**arguments)
        else:
            got = getattr(thing, case.method)(arguments["name"], *(shape if type(shape) is tuple else (shape,)))
    except (Wrong, ValueError) as refused:
        if isinstance(odd.get("cache"), Liar):
            return  # a learner's own class, as far as one can see: what it answers is its own
        said = str(refused).lower()
        assert any(word in said for name in odd for word in NAMED.get(name, (name,))), (odd, said)
        assert len(said) < 1000
        assert case.count(thing) == before
    else:
        work = case.count(thing) - before
        assert case.given(got) <= abs(work), (odd, work)


def test_a_layer_of_none_is_no_layer() -> None:
    """`None` as an index adds a dimension: one slot was counted, and all of a layer came."""
    memory = pool()
    with pytest.raises(Wrong, match="layer"):
        memory.read(None, [0])
    assert memory.slots_read == 0


def test_a_head_that_is_kept_is_a_number() -> None:
    """Guards against a learner's object in the test's account, which could say another head later."""
    memory = hbm()
    memory.load("kv", 0, 1, head=np.int64(1))
    assert type(memory.loads[0].head) is int


def test_arrays_have_an_end() -> None:
    """Guards against memory taken array by array, each of them small enough."""
    memory = hbm()
    for number in range(4):
        memory.new(f"n{number}", 2**20)
    with pytest.raises(Wrong, match="shape"):
        memory.new("fifth", 1)
    assert len(memory.created) == 4


def test_owners_are_counted_in_linear_time() -> None:
    """Guards against a hundred thousand blocks of the same number, which took minutes of the test's time."""
    allocator = owned()
    allocator.share([1] * 200_000)
    assert allocator.ref_count(1) == 200_001
    allocator.free([1] * 200_000)
    assert allocator.ref_count(1) == 1


class Secret:
    """Whose words nobody is to read."""

    def __repr__(self) -> str:
        raise SystemExit("said")


@pytest.mark.parametrize(
    "value",
    [
        [torch.zeros([2] * 20, dtype=torch.int8)],
        (1, {"a": [torch.zeros(3, 3)]}),
        [torch.zeros([1] * 60)],
        ["\0" * 10**7],
        [[[["\U0001f600" + "\0" * 10**7]]]],
        b"\0" * 10**7,
        {"a" * 10**7: 1},
        functools.reduce(lambda inner, _: [inner] * 100, range(8), 0),
        functools.reduce(lambda inner, _: dict.fromkeys(range(100), inner), range(8), 0),
    ],
)
def test_words_write_out_no_more_than_they_show(value: Any) -> None:
    """Guards against a megabyte of zeros that takes half a minute, and a gigabyte, to be told of in a line."""
    tracemalloc.start()
    began = time.process_time()
    assert len(arguments.in_short(value, 100)) <= 102
    assert len(describe(value)) <= 300
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    assert time.process_time() - began < 1


def test_words_for_a_container_ask_no_object_in_it() -> None:
    """Guards against a message that an object writes, or ends; and against the insides of a test's own."""
    assert arguments.said([Secret(), 1, {"a": (Secret(),)}]) == "[<Secret>, 1, {'a': (<Secret>,)}]"
    assert arguments.said({Secret(): np.float64(0.5)}) == "{<Secret>: 0.5}"
    assert arguments.said(slice(Secret(), 2)) == "slice(<Secret>, 2, None)"
    endless: list = []
    endless.append(endless)
    assert arguments.said(endless).startswith("[[[[")
    assert arguments.said([10**5000]) == "a very large list"
    assert len(arguments.said([Secret()] * 10**6)) < 200
