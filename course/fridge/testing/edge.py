"""What tests of unit 11 own: oracles for a bounded memory and a static step, plans that are held against their ops."""

import random
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from fridge.testing.expect import InWords, describe, wrong
from fridge.testing.fusion import expect_named
from fridge.testing.given import expect_number
from fridge.testing.streaming import expect_json
from fridge.workbench import arguments

_BOTH_ALIVE = "what is alive at the same operation can't share a byte"


def sink_attention(q: Tensor, k: Tensor, v: Tensor, sinks: int, window: int, inv_freq: Tensor) -> Tensor:
    """Attention of the newest token, in float64, from a list of all tokens.

    Args:
        q: [heads, head_dim]; k, v: [tokens, kv_heads, head_dim], none of them rotated.
        sinks, window: first and last tokens that are held.
    """
    held = [now for now in range(len(k)) if now < sinks or now >= max(sinks, len(k) - window)]
    places = torch.arange(len(held))
    return _attention(q, k[held].transpose(0, 1), v[held].transpose(0, 1), places, len(held) - 1, inv_freq)


def step_attention(
    q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor, position: int, inv_freq: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What exercise 5's function returns, in float64: out, keys, values."""
    keys, values = keys.double().clone(), values.double().clone()
    keys[:, position] = _rotated(k, torch.tensor([position]), inv_freq)
    values[:, position] = v.double()
    seen = keys[:, : position + 1], values[:, : position + 1]
    turned = _rotated(q, torch.tensor([position]), inv_freq)
    return _weighted(turned, *seen), keys, values


def whole_codes(*shape: int, seed: int) -> Tensor:
    """Weights in 8 bits, -127 to 127."""
    numbers = torch.Generator().manual_seed(seed)
    return torch.randint(-127, 128, shape, generator=numbers).to(torch.int8)


def expect_shards(got: Any, tensors: Sequence[tuple[str, int]], limit: int, what: str, cause: str = "") -> None:
    """Files of whole tensors in order, as few as can be.

    Raises:
        Wrong: they aren't, with the reason.
    """
    files = expect_json(got, f"{what}: what shards returns")
    if type(files) is not list or any(
        type(one) is not list or any(type(name) is not str for name in one) for one in files
    ):
        raise wrong(f"{what}: what shards returns", "a list of lists of names", got, cause)
    sizes = dict(tensors)
    if [name for one in files for name in one] != list(sizes):
        why = "all tensors, each once, in the order of the model's file"
        raise wrong(f"{what}: names in all files", describe(list(sizes)), files, why)
    if [] in files:
        raise wrong(f"{what}: files without tensors", "none", files, cause or "a file is begun when a tensor needs it")
    for number, one in enumerate(files):
        size = sum(sizes[name] for name in one)
        if size > limit:
            raise wrong(f"{what}: bytes of file {number}", f"at most {limit}", size, cause)
    fewest, used = 0, limit + 1
    for _, size in tensors:
        fewest, used = (fewest + 1, size) if used + size > limit else (fewest, used + size)
    if len(files) != fewest:
        raise wrong(f"{what}: files", fewest, len(files), cause or "a file is filled as far as it goes")


def arena_case(listed: str) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Operations and sizes from words: `a 100 x; b 50 a` makes a of 100 bytes from x, then b of 50 bytes from a."""
    parts = [one.split() for one in listed.split(";") if one.strip()]
    sizes = {name: int(size) for name, size, *_ in parts} | {"x": 77}
    return [{"name": name, "of": of} for name, _, *of in parts], sizes


def random_arena(seed: int) -> tuple[list[dict[str, Any]], dict[str, int], list[str]]:
    """Operations that read what was made lately, and now and then long before; sizes; outputs."""
    numbers = random.Random(seed)
    ops: list[dict[str, Any]] = []
    for step in range(30 + 5 * (seed % 5)):
        lately = [op["name"] for op in ops[-3:]] or ["x"]
        of = numbers.sample(lately, numbers.randint(1, len(lately)))
        if len(ops) > 6 and numbers.random() < 0.1:
            of.append(numbers.choice(ops)["name"])
        ops.append({"name": f"r{step}", "of": of})
    sizes = {op["name"]: numbers.choice((16, 64, 100, 256, 384)) for op in ops}
    return ops, sizes, [ops[-1]["name"]]


def expect_arena(
    got: Any,
    ops: Sequence[dict[str, Any]],
    sizes: dict[str, int],
    outputs: Iterable[str],
    alignment: int,
    what: str,
    cause: str = "",
    most: float | None = None,
) -> None:
    """Offsets by which no two results that are alive at one operation share a byte.

    Args:
        most: how many times the lower bound the arena may be; None: as large as it likes.

    Raises:
        Wrong: they aren't such, with the two results and the operation.
    """
    names = [op["name"] for op in ops]
    own = expect_named(got, names, f"{what}: what plan returns")
    offsets = {name: expect_number(own[name], f"{what}: the offset of {name!r}") for name in names}
    for name, offset in offsets.items():
        if arguments.whole(offset) is None or offset < 0 or offset % alignment:
            said = f"a multiple of {alignment}, 0 or more"
            raise wrong(f"{what}: the offset of {name!r}", said, offset, "each offset is a multiple of the alignment")
    outputs = list(outputs)
    for step, alive in enumerate(_alive(ops, outputs)):
        placed = sorted(alive, key=lambda name: (offsets[name], name))
        for one, other in pairwise(placed):
            if offsets[one] + sizes[one] > offsets[other]:
                both = InWords(
                    f"bytes {int(offsets[one])} to {int(offsets[one]) + sizes[one] - 1} and "
                    f"{int(offsets[other])} to {int(offsets[other]) + sizes[other] - 1}"
                )
                at = f"operation {names[step]!r}" if step < len(names) else "the end"
                said = f"{what}: {one!r} and {other!r}, which are both alive at {at}"
                raise wrong(said, "no byte in common", both, cause if most is None else _BOTH_ALIVE)
    if most is not None and ops:
        arena = max(int(offsets[name]) + sizes[name] for name in names)
        least = max(sum(-(-sizes[name] // alignment) * alignment for name in alive) for alive in _alive(ops, outputs))
        if arena > most * least:
            said = f"at most {most:g} times the lower bound of {least}"
            raise wrong(f"{what}: bytes of the arena", said, arena, cause)


def _attention(q: Tensor, k: Tensor, v: Tensor, places: Tensor, place: int, inv_freq: Tensor) -> Tensor:
    # k, v: [kv_heads, held, head_dim]
    return _weighted(_rotated(q, torch.tensor([place]), inv_freq), _rotated(k, places, inv_freq), v.double())


def _weighted(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    each = len(q) // len(k)
    k, v = k.repeat_interleave(each, 0), v.double().repeat_interleave(each, 0)
    scores = (k @ q[:, :, None])[..., 0] / q.shape[1] ** 0.5
    return (scores.softmax(-1)[:, None] @ v)[:, 0]


def _rotated(x: Tensor, places: Tensor, inv_freq: Tensor) -> Tensor:
    # x: [heads, held, head_dim] for places [held], or [heads, head_dim] for one place
    angles = places.double()[:, None] * inv_freq.double()
    cos, sin = angles.cos(), angles.sin()
    if x.dim() == 2:
        cos, sin = cos[0], sin[0]
    first, second = x.double().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def _alive(ops: Sequence[dict[str, Any]], outputs: list[str]) -> list[list[str]]:
    """For each operation, and for the end, the results that are alive."""
    first = {op["name"]: step for step, op in enumerate(ops)}
    last = first | {part: step for step, op in enumerate(ops) for part in op["of"] if part in first}
    last |= dict.fromkeys(outputs, len(ops))
    return [[name for name in first if first[name] <= step <= last[name]] for step in range(len(ops) + 1)]
