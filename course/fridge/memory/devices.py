"""What devices at the edge have, as limits: memory, addresses, what a shader may see; and models' files.

How much memory is free on a device is an assumption, and says so. Limits of WebAssembly and WebGPU are those of their
specifications: 32-bit addresses, and `maxStorageBufferBindingSize`, 128 MiB unless a page asks for more.
"""

from typing import Any

from fridge.memory import model_configs
from fridge.memory.cards import CARDS, GIB, MIB
from fridge.models.llama import LlamaConfig

WEBGPU_BINDING = 128 * MIB
WASM32 = 4 * GIB
_ASSUMED = "free memory assumed"

DEVICES: dict[str, dict[str, Any]] = {
    "a browser tab (wasm32)": {
        "memory": 8 * GIB,
        "runtime": 256 * MIB,
        "mapped": False,
        "address_space": WASM32,
        "source": f"WebAssembly's specification; {_ASSUMED}",
    },
    "a phone": {
        "memory": 4 * GIB,
        "runtime": 256 * MIB,
        "mapped": True,
        "address_space": None,
        "source": _ASSUMED,
    },
    "a laptop of 16 GB": {
        "memory": 12 * GIB,
        "runtime": 256 * MIB,
        "mapped": True,
        "address_space": None,
        "source": _ASSUMED,
    },
    "a server's A100-80": {
        "memory": CARDS["A100-80"].memory,
        "runtime": 2 * 10**9,
        "mapped": False,
        "address_space": None,
        "source": CARDS["A100-80"].source,
    },
}
EMBEDDINGS = tuple(  # name, rows, columns
    (name, fields["vocab_size"], fields["hidden_size"])
    for name in ("SmolLM2-135M", "Qwen2.5-0.5B", "Llama-3-8B")
    for fields in [model_configs.read(name)]
)
BITS = 4.5  # of a weight in Q4_0, scales included


def gib(size: int | None) -> str:
    """Bytes in GiB, as a table shows them; nothing for no limit."""
    return "" if size is None else f"{size / GIB:.2f} GiB"


def parameters(fields: dict[str, Any]) -> int:
    """Weights of a model of the Llama family by its config; biases, of which there are few, are left out."""
    hidden, layers, heads = fields["hidden_size"], fields["num_hidden_layers"], fields["num_attention_heads"]
    head_dim = fields.get("head_dim") or hidden // heads
    attention = 2 * hidden * head_dim * (heads + fields["num_key_value_heads"])
    layer = attention + 3 * hidden * fields["intermediate_size"] + 2 * hidden
    embeddings = 1 if fields.get("tie_word_embeddings") else 2
    return layers * layer + embeddings * fields["vocab_size"] * hidden + hidden


def models_known(smallest: LlamaConfig) -> dict[str, dict[str, int]]:
    """Models as exercise 1 takes them, with their cache in 16 bits: the course's own, and two larger ones in 4 bits.

    Args:
        smallest: of the course's model; its file is counted in 4 bits, too.
    """
    fields = {name: model_configs.read(name) for name in ("SmolLM2-135M", "Llama-3-8B", "Llama-3-70B")}
    found = {f"{name}, {BITS} bits": _as_exercise(one) for name, one in fields.items()}
    own = next(iter(found.values()))
    own |= {"layers": smallest.layers, "kv_heads": smallest.kv_heads, "head_dim": smallest.head_dim}
    return found


def _as_exercise(fields: dict[str, Any]) -> dict[str, int]:
    return {
        "file": int(parameters(fields) * BITS / 8),
        "layers": fields["num_hidden_layers"],
        "kv_heads": fields["num_key_value_heads"],
        "head_dim": fields["hidden_size"] // fields["num_attention_heads"],
        "kv_bytes": 2,
    }
