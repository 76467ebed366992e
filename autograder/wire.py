"""The closed format in which values cross between the grader and a learner's process, in length-prefixed frames.

None, bool, int, float, str, bytes, list, tuple, dict, tensors and arrays (dtype, shape, little-endian bytes), dtypes
by name, and references: numbers that stand for an object that stays where it is. Framing and scalars are MessagePack.
There is no pickle, and nothing that a peer sends is looked up as an attribute, imported or evaluated. Sizes are checked
before anything is built.
"""

import math
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import torch

MAX_FRAME = 32 * 2**20  # bytes of one message
MAX_DEPTH = 24  # containers in containers
MAX_ITEMS = 200_000  # elements of one container

_TUPLE, _TENSOR, _ARRAY, _DTYPE, _REFERENCE, _BIG_INT = range(1, 7)
_HEADER = struct.Struct(">I")
_TORCH_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.complex128),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    )
}
_NUMPY_DTYPES = (
    *("float64", "float32", "float16", "complex64", "complex128"),
    *("int64", "int32", "int16", "int8", "uint8", "bool"),
)


class WireError(Exception):
    """A message is not in the format, too large, too deep, or late."""


class PeerGone(WireError):
    """The other process closed its end."""


class Late(WireError):
    """No whole message by the deadline."""


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
    """Bytes of a value; objects of other types become what `to_reference` says.

    Raises:
        WireError: too deep or too large.
    """
    data = msgpack.packb(_pack(value, to_reference, 0), use_bin_type=True)
    if len(data) > MAX_FRAME:
        raise WireError(f"a value of {len(data)} bytes is too large; the limit is {MAX_FRAME}")
    return data


def decode(data: bytes, from_reference: FromReference) -> Any:
    """The value of bytes; references become what `from_reference` says.

    Raises:
        WireError: the bytes are not in the format.
    """
    return _unpack(data, from_reference, 0)


class Channel:
    """Messages over a connected socket, one frame each. Not for two threads."""

    def __init__(self, connection: socket.socket):
        self._socket = connection

    def fileno(self) -> int:
        """The socket's descriptor, for select."""
        return self._socket.fileno()

    def send(self, data: bytes, deadline: float) -> None:
        """Send one frame by `deadline` (time.monotonic). Raises Late, PeerGone."""
        try:
            self._wait(deadline)
            self._socket.sendall(_HEADER.pack(len(data)) + data)
        except TimeoutError as error:
            raise Late("the message was not taken in time") from error
        except OSError as error:
            raise PeerGone(str(error)) from error

    def receive(self, deadline: float) -> bytes:
        """The next frame, whole by `deadline`. Raises Late, PeerGone, WireError for one that is too large."""
        (length,) = _HEADER.unpack(self._read(_HEADER.size, deadline))
        if length > MAX_FRAME:
            raise WireError(f"a message of {length} bytes was announced; the limit is {MAX_FRAME}")
        return self._read(length, deadline)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _read(self, length: int, deadline: float) -> bytes:
        parts, missing = [], length
        while missing:
            try:
                self._wait(deadline)
                part = self._socket.recv(min(missing, 2**20))
            except TimeoutError as error:
                raise Late("no whole reply in time") from error
            except OSError as error:
                raise PeerGone(str(error)) from error
            if not part:
                raise PeerGone("the process has gone")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _wait(self, deadline: float) -> None:
        # Each wait gets what is left of the whole message's time: a byte now and then doesn't prolong it.
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(None if math.isinf(left) else left)


def _pack(value: Any, to_reference: ToReference, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise WireError(f"more than {MAX_DEPTH} containers in one another")
    kind = type(value)
    if value is None or kind in (bool, float, str, bytes):
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**63 else msgpack.ExtType(_BIG_INT, str(value)[:5000].encode())
    if kind is list:
        return [_pack(item, to_reference, depth + 1) for item in value]
    if kind is tuple:
        inner = [_pack(item, to_reference, depth + 1) for item in value]
        return msgpack.ExtType(_TUPLE, msgpack.packb(inner))
    if kind is dict:
        return {_key(key): _pack(item, to_reference, depth + 1) for key, item in value.items()}
    if kind in (torch.Tensor, torch.nn.Parameter):
        return msgpack.ExtType(_TENSOR, _pack_tensor(value))
    if kind is np.ndarray and str(value.dtype) in _NUMPY_DTYPES:
        return msgpack.ExtType(_ARRAY, msgpack.packb([str(value.dtype), list(value.shape), value.tobytes()]))
    if isinstance(value, np.generic) and kind.__module__ == "numpy":
        return _pack(value.item(), to_reference, depth)
    if kind is torch.dtype:
        return msgpack.ExtType(_DTYPE, str(value).removeprefix("torch.").encode())
    if isinstance(value, tuple):  # a named one: its items are what counts
        return _pack(tuple(tuple.__iter__(value)), to_reference, depth)
    reference = to_reference(value)
    return msgpack.ExtType(_REFERENCE, msgpack.packb([reference.mine, reference.number, reference.kind[:100]]))


def _key(key: Any) -> Any:
    if type(key) in (str, int, bool, bytes):
        return key
    raise WireError(f"a dict with keys of type {type(key).__name__} can't cross")


def _pack_tensor(tensor: torch.Tensor) -> bytes:
    plain = tensor.detach().cpu().resolve_conj().contiguous()
    name = str(plain.dtype).removeprefix("torch.")
    if name not in _TORCH_DTYPES or plain.layout is not torch.strided:
        raise WireError(f"a tensor of dtype {name} and layout {plain.layout} can't cross")
    raw = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    return msgpack.packb([name, list(plain.shape), raw])


def _unpack(data: bytes, from_reference: FromReference, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise WireError(f"more than {MAX_DEPTH} containers in one another")
    try:
        # MessagePack's own limit on nesting stands below ours; its C unpacker doesn't recurse without bound.
        packed = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=False,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
            ext_hook=lambda code, payload: msgpack.ExtType(code, payload),
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise WireError(f"not a message: {type(error).__name__}") from error
    return _build(packed, from_reference, depth)


def _build(packed: Any, from_reference: FromReference, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise WireError(f"more than {MAX_DEPTH} containers in one another")
    kind = type(packed)
    if kind is list:
        return [_build(item, from_reference, depth + 1) for item in packed]
    if kind is dict:
        return {_key(key): _build(item, from_reference, depth + 1) for key, item in packed.items()}
    if kind is not msgpack.ExtType:
        if packed is None or kind in (bool, int, float, str, bytes):
            return packed
        raise WireError(f"a value of type {kind.__name__} is not in the format")
    if packed.code == _BIG_INT:
        return _big_int(packed.data)
    if packed.code == _DTYPE:
        return _known(_TORCH_DTYPES, packed.data.decode("ascii", "replace"))
    if packed.code not in (_TUPLE, _TENSOR, _ARRAY, _REFERENCE):
        raise WireError(f"extension {packed.code} is not in the format")
    inner = _unpack(packed.data, from_reference, depth + 1)
    if type(inner) is not list:
        raise WireError("an extension without its list")
    if packed.code == _TUPLE:
        return tuple(inner)
    if packed.code == _REFERENCE:
        return from_reference(_reference(inner))
    return _tensor(inner) if packed.code == _TENSOR else _array(inner)


def _big_int(digits: bytes) -> int:
    if len(digits) > 4000 or not digits.removeprefix(b"-").isdigit():
        raise WireError("not an integer")
    return int(digits)


def _reference(fields: list) -> Reference:
    if [type(field) for field in fields] != [bool, int, str]:
        raise WireError("not a reference")
    return Reference(*fields)


def _tensor(fields: list) -> torch.Tensor:
    name, shape, raw = _buffer(fields)
    dtype = _known(_TORCH_DTYPES, name)
    _check_size(shape, torch.empty((), dtype=dtype).element_size(), raw)
    if not raw:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(dtype).reshape(shape)


def _array(fields: list) -> np.ndarray:
    name, shape, raw = _buffer(fields)
    if name not in _NUMPY_DTYPES:
        raise WireError("an array of an unknown dtype")
    dtype = np.dtype(name)
    _check_size(shape, dtype.itemsize, raw)
    return np.frombuffer(bytearray(raw), dtype=dtype).reshape(shape)


def _buffer(fields: list) -> tuple[str, list[int], bytes]:
    if [type(field) for field in fields] != [str, list, bytes]:
        raise WireError("not a tensor")
    name, shape, raw = fields
    if len(shape) > 16 or not all(type(size) is int and 0 <= size < 2**40 for size in shape):
        raise WireError("not a shape")
    return name, shape, raw


def _check_size(shape: list[int], itemsize: int, raw: bytes) -> None:
    if math.prod(shape) * itemsize != len(raw):
        raise WireError(f"a tensor of shape {shape} with {len(raw)} bytes")


def _known(table: dict[str, Any], name: str) -> Any:
    if name not in table:
        raise WireError("an unknown dtype")
    return table[name]
