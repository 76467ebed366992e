"""Type-annotated; works in place, on copies of what it is given; a cache that is an nn.Module and returns named tuples.
"""

# %% nbgrader={"grade": false, "grade_id": "work", "locked": false, "schema_version": 3, "solution": true, "task": false}
from typing import NamedTuple


class Work(NamedTuple):
    without_cache: int
    with_cache: int


def positions_processed(prompt_tokens: int, new_tokens: int) -> Work:
    match new_tokens:
        case 0:
            return Work(0, 0)
        case 1:
            return Work(prompt_tokens, prompt_tokens)
        case _:
            half = new_tokens // 2
            first = positions_processed(prompt_tokens, half)
            second = positions_processed(prompt_tokens + half, new_tokens - half)
            return Work(first.without_cache + second.without_cache, second.with_cache)


# %% nbgrader={"grade": false, "grade_id": "memory", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kv_cache_bytes(
    layers: int, heads: int, kv_heads: int, head_dim: int, tokens: int, batch: int = 1, bytes_per_value: int = 2
) -> int:
    keys = layers * kv_heads * head_dim * tokens * batch
    values = keys
    return (keys + values) * bytes_per_value


# %% nbgrader={"grade": false, "grade_id": "causal-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
from torch import Tensor


@torch.inference_mode()
def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q = q.clone().mul_(q.shape[-1] ** -0.5)
    group: int = q.shape[1] // k.shape[1]
    offset: int = k.shape[2] - q.shape[2]
    out = torch.zeros_like(q)
    for head in range(q.shape[1]):
        keys, values = k[:, head // group], v[:, head // group]
        for row in range(q.shape[2]):
            # No mask: each query meets the keys up to its own position, one at a time, with a running maximum and sum.
            highest = torch.full((q.shape[0], 1), -torch.inf)
            total = torch.zeros(q.shape[0], 1)
            for column in range(offset + row + 1):
                score = (q[:, head, row] * keys[:, column]).sum(-1, keepdim=True)
                raised = torch.maximum(highest, score)
                shrink, weight = (highest - raised).exp(), (score - raised).exp()
                out[:, head, row] = out[:, head, row] * shrink + weight * values[:, column]
                total, highest = total * shrink + weight, raised
            out[:, head, row] /= total
    return out


# %% nbgrader={"grade": false, "grade_id": "rope", "locked": false, "schema_version": 3, "solution": true, "task": false}
def apply_rope(x: Tensor, start: int, theta: float = 10_000.0) -> Tensor:
    x = x.clone()
    first, second = x.tensor_split(2, dim=-1)  # views: what is written into them is written into x
    for row, position in enumerate(range(start, start + x.shape[2])):
        angles = position / theta ** torch.linspace(0, 1, first.shape[-1] + 1)[:-1]
        a, b = first[:, :, row].clone(), second[:, :, row].clone()
        first[:, :, row] = a * angles.cos() - b * angles.sin()
        second[:, :, row] = b * angles.cos() + a * angles.sin()
    return x


# %% nbgrader={"grade": false, "grade_id": "kv-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
from dataclasses import dataclass


@dataclass
class Held:
    """What one layer holds."""

    keys: Tensor
    values: Tensor
    count: int = 0

    def append(self, keys: Tensor, values: Tensor) -> None:
        self.keys.narrow(2, self.count, keys.shape[2]).copy_(keys)
        self.values.narrow(2, self.count, keys.shape[2]).copy_(values)
        self.count += keys.shape[2]


class Everything(NamedTuple):
    keys: Tensor
    values: Tensor


class Base(torch.nn.Module):
    @property
    def nbytes(self) -> int:
        return sum(buffer.untyped_storage().nbytes() for buffer in self.buffers())


class KVCache(Base):
    def __init__(
        self,
        layers: int,
        batch: int,
        kv_heads: int,
        capacity: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__()
        self.capacity = capacity
        self.held: list[Held] = []
        for layer in range(layers):
            for kind in "kv":
                room = torch.full((batch, kv_heads, capacity, head_dim), torch.nan, dtype=dtype, device=device)
                self.register_buffer(f"{kind}{layer}", room, persistent=False)
            self.held.append(Held(self.get_buffer(f"k{layer}"), self.get_buffer(f"v{layer}")))

    def __len__(self) -> int:
        return sorted(held.count for held in self.held)[0]

    def update(self, layer: int, k: Tensor, v: Tensor) -> Everything:
        held = self.held[layer]
        try:
            held.append(k, v)
        except RuntimeError as error:  # narrow complains before anything is written
            raise ValueError(f"a capacity of {self.capacity} is too small") from error
        return Everything(held.keys[:, :, : held.count], held.values[:, :, : held.count])

    def rewind(self, length: int) -> "KVCache":
        if length < 0 or any(length > held.count for held in self.held):
            raise ValueError(f"can't rewind to {length}")
        for held in self.held:
            held.count = length
            held.keys[:, :, length:] = torch.nan
        return self


# %% nbgrader={"grade": false, "grade_id": "generate", "locked": false, "schema_version": 3, "solution": true, "task": false}
from collections.abc import Iterator


def stream(model, feed: list[int], cache) -> Iterator[int]:
    while True:
        logits = model(torch.tensor([feed], dtype=torch.int32), cache)
        feed[:] = [logits[0, -1].argmax().item()]
        yield feed[0]


def generate(model, prompt: list[int], max_new_tokens: int, cache, stop_token: int | None = None) -> tuple[int, ...]:
    tokens = stream(model, [*prompt], cache)
    reply: tuple[int, ...] = ()
    for _ in range(max_new_tokens):
        if (token := next(tokens)) == stop_token:
            break
        reply += (token,)
    return reply


# %% nbgrader={"grade": false, "grade_id": "chunked-prefill", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prefill_in_chunks(model, prompt: list[int], cache, chunk_size: int) -> Tensor:
    if min(chunk_size, len(prompt)) < 1:
        raise ValueError(f"{chunk_size=}, {len(prompt)=}")
    prompt = prompt.copy()
    while prompt:
        logits: Tensor = model(torch.tensor([prompt[:chunk_size]]), cache)
        del prompt[:chunk_size]
    return logits[0, -1]
