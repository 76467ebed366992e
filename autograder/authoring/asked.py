"""What a test cell asks of a learner's answer before it has been brought to a value.

An object can say of itself that it is int8, sums to 1 and equals anything. So a test hands what a learner gave to
`expect_parts`, `expect_tensor`, `expect_number`, `token_ids` or `whole_numbers`, and computes with what those return.
Nor does a test keep answers in a set or as keys of a dict, where they can be made to take the square of their number.
This module follows a learner's answers through a cell's text, by the tree: names, containers, the cell's own functions
and those that it lends to a learner, who calls them with what they like.
"""

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

PLAIN, GIVEN, HOLDS, OBJECT, FUNCTION, CLASS = "plain", "given", "holds", "object", "function", "class"
# PLAIN: the test's own. GIVEN: an answer. HOLDS: the test's own container of answers. OBJECT: of a learner's class.

_TENSORS = frozenset(name for name in dir(torch.Tensor) if not name.startswith("_"))
_ESTABLISH = ("expect_tensor", "expect_number", "token_ids", "whole_numbers")
_CONVERT = ("str", "bool", "len", "repr", "type")  # give a value of the language's own
_CUT = ("int", "float")  # do so too, but of 0.7 they make 0, and of a text a number
_TABLES = ("set", "frozenset", "dict", "Counter")
_COMPUTE = ("sum", "max", "min", "abs", "round", "all", "any", "divmod", "pow")
_GROW = ("append", "extend", "insert", "add")


@dataclass(frozen=True)
class _Code:
    """A function or lambda of the cell's own, with the names around it."""

    node: ast.FunctionDef | ast.Lambda
    around: dict[str, Any]


def asked(source: str, functions: Iterable[str], classes: Iterable[str]) -> list[str]:
    """Findings in a test cell, each with its line: what is asked of a learner's answer, and `zip` that may drop parts.

    Args:
        functions, classes: names that the exercises define.
    """
    reader = _Reader()
    tree = ast.parse(source)
    names = dict.fromkeys(functions, FUNCTION) | dict.fromkeys(classes, CLASS)
    for _ in range(2):  # what a class of the cell's own keeps may be set behind where it is read
        reader.run(tree.body, dict(names))
    return [f"line {line}: {what}" for line, what in sorted(reader.found)]


class _Reader:
    def __init__(self) -> None:
        self.found: set[tuple[int, str]] = set()
        self._kept: dict[str, Any] = {}  # attribute of an object of the cell's own -> what it was set to
        self._calls: list[tuple[ast.AST, tuple]] = []  # on the way

    # --- statements -------------------------------------------------------------------------------------------------

    def run(self, body: list[ast.stmt], names: dict[str, Any]) -> Any:
        """What the body returns."""
        returned = PLAIN
        for node in body:
            returned = _join(returned, self._statement(node, names))
        return returned

    def _statement(self, node: ast.stmt, names: dict[str, Any]) -> Any:
        if isinstance(node, ast.FunctionDef):
            names[node.name] = _Code(node, names)
            self._enter(names[node.name], [], node)  # also if nobody calls it here
        elif isinstance(node, ast.ClassDef):
            self.run(node.body, dict(names))
        elif isinstance(node, ast.Return):
            return self._value(node.value, names) if node.value else PLAIN
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                self._bind(target, node.value, self._value(node.value, names), names)
        elif isinstance(node, ast.AugAssign):
            self._asks(node, "computed with", self._value(node.target, names), self._value(node.value, names))
        elif isinstance(node, ast.For):
            for _ in range(2):
                self._bind(node.target, node.iter, self._items(node.iter, names), names, unpacked=False)
                self.run(node.body + node.orelse, names)
        elif isinstance(node, ast.If | ast.While):
            self._asks(node.test, "asked for its truth", self._value(node.test, names))
            return _join(self.run(node.body, names), self.run(node.orelse, names))
        elif isinstance(node, ast.With):
            return self.run(node.body, names)
        else:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    self._value(child, names)
        return PLAIN

    def _bind(self, target: ast.expr, value: ast.expr, kind: Any, names: dict[str, Any], unpacked: bool = True) -> None:
        if isinstance(target, ast.Name):
            names[target.id] = kind
        elif isinstance(target, ast.Attribute):
            self._kept[target.attr] = _join(self._kept.get(target.attr, PLAIN), kind)
        elif isinstance(target, ast.Starred):
            self._bind(target.value, value, HOLDS if kind in (GIVEN, HOLDS) else kind, names, unpacked)
        elif isinstance(target, ast.Tuple | ast.List):
            if kind == GIVEN and unpacked:
                self._find(value, "a learner's answer is unpacked: expect_parts says what is missing")
            kinds = kind if type(kind) is tuple else (_item(kind),) * len(target.elts)
            same = len(kinds) == len(target.elts)
            for place, inner in enumerate(target.elts):
                self._bind(inner, value, kinds[place] if same else _join(*map(_item, kinds)), names)

    # --- values -----------------------------------------------------------------------------------------------------

    def _value(self, node: ast.expr, names: dict[str, Any]) -> Any:
        handler = getattr(self, f"_{type(node).__name__.lower()}", None)
        if handler is not None:
            return handler(node, names)
        kinds = [self._value(child, names) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        if isinstance(node, ast.BinOp | ast.UnaryOp):
            self._asks(node, "computed with", *kinds)
        elif isinstance(node, ast.BoolOp):
            self._asks(node, "asked for its truth", *kinds[:-1])
        elif isinstance(node, ast.Compare):
            if not all(isinstance(operator, ast.Is | ast.IsNot) for operator in node.ops):
                self._asks(node, "compared", *kinds)
            return PLAIN
        elif isinstance(node, ast.List | ast.Set | ast.Dict):
            keys = {ast.List: 0, ast.Set: len(kinds), ast.Dict: len(kinds) - len(getattr(node, "values", ()))}
            self._asks(node, "put into a table", *kinds[: keys[type(node)]])
            return HOLDS if any(kind in (GIVEN, HOLDS) for kind in kinds) else PLAIN
        elif isinstance(node, ast.JoinedStr | ast.FormattedValue):
            return PLAIN
        return _join(*kinds)

    def _name(self, node: ast.Name, names: dict[str, Any]) -> Any:
        return names.get(node.id, PLAIN)

    def _tuple(self, node: ast.Tuple, names: dict[str, Any]) -> Any:
        return tuple(self._value(item, names) for item in node.elts)

    def _starred(self, node: ast.Starred, names: dict[str, Any]) -> Any:
        return HOLDS if _holds(self._value(node.value, names)) else PLAIN

    def _lambda(self, node: ast.Lambda, names: dict[str, Any]) -> Any:
        code = _Code(node, names)
        self._enter(code, [], node)
        return code

    def _subscript(self, node: ast.Subscript, names: dict[str, Any]) -> Any:
        self._value(node.slice, names)
        kind = self._value(node.value, names)
        return _join(*map(_item, kind)) if type(kind) is tuple else _item(kind)

    def _attribute(self, node: ast.Attribute, names: dict[str, Any]) -> Any:
        base = self._value(node.value, names)
        if base == GIVEN and node.attr in _TENSORS:
            self._find(node, f"`.{node.attr}` of a learner's answer: only of what expect_tensor returns")
        if base in (GIVEN, OBJECT):
            return GIVEN
        return self._kept.get(node.attr, PLAIN)

    def _namedexpr(self, node: ast.NamedExpr, names: dict[str, Any]) -> Any:
        names[node.target.id] = self._value(node.value, names)
        return names[node.target.id]

    def _listcomp(self, node: ast.ListComp, names: dict[str, Any]) -> Any:
        inner = dict(names)
        for loop in node.generators:
            self._bind(loop.target, loop.iter, self._items(loop.iter, inner), inner, unpacked=False)
            for test in loop.ifs:
                self._asks(test, "asked for its truth", self._value(test, inner))
        if isinstance(node, ast.SetComp | ast.DictComp):
            key = node.key if isinstance(node, ast.DictComp) else node.elt
            self._asks(node, "put into a table", self._value(key, inner))
        part = node.value if isinstance(node, ast.DictComp) else node.elt
        return HOLDS if _holds(self._value(part, inner)) else PLAIN

    _setcomp = _generatorexp = _dictcomp = _listcomp

    def _items(self, node: ast.expr, names: dict[str, Any]) -> Any:
        """What going through it gives, one kind, or one for each place of a tuple."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("zip", "enumerate"):
            self._value(node, names)
            kinds = tuple(_item(self._value(argument, names)) for argument in node.args)
            return (PLAIN, *kinds) if node.func.id == "enumerate" else kinds
        kind = self._value(node, names)
        return _join(*kind) if type(kind) is tuple else _item(kind)

    # --- calls ------------------------------------------------------------------------------------------------------

    def _call(self, node: ast.Call, names: dict[str, Any]) -> Any:
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        kinds = [self._value(argument, names) for argument in arguments]
        called = self._value(node.func, names)
        if called in (FUNCTION, OBJECT, CLASS, GIVEN):
            for lent in (kind for kind in kinds if isinstance(kind, _Code)):
                self._enter(lent, [GIVEN] * _width(lent.node), node)
            return OBJECT if called == CLASS else GIVEN
        if isinstance(called, _Code):
            return self._enter(called, kinds, node)
        if isinstance(node.func, ast.Name):
            return self._builtin(node, node.func.id, kinds)
        if isinstance(node.func, ast.Attribute):
            self._method(node, node.func, kinds, names)
        return PLAIN

    def _builtin(self, node: ast.Call, name: str, kinds: list[Any]) -> Any:
        if name == "expect_parts":
            return HOLDS if kinds and _holds(kinds[0]) else PLAIN
        if name in ("measured", "allocated"):
            return (GIVEN, PLAIN)  # what the function gave, and the test's own account of its work
        if name in ("expect_close", "expect_equal") and GIVEN in kinds[1:2]:
            self._find(node, "a learner's answer is what another one is compared with: expect_tensor or expect_number")
        if name == "zip":
            self._zip(node, kinds)
        elif name == "isinstance":
            self._asks(node, "asked for its class", *kinds)
        elif name in _COMPUTE:
            self._asks(node, "computed with", *(GIVEN for kind in kinds if _holds(kind)))
        elif name in _CUT:
            self._asks(node, f"given to {name}()", *kinds)
        elif name in _TABLES:
            self._asks(node, "put into a table", *(GIVEN for kind in kinds[: len(node.args)] if _holds(kind)))
        elif name not in (*_CONVERT, *_ESTABLISH) and not name.startswith("expect_") and GIVEN in kinds:
            return GIVEN  # list(…), reversed(…), as_tensor(…): as long, and as honest, as before
        elif name in ("list", "tuple", "sorted") and HOLDS in kinds:
            return HOLDS
        return PLAIN

    def _zip(self, node: ast.Call, kinds: list[Any]) -> None:
        strict = any(
            keyword.arg == "strict" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
            for keyword in node.keywords
        )
        if not strict:
            self._find(node, "`zip` wants strict=True: without it, an answer of no parts passes all that is asked")
        if GIVEN in kinds:
            self._find(node, "a learner's answer in `zip`: expect_parts says what is missing")

    def _method(self, node: ast.Call, function: ast.Attribute, kinds: list[Any], names: dict[str, Any]) -> None:
        if isinstance(function.value, ast.Name) and function.value.id == "torch":
            self._asks(node, f"given to torch.{function.attr}", *(GIVEN for kind in kinds if _holds(kind)))
        elif function.attr in _GROW and isinstance(function.value, ast.Name) and any(map(_holds, kinds)):
            names[function.value.id] = HOLDS

    def _enter(self, code: _Code, kinds: list[Any], node: ast.AST) -> Any:
        key = (code.node, tuple(map(str, kinds)))
        if key in self._calls:
            return PLAIN
        self._calls.append(key)
        spec = code.node.args
        names = dict(code.around)
        parameters = [parameter.arg for parameter in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)]
        names |= dict.fromkeys(parameters, PLAIN)
        names |= dict(zip(parameters, kinds, strict=False))
        if isinstance(node, ast.Call):
            named = zip(node.keywords, kinds[len(node.args) :], strict=False)
            names |= {keyword.arg: kind for keyword, kind in named if keyword.arg in parameters}
        body = code.node.body
        returned = self.run(body, names) if isinstance(body, list) else self._value(body, names)
        self._calls.pop()
        return returned

    # --- findings ---------------------------------------------------------------------------------------------------

    def _asks(self, node: ast.AST, what: str, *kinds: Any) -> None:
        if GIVEN in kinds:
            self._find(node, f"a learner's answer is {what}: only what expect_tensor or expect_number returns may be")

    def _find(self, node: ast.AST, what: str) -> None:
        self.found.add((node.lineno, what))


def _holds(kind: Any) -> bool:
    return kind in (GIVEN, HOLDS) or (type(kind) is tuple and any(map(_holds, kind)))


def _item(kind: Any) -> Any:
    return GIVEN if _holds(kind) else PLAIN


def _join(*kinds: Any) -> Any:
    for kind in (GIVEN, OBJECT, HOLDS):
        if kind in kinds:
            return kind
    return next((kind for kind in kinds if kind != PLAIN), PLAIN)


def _width(node: ast.FunctionDef | ast.Lambda) -> int:
    return len(node.args.posonlyargs) + len(node.args.args)
