"""Mutants of an answer: its source with one small mistake each, as a tired hand would make it.

After DeMillo, Lipton and Sayward 1978 ("Hints on test data selection"): tests that tell a right program from all that
are nearly right are good ones. The operators are those of tools for whole programs (mutmut, cosmic-ray), and some for
tensors: axes, dtypes, copies, slices.
"""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Place = tuple[int, ...]  # of a node: which child of which child

_COMPARISONS = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt,),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt,),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult, ast.FloorDiv),
    ast.FloorDiv: (ast.Div, ast.Mod),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,),
}
_RELATIVES = {
    one: other
    for pair in (
        *(("min", "max"), ("amin", "amax"), ("argmin", "argmax"), ("floor", "ceil"), ("any", "all"), ("sum", "mean")),
        *(("zeros", "ones"), ("tril", "triu"), ("round", "floor"), ("append", "extend"), ("cumsum", "sum")),
        *(("repeat_interleave", "repeat"), ("vstack", "hstack"), ("exp", "exp2"), ("log", "log2"), ("float", "int")),
        *(("zeros_like", "ones_like"), ("index_copy_", "index_add_"), ("bmm", "matmul")),
    )
    for one, other in (pair, pair[::-1])
}
_COPIES = {"clone", "copy", "contiguous", "detach", "float", "double", "half", "to", "long", "int", "view_as", "cpu"}
_SYMMETRIC = {"min", "max", "minimum", "maximum", "gcd", "lcm", "transpose"}
_UNSEEN = {"device", "strict"}  # tests run where there is one device; no zip of a right answer is uneven
LARGE = 1000  # one more or less is no mistake that anybody makes
_DTYPES = {"float32": "float16", "float64": "float32", "int64": "int32", "int8": "int32", "uint8": "int16"}
_DTYPES |= {"bfloat16": "float32", "int32": "int16", "float16": "float32", "bool": "int64"}


@dataclass(frozen=True)
class Mutant:
    """An answer with a mistake.

    Attributes:
        source: the whole of it.
        was, becomes: the statement that has the mistake, on one line.
    """

    source: str
    was: str
    becomes: str


def mutants(source: str) -> list[Mutant]:
    """All mutants of an answer, each once. Docstrings, annotations and an error's words stay as they are."""
    tree = ast.parse(source)
    whole, found = ast.unparse(tree), {}
    for place, node in _walk(tree):
        for change in _changes(node):
            mutated = copy.deepcopy(tree)
            try:
                change(_at(mutated, place), _Parent(mutated, place))
                text = ast.unparse(ast.fix_missing_locations(mutated))
                compile(text, "mutant", "exec")
            except (SyntaxError, ValueError):
                continue
            if text not in (whole, *found):
                found[text] = Mutant(text, *_statements(tree, mutated, place))
    return list(found.values())


class _Parent:
    """Puts something else where a node is."""

    def __init__(self, tree: ast.AST, place: Place):
        self._above, self._index = _at(tree, place[:-1]), place[-1] if place else 0

    def put(self, other: ast.AST) -> None:
        count = 0
        for name, value in ast.iter_fields(self._above):
            for index, item in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(item, ast.AST):
                    if count == self._index:
                        if isinstance(value, list):
                            value[index] = other
                        else:
                            setattr(self._above, name, other)
                        return
                    count += 1


Change = Callable[[ast.AST, _Parent], None]


def _walk(node: ast.AST, place: Place = ()) -> Iterator[tuple[Place, ast.AST]]:
    yield place, node
    passed = set()
    if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
        passed.add(node.body[0])
    if isinstance(node, ast.FunctionDef):
        passed |= {node.returns, *node.decorator_list}
    if isinstance(node, ast.arg | ast.AnnAssign):
        passed.add(node.annotation)
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        passed |= {*node.exc.args, node.exc}
    if isinstance(node, ast.Assert):
        passed.add(node.msg)
    if isinstance(node, ast.Call):
        passed |= {keyword for keyword in node.keywords if keyword.arg in _UNSEEN}
    for index, child in enumerate(ast.iter_child_nodes(node)):
        if child not in passed and not isinstance(child, ast.Import | ast.ImportFrom | ast.JoinedStr):
            yield from _walk(child, (*place, index))


def _at(tree: ast.AST, place: Place) -> ast.AST:
    for index in place:
        tree = list(ast.iter_child_nodes(tree))[index]
    return tree


def _statements(tree: ast.AST, mutated: ast.AST, place: Place) -> tuple[str, str]:
    # The innermost statement around a place, before and after, shortened to its first line where it is a block.
    for length in range(len(place), -1, -1):
        before = _at(tree, place[:length])
        if isinstance(before, ast.stmt):
            after = _at(mutated, place[:length])
            return _first_line(before), _first_line(after)
    return "", ""


def _first_line(statement: ast.AST) -> str:
    return ast.unparse(statement).partition("\n")[0]


# --- operators ----------------------------------------------------------------------------------------------------


def _changes(node: ast.AST) -> Iterator[Change]:
    for operator in (_compare, _compute, _decide, _count, _call, _drop, _slice, _dtype):
        yield from operator(node)


def _compare(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            for other in _COMPARISONS.get(type(operator), ()):
                yield lambda there, _, index=index, other=other: there.ops.__setitem__(index, other())


def _compute(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.BinOp | ast.AugAssign):
        for other in _ARITHMETIC.get(type(node.op), ()):
            yield lambda there, _, other=other: setattr(there, "op", other())
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub | ast.Div | ast.MatMult):
        yield lambda there, _: _swap_sides(there)


def _swap_sides(node: ast.AST) -> None:
    node.left, node.right = node.right, node.left


def _decide(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.BoolOp):
        other = ast.And if isinstance(node.op, ast.Or) else ast.Or
        yield lambda there, _: setattr(there, "op", other())
        for index in range(len(node.values)):
            yield lambda there, parent, index=index: parent.put(_without(there, index))
    if isinstance(node, ast.If | ast.IfExp):
        for value in (True, False):
            yield lambda there, _, value=value: setattr(there, "test", ast.Constant(value))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield lambda there, parent: parent.put(there.operand)


def _without(node: ast.AST, index: int) -> ast.AST:
    rest = [value for place, value in enumerate(node.values) if place != index]
    return rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)


def _count(node: ast.AST) -> Iterator[Change]:
    if not isinstance(node, ast.Constant):
        return
    if type(node.value) is bool:
        others = [not node.value]
    elif type(node.value) is int and abs(node.value) < LARGE:
        others = [node.value + 1, node.value - 1]
    elif type(node.value) in (int, float):
        others = [node.value * 2, node.value / 2] if node.value else [1.0]
    else:
        others = []
    for value in others:
        yield lambda _, parent, value=value: parent.put(ast.Constant(value))


def _call(node: ast.AST) -> Iterator[Change]:
    if not isinstance(node, ast.Call):
        return
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    for index in range(len(node.args) - 1):
        if name not in _SYMMETRIC:
            yield lambda there, _, index=index: _swap(there.args, index)
    for index, keyword in enumerate(node.keywords):
        if keyword.arg not in _UNSEEN:
            yield lambda there, _, index=index: there.keywords.pop(index)
    if len(node.args) > 1 and not isinstance(node.args[-1], ast.Starred):
        yield lambda there, _: there.args.pop()  # a default takes its place, if there is one
    if name in _RELATIVES:
        field = "attr" if isinstance(node.func, ast.Attribute) else "id"
        yield lambda there, _: setattr(there.func, field, _RELATIVES[name])
    if isinstance(node.func, ast.Attribute) and name in _COPIES and not _to_a_device(node):
        yield lambda there, parent: parent.put(there.func.value)
    if name == "range":
        yield lambda there, _: there.args.__setitem__(-1, _more(there.args[-1], 1))
        yield lambda there, _: there.args.__setitem__(-1, _more(there.args[-1], -1))
        if len(node.args) == 1:
            yield lambda there, _: there.args.insert(0, ast.Constant(1))


def _to_a_device(call: ast.Call) -> bool:
    return [getattr(value, "attr", "") for value in call.args] == ["device"]


def _swap(items: list, index: int) -> None:
    items[index], items[index + 1] = items[index + 1], items[index]


def _more(node: ast.AST, by: int) -> ast.AST:
    return ast.BinOp(node, ast.Add() if by > 0 else ast.Sub(), ast.Constant(abs(by)))


def _drop(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Expr | ast.AugAssign | ast.Raise | ast.Assert | ast.Break | ast.Continue | ast.Delete):
        yield lambda _, parent: parent.put(ast.Pass())
    if isinstance(node, ast.Break):
        yield lambda _, parent: parent.put(ast.Continue())
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript | ast.Attribute):
        yield lambda _, parent: parent.put(ast.Pass())


def _slice(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Slice):
        for name in ("lower", "upper"):
            bound = getattr(node, name)
            if bound and (name == "upper" or ast.unparse(bound) != "0"):  # from 0 on is from the start
                if not isinstance(bound, ast.Constant):
                    for by in (1, -1):
                        yield lambda there, _, name=name, by=by: setattr(there, name, _more(getattr(there, name), by))
                yield lambda there, _, name=name: setattr(there, name, None)


def _dtype(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Attribute) and node.attr in _DTYPES and getattr(node.value, "id", "") in ("torch", "np"):
        yield lambda there, _: setattr(there, "attr", _DTYPES[there.attr])
