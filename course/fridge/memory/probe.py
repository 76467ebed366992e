"""What this machine can do: bandwidth, arithmetic, and where a decode step's time goes: a roofline's measured half.

Williams, Waterman and Patterson (2009) bound a program by two numbers of the machine; these functions find them.
"""

import torch
from torch import nn

from fridge.models.caches import ConcatCache
from fridge.models.llama import Llama, LlamaConfig
from fridge.workbench import measure

MIB = 2**20


def copy_bandwidth(device: torch.device, megabytes: int = 256) -> float:
    """Bytes per second of a large copy: each byte is read once and written once, and both count."""
    source = torch.ones(megabytes * MIB // 4, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / measure.seconds(lambda: target.copy_(source))


def read_bandwidth(device: torch.device, dtype: torch.dtype = torch.float32, megabytes: int = 256) -> float:
    """Bytes per second of a matrix of that size times a vector, decode's pattern: each byte is read once.

    A small matrix is read several times in a row, so that what fits into a cache is found there.
    """
    columns = 2048
    matrix = torch.ones(megabytes * MIB // (columns * dtype.itemsize), columns, dtype=dtype, device=device)
    vector = torch.ones(columns, dtype=dtype, device=device)
    passes = max(1, 64 // megabytes)

    def read() -> None:
        for _ in range(passes):
            torch.mv(matrix, vector)

    return passes * matrix.nbytes / measure.seconds(read)


def arithmetic(device: torch.device, dtype: torch.dtype = torch.float32, side: int = 2048) -> float:
    """Operations per second of a large matrix product, which computes much and reads little."""
    square = torch.ones(side, side, dtype=dtype, device=device)
    return 2 * side**3 / measure.seconds(lambda: square @ square, repeats=3)


def decode_seconds(model: Llama, batch: int = 1, context: int = 64) -> float:
    """Median time of a decode step of `batch` sequences with `context` tokens each in a `ConcatCache`."""
    cache, config = ConcatCache(), model.config
    past = torch.zeros(batch, config.kv_heads, context, config.head_dim, device=model.device, dtype=model.dtype)
    for layer in range(config.layers):  # what stands in the cache doesn't change a step's work, so nothing is prefilled
        cache.update(layer, past, past)
    token = torch.ones(batch, 1, dtype=torch.long)
    return measure.seconds(lambda: model(token, cache), repeats=5, warmup=2)


def products_seconds(model: nn.Module) -> float:
    """Time of all matrix products of one token: every linear layer once, in order, with nothing between them."""
    linears = [part for part in model.modules() if isinstance(part, nn.Linear)]
    pairs = [(part, part.weight.new_ones(1, 1, part.in_features)) for part in linears]

    @torch.no_grad()
    def multiply() -> None:
        for part, x in pairs:
            part(x)

    return measure.seconds(multiply, repeats=5, warmup=2)


def weights_read(model: Llama) -> int:
    """Bytes of weights that a call reads, however many tokens it has: the layers, the last norm, the output matrix.

    Of an embedding a token needs one row, which isn't counted.
    """
    parts = (model.model.layers, model.model.norm, model.lm_head)
    return sum(weight.numel() * weight.element_size() for part in parts for weight in part.parameters())


def hollow(model: Llama) -> Llama:
    """A model with as many layers, so as many operations, and matrices too narrow to weigh anything."""
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        layers=model.config.layers,
        heads=4,
        kv_heads=2,
        head_dim=8,
        attention_bias=model.config.attention_bias,
    )
    return Llama(config).to(model.device, model.dtype).eval().requires_grad_(False)
