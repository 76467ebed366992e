"""The closed format in which values cross between the grader and a learner's process. They travel over `channel`.

None, bool, int, float, fractions, str, bytes, list, tuple, dict, tensors and arrays (dtype, shape, little-endian
bytes, how they lie in memory), dtypes by name, and references: numbers for objects that stay where they are, as all
else does. Scalars and containers are MessagePack. There is no pickle, and nothing that a peer sends is looked up as an
attribute, imported or evaluated. Sizes, keys and codes are checked before anything is built: `_measure` walks over a
message's tags first.
"""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import Any

import msgpack
import numpy as np
import torch

from fridge.workbench import arguments
from fridge.workbench.arguments import EXACT

MAX_FRAME = 32 * 2**20  # bytes of one message
MAX_DEPTH = 24  # containers in containers
MAX_ITEMS = 500_000  # elements of all containers of one message together
MAX_NESTED = 4 * MAX_FRAME  # bytes of extensions in extensions: each level is copied once
MAX_LISTS = MAX_ITEMS  # that tensors would be in lists beyond what their elements are, sides of 0 counted as of 1
MAX_NUMBER_KEYS = 20_000  # of all dicts: numbers that walk over one another in a table take the square of their count
MAX_EXACT = 1000  # whole numbers beyond 64 bits, and fractions: all of them can be made to have one hash
MAX_KIND = 100  # characters of a type's name
MAX_DIMENSIONS = 64  # PyTorch's and NumPy's own limit
HUGE = 2**16_384  # stands for any whole number beyond, of which Python doesn't write the digits either
LOOKS = 4096  # elements between two looks at the time

_TUPLE, _TENSOR, _ARRAY, _DTYPE, _REFERENCE, _BIG_INT, _FRACTION = range(1, 8)
_TORCH_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
        *(torch.complex64, torch.complex128, torch.bool),
    )
}
_NUMPY_DTYPES = (
    *("float64", "float32", "float16", "complex64", "complex128"),
    *("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64", "bool"),
)


class WireError(Exception):
    """A message is not in the format, too large or too deep; or late."""


class Late(WireError):
    """No whole message in its time, or none that could be read in it."""


Left = Callable[[], float]  # seconds that may pass before it is asked again; 0 when the time is over (`patience`)


@dataclass(frozen=True)
class Reference:
    """An object that stays in its process.

    Attributes:
        mine: True when the sender keeps the object, False when the receiver does (it is given back its own).
        number: which one.
        kind: name of its type, for messages only.
    """

    mine: bool
    number: int
    kind: str = ""


ToReference = Callable[[Any], Reference]
FromReference = Callable[[Reference], Any]


def encode(value: Any, to_reference: ToReference) -> bytes:
    """Bytes of a value; objects of other types, and of odd forms, become what `to_reference` says.

    Raises:
        WireError: too deep or too large, or nothing that can be written down.
    """
    try:
        data = msgpack.packb(_pack(value, to_reference, 0), use_bin_type=True)
    except (ValueError, OverflowError, RecursionError) as error:  # half a surrogate pair
        raise WireError(f"a value can't cross: {error}") from error
    if len(data) > MAX_FRAME:
        raise WireError(f"a value of {len(data)} bytes is too large; the limit is {MAX_FRAME}")
    return data


def decode(data: bytes, from_reference: FromReference, left: Left) -> Any:
    """The value of bytes, read while time is left; references become what `from_reference` says.

    Raises:
        WireError: the bytes are not in the format.
        Late: they take too long to read.
    """
    return _unpack(data, from_reference, 0, _Budget(left))


class _Budget:
    """What one message may still cost."""

    def __init__(self, left: Left) -> None:
        self.items = MAX_ITEMS
        self.nested = MAX_NESTED
        self.number_keys = MAX_NUMBER_KEYS
        self.exact = MAX_EXACT
        self.lists = MAX_LISTS
        self._left = left
        self._looks = 0

    def look(self) -> None:
        """At the time, now and then."""
        self._looks += 1
        if self._looks % LOOKS == 0 and self._left() <= 0:
            raise Late("a message that can't be read in its time")


def _pack(value: Any, to_reference: ToReference, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise WireError(f"more than {MAX_DEPTH} containers in one another")
    kind = type(value)
    if value is None or kind in (bool, float, str, bytes):
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**63 else msgpack.ExtType(_BIG_INT, _pack_big_int(value))
    if kind is list:
        return [_pack(item, to_reference, depth + 1) for item in value]
    if kind is tuple:
        inner = [_pack(item, to_reference, depth + 1) for item in value]
        return msgpack.ExtType(_TUPLE, msgpack.packb(inner))
    if kind is dict and all(map(_is_key, value)):
        return {key: _pack(item, to_reference, depth + 1) for key, item in value.items()}
    if arguments.has_values(value) and _name(value.dtype) in _TORCH_DTYPES:
        return msgpack.ExtType(_TENSOR, _pack_tensor(value))
    if isinstance(value, np.ndarray):
        return _pack_array(value, to_reference, depth)
    own = arguments.number(value)
    if own is not value:
        return _pack(own, to_reference, depth)
    if kind is Fraction:
        parts = [_pack(part, to_reference, depth) for part in value.as_integer_ratio()]
        return msgpack.ExtType(_FRACTION, msgpack.packb(parts))
    if isinstance(value, np.generic) and type(own := value.item()) is not kind:
        return _pack(own, to_reference, depth)
    if kind is torch.dtype and _name(value) in _TORCH_DTYPES:
        return msgpack.ExtType(_DTYPE, _name(value).encode())
    if isinstance(value, tuple):  # a named one: its items are what counts
        return _pack(tuple(tuple.__iter__(value)), to_reference, depth)
    if isinstance(value, list):
        return _pack(list(list.__iter__(value)), to_reference, depth)
    if isinstance(value, dict) and kind is not dict:
        return _pack(dict(dict.items(value)), to_reference, depth)
    reference = to_reference(value)
    return msgpack.ExtType(_REFERENCE, msgpack.packb([reference.mine, reference.number, reference.kind[:MAX_KIND]]))


def _is_key(key: Any) -> bool:
    return type(key) in (str, bool, bytes) or (type(key) is int and -(2**63) <= key < 2**64)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _pack_big_int(value: int) -> bytes:
    value = max(-HUGE, min(value, HUGE))
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _pack_array(array: np.ndarray, to_reference: ToReference, depth: int) -> Any:
    native = array.dtype.newbyteorder("=")
    if type(array) is np.ndarray and str(native) in _NUMPY_DTYPES:
        order = _memory_order(array.shape, array.strides)
        raw = array.astype(native, copy=False).transpose(order).tobytes()
        return msgpack.ExtType(_ARRAY, msgpack.packb([str(native), list(array.shape), raw, order]))
    if array.size > MAX_ITEMS:
        raise WireError(f"an array of {array.dtype} with {array.size} elements is too large")
    return _pack(array.tolist(), to_reference, depth)  # which is what an expectation reads in it


def _pack_tensor(tensor: torch.Tensor) -> bytes:
    size = tensor.numel() * tensor.element_size()
    if size > MAX_FRAME:  # before it is copied: an expanded one may be of any size
        raise WireError(f"a tensor of {size} bytes is too large; the limit is {MAX_FRAME}")
    plain = torch.Tensor.detach(tensor).cpu().resolve_conj().resolve_neg()
    order = _memory_order(plain.shape, plain.stride())
    flat = plain.permute(order).reshape(-1)
    flat = flat.clone(memory_format=torch.contiguous_format)  # a side of 1 may have any stride before
    raw = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    return msgpack.packb([_name(plain.dtype), list(plain.shape), raw, order])


def _memory_order(shape: Sequence[int], strides: Sequence[int]) -> list[int]:
    """The dimensions as they lie in memory, the one of the largest steps first.

    So a transpose is one on the other side, too, and what takes memory as it lies (`.view`) does there as in a
    notebook. What lies between a slice's rows doesn't cross: such a tensor can do more there, and nothing less.
    """
    # A side of 1, or one that is expanded, has steps that say nothing, and stays where it is.
    moved = [side for side, size in enumerate(shape) if size > 1 and strides[side]]
    places = iter(sorted(moved, key=lambda side: -abs(strides[side])))
    return [next(places) if side in moved else side for side in range(len(shape))]


# What follows each tag of MessagePack: (bytes of a length field, further bytes, elements for each unit of the length).
# Tags that hold their length themselves are looked at in `_measure`; 0xC1 is none.
_FIXED = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_FIXED |= {0xC0: 0, 0xC2: 0, 0xC3: 0} | {0xD4 + power: 1 + 2**power for power in range(5)}
_BLOBS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}  # bytes, extensions, text
_CONTAINERS = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}  # lists, and maps with two elements an entry
_CODES = (_TUPLE, _TENSOR, _ARRAY, _DTYPE, _REFERENCE, _BIG_INT, _FRACTION)
_FIXED_EXTENSIONS, _EXTENSIONS = range(0xD4, 0xD9), (0xC7, 0xC8, 0xC9)
# What a key may be: a small int, a short text, a truth value, bytes, an int, a text. Keys of other kinds can be made to
# collide, all of them, and a dict of those takes the square of its size.
_KEY_TAGS = frozenset((*range(0x80), *range(0xE0, 0x100), *range(0xA0, 0xC0), 0xC2, 0xC3, 0xC4, 0xC5, 0xC6))
_KEY_TAGS |= frozenset((*range(0xCC, 0xD4), 0xD9, 0xDA, 0xDB))

_NUMBER_TAGS = range(0xCC, 0xD4)  # but for the smallest, of which there are few


def _measure(data: bytes, depth: int, budget: _Budget) -> None:
    # Walks over the tags and builds nothing: a few bytes can ask MessagePack for gigabytes of empty containers.
    position, size = 0, len(data)
    open_containers = [1]  # elements that are still to come in each
    maps = [False]  # which of them have a key before each value
    while open_containers:
        if not open_containers[-1]:
            open_containers.pop()
            maps.pop()
            continue
        is_key = maps[-1] and open_containers[-1] % 2 == 0
        open_containers[-1] -= 1
        budget.items -= 1
        budget.look()
        if position >= size or budget.items < 0:
            raise WireError("a message that is cut off, or with too many elements")
        tag = data[position]
        position += 1
        elements = 0
        if is_key and tag not in _KEY_TAGS:
            raise WireError("a dict with keys of another kind")
        if is_key and tag in _NUMBER_TAGS:
            budget.number_keys -= 1
            if budget.number_keys < 0:
                raise WireError(f"more than {MAX_NUMBER_KEYS} numbers as keys of dicts")
        if tag < 0x80 or tag >= 0xE0:
            continue
        if tag < 0x90:
            elements = 2 * (tag & 15)
        elif tag < 0xA0:
            elements = tag & 15
        elif tag < 0xC0:
            position += tag & 31
        elif tag in _FIXED:
            if tag in _FIXED_EXTENSIONS:
                _check_code(data, position)
            position += _FIXED[tag]
        elif tag in _BLOBS:
            width = _BLOBS[tag]
            length = int.from_bytes(data[position : position + width], "big")
            if tag in _EXTENSIONS:
                _check_code(data, position + width)
            position += width + (tag in _EXTENSIONS) + length
        elif tag in _CONTAINERS:
            width, each = _CONTAINERS[tag]
            elements = each * int.from_bytes(data[position : position + width], "big")
            position += width
        else:
            raise WireError("not a message: an unknown tag")
        if elements:
            if elements > size - position or depth + len(open_containers) > MAX_DEPTH:
                raise WireError("a message that announces more than it holds, or is too deep")
            open_containers.append(elements)
            maps.append(tag < 0x90 or tag in (0xDE, 0xDF))
    if position != size:
        raise WireError("a message of another length than its elements have")


def _check_code(data: bytes, place: int) -> None:
    if place >= len(data) or data[place] not in _CODES:  # MessagePack's own are negative, timestamps among them
        raise WireError("an extension that is not in the format")


def _unpack(data: bytes, from_reference: FromReference, depth: int, budget: _Budget) -> Any:
    if depth > MAX_DEPTH:
        raise WireError(f"more than {MAX_DEPTH} containers in one another")
    _measure(data, depth, budget)
    try:
        packed = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=False,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
            ext_hook=lambda code, payload: msgpack.ExtType(code, payload),
        )
    except (ValueError, TypeError, RecursionError, OverflowError, msgpack.UnpackException) as error:
        raise WireError(f"not a message: {type(error).__name__}") from error
    return _build(packed, from_reference, depth, budget)


def _build(packed: Any, from_reference: FromReference, depth: int, budget: _Budget) -> Any:
    if depth > MAX_DEPTH:
        raise WireError(f"more than {MAX_DEPTH} containers in one another")
    budget.look()
    kind = type(packed)
    if kind is list:
        return [_build(item, from_reference, depth + 1, budget) for item in packed]
    if kind is dict:
        if not all(map(_is_key, packed)):
            raise WireError("a dict with keys of another kind")
        return {key: _build(item, from_reference, depth + 1, budget) for key, item in packed.items()}
    if kind is not msgpack.ExtType:
        if packed is None or kind in (bool, int, float, str, bytes):
            return packed
        raise WireError(f"a value of type {kind.__name__} is not in the format")
    if packed.code in (_BIG_INT, _FRACTION):
        budget.exact -= 1
        if budget.exact < 0:
            raise WireError(f"more than {MAX_EXACT} whole numbers beyond 64 bits, or fractions")
    if packed.code == _BIG_INT:
        return _big_int(packed.data)
    if packed.code == _DTYPE:
        return _known(_TORCH_DTYPES, packed.data.decode("ascii", "replace"))
    budget.nested -= len(packed.data)
    if budget.nested < 0:
        raise WireError(f"more than {MAX_NESTED} bytes in extensions of one another")
    inner = _unpack(packed.data, from_reference, depth + 1, budget)
    if type(inner) is not list:
        raise WireError("an extension without its list")
    if packed.code == _TUPLE:
        return tuple(inner)
    if packed.code == _REFERENCE:
        return from_reference(_reference(inner))
    if packed.code == _FRACTION:
        return _fraction(inner)
    return _tensor(inner, budget) if packed.code == _TENSOR else _array(inner, budget)


def _big_int(data: bytes) -> int:
    if len(data) > HUGE.bit_length() // 8 + 1:
        raise WireError("a whole number that is too large")
    return int.from_bytes(data, "big", signed=True)


def _fraction(fields: list) -> Fraction:
    if [type(field) for field in fields] != [int, int] or not 0 < fields[1] < EXACT or abs(fields[0]) >= EXACT:
        raise WireError("not a fraction")
    return Fraction(*fields)


def _reference(fields: list) -> Reference:
    if [type(field) for field in fields] != [bool, int, str]:
        raise WireError("not a reference")
    mine, number, kind = fields
    return Reference(mine, number, kind[:MAX_KIND])


def _tensor(fields: list, budget: _Budget) -> torch.Tensor:
    name, shape, raw, order = _buffer(fields)
    dtype = _known(_TORCH_DTYPES, name)
    _check_size(shape, torch.empty((), dtype=dtype).element_size(), raw, budget)
    _check_truth(name, raw)
    try:
        if not raw:
            return torch.empty(shape, dtype=dtype)
        lying = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(dtype).reshape([shape[side] for side in order])
        return lying.permute(_back(order))
    except RuntimeError as error:  # an empty shape with sides that overflow
        raise WireError(f"a tensor of shape {shape}") from error


def _array(fields: list, budget: _Budget) -> np.ndarray:
    name, shape, raw, order = _buffer(fields)
    if name not in _NUMPY_DTYPES:
        raise WireError("an array of an unknown dtype")
    _check_size(shape, np.dtype(name).itemsize, raw, budget)
    _check_truth(name, raw)
    try:
        if not raw:
            return np.empty(shape, name)
        lying = np.frombuffer(bytearray(raw), dtype=name).reshape([shape[side] for side in order])
        return lying.transpose(_back(order))
    except ValueError as error:
        raise WireError(f"an array of shape {shape}") from error


def _buffer(fields: list) -> tuple[str, list[int], bytes, list[int]]:
    if [type(field) for field in fields] != [str, list, bytes, list]:
        raise WireError("not a tensor")
    name, shape, raw, order = fields
    if len(shape) > MAX_DIMENSIONS or not all(type(size) is int and 0 <= size < 2**40 for size in shape):
        raise WireError("not a shape")
    if not all(type(side) is int for side in order) or sorted(order) != list(range(len(shape))):
        raise WireError("not an order of dimensions")
    return name, shape, raw, order


def _back(order: list[int]) -> list[int]:
    return [order.index(side) for side in range(len(order))]


def _check_size(shape: list[int], itemsize: int, raw: bytes, budget: _Budget) -> None:
    if math.prod(shape) * itemsize != len(raw):
        raise WireError(f"a tensor of shape {shape} with {len(raw)} bytes")
    # In lists: one for each side's rows, and the elements. With sides of 2 and more these are the most of it.
    written = sum(accumulate((size or 1 for size in shape), operator.mul))
    budget.lists -= max(0, written - 2 * math.prod(shape))
    if budget.lists < 0:
        raise WireError(f"{'a' if raw else 'an empty'} tensor of shape {shape}: as lists it would be large")


def _check_truth(name: str, raw: bytes) -> None:
    # A truth value of 2 is neither: what reads it is undefined.
    if name == "bool" and raw.translate(None, b"\x00\x01"):
        raise WireError("a truth value that is neither True nor False")


def _known(table: dict[str, Any], name: str) -> Any:
    if name not in table:
        raise WireError("an unknown dtype")
    return table[name]
