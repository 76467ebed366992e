"""A model of a few blocks that a test of unit 07 owns: it notes which block runs on what, and what rounding is told.

Its layers take hooks as PyTorch's do. Blocks compute in float64, so it doesn't show how a batch was cut.
"""

from collections.abc import Callable, Container
from itertools import count
from typing import Any

import torch
from torch import Tensor

from fridge.testing.expect import InWords, wrong
from fridge.workbench import arguments

HIDDEN, HEADS, INNER = 6, 4, 7  # what a block is given; what `out` and `down` are
MOST_SEQUENCES = 500  # that a block reads in all: a right answer needs a tenth
MOST_TOKENS = 4096  # of one run, and of one layer's inputs
MOST_CALLS = 200  # of quantize
CLOSE = 1e-4  # inputs that differ by less are the same

Apply = Callable[[str, Tensor], Tensor]


class Singular(ValueError):
    """`quantize` can't round a layer. It is an answer, which must reach who called, and no mistake."""

    is_an_answer = True


class Handle:
    """What removes a hook: the one method of PyTorch's RemovableHandle."""

    learner_may = ("remove",)

    def __init__(self, hooks: dict[int, Any], number: int):
        self._hooks, self._number = hooks, number

    def remove(self) -> None:
        """The layer doesn't call the hook any more. Once more does no harm."""
        self._hooks.pop(self._number, None)


class RecordingLayer:
    """Stands for an `nn.Linear` whose inputs are to be recorded.

    Attributes:
        hooks: how many it has.
        learner_may: what a learner's code may use of it when the test runs in another process.
    """

    learner_may = ("register_forward_pre_hook", "in_features", "out_features")

    def __init__(self, name: str, weight: Tensor):
        self.name = name
        self.weight = weight  # [out, in], float64
        self.out_features, self.in_features = weight.shape
        self._hooks: dict[int, Any] = {}
        self._numbers = count()

    @property
    def hooks(self) -> int:
        """Hooks that are on it."""
        return len(self._hooks)

    def register_forward_pre_hook(self, hook: Any) -> Handle:
        """Before each run, hook(layer, args); args a tuple of one tensor. What it returns takes the tensor's place."""
        if not callable(hook):
            raise wrong(f"the hook for {self.name}", "a function of (layer, args)", InWords(arguments.said(hook)))
        number = next(self._numbers)
        self._hooks[number] = hook
        return Handle(self._hooks, number)

    def run(self, x: Tensor) -> Tensor:
        """[batch, tokens, in] -> [batch, tokens, out]: the hooks, then the product."""
        for hook in list(self._hooks.values()):
            x = self._instead(hook(self, (x.float(),)), x)
        return x @ self.weight.T

    def _instead(self, returned: Any, x: Tensor) -> Tensor:
        if returned is None:
            return x
        if type(returned) is tuple and len(returned) == 1:
            returned = returned[0]
        own = arguments.tensor(returned)
        if own is None or own.shape != x.shape or not torch.allclose(own.double(), x, rtol=0, atol=CLOSE):
            got = InWords(arguments.said(returned))
            cause = "what a hook returns takes the input's place"
            raise wrong(f"what the hook of {self.name} returns", "None", got, cause)
        return x


class RecordingBlock:
    """Stands for a decoder layer in a test: a mixing part, in which a token sees those before it, and a gated part.

    Attributes:
        layers: name -> layer.
        sequences: how many it has read, in all runs together.
        learner_may: what a learner's code may use of it when the test runs in another process.
    """

    learner_may = ("__call__", "layers")

    def __init__(self, number: int, weights: dict[str, Tensor], listed_as: str = "{}"):
        self.number = number
        self._layers = {name: RecordingLayer(f"block {number}, {name}", weight) for name, weight in weights.items()}
        self.layers = {listed_as.format(name): layer for name, layer in self._layers.items()}
        self.sequences = 0

    def __call__(self, x: Tensor) -> Tensor:
        """[batch, tokens, hidden] -> the same shape. Raises Wrong for anything else, and for too much of it."""
        own = arguments.tensor(x)
        if own is None or own.dim() != 3 or own.shape[-1] != HIDDEN or not _is_of_numbers(own):
            expected = f"a tensor [batch, tokens, {HIDDEN}] of x's shape"
            raise wrong(f"what block {self.number} is given", expected, InWords(arguments.said(x)))
        self.sequences += len(own)
        if self.sequences > MOST_SEQUENCES:
            cause = "a block runs over x twice: once to record, once rounded"
            raise wrong(f"sequences that block {self.number} reads", "a few", InWords(f"{self.sequences}"), cause)
        return _computed(own.double(), lambda name, inputs: self._layers[name].run(inputs), self._layers).float()


class Rounding:
    """Stands for `quantize`: it notes with what it is called, and rounds to multiples of a half.

    Args:
        fails_at: number of the call that raises; from 0.

    Attributes:
        calls: (layer's name, inputs as [rows, columns]) in order, of those that didn't raise.
        failures: calls that raised, as they were to.
        learner_may: what a learner's code may use of it when the test runs in another process.
    """

    learner_may = ("__call__",)

    def __init__(self, fails_at: int | None = None):
        self.calls: list[tuple[str, Tensor]] = []
        self.failures = 0
        self._fails_at = fails_at

    def __call__(self, layer: RecordingLayer, inputs: Tensor) -> None:
        """Round a layer's weight in place. Raises Wrong for what is no layer, or no inputs of one."""
        if type(layer) is not RecordingLayer:
            raise wrong("the layer given to quantize", "one of block.layers' values", InWords(arguments.said(layer)))
        own = arguments.tensor(inputs)
        if own is None or own.dim() < 2 or own.shape[-1] != layer.in_features or not _is_of_numbers(own):
            expected = f"one tensor [.., {layer.in_features}]"
            raise wrong(f"the inputs given to quantize for {layer.name}", expected, InWords(arguments.said(inputs)))
        if len(self.calls) == MOST_CALLS:
            raise wrong(
                "calls of quantize, each with a layer and inputs", "one for each layer", InWords(f"{MOST_CALLS}")
            )
        if len(self.calls) == self._fails_at:
            self.failures += 1
            raise Singular(f"{layer.name} can't be rounded")
        self.calls.append((layer.name, own.flatten(0, -2).clone()))
        layer.weight = rounded(layer.weight)


class RecordingModel:
    """Blocks, what the first is given, and how layers are rounded: the arguments of `quantize_model`.

    Args:
        blocks: how many.
        shape: (batch, tokens) of x.
        only: names of the layers that each block has, where it lacks some: ("up", "down") for one without mixing.
        is_backward: each block lists its layers from the last to the first.
        listed_as: the names under which the blocks list them, "{}" in it for "mix", "out", "up" and "down".
        fails_at: number of the call of `quantize` that raises.

    Attributes:
        blocks, x, quantize: the arguments.
        names: of all layers, sorted.
    """

    def __init__(
        self,
        blocks: int,
        shape: tuple[int, int] = (3, 5),
        seed: int = 0,
        only: dict[int, tuple[str, ...]] | None = None,
        is_backward: bool = False,
        listed_as: str = "{}",
        fails_at: int | None = None,
    ):
        generator = torch.Generator().manual_seed(seed)
        self._weights = []
        for number in range(blocks):
            names = (only or {}).get(number, tuple(_SHAPES))
            weights = {name: _drawn(_SHAPES[name], generator) for name in _SHAPES}
            listed = names[::-1] if is_backward else names
            self._weights.append({name: weights[name] for name in listed})
        self.x = _drawn((*shape, HIDDEN), generator).float() * HIDDEN**0.5
        self.x[:, 0] *= 4  # the first token is loud, as in a language model
        self.blocks = [RecordingBlock(number, weights, listed_as) for number, weights in enumerate(self._weights)]
        self.quantize = Rounding(fails_at)

    @property
    def layers(self) -> list[RecordingLayer]:
        """All of them."""
        return [layer for block in self.blocks for layer in block.layers.values()]

    @property
    def names(self) -> list[str]:
        """Of all layers."""
        return sorted(layer.name for layer in self.layers)

    @property
    def hooks(self) -> int:
        """Hooks that are on its layers."""
        return sum(layer.hooks for layer in self.layers)

    def right(self, name: str) -> Tensor:
        """[rows, columns], what a layer is given when the blocks before its own are rounded, and its own isn't."""
        return self._inputs(name)

    def cause(self, name: str, inputs: Tensor) -> str:
        """Whose inputs these are, if not the layer's right ones; empty where that can't be told."""
        right = self.right(name)
        if inputs.shape == right.shape and _same(inputs, right):
            return ""
        if inputs.shape != right.shape:
            return self._cause_of_shape(inputs, right)
        block, layer = name.removeprefix("block ").split(", ")
        others = sorted(other for other in self._weights[int(block)] if other != layer)
        candidates = {
            "these are zeros: no hook has fired": torch.zeros_like(right),
            "these are the inputs in the model before anything was rounded: run a block again once its layers are "
            "rounded, and give the next block what comes out": self._inputs(name, before=False),
            "record all layers of a block in one pass, before any of them is rounded": self._inputs(name, own=True),
            "this block ran on x itself, not on what the block before it gives": self._inputs(name, first=int(block)),
            "a token sees those of other sequences: give the block x as it is": self._inputs(name, is_flat=True),
        }
        candidates |= {
            f"these are the inputs of {other}: each layer has its own, in the hook, too": self.right(
                f"block {block}, {other}"
            )
            for other in others
        }
        return next((cause for cause, value in candidates.items() if _same(inputs, value)), "")

    def _cause_of_shape(self, inputs: Tensor, right: Tensor) -> str:
        batch, tokens, _ = self.x.shape
        columns = right.shape[-1]
        for dim, cause in ((0, "all sequences count"), (1, "every token counts, the first of each sequence, too")):
            sides = [batch, tokens]
            for kept in range(1, sides[dim]):
                sides[dim] = kept
                if inputs.shape == (sides[0] * sides[1], columns):
                    return cause
        return "the inputs of one run over x, each token once"

    def _inputs(
        self, name: str, before: bool = True, own: bool = False, first: int = 0, is_flat: bool = False
    ) -> Tensor:
        # With the blocks before rounded or not, and in the layer's own block all other layers rounded or not; from a
        # block other than the first one on; with all sequences one behind the other.
        number = int(name.removeprefix("block ").split(",")[0])
        h, seen = self.x.double(), {}
        if is_flat:
            h = h.reshape(1, -1, HIDDEN)
        for index, weights in enumerate(self._weights[first : number + 1], start=first):
            is_rounded = own if index == number else before

            def apply(layer: str, inputs: Tensor, weights=weights, is_rounded=is_rounded) -> Tensor:
                seen[layer] = inputs
                return inputs @ (rounded(weights[layer]) if is_rounded else weights[layer]).T

            h = _computed(h, apply, weights).float().double()
        return seen[name.split(", ")[1]].flatten(0, -2).float()


_SHAPES = {"mix": (HEADS, HIDDEN), "out": (HIDDEN, HEADS), "up": (INNER, HIDDEN), "down": (HIDDEN, INNER)}


def rounded(weight: Tensor) -> Tensor:
    """To multiples of a half."""
    return (2 * weight).round() / 2


def _computed(x: Tensor, apply: Apply, names: Container[str]) -> Tensor:
    if "mix" in names:
        heard = apply("mix", x).tanh().cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None]
        x = x + apply("out", heard)
    if "up" in names:
        x = x + apply("down", apply("up", x).relu())
    return x


def _is_of_numbers(value: Tensor) -> bool:
    return value.is_floating_point() and 0 < value.numel() <= MOST_TOKENS * value.shape[-1]


def _drawn(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64) * shape[-1] ** -0.5


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one.double(), other.double(), rtol=0, atol=CLOSE)
