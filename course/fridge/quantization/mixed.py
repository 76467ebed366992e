"""GGUF files whose tensors have formats of their own, written from float32: what the capstone chooses among.

Blocks are made by gguf-py, whose formats unit 08 builds by hand.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from torch import Tensor

from fridge import models
from fridge.models.llama import Llama
from fridge.models.sinks import losses, text_tokens
from fridge.quantization.gguf_kinds import ARRAY, STRING, TENSOR_KINDS
from fridge.quantization.gguf_names import gguf_name
from fridge.weights import embedded

KINDS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "F16", "F32")  # the smallest first
ALIGNMENT = 32
DEEPEST, LONGEST_NAME = 8, 64  # arrays in arrays of metadata; letters of a tensor's name
CALIBRATION, HELD_OUT = slice(0, 192), slice(4096, 4608)  # tokens of the library's prose
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # of kinds of values, in bytes
_NUMBERS = {name: number for number, name in TENSOR_KINDS.items()}


def tensor_bytes(kind: str, shape: tuple[int, ...] | torch.Size) -> int:
    """Bytes of a tensor in a format. Raises ValueError where a row isn't a multiple of the format's block."""
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    if shape[-1] % block:
        raise ValueError(f"rows of {shape[-1]} weights aren't whole blocks of {block}")
    return math.prod(shape) // block * size


def file(metadata: bytes, tensors: Mapping[str, Tensor], kinds: Mapping[str, str]) -> bytes:
    """A GGUF file.

    Args:
        metadata: the number of entries, 8 bytes, and the entries, as a file has them.
        tensors: name -> float32, in the order of the file.
        kinds: name -> one of `KINDS`; what isn't in it is F32.

    Raises:
        ValueError: a name that there is no tensor for, another kind, or a row that isn't whole blocks.
    """
    if unknown := [name for name in kinds if name not in tensors]:
        raise ValueError(f"no tensor is called {unknown[0]!r}")
    if unknown := [kind for kind in kinds.values() if kind not in KINDS]:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(KINDS)}")
    entries, data, offset = [], [], 0
    for name, values in tensors.items():
        kind = kinds.get(name, "F32")
        raw = _packed(kind, values)
        data += [raw, bytes(-len(raw) % ALIGNMENT)]
        sides = tuple(reversed(values.shape))
        head = _text(name) + struct.pack(f"<I{len(sides)}QIQ", len(sides), *sides, _NUMBERS[kind], offset)
        entries.append(head)
        offset += len(raw) + -len(raw) % ALIGNMENT
    head = b"GGUF" + struct.pack("<IQ", 3, len(tensors)) + metadata + b"".join(entries)
    return head + bytes(-len(head) % ALIGNMENT) + b"".join(data)


def keep(raw: bytes) -> Path:
    """Write a file to the course's cache folder, over the last one; where it is."""
    folder = embedded.cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path, begun = folder / "small.gguf", folder / "small.gguf.part"
    begun.write_bytes(raw)
    return begun.replace(path)  # whoever reads the last one has it whole


def rounded(kind: str, values: Tensor) -> Tensor:
    """What a format makes of a tensor, in float32 again."""
    if kind == "F32":
        return values
    return _unpacked(kind, _packed(kind, values), tuple(values.shape))


def read(raw: bytes) -> dict[str, tuple[str, Tensor]]:
    """Name -> (kind, float32 values) of each tensor in a file.

    Raises:
        ValueError: it isn't a GGUF file of version 3 whose tensors are all there and have one of `KINDS`.
    """
    return {name: (kind, _unpacked(kind, raw[start:end], shape)) for name, kind, shape, start, end in _table(raw)}


def kinds_in(raw: bytes) -> str:
    """How many tensors have which format, in words."""
    kinds = [kind for _, kind, *_ in _table(raw)]
    return ", ".join(f"{kinds.count(kind)} tensors {kind}" for kind in KINDS if kind in kinds)


def metadata_of(texts: Mapping[str, str]) -> bytes:
    """Entries that are texts, as `file` takes them."""
    entries = (_text(key) + struct.pack("<I", STRING) + _text(words) for key, words in texts.items())
    return struct.pack("<Q", len(texts)) + b"".join(entries)


class Shipped:
    """The course's model as the file that it comes in: what `small_file` takes, and what became of it.

    The weights are the model's own memory. A GGUF has rows of q and k in another order, and these are copies.

    Attributes:
        metadata: the file's entries, tokenizer and all.
        tensors: name -> float32.
        groups: embedding, attention and MLP -> names.
    """

    def __init__(self, path: Path, model: Llama, tokenizer: Any):
        self._model = model
        self._tokens = text_tokens(tokenizer, HELD_OUT.stop)
        raw = path.read_bytes()
        self.metadata = raw[16 : _Bytes(raw).skip_metadata()]
        self._own = {gguf_name(name): weight for name, weight in model.named_parameters()}
        table = _table(raw, any_kind=True)
        self.tensors = {name: self._in_file_order(name) for name, *_ in table}
        parts = {"embedding": "token_embd", "attention": ".attn_", "MLP": ".ffn_"}
        matrices = [name for name, values in self.tensors.items() if values.dim() == 2]
        self.groups = {group: [name for name in matrices if part in name] for group, part in parts.items()}

    def loss(self, kinds: Mapping[str, str]) -> float:
        """The mean loss on the calibration text, with these groups rounded."""
        return self._lost({name: kind for group, kind in kinds.items() for name in self.groups[group]}, CALIBRATION)

    def times_as_perplexed(self, raw: bytes) -> float:
        """Perplexity of a file's tensors on other prose, as a multiple of the shipped ones'."""
        kinds = {name: kind for name, kind, *_ in _table(raw)}
        return math.exp(self._lost(kinds, HELD_OUT) - self._lost({}, HELD_OUT))

    def _lost(self, kinds: Mapping[str, str], part: slice) -> float:
        # A layer's weights are rounded when it is its turn, so that there is never a second model in memory.
        with ExitStack() as stack:
            whole = {name: kind for name, kind in kinds.items() if not name.startswith("blk.")}
            stack.enter_context(self._replaced(whole))
            for number, layer in enumerate(self._model.model.layers):
                own = {name: kind for name, kind in kinds.items() if name.startswith(f"blk.{number}.")}
                turn = ExitStack()
                enter = layer.register_forward_pre_hook(
                    lambda *_, own=own, turn=turn: turn.enter_context(self._replaced(own)) and None
                )
                leave = layer.register_forward_hook(lambda *_, turn=turn: turn.close())
                stack.callback(enter.remove)
                stack.callback(leave.remove)
                stack.callback(turn.close)
            tokens = self._tokens[part]
            return float(losses(self._model, tokens, 0, len(tokens)).mean())

    @contextmanager
    def _replaced(self, kinds: Mapping[str, str]) -> Iterator[None]:
        kept = {name: self._own[name].data for name in kinds}
        try:
            for name, kind in kinds.items():
                self._own[name].data = rounded(kind, kept[name])
            yield
        finally:
            for name, value in kept.items():
                self._own[name].data = value

    def _in_file_order(self, name: str) -> Tensor:
        config, values = self._model.config, self._own[name].detach()
        heads = {"attn_q": config.heads, "attn_k": config.kv_heads}.get(name.split(".")[-2])
        return values if heads is None else values.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def shipped(model: Llama, tokenizer: Any) -> Shipped | None:
    """The course's model and its file; None for another model, or on a GPU in half precision."""
    path = models.gguf() if model.dtype == torch.float32 else None
    return None if path is None else Shipped(path, model, tokenizer)


def _packed(kind: str, values: Tensor) -> bytes:
    own = values.detach().to(torch.float32).contiguous().cpu().numpy()
    if kind == "F32":
        return own.astype("<f4").tobytes()
    return gguf.quants.quantize(own, gguf.GGMLQuantizationType[kind]).tobytes()


def _unpacked(kind: str, raw: bytes, shape: tuple[int, ...]) -> Tensor:
    if kind == "F32":
        return torch.from_numpy(np.frombuffer(raw, dtype="<f4").copy()).view(shape)
    packed = np.frombuffer(raw, dtype=np.uint8).reshape(*shape[:-1], -1)
    values = gguf.quants.dequantize(packed, gguf.GGMLQuantizationType[kind])
    return torch.from_numpy(values.astype(np.float32)).view(shape)


def _table(raw: bytes, any_kind: bool = False) -> list[tuple[str, str, tuple[int, ...], int, int]]:
    """(name, kind, shape, first byte, end) of each tensor."""
    reader = _Bytes(raw)
    count = reader.skip_metadata() and reader.tensors
    found = []
    for _ in range(count):
        name = reader.text()
        if len(name) > LONGEST_NAME:
            raise ValueError(f"a tensor's name of {len(name)} letters")
        sides = tuple(reader.number("Q") for _ in range(reader.at_most(reader.number("I"), 4)))
        if not sides or 0 in sides:
            raise ValueError(f"{name!r} has sides {list(sides)}")
        found.append((name, reader.number("I"), tuple(reversed(sides)), reader.number("Q")))
    start, table = reader.place + -reader.place % ALIGNMENT, []
    for name, number, shape, offset in found:
        kind = TENSOR_KINDS.get(number, str(number))
        if any_kind:
            table.append((name, kind, shape, 0, 0))
            continue
        if kind not in KINDS or offset % ALIGNMENT:
            raise ValueError(f"{name!r}: kind {kind}, offset {offset}")
        end = start + offset + tensor_bytes(kind, shape)
        if end > len(raw):
            raise ValueError(f"{name!r} ends at byte {end}, and the file at {len(raw)}")
        table.append((name, kind, shape, start + offset, end))
    if sum(end - first for *_, first, end in table) > len(raw):
        raise ValueError("tensors that lie in one another")
    return table


class _Bytes:
    """A file's head, read from its beginning. Nothing is taken for true that leaves the file."""

    def __init__(self, raw: bytes):
        self.raw, self.place = raw, 8
        if raw[:4] != b"GGUF" or raw[4:8] != struct.pack("<I", 3):
            raise ValueError("no GGUF file of version 3")
        self.tensors = self.number("Q")

    def skip_metadata(self) -> int:
        """Go behind the metadata; where that is."""
        for _ in range(self.at_most(self.number("Q"), len(self.raw))):
            self.text()
            self._skip(self.number("I"))
        return self.place

    def text(self) -> str:
        """A string."""
        size = self.at_most(self.number("Q"), len(self.raw))
        self.place += size
        return self.raw[self.place - size : self.place].decode()

    def number(self, code: str) -> int:
        """A whole number by its code in `struct`."""
        size = struct.calcsize(code)
        if self.place + size > len(self.raw):
            raise ValueError("the file ends within its head")
        self.place += size
        return struct.unpack_from(f"<{code}", self.raw, self.place - size)[0]

    @staticmethod
    def at_most(count: int, most: int) -> int:
        """A count, if it can be."""
        if count > most:
            raise ValueError(f"a count of {count}")
        return count

    def _skip(self, kind: int, deep: int = 0) -> None:
        if kind == STRING:
            self.text()
        elif kind == ARRAY:
            inner, count = self.number("I"), self.at_most(self.number("Q"), len(self.raw))
            if deep == DEEPEST:
                raise ValueError(f"arrays in arrays, more than {DEEPEST} deep")
            for _ in range(count):
                self._skip(inner, deep + 1)
        elif kind in _SIZES:
            self.place += _SIZES[kind]
        else:
            raise ValueError(f"a value of kind {kind}")


def _text(words: str) -> bytes:
    raw = words.encode()
    return struct.pack("<Q", len(raw)) + raw
