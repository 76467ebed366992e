"""A decoder layer as a list of operations, and what runs such a list kernel by kernel.

An operation is a dict: "name" of its result, "kind", what it reads ("of", names of inputs and of earlier results), and
what it does ("do", a name of `DO`). Kinds: "pointwise" and "row" work row by row; each value of an "across" needs all
rows; a "product" is a library's own kernel. After the lists that torch.fx and Inductor work on.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fridge.fusion.merged import weights_of
from fridge.models.llama import Layer, Llama, LlamaConfig, attend_causally, rope_table, rotate

Op = dict[str, Any]
Kernel = dict[str, list[str]]

POINTWISE, ROW, ACROSS, PRODUCT = "pointwise", "row", "across", "product"
SMOLLM2 = LlamaConfig(  # SmolLM2-135M's shapes, for counting without the model
    vocab_size=49_152, hidden_size=576, intermediate_size=1536, layers=30, heads=9, kv_heads=3, head_dim=64
)

DO: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "square": torch.square,
    "negate": torch.neg,
    "silu": F.silu,
    "rsqrt": lambda x: torch.rsqrt(x + 1e-5),
    "mean": lambda x: x.mean(-1, keepdim=True),
    "largest": lambda x: x.amax(-1, keepdim=True),
    "largest of all rows": lambda x: x.abs().amax(0, keepdim=True),
    "product": lambda x, w: x @ w,
}


def op(name: str, kind: str, do: str, *of: str) -> Op:
    """An operation."""
    return {"name": name, "kind": kind, "do": do, "of": list(of)}


def listed(text: str) -> list[Op]:
    """Operations from "s = silu, a; y = multiply, s, g": name, what it does, what it reads; that says the kind, too."""
    kinds = {"mean": ROW, "largest": ROW, "largest of all rows": ACROSS, "product": PRODUCT}
    ops = []
    for line in filter(None, text.split(";")):
        name, does = (part.strip() for part in line.split("="))
        do, *of = (part.strip() for part in does.split(","))
        ops.append(op(name, kinds.get(do, POINTWISE), do, *of))
    return ops


def layer_ops(index: int, x: str) -> tuple[list[Op], str]:
    """A Llama's layer, every operation by itself: the list, and the name of its output.

    Args:
        index: of the layer; names end in it.
        x: name of what goes in.

    The two norms are five operations each, as their formula has them. Weights are inputs, named as `layer_inputs` does.
    """
    end = f".{index}"
    ops: list[Op] = []

    def put(name: str, kind: str, do: str, *of: str) -> str:
        ops.append(op(name + end, kind, do, *of))
        return name + end

    def norm(which: str, of: str) -> str:
        square = put(f"{which} square", POINTWISE, "square", of)
        mean = put(f"{which} mean", ROW, "mean", square)
        root = put(f"{which} root", POINTWISE, "rsqrt", mean)
        scaled = put(f"{which} scaled", POINTWISE, "multiply", of, root)
        return put(which, POINTWISE, "multiply", scaled, f"{which} weight{end}")

    normed = norm("norm", x)
    q, k, v = (put(part, PRODUCT, "product", normed, f"{part} weight{end}") for part in "qkv")
    turned = [put(f"{name} turned", POINTWISE, "rotate", part, "cos", "sin") for name, part in (("q", q), ("k", k))]
    mixed = put("attention", PRODUCT, "attention", *turned, v)
    out = put("out", PRODUCT, "product", mixed, f"out weight{end}")
    middle = put("middle", POINTWISE, "add", x, out)
    normed = norm("norm 2", middle)
    gate, up = (put(part, PRODUCT, "product", normed, f"{part} weight{end}") for part in ("gate", "up"))
    opened = put("silu", POINTWISE, "silu", gate)
    gated = put("gated", POINTWISE, "multiply", opened, up)
    down = put("down", PRODUCT, "product", gated, f"down weight{end}")
    return ops, put("x", POINTWISE, "add", middle, down)


def model_ops(layers: int) -> tuple[list[Op], str]:
    """All layers of a Llama, one after the other: the list, and the name of the last one's output; the input is "x"."""
    ops, x = [], "x"
    for index in range(layers):
        own, x = layer_ops(index, x)
        ops += own
    return ops, x


def layer_groups(index: int) -> list[list[str]]:
    """The operations of `layer_ops` in kernels as one would put them by hand: what works by rows, up to a product."""
    norm = ("square", "mean", "root", "scaled")
    groups = [
        [*(f"norm {part}" for part in norm), "norm"],
        *(["q"], ["k"], ["v"], ["q turned", "k turned"], ["attention"], ["out"]),
        ["middle", *(f"norm 2 {part}" for part in norm), "norm 2"],
        *(["gate"], ["up"], ["silu", "gated"], ["down"], ["x"]),
    ]
    return [[f"{name}.{index}" for name in group] for group in groups]


def bytes_of(config: LlamaConfig, ops: Iterable[Op], rows: int, width: int = 4) -> dict[str, int]:
    """Bytes of each value that the operations of `layer_ops` read or make.

    Args:
        rows: tokens in the step.
        width: bytes of a number.
    """
    hidden, inner, queries = config.hidden_size, config.intermediate_size, config.heads * config.head_dim
    keys = config.kv_heads * config.head_dim
    columns = {"q": queries, "q turned": queries, "k": keys, "k turned": keys, "v": keys, "attention": queries}
    columns |= dict.fromkeys(("gate", "up", "silu", "gated"), inner)
    columns |= dict.fromkeys((f"{norm} {part}" for norm in ("norm", "norm 2") for part in ("mean", "root")), 1)
    weights = {"norm": hidden, "norm 2": hidden, "out": queries * hidden, "down": inner * hidden}
    weights |= {"q": hidden * queries, "k": hidden * keys, "v": hidden * keys}
    weights |= dict.fromkeys(("gate", "up"), hidden * inner)
    sizes = {"x": rows * hidden, "cos": rows * config.head_dim, "sin": rows * config.head_dim}
    for name in {name for one in ops for name in (one["name"], *one["of"])} - sizes.keys():
        short = name.rpartition(".")[0]
        if short.endswith(" weight"):
            sizes[name] = weights[short.removesuffix(" weight")]
        else:
            sizes[name] = rows * columns.get(short, hidden)
    return {name: width * size for name, size in sizes.items()}


def layer_inputs(model: Llama, tokens: Tensor) -> tuple[dict[str, Tensor], dict[str, Callable[..., Tensor]]]:
    """What `model_ops` reads for these tokens of a real model, and its functions in place of `DO`.

    Args:
        tokens: [tokens] ids of one text.
    """
    config = model.config
    cos, sin = rope_table(torch.arange(len(tokens), device=model.device), model.inv_freq, model.dtype)
    values = {"x": model.model.embed_tokens(tokens), "cos": cos, "sin": sin}
    for index, layer in enumerate(model.model.layers):
        values |= {f"{name}.{index}": weight for name, weight in _weights(layer).items()}

    def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        heads = x.unflatten(-1, (-1, config.head_dim)).transpose(0, 1)
        return rotate(heads, cos, sin).transpose(0, 1).flatten(1)

    def attention(*parts: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (-1, config.head_dim)).transpose(0, 1)[None] for part in parts)
        return attend_causally(q, k, v)[0].transpose(0, 1).flatten(1)

    root = {"rsqrt": lambda mean: torch.rsqrt(mean + config.norm_eps)}
    return values, DO | root | {"rotate": turn, "attention": attention}


def _weights(layer: Layer) -> dict[str, Tensor]:
    own = weights_of(layer)
    products = {name: own[name].T for name in ("q", "k", "v", "gate", "up", "down")} | {"out": own["o"].T}
    norms = {"norm": own["input_norm"], "norm 2": own["post_norm"]}
    return {f"{name} weight": weight for name, weight in (products | norms).items()}


def run(
    kernels: Iterable[Kernel],
    ops: Iterable[Op],
    values: Mapping[str, Tensor],
    do: Mapping[str, Callable[..., Tensor]] = DO,
) -> dict[str, Tensor]:
    """Run kernels one after the other: each sees what it reads and what it makes, and leaves what it writes.

    Raises:
        KeyError: a kernel needs what it doesn't read, or reads what nobody has written.
    """
    by_name = {one["name"]: one for one in ops}
    memory = dict(values)
    for kernel in kernels:
        inside = {name: memory[name] for name in kernel["reads"]}
        for name in kernel["ops"]:
            one = by_name[name]
            inside[name] = do[one["do"]](*(inside[part] for part in one["of"]))
        memory |= {name: inside[name] for name in kernel["writes"]}
    return memory


def as_text(kernel: Kernel, ops: Iterable[Op]) -> str:
    """A kernel in words: a line for each operation, between what it reads and what it writes."""
    by_name = {one["name"]: one for one in ops}
    lines = [f"read   {', '.join(kernel['reads'])}"]
    lines += [f"       {name} = {by_name[name]['do']}({', '.join(by_name[name]['of'])})" for name in kernel["ops"]]
    return "\n".join([*lines, f"write  {', '.join(kernel['writes'])}"])
