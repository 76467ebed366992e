"""A program that `torch.export` wrote down, as plain data: what unit 11's test computes with.

Which operations it may have is a list of those that can do nothing but compute. Core ATen as a whole won't do: some of
its operations write wherever an index says, read past a tensor's end, end the process or take minutes for one number.
Each operation is tried on the meta device first, where it costs nothing and shows how large its result is.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fridge.testing.expect import InWords, describe, wrong
from fridge.testing.fusion import expect_named
from fridge.testing.given import expect_tensor
from fridge.testing.streaming import expect_json

Run = Callable[[Sequence[Tensor], Sequence[torch.Size]], list[Tensor]]

MOST_NODES, MOST_ELEMENTS, MOST_SIDES, MOST_ARGUMENTS = 2000, 2**14, 8, 256  # seen of right ones: 128, 432, 5, 20
MOST_WORK = 2**24  # numbers that one operation adds up or writes, where its result doesn't show how many
MOST_SECONDS = 5.0  # of processor time, for all runs of a program; seen: 0.1
DTYPES = {
    str(one).removeprefix("torch."): one for one in (torch.float32, torch.float64, torch.int64, torch.int32, torch.bool)
}
_ONE_BY_ONE = """
    abs.default neg.default sign.default exp.default expm1.default log.default log2.default log1p.default
    sqrt.default rsqrt.default reciprocal.default sin.default cos.default tan.default tanh.default sigmoid.default
    relu.default erf.default floor.default ceil.default round.default trunc.default isnan.default isinf.default
    logical_not.default bitwise_not.default add.Tensor add.Scalar sub.Tensor sub.Scalar mul.Tensor mul.Scalar
    div.Tensor div.Scalar div.Tensor_mode div.Scalar_mode pow.Tensor_Tensor pow.Tensor_Scalar pow.Scalar
    remainder.Tensor remainder.Scalar fmod.Tensor fmod.Scalar maximum.default minimum.default clamp.default
    clamp.Tensor eq.Tensor eq.Scalar ne.Tensor ne.Scalar lt.Tensor lt.Scalar le.Tensor le.Scalar gt.Tensor gt.Scalar
    ge.Tensor ge.Scalar logical_and.default logical_or.default logical_xor.default bitwise_and.Tensor
    bitwise_and.Scalar bitwise_or.Tensor bitwise_or.Scalar bitwise_xor.Tensor bitwise_xor.Scalar where.self
    _to_copy.default clone.default alias.default
"""
_WHOLE = """
    sum.dim_IntList mean.default mean.dim prod.default prod.dim_int amax.default amin.default max.dim min.dim
    argmax.default argmin.default any.default any.dim any.dims cumsum.default _softmax.default _log_softmax.default
    mm.default bmm.default addmm.default sort.default topk.default
"""
_PLACES = """
    view.default reshape.default _unsafe_view.default permute.default expand.default squeeze.dim squeeze.dims
    unsqueeze.default slice.Tensor select.int cat.default split_with_sizes.default flip.default gather.default
    index.Tensor index_select.default index_put.default scatter.src scatter.value slice_scatter.default
    select_scatter.default masked_scatter.default embedding.default diagonal.default repeat.default copy.default
    constant_pad_nd.default scatter_add.default
"""
_NEW = "arange.start_step full.default full_like.default scalar_tensor.default"
ALLOWED = frozenset(f"aten.{name}" for name in f"{_ONE_BY_ONE} {_WHOLE} {_PLACES} {_NEW}".split())
_AS_IT_LIES = {"aten.view.default": "aten.reshape.default"}  # whose arguments may lie in memory in another way
_ARGUMENTS = ("dtype", "rounding_mode", "accumulate", "alpha", "start", "end", "step", "keepdim", "dim", "non_blocking")


def expect_program(got: Any, what: str) -> Run:
    """A program as `exporting.program` returns it: a function of inputs and the shapes of its outputs.

    Raises:
        Wrong: it is none; the function: an operation that isn't allowed, or fails, or makes or takes too much.
    """
    parts = expect_named(got, ("inputs", "constants", "nodes", "outputs"), f"{what}: what exported returns")
    fixed = _constants(parts["constants"], what)
    plain = expect_json(
        {name: parts[name] for name in ("inputs", "nodes", "outputs")}, f"{what}: what exported returns"
    )
    nodes = plain["nodes"]
    if type(nodes) is not list or len(nodes) > MOST_NODES or not all(map(_is_node, nodes)):
        said = f"a list of [name, operation, positional, named], {MOST_NODES} at most"
        raise wrong(f"{what}: the program's nodes", said, nodes)
    spent = 0.0

    def run(inputs: Sequence[Tensor], shapes: Sequence[torch.Size]) -> list[Tensor]:
        nonlocal spent
        names, outputs = plain["inputs"], plain["outputs"]
        if not _are_names(names) or len(names) != len(inputs) or not _are_names(outputs):
            raise wrong(f"{what}: the program's inputs", f"{len(inputs)} names", names)
        known: dict[str, Any] = fixed | dict(zip(names, inputs, strict=True))
        for node in nodes:
            began = time.process_time()
            known[node[0]] = _computed(node, known, what)
            spent += time.process_time() - began
            if spent > MOST_SECONDS:
                said = f"at most {MOST_SECONDS:g} seconds of a processor for all positions"
                raise wrong(f"{what}: the program's time", said, InWords("more"))
        if len(outputs) != len(shapes) or any(name not in known for name in outputs):
            raise wrong(f"{what}: the program's outputs", f"{len(shapes)} of its results", outputs)
        return [
            expect_tensor(known[name], f"{what}: output {number} of the program", shape)
            for number, (name, shape) in enumerate(zip(outputs, shapes, strict=True))
        ]

    return run


def _constants(got: Any, what: str) -> dict[str, Tensor]:
    if not issubclass(type(got), dict):
        raise wrong(f"{what}: the program's constants", "a dict", got)
    if len(got) > MOST_NODES:
        raise wrong(f"{what}: the program's constants", f"{MOST_NODES} at most", InWords(f"{len(got)}"))
    fixed = {}
    for name, value in dict.items(got):
        fixed[name] = expect_tensor(value, f"{what}: a constant of the program")
        _check_size([fixed[name]], "a constant", what)
    return fixed


def _are_names(names: Any) -> bool:
    return type(names) is list and all(type(name) is str for name in names)


def _is_node(node: Any) -> bool:
    kinds = [str, str, list, dict]
    return type(node) is list and list(map(type, node)) == kinds


def _computed(node: list[Any], known: dict[str, Any], what: str) -> Any:
    _, operation, positional, named = node
    if _count([positional, *named.values()]) > MOST_ARGUMENTS:
        raise wrong(f"{what}: what {describe(operation)} is given", f"{MOST_ARGUMENTS} parts at most", InWords("more"))
    if operation == "getitem":
        return _part(positional, known, what)
    try:
        values = _filled(positional, known)
        more = {name: _filled(item, known) for name, item in named.items()}
    except (KeyError, TypeError, ValueError, OverflowError):
        raise wrong(f"{what}: what {describe(operation)} reads", "earlier results of the program", positional) from None
    function = _function(operation, values, more, what)
    makes_new = any(argument.name == "device" for argument in function._schema.arguments)  # arange, full
    on_meta = _called(
        function, _on_meta(values), _on_meta(more) | ({"device": "meta"} if makes_new else {}), operation, what
    )
    _check_size(_tensors(on_meta), operation, what)
    if _work(operation, values) > MOST_WORK:
        raise wrong(f"{what}: numbers that {operation} adds up or writes", f"at most {MOST_WORK}", InWords("more"))
    made = _called(function, values, more, operation, what)
    _check_size(_tensors(made), operation, what)
    return made


def _function(operation: str, values: list[Any], more: dict[str, Any], what: str) -> Any:
    if operation not in ALLOWED:
        said = "core ATen on real numbers: none by chance, no uninitialised memory, no convolutions or the like"
        raise wrong(f"{what}: operations of the program", said, operation)
    if unknown := [name for name in more if name not in _ARGUMENTS]:
        raise wrong(f"{what}: what {operation} is given by name", "what changes a value", unknown[0])
    if not isinstance(more.get("dtype"), torch.dtype | None):  # a number can be one that quantizes
        raise wrong(f"{what}: the dtype of {operation}", " or ".join(DTYPES), more["dtype"])
    # In C++, the smallest whole number divided by -1 and cut off ends the process; in older torches its rest does, too.
    if operation.endswith("_mode") and more.get("rounding_mode") not in (None, "floor"):
        raise wrong(f"{what}: how {operation} rounds", "None or 'floor'", more["rounding_mode"])
    if operation.split(".")[1] in ("remainder", "fmod") and any(map(_holds_minus_one, values[1:])):
        raise wrong(f"{what}: what {operation} divides whole numbers by", "not -1", InWords("-1"))
    _, name, overload = _AS_IT_LIES.get(operation, operation).split(".")
    return getattr(getattr(torch.ops.aten, name), overload)


def _holds_minus_one(divisor: Any) -> bool:
    if isinstance(divisor, Tensor):
        return not divisor.is_floating_point() and bool((divisor == -1).any())
    return divisor == -1


def _called(function: Any, values: list[Any], more: dict[str, Any], operation: str, what: str) -> Any:
    try:
        return function(*values, **more)
    except Exception as error:
        words = str(error).strip().partition("\n")[0]
        raise wrong(f"{what}: the program runs", "without an error", InWords(f"{operation}: {words}")) from None


def _check_size(made: Sequence[Tensor], operation: str, what: str) -> None:
    for part in made:
        if part.dim() > MOST_SIDES:
            raise wrong(f"{what}: dimensions of {operation}", f"at most {MOST_SIDES}", part.dim())
        # A side can be large where there are no elements, and, in torch 2.13, less than 0.
        if part.numel() > MOST_ELEMENTS or not all(0 <= side <= MOST_ELEMENTS for side in part.shape):
            raise wrong(f"{what}: elements that {operation} makes", f"at most {MOST_ELEMENTS}", InWords("more"))
        if part.dtype not in DTYPES.values():
            raise wrong(f"{what}: the dtype of {operation}", " or ".join(DTYPES), InWords(str(part.dtype)))


def _work(operation: str, values: list[Any]) -> int:
    name = operation.split(".")[1]
    if name in ("mm", "bmm", "addmm"):
        first, second = values[1:3] if name == "addmm" else values[:2]
        return first.numel() * second.shape[-1]
    if name == "index_put":  # its indices are broadcast: one of [n, 1] and one of [1, n] write n * n numbers
        return values[0].numel() * math.prod(max(1, index.numel()) for index in values[1] if index is not None)
    return 0


def _part(positional: list[Any], known: dict[str, Any], what: str) -> Any:
    # One of several results, as of `split`: of an operation, and never of a list that the program brings along.
    whole, place = positional if len(positional) == 2 else (None, None)
    parts = known.get(whole.get("of")) if type(whole) is dict and type(whole.get("of")) is str else None
    if type(parts) not in (list, tuple) or type(place) is not int or not 0 <= place < len(parts):
        raise wrong(f"{what}: a part that the program takes", "one of several results", positional)
    return parts[place]


def _count(value: Any) -> int:
    parts = value.values() if type(value) is dict else value if type(value) is list else ()
    return 1 + sum(map(_count, parts))


def _filled(value: Any, known: dict[str, Any]) -> Any:
    if type(value) is dict and list(value) == ["of"]:
        if not isinstance(known[value["of"]], Tensor):
            raise TypeError("several results, of which getitem takes one")
        return known[value["of"]]
    if type(value) is dict and list(value) == ["dtype"]:
        return DTYPES[value["dtype"]]
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
