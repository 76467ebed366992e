"""The format in which values cross, and the framing: round trips, and bytes from a hostile peer."""

import contextlib
import itertools
import math
import socket
import struct
import threading
import time
import tracemalloc
from collections import OrderedDict
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction

import msgpack
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgpack import unpackb

from autograder.isolation import wire
from autograder.isolation.channel import Channel, PeerGone
from autograder.isolation.patience import endless
from autograder.isolation.wire import Late, Reference, WireError, encode
from autograder.submissions import split
from fridge.workbench.arguments import kind_of

KEYS = st.one_of(st.text(max_size=8), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.binary(max_size=8))
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**200), 10**200),
    st.floats(),
    st.fractions().filter(lambda value: value.denominator > 1),
    st.text(max_size=20),
    st.binary(max_size=20),
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.lists(inner, max_size=4).map(tuple), st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)
ONE = torch.ones(1)
SHAPES = st.lists(st.integers(0, 3), max_size=4)
TORCH_DTYPES = st.sampled_from(sorted(wire._TORCH_DTYPES))
NUMPY_DTYPES = st.sampled_from(wire._NUMPY_DTYPES)


def decode(data, from_reference):
    return wire.decode(data, from_reference, endless)


def no_reference(value):
    raise AssertionError(f"{value!r} needs no reference")


def cross(value):
    return decode(encode(value, no_reference), no_reference)


def same(got, expected):
    if type(expected) in (list, tuple):
        return type(got) is type(expected) and len(got) == len(expected) and all(map(same, got, expected))
    if type(expected) is dict:
        return list(got) == list(expected) and all(same(got[key], expected[key]) for key in expected)
    if type(expected) is float and math.isnan(expected):
        return type(got) is float and math.isnan(got)
    return type(got) is type(expected) and got == expected


@settings(deadline=None, max_examples=150)
@given(VALUES)
def test_plain_values_come_back_as_they_were(value):
    """Guards against a tuple that becomes a list, True that becomes 1, a large integer that loses digits."""
    assert same(cross(value), value)


class Size(IntEnum):
    SMALL = 3


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Fraction(6, 2), 3),
        (Fraction(10**5000, 3), math.inf),
        (Decimal("0.5"), Fraction(1, 2)),
        (Decimal("1e999999999"), math.inf),
        (Size.SMALL, 3),
        (np.longdouble(0.5), 0.5),
        (10**5000, wire.HUGE),
        (-(10**5000), -wire.HUGE),
        (np.array([1, 2]).astype(object), [1, 2]),
        (np.array([Fraction(1, 2), 3], dtype=object), [Fraction(1, 2), 3]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array([0.5], dtype=np.longdouble), [0.5]),
        (np.array([[1, 2]]).view(type("Codes", (np.ndarray,), {})), [[1, 2]]),
        (np.void(b"a"), b"a"),
        (OrderedDict(a=1), {"a": 1}),
        (type("Codes", (list,), {})([1]), [1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_made_from_a_plain_value_crosses_as_that(value, plain):
    """Guards against a right answer that is refused in grading, for it arrives as an object."""
    assert same(cross([value]), [plain])


@pytest.mark.parametrize("number", [2**64, -(2**70), Fraction(1, 3)])
def test_numbers_that_may_have_one_hash_are_few(number):
    """Guards against a set of a learner's numbers that takes the square of their count."""
    some = [number] * wire.MAX_EXACT
    assert decode(encode(some, no_reference), no_reference) == some
    with pytest.raises(WireError, match="more than 1000 whole numbers beyond 64 bits"):
        decode(encode([some, (number,)], no_reference), no_reference)


def test_numbers_that_walk_over_one_another_are_few():
    """Guards against keys in the order in which a table looks for a free place: no clock is looked at meanwhile."""
    keys, place, mask = [], 1, 2**18 - 1
    for _ in range(wire.MAX_NUMBER_KEYS + 1):
        keys.append(place + 2**30 * (mask + 1))
        place = (5 * place + 1) & mask
    some = dict.fromkeys(keys[:-1])
    began = time.process_time()
    assert decode(encode(some, no_reference), no_reference) == some
    assert time.process_time() - began < 10
    with pytest.raises(WireError, match="more than 20000 numbers as keys"):
        decode(msgpack.packb(dict.fromkeys(keys)), no_reference)


@pytest.mark.parametrize("parts", [[1], [1, 0], [1, -2], [1.0, 2], [True, 2], ["1", 2], [2**1024, 3], [1, 2**1024]])
def test_a_fraction_out_of_form_is_refused(parts):
    """Guards against a division by zero in the grader, and a number that takes long to reduce."""
    inner = [msgpack.ExtType(wire._BIG_INT, wire._pack_big_int(part)) if part == 2**1024 else part for part in parts]
    with pytest.raises(WireError, match="not a fraction"):
        decode(msgpack.packb(msgpack.ExtType(wire._FRACTION, msgpack.packb(inner))), no_reference)


@settings(deadline=None, max_examples=100)
@given(TORCH_DTYPES, SHAPES, st.binary(min_size=2000, max_size=2000))
def test_tensors_come_back_bit_for_bit(name, shape, noise):
    """Guards against a dtype, an empty shape or a NaN that doesn't survive."""
    dtype = wire._TORCH_DTYPES[name]
    size = math.prod(shape) * torch.empty((), dtype=dtype).element_size()
    raw = bytes(byte & 1 for byte in noise[:size]) if dtype is torch.bool else noise[:size]
    tensor = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(dtype) if raw else torch.empty(0, dtype=dtype)
    tensor = tensor.reshape(shape)
    got = cross([(tensor,)])[0][0]
    assert (got.dtype, got.shape) == (tensor.dtype, tensor.shape)
    assert not raw or bytes(got.reshape(-1).view(torch.uint8).numpy()) == raw


@settings(deadline=None, max_examples=100)
@given(NUMPY_DTYPES, SHAPES)
def test_arrays_and_their_scalars_come_back(name, shape):
    """Guards against arrays of size 0 and against NumPy scalars, which cross as Python's."""
    array = np.arange(math.prod(shape)).astype(name).reshape(shape)
    got = cross(array)
    assert (got.dtype, got.shape) == (array.dtype, array.shape)
    assert (got == array).all()
    if array.size and "complex" not in name:
        assert cross(array.reshape(-1)[0]) == array.reshape(-1)[0].item()


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6).reshape(2, 3).T,
        torch.arange(4.0)[::2],
        torch.ones(2, requires_grad=True),
        torch.nn.Parameter(torch.ones(2)),
        torch.zeros(1).expand(3),
        torch.tensor([1 + 2j]).conj(),
        torch.tensor([1 + 2j]).conj().imag,
    ],
)
def test_views_cross_as_their_values(tensor):
    """Guards against bytes of the storage instead of the view's elements."""
    assert torch.equal(cross(tensor), tensor.detach())


def test_references_come_back_as_what_they_stand_for():
    """Guards against a reference whose owner is mixed up."""
    thing = object()
    data = encode([thing, 1], lambda value: Reference(True, 7, "k" * 500))
    assert decode(data, lambda reference: reference) == [Reference(True, 7, "k" * wire.MAX_KIND), 1]


@pytest.mark.parametrize(
    "value",
    ["\ud800", torch.zeros(1).expand(2**40), np.zeros(2**20, dtype=object)],
    ids=lambda value: type(value).__name__,
)
def test_what_can_not_cross_is_a_wire_error(value):
    """Guards against another exception than the one that callers handle."""
    with pytest.raises(WireError):
        encode([value], no_reference)


@pytest.mark.parametrize(
    "value",
    [
        *({2**70: 1}, {(1,): 1}, {1.5: 1}, {None: 1}, {np.int64(1): 1}, OrderedDict({2.5: 1})),
        *(torch.zeros(1).to_sparse(), torch.empty(1, device="meta")),
        *(1j, range(3), {1}, np.clongdouble(1), torch.bits8, torch.device("cpu")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_form_here_stays_where_it_is(value):
    """Guards against "your code raised WireError" for an answer, where a notebook says what it is."""
    kept = []
    data = encode([value], lambda value: kept.append(value) or Reference(True, 7, "x"))
    assert decode(data, lambda reference: reference) == [Reference(True, 7, "x")]
    assert len(kept) == 1


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested", "ignore:ComplexHalf")
@pytest.mark.parametrize("make", [lambda: torch.nested.nested_tensor([ONE, ONE]), lambda: ONE.to(torch.complex32)])
def test_tensors_of_odd_kinds_stay_where_they_are(make):
    """Guards against a process that is lost because of a tensor which has no shape."""
    data = encode(make(), lambda value: Reference(True, 7, kind_of(value)))
    assert decode(data, lambda reference: reference.kind).startswith("Tensor (torch.")


def test_arrays_of_another_byte_order_cross():
    """Guards against a right answer that is refused in grading alone."""
    for name in (">i4", ">f8", "<u2"):
        array = np.arange(6).astype(name).reshape(2, 3)
        got = cross(array)
        assert (got == array).all()
        assert got.dtype == array.dtype.newbyteorder("=")


def test_attributes_of_a_tensor_are_not_asked():
    """Guards against an answer that ends its process, where a notebook reads its values."""
    tensor = torch.ones(2)
    tensor.detach = None
    assert torch.equal(cross(tensor), torch.ones(2))


def test_a_whole_number_of_any_length_is_bounded():
    """Guards against digits that take the square of their number to read."""
    fine = wire.HUGE.to_bytes(wire.HUGE.bit_length() // 8 + 1, "big", signed=True)
    assert decode(msgpack.packb(msgpack.ExtType(wire._BIG_INT, fine)), no_reference) == wire.HUGE
    with pytest.raises(WireError, match="too large"):
        decode(msgpack.packb(msgpack.ExtType(wire._BIG_INT, b"\x00" + fine)), no_reference)


def test_circles_and_towers_are_refused():
    """Guards against a recursion without an end, on the way out."""
    circle = []
    circle.append(circle)
    tower = 0
    for _ in range(10_000):
        tower = (tower,)
    for value in (circle, tower):
        with pytest.raises(WireError):
            encode(value, no_reference)


def _as_messagepack_has_it(value):
    return type(value) is not Fraction and (type(value) is not int or -(2**63) <= value < 2**64)


EXTENSIONS = st.builds(
    lambda code, payload: msgpack.ExtType(code, payload),
    st.integers(0, 9),
    st.one_of(
        st.binary(max_size=30),
        st.builds(
            lambda *fields: msgpack.packb(list(fields)),
            st.one_of(
                st.sampled_from(["float32", "bool", "int64", "object", "complex64"]), st.integers(), st.booleans()
            ).filter(lambda field: type(field) is not int or -(2**63) <= field < 2**64),
            st.one_of(
                st.lists(st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(), st.booleans()), max_size=20),
                st.integers(-(2**63), 2**64 - 1),
            ),
            st.one_of(st.binary(max_size=20), st.text(max_size=5)),
            st.one_of(st.permutations(range(3)), st.lists(st.integers(-2, 70), max_size=4), st.booleans()),
        ),
    ),
)
HOSTILE = st.recursive(
    st.one_of(PLAIN.filter(_as_messagepack_has_it), EXTENSIONS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(st.binary(max_size=200), HOSTILE.map(lambda message: msgpack.packb(message))))
def test_arbitrary_bytes_raise_nothing_but_wire_errors(data):
    """Guards against a message that ends the grader by an exception which nobody expects."""
    with contextlib.suppress(WireError):
        decode(data, lambda reference: reference)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a_changed_byte_raises_nothing_but_wire_errors(data):
    """The same, near valid messages: lengths, tags and codes one byte off."""
    message = bytearray(encode(["ok", (1, [torch.ones(2, 3), np.ones(2)], {"a": 2**80}, torch.float16)], no_reference))
    place = data.draw(st.integers(0, len(message) - 1))
    message[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WireError):
        decode(bytes(message), lambda reference: reference)


def raw_tensor(name, shape, raw=b"", order=None):
    """A tensor's or an array's fields, right or wrong."""
    return msgpack.packb([name, shape, raw, list(range(len(shape))) if order is None else order])


BOMBS = {
    "empty maps": b"\xdd\x00\xff\xff\xff" + b"\x80" * (2**24 - 1),
    "empty lists": b"\xdd\x00\xff\xff\xff" + b"\x90" * (2**24 - 1),
    "announced lists": b"\xdd\xff\xff\xff\xff" * 100_000,
    "announced maps": b"\xdf\x00\x10\x00\x00" * 100_000,
    "a tower": b"\x91" * 2**24 + b"\xc0",
    "a tower of extensions": b"",
    "short texts": b"\xdd\x00\x55\x55\x55" + b"\xa2ab" * 0x555555,
    "a giant shape": msgpack.packb(msgpack.ExtType(2, raw_tensor("float32", [2**39]))),
    "an empty giant": msgpack.packb(msgpack.ExtType(2, raw_tensor("int8", [0, 2**39, 2**39, 2**39]))),
}
_tower = b"x" * 2**22
for _ in range(40):
    _tower = msgpack.packb([msgpack.ExtType(1, _tower)])
BOMBS["a tower of extensions"] = _tower


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_before_they_are_built(name):
    """Guards against a small or large message that asks for many times its size."""
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            decode(BOMBS[name], no_reference)
        assert tracemalloc.get_traced_memory()[1] < 150 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["torch", "numpy"])
def test_a_truth_value_of_two_is_refused(name):
    """Guards against a bool that is neither True nor False, whose comparisons are undefined."""
    code = {"torch": 2, "numpy": 3}[name]
    with pytest.raises(WireError, match="neither"):
        decode(msgpack.packb(msgpack.ExtType(code, raw_tensor("bool", [1], b"\x02"))), no_reference)


def test_timestamps_and_unknown_extensions_are_refused():
    """Guards against types of MessagePack that are not in our format."""
    for value in (msgpack.Timestamp(0, 0), msgpack.ExtType(100, b"")):
        with pytest.raises(WireError):
            decode(msgpack.packb(value), no_reference)


def stamps(count):
    """A map whose keys are time stamps of one hash: MessagePack's is seconds + nanoseconds."""
    pairs = b"".join(b"\xd7\xff" + struct.pack(">Q", (2**20 - i) << 34 | i) + b"\xc0" for i in range(count))
    return b"\xdf" + struct.pack(">I", count) + pairs


@pytest.mark.parametrize(
    "message",
    [
        stamps(100_000),
        b"\x92\x01" + stamps(1000),
        b"\x81" + msgpack.packb(msgpack.ExtType(1, msgpack.packb([1]))) + b"\xc0",
        b"\x81\xcb" + struct.pack(">d", 0.5) + b"\xc0",
        b"\x81\xc0\xc0",
        b"\x81\x90\xc0",
        b"\x82\x01\x90\xca\x00\x00\x00\x00\x02",
        msgpack.packb({"a": {"b": {1.5: 1}}}),
        *(msgpack.packb([msgpack.ExtType(code, b"x" * 3)]) for code in (0, 8, 100, 127)),
        *(b"\x91" + tag + b"\xff" + b"\x00" * 12 for tag in (b"\xc7\x0c", b"\xd4", b"\xd5", b"\xd6", b"\xd7", b"\xd8")),
        msgpack.packb(msgpack.ExtType(1, stamps(1000))),
    ],
    ids=range(19),
)
def test_keys_and_codes_that_are_none_of_ours_are_refused_before_anything_is_built(message, monkeypatch):
    """Guards against keys that collide: a map of 100,000 of them took a minute, and was only then refused."""
    built = []
    monkeypatch.setattr(wire.msgpack, "unpackb", lambda data, **_: built.append(data) or unpackb(data, **_))
    began = time.process_time()
    with pytest.raises(WireError):
        decode(message, no_reference)
    assert time.process_time() - began < 5
    assert message not in built or message[0] in (0xC7, 0xC8, 0xC9)


def test_keys_of_every_kind_that_is_ours_cross():
    """Guards against a check of tags that forgets one."""
    keys = [0, 127, 128, 2**16, 2**32, 2**62, -1, -33, -(2**10), -(2**20), -(2**40), "", "a" * 31, "a" * 32, "a" * 300]
    keys += ["a" * 70_000, True, False, b"", b"a" * 300, b"a" * 70_000]
    for key in keys:
        assert same(cross({key: {key: [key]}}), {key: {key: [key]}})


def test_decoding_has_an_end_in_time():
    """Guards against a message within all limits that is read when nobody waits for it any more."""
    many = encode(list(range(200_000)), no_reference)
    with pytest.raises(Late):
        wire.decode(many, no_reference, lambda: 0.0)
    looks = iter([1.0] * 10)
    with pytest.raises(Late):
        wire.decode(many, no_reference, lambda: next(looks, 0.0))
    assert cross([1]) == [1]


@pytest.mark.parametrize("code", [2, 3])
@pytest.mark.parametrize("shape", [[2**26, 0], [0, 2**26], [2**10, 2**10, 0], [1] * 10 + [2**20, 0]])
def test_an_empty_tensor_of_many_rows_is_refused(code, shape):
    """Guards against 25 bytes that are 2 GB as a list, and a test that is called broken for want of memory."""
    with pytest.raises(WireError, match="empty tensor"):
        decode(msgpack.packb(msgpack.ExtType(code, raw_tensor("float32", shape))), no_reference)
    for fine in ([0], [0, 64], [64, 0, 64], [2, 4096, 0]):
        got = decode(msgpack.packb(msgpack.ExtType(code, raw_tensor("float32", fine))), no_reference)
        assert list(got.shape) == fine


@pytest.mark.parametrize("code", [2, 3])
@pytest.mark.parametrize("shape", [[2**17, *[1] * 30], [1, 2**15, *[1] * 40], [2**17, *[1] * 30, 0]])
def test_a_tensor_of_many_lists_is_refused(code, shape):
    """Guards against sides of 1, each of which is a list more around every element: a few KB are gigabytes."""
    refused = msgpack.ExtType(code, raw_tensor("int8", shape, bytes(math.prod(shape))))
    with pytest.raises(WireError, match="as lists"):
        decode(msgpack.packb(refused), no_reference)
    fine = msgpack.ExtType(code, raw_tensor("int8", [2**10, 2**9, 1], bytes(2**19)))
    assert len(decode(msgpack.packb([fine] * 9), no_reference)) == 9


def test_empty_tensors_of_one_message_are_counted_together():
    """Guards against a thousand that are each just small enough."""
    empty = msgpack.ExtType(2, raw_tensor("int8", [200_000, 0]))
    assert len(decode(msgpack.packb([empty]), no_reference)) == 1
    with pytest.raises(WireError, match="as lists"):
        decode(msgpack.packb([empty] * 2), no_reference)


def test_there_is_no_pickle():
    """Guards against a decoder that runs code: none of the modules on this way knows one."""
    from pathlib import Path

    modules = [*Path(wire.__file__).parent.glob("*.py"), *Path(split.__file__).parent.glob("*.py")]
    assert len(modules) > 20
    for module in modules:
        for word in ("import pickle", "import dill", "torch.load", "eval(", "np.load", "marshal"):
            assert word not in module.read_text(), (module.name, word)


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    yield Channel(ours), theirs
    ours.close()
    theirs.close()


def within(seconds):
    end = time.monotonic() + seconds
    return lambda: max(0.0, end - time.monotonic())


def test_frames_arrive_whole(pair):
    """Guards against a reader that takes what one recv gives for a message."""
    channel, peer = pair
    data = bytes(range(256)) * 10_000
    threading.Thread(target=lambda: peer.sendall(struct.pack(">I", len(data)) + data), daemon=True).start()
    assert channel.receive(within(10)) == data


def test_an_announced_giant_is_refused(pair):
    """Guards against memory taken because a header says so."""
    channel, peer = pair
    peer.sendall(b"\xff\xff\xff\xff")
    with pytest.raises(WireError, match="announced"):
        channel.receive(within(1))


def test_a_drip_does_not_prolong_the_time(pair):
    """Guards against a time limit that each byte begins anew."""
    channel, peer = pair

    def drip():
        try:
            for _ in range(100):
                peer.send(b"\x00\x00\x00\x09"[:1])
                time.sleep(0.05)
        except OSError:
            pass

    threading.Thread(target=drip, daemon=True).start()
    began = time.monotonic()
    with pytest.raises((Late, WireError)):
        channel.receive(within(0.1))
    assert time.monotonic() - began < 1


def test_a_peer_that_takes_nothing_is_late(pair):
    """Guards against a grader that hangs while it sends."""
    channel, _ = pair
    with pytest.raises(Late):
        channel.send(b"x" * 2**24, within(0.2))


def test_a_peer_that_is_gone_is_gone(pair):
    """Guards against an end of the process taken for an empty answer."""
    channel, peer = pair
    peer.sendall(b"\x00\x00")
    peer.close()
    with pytest.raises(PeerGone):
        channel.receive(within(1))


LAYOUTS = {
    "as it is": lambda x: x,
    "a transpose": lambda x: x.T,
    "three dimensions, the middle one last": lambda x: x.reshape(2, 2, 6).swapaxes(1, 2),
    "a transpose with sides of one": lambda x: x.T[:, None, :, None],
    "no rows": lambda x: x[:0].T,
    "no dimension": lambda x: x[0, 0] if isinstance(x, torch.Tensor) else np.array(x[0, 0]),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("kind", ["torch", "numpy"])
def test_what_takes_memory_as_it_lies_does_so_on_the_other_side(kind, name):
    """Guards against `.view` on a transpose: an error in a notebook, fine in grading, its bytes in another order."""
    numbers = torch.arange(24.0).reshape(4, 6)
    sent = LAYOUTS[name](numbers if kind == "torch" else numbers.numpy())
    got = cross(sent)
    assert got.shape == sent.shape
    if kind == "torch":
        assert torch.equal(got, sent)
        for turned in itertools.permutations(range(sent.ndim)):
            assert got.permute(turned).is_contiguous() == sent.permute(turned).is_contiguous()
    else:
        assert np.array_equal(got, sent)
        assert got.flags.c_contiguous == sent.flags.c_contiguous
        assert got.flags.f_contiguous == sent.flags.f_contiguous


VIEWS = {
    "a slice's inner dimensions in one": (lambda x: x[:, :2], lambda x: x.view(2, 8)),
    "the same, of a transpose": (lambda x: x.transpose(1, 2)[:, :, :2].transpose(1, 2), lambda x: x.view(2, 8)),
    "pairs as complex numbers": (lambda x: x[..., :2], torch.view_as_complex),
    "other widths": (lambda x: x[..., :2], lambda x: x.view(torch.float64)),
    "one column in bytes": (lambda x: x[..., :1], lambda x: x.view(torch.uint8)),
    "an expanded one, its own dimensions in one": (lambda x: x[:, None].expand(2, 3, 3, 4), lambda x: x.view(2, 3, 12)),
    "an expanded transpose": (
        lambda x: x.transpose(1, 2)[:, None].expand(2, 3, 4, 3),
        lambda x: x.transpose(2, 3).view(2, 3, 12),
    ),
}


@pytest.mark.parametrize("name", VIEWS)
def test_what_may_be_viewed_here_may_be_there(name):
    """Guards against an answer that is right in a notebook, and raises in grading."""
    cut, view = VIEWS[name]
    sent = cut(torch.arange(24.0).reshape(2, 3, 4))
    assert torch.equal(view(cross(sent)), view(sent))


@pytest.mark.parametrize("code", [2, 3])
@pytest.mark.parametrize("order", [[0, 0], [1], [0, 2], [0, 1, 2], [True, False], [-1, 0], [0.0, 1], 5])
def test_dimensions_in_no_order_are_refused(code, order):
    """Guards against a shape that isn't the one whose size was checked."""
    with pytest.raises(WireError, match=r"not an order|not a tensor"):
        decode(msgpack.packb(msgpack.ExtType(code, raw_tensor("int8", [2, 3], bytes(6), order))), no_reference)
