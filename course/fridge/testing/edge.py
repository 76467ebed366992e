"""What tests of unit 11 own: oracles for a bounded memory and for a static step, plans that are held against their ops.

A program that `torch.export` wrote down is plain data here. It is computed with core ATen operations alone, each of
which is tried on the meta device first: a program can't ask for more memory than a test has.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from fridge.testing.expect import InWords, describe, wrong
from fridge.testing.fusion import expect_named
from fridge.testing.given import expect_number, expect_tensor
from fridge.testing.streaming import expect_json
from fridge.workbench import arguments

MOST_NODES, MOST_ELEMENTS = 2000, 2**20  # of a program; of each of its results
_BOTH_ALIVE = "what is alive at the same operation can't share a byte"
_AS_IT_LIES = {"aten.view.default": "aten.reshape.default"}  # whose arguments may lie in memory in another way
_ALLOWED = {"aten.reshape.default", "aten._unsafe_view.default"}
_DTYPES = {
    str(one).removeprefix("torch."): one for one in (torch.float32, torch.float64, torch.int64, torch.int32, torch.bool)
}
_BY_CHANCE = ("rand", "bernoulli", "multinomial", "dropout", "empty", "normal", "nonzero")
_TOO_MUCH = ("conv", "dist", "grid_sampler", "upsample", "pool", "as_strided")  # small results can take minutes


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


Run = Callable[[Sequence[Tensor], Sequence[torch.Size]], list[Tensor]]


def expect_program(got: Any, what: str) -> Run:
    """A program as `exporting.program` returns it: a function of inputs and the shapes of its outputs.

    Raises:
        Wrong: it is none; the function: an operation that isn't core ATen, or fails, or makes too much.
    """
    parts = expect_named(got, ("inputs", "constants", "nodes", "outputs"), f"{what}: what exported returns")
    constants = parts["constants"]
    if not issubclass(type(constants), dict):
        raise wrong(f"{what}: the program's constants", "a dict", constants)
    fixed = {name: expect_tensor(value, f"{what}: a constant of the program") for name, value in dict.items(constants)}
    plain = expect_json(
        {name: parts[name] for name in ("inputs", "nodes", "outputs")}, f"{what}: what exported returns"
    )
    nodes = plain["nodes"]
    if type(nodes) is not list or len(nodes) > MOST_NODES or not all(map(_is_node, nodes)):
        raise wrong(f"{what}: the program's nodes", "a list of [name, operation, positional, named]", nodes)

    def run(inputs: Sequence[Tensor], shapes: Sequence[torch.Size]) -> list[Tensor]:
        names, outputs = plain["inputs"], plain["outputs"]
        if not _are_names(names) or len(names) != len(inputs) or not _are_names(outputs):
            raise wrong(f"{what}: the program's inputs", f"{len(inputs)} names", names)
        known: dict[str, Any] = fixed | dict(zip(names, inputs, strict=True))
        for name, operation, positional, named in nodes:
            known[name] = _computed(operation, positional, named, known, what)
        if len(outputs) != len(shapes) or any(name not in known for name in outputs):
            raise wrong(f"{what}: the program's outputs", f"{len(shapes)} of its results", outputs)
        return [
            expect_tensor(known[name], f"{what}: output {number} of the program", shape)
            for number, (name, shape) in enumerate(zip(outputs, shapes, strict=True))
        ]

    return run


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


def _are_names(names: Any) -> bool:
    return type(names) is list and all(type(name) is str for name in names)


def _is_node(node: Any) -> bool:
    kinds = [str, str, list, dict]
    return type(node) is list and list(map(type, node)) == kinds


def _computed(operation: str, positional: list[Any], named: dict[str, Any], known: dict[str, Any], what: str) -> Any:
    try:
        values = _filled(positional, known)
        more = {name: _filled(item, known) for name, item in named.items()}
    except (KeyError, AttributeError, TypeError, ValueError):
        raise wrong(f"{what}: what {describe(operation)} reads", "earlier results of the program", positional) from None
    if operation == "getitem":
        return _part(values, what)
    function = _core(_AS_IT_LIES.get(operation, operation))
    if function is None:
        raise wrong(
            f"{what}: operations of the program",
            "core ATen: none by chance, and no convolutions or the like",
            operation,
        )
    try:
        makes_new = any(argument.name == "device" for argument in function._schema.arguments)  # arange, full
        made = function(*_on_meta(values), **_on_meta(more), **({"device": "meta"} if makes_new else {}))
        if any(part.numel() > MOST_ELEMENTS for part in _tensors(made)):
            raise wrong(f"{what}: elements that {operation} makes", f"at most {MOST_ELEMENTS}", InWords("more"))
        return function(*values, **more)
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
        words = str(error).strip().partition("\n")[0]
        raise wrong(f"{what}: the program runs", "without an error", InWords(f"{operation}: {words}")) from None


def _part(values: list[Any], what: str) -> Any:
    # One of several results, as of `split`.
    whole, place = values if len(values) == 2 else (None, None)
    if type(whole) not in (list, tuple) or type(place) is not int or not 0 <= place < len(whole):
        raise wrong(f"{what}: a part that the program takes", "one of several results", values)
    return whole[place]


def _core(operation: str) -> Any:
    parts = operation.split(".")
    if len(parts) != 3 or parts[0] != "aten" or any(part in parts[1] for part in _BY_CHANCE + _TOO_MUCH):
        return None
    packet = getattr(torch.ops.aten, parts[1], None)
    function = getattr(packet, parts[2], None)
    if not isinstance(function, torch._ops.OpOverload) or function._schema.is_mutable:
        return None
    return function if torch.Tag.core in function.tags or operation in _ALLOWED else None


def _filled(value: Any, known: dict[str, Any]) -> Any:
    if type(value) is dict and list(value) == ["of"]:
        return known[value["of"]]
    if type(value) is dict and list(value) == ["dtype"]:
        return _DTYPES[value["dtype"]]
    if type(value) is dict and list(value) == ["number"]:
        return float(value["number"])
    return [_filled(item, known) for item in value] if type(value) is list else value


def _on_meta(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to("meta")
    if isinstance(value, dict):
        return {name: _on_meta(item) for name, item in value.items()}
    return type(value)(map(_on_meta, value)) if isinstance(value, list | tuple) else value


def _tensors(made: Any) -> list[Tensor]:
    return [made] if isinstance(made, Tensor) else [part for part in made if isinstance(part, Tensor)]
