"""What a learner's code does out of a test's sight is measured as it is, neither more nor less."""

import importlib.util
import tracemalloc
import weakref
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fridge.testing import allocated, held_bytes, measured
from fridge.testing.work import Work

A, B = torch.ones(8, 16), torch.ones(16, 32)
Q = torch.ones(1, 2, 64, 16)
WEIGHT = torch.ones(500, 16)
ATTENTION = torch.nn.functional.scaled_dot_product_attention


@pytest.mark.parametrize(
    ("function", "given", "flops", "largest"),
    [
        (lambda a, b: a @ b, (A, B), 2 * 8 * 16 * 32, 4 * 8 * 32),
        (lambda a, b: torch.einsum("ij,jk->ik", a, b), (A, B), 2 * 8 * 16 * 32, 4 * 8 * 32),
        (lambda a, b: (a @ b).double()[:1].float(), (A, B), 2 * 8 * 16 * 32, 8 * 8 * 32),
        (lambda q: ATTENTION(q, q, q), (Q,), 4 * 2 * 64 * 64 * 16, 4 * Q.numel()),
        (lambda q: (q[..., None, :] * q[..., None, :, :]).sum(-1), (Q,), 0, 4 * 64 * Q.numel()),
        (lambda a, b: a[:2].expand(5, 2, 16), (A, B), 0, 0),  # views
        (lambda a, b: torch.arange(1000) > 5, (A, B), 0, 0),  # no numbers of a layer
        (lambda a, b: a.mul_(1), (A, B), 0, 0),
        (lambda a, b: None, (A, B), 0, 0),
        (lambda a: a @ B, (A,), 2 * 8 * 16 * 32, 4 * 8 * 32),
        (lambda a: a @ WEIGHT.t(), (A,), 2 * 8 * 16 * 500, 4 * 8 * 500),  # a view of what was there before
        (lambda a: WEIGHT.mul_(1)[:3], (A,), 0, 0),
        (lambda a: torch.tensor([1.0] * 1000), (A,), 0, 4000),
        (lambda a: torch.empty(0).resize_(1000), (A,), 0, 4000),
        (lambda a: torch.eye(100).to_sparse(), (A,), 0, 4 * 100 * 100),
        (lambda a: WEIGHT.to_sparse(), (A,), 0, 4 * 500 * 16),
        (lambda a: A.to_mkldnn(), (A,), 0, 4 * 8 * 16),
        (lambda a: torch.empty(1000, device="meta"), (A,), 0, 0),
        (torch.vmap(lambda row: row @ row), (A,), 2 * 8 * 16, 4 * 8),
        (lambda q: ATTENTION(q, q[:, :1], q[:, :1], enable_gqa=True), (Q,), 4 * 2 * 64 * 64 * 16, 4 * Q.numel()),
        (torch.inference_mode()(lambda a, b: a @ b), (A, B), 2 * 8 * 16 * 32, 4 * 8 * 32),
    ],
)
def test_products_and_tensors(function, given, flops, largest):
    assert measured(function, *given)[1] == Work(flops, largest, 0)


class Room:
    def __init__(self):
        self.array, self.tensor = np.zeros((100, 10), np.float32), torch.zeros(100, 10)

    def look(self):
        return torch.from_numpy(self.array[3:50]), self.tensor[3:50]

    def copy(self):
        return self.tensor[3:50].clone()


def test_a_method_that_looks_at_what_its_object_holds_makes_nothing():
    """Guards against views of NumPy's memory that count as copies: a cache of arrays would be refused."""
    assert measured(Room().look)[1].largest == 0
    assert measured(Room().copy)[1].largest == 47 * 10 * 4


def test_the_value_comes_back_and_so_does_an_error():
    assert measured(lambda a, b=1: a + b, 2, b=3)[0] == 5
    with pytest.raises(KeyError):
        measured(lambda: {}["gone"])
    assert measured(lambda: torch.ones(4), *())[1].largest == 16  # the next one is measured anew


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton isn't here")
def test_launches_of_kernels():
    """Guards against an empty kernel, or one launch a head, that nobody sees."""
    from fridge.attention.kernels import tl, triton

    @triton.jit
    def copy_kernel(x, y, n, BLOCK: tl.constexpr):
        place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(y + place, tl.load(x + place, mask=place < n), mask=place < n)

    def copy(x, times):
        y = torch.empty_like(x)
        for _ in range(times):
            copy_kernel[(triton.cdiv(len(x), 8),)](x, y, len(x), BLOCK=8)
        return y

    x = torch.arange(20.0)
    for times in (1, 3, 0):
        copied, work = measured(copy, x, times)
        assert work.launches == times
        assert work.flops == 0
        assert not times or torch.equal(copied, x)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton isn't here")
@pytest.mark.parametrize(("read", "written"), [(20, 20), (24, 20), (20, 24), (21, 20), (20, 21)])
def test_a_kernel_stays_inside_its_tensors(read, written):
    """Guards against a mask that is one too wide: what it spoils nobody compares."""
    from triton.runtime.errors import InterpreterError

    from fridge.attention.kernels import INTERPRETED, tl, triton

    @triton.jit
    def copy_kernel(x, y, read, written, BLOCK: tl.constexpr):
        place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(y + place, tl.load(x + place, mask=place < read), mask=place < written)

    if not INTERPRETED:
        pytest.skip("a GPU runs it")

    def copy(x):
        y = torch.empty_like(x)
        copy_kernel[(3,)](x, y, read, written, BLOCK=8)
        return y

    x = torch.arange(20.0)
    if read == written == 20:
        assert torch.equal(measured(copy, x)[0], x)
        view = torch.zeros(60)[20:40].copy_(x)
        assert torch.equal(measured(copy, view)[0], x)
        return
    does = "stores" if written > 20 else "loads"
    with pytest.raises(InterpreterError, match=f"{does} outside of its tensors"):
        measured(copy, x)
    assert measured(lambda: 1)[0] == 1


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton isn't here")
def test_right_kernels_of_every_form_run():
    """Guards against a watch that knows pointers and masks alone, or that a second one takes away."""
    from triton.tools.tensor_descriptor import TensorDescriptor

    from fridge.attention.kernels import INTERPRETED, tl, triton

    if not INTERPRETED:
        pytest.skip("a GPU runs it")

    @triton.jit
    def by_descriptor(x, y, rows, BLOCK: tl.constexpr):
        source = tl.make_tensor_descriptor(x, [rows, 16], [16, 1], [BLOCK, 16])
        target = tl.make_tensor_descriptor(y, [rows, 16], [16, 1], [BLOCK, 16])
        target.store([tl.program_id(0) * BLOCK, 0], source.load([tl.program_id(0) * BLOCK, 0]))

    @triton.jit
    def given_descriptors(x, y, BLOCK: tl.constexpr):
        y.store([tl.program_id(0) * BLOCK, 0], x.load([tl.program_id(0) * BLOCK, 0]))

    @triton.jit
    def by_block_pointer(x, y, rows, BLOCK: tl.constexpr):
        source = tl.make_block_ptr(x, (rows, 16), (16, 1), (tl.program_id(0) * BLOCK, 0), (BLOCK, 16), (1, 0))
        target = tl.make_block_ptr(y, (rows, 16), (16, 1), (tl.program_id(0) * BLOCK, 0), (BLOCK, 16), (1, 0))
        tl.store(target, tl.load(source, boundary_check=(0,)), boundary_check=(0,))

    @triton.jit
    def added(x, y, n, BLOCK: tl.constexpr):
        place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.atomic_add(y + place, tl.load(x + place, mask=place < n), mask=place < n)

    x = torch.randn(10, 16)

    def run(kernel, form):
        y = torch.zeros_like(x)
        if form == "descriptors":
            kernel[(3,)](*(TensorDescriptor.from_tensor(part, [4, 16]) for part in (x, y)), BLOCK=4)
        elif form == "numbers":
            kernel[(3,)](x, y, x.numel(), BLOCK=64)
        else:
            kernel[(3,)](x, y=y, rows=10, BLOCK=4)
        return y

    forms = (
        (by_descriptor, "rows"),
        (given_descriptors, "descriptors"),
        (by_block_pointer, "rows"),
        (added, "numbers"),
    )
    for kernel, form in forms:
        assert torch.equal(measured(run, kernel, form)[0], x), kernel
        twice, work = measured(lambda kernel=kernel, form=form: measured(run, kernel, form)[0])
        assert torch.equal(twice, x)
        assert work.launches == 1

    @triton.jit
    def added_behind(y, BLOCK: tl.constexpr):
        tl.atomic_add(y + tl.arange(0, BLOCK), 1.0)

    with pytest.raises(Exception, match="outside of its tensors"):
        measured(lambda: added_behind[(1,)](torch.zeros(5), BLOCK=8))
    assert measured(run, added, "numbers")[1].launches == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda x: torch.empty(3, 2),
        lambda x: torch.empty((3, 2), dtype=torch.float16),
        torch.empty_like,
        lambda x: x.new_empty(3, 2),
        lambda x: torch.empty_strided((3, 2), (1, 3)),
        lambda x: x.new_empty_strided((3, 2), (2, 1)),
    ],
)
def test_memory_that_nobody_wrote_to_holds_no_number(make):
    """Guards against a message that tells of whatever lay there, or a right result by chance."""
    assert measured(make, torch.ones(3, 2))[0].isnan().all()
    assert torch.equal(measured(lambda x: torch.empty_like(x).copy_(x), torch.ones(3))[0], torch.ones(3))
    assert measured(lambda: torch.empty(4, dtype=torch.int64).fill_(3))[0].tolist() == [3] * 4


BIG = torch.zeros(1000)


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("codes", torch.zeros(5, dtype=torch.uint8))
        self.scale = torch.nn.Parameter(torch.zeros(7))
        self.inner = torch.nn.Linear(3, 2)


@dataclass(slots=True)
class Slots:
    kept: list = field(default_factory=lambda: [torch.zeros(2), {"a": (torch.zeros(3),)}])


class Plain:
    shared = BIG  # of the class, not of the object

    def __init__(self):
        self.k = torch.zeros(4, 10)
        self.views = [self.k[0], self.k.T, self.k[1:3]]
        self.function = lambda: BIG
        self.itself = self


class Arrays:
    def __init__(self):
        self.k = np.zeros((3, 10))
        self.view = self.k[1:].T
        self.tensor = torch.from_numpy(self.k)


class Offset:
    def __init__(self):
        self.k = np.zeros(10)
        self.end = torch.from_numpy(self.k[2:])


def closures():
    k = torch.zeros(9)

    def update():
        return k

    def again():
        return k, update

    again.scale = torch.zeros(2)
    return SimpleNamespace(update=update, again=again, act=torch.relu)


def dead_proxy():
    gone = Plain()
    return weakref.proxy(gone)


class TheTests:
    learner_may = ("read",)

    def __init__(self):
        self.pool = BIG


class Deep:
    def __init__(self, depth):
        self.next = Deep(depth - 1) if depth else torch.zeros(6)


@pytest.mark.parametrize(
    ("thing", "held"),
    [
        (Layer(), 5 + 28 + 24 + 8),
        (Slots(), 8 + 12),
        (Plain(), 160),
        (Deep(400), 24),
        ([BIG, BIG[:5]], 4000),
        (5, 0),
        (Arrays(), 240),
        (Offset(), 80),
        (closures(), 36 + 8),
        (closures().update, 36),
        ([dead_proxy(), torch.zeros(3)], 12),
        (SimpleNamespace(pool=TheTests(), mine=torch.zeros(3)), 12),
        ([torch.eye(3).to_sparse()], 3 * 2 * 8 + 3 * 4),
        ([torch.sparse_csr_tensor([0, 1, 2], [0, 1], [1.0, 2.0])], 3 * 8 + 2 * 8 + 2 * 4),
        ([torch.eye(3).to_mkldnn()], 36),
        ([torch.empty(1000, device="meta")], 0),
        (torch.nn.LazyLinear(3), 0),
        ([np.array([SimpleNamespace(x=torch.zeros(3)), None], dtype=object)], 16 + 12),
        ([list(range(300_000)), [[torch.zeros(3)]]], 12),
    ],
)
def test_what_an_object_holds(thing, held):
    assert held_bytes(thing) == held


@pytest.mark.parametrize(
    ("function", "least", "most"),
    [
        (lambda: b"x" * 500_000, 500_000, 510_000),
        (lambda: len(b"x" * 500_000), 500_000, 510_000),  # soon gone, and made all the same
        (lambda: float(np.ones(50_000).sum()), 400_000, 420_000),
        (lambda: len(BIG), 0, 10_000),
    ],
)
def test_what_a_call_takes_at_its_peak(function, least, most):
    value, size = allocated(function)
    assert value == function()
    assert least <= size < most


def test_an_error_in_a_measured_call_comes_out_and_nothing_is_traced_any_more():
    with pytest.raises(ZeroDivisionError):
        allocated(lambda: 1 / 0)
    assert not tracemalloc.is_tracing()
