"""The engine by batch size: speed against the floor of its matrix products, memory against the formula."""

import time
from itertools import pairwise

import torch
from torch import Tensor

from fridge.models.llama import Llama
from fridge.serving.engine import Engine
from fridge.serving.engine.linears import Int8Linear, PackedLinear
from fridge.workbench import measure

BATCHES = (1, 2, 4, 8, 16, 32, 64)
PROMPT, STEPS = 32, 24  # tokens of each prompt; decode steps measured
KINDS = {"float32": PackedLinear, "int8": Int8Linear}


def sweep(llama: Llama) -> list[dict[str, float | int | str]]:
    """A row for each kind of weights and batch size.

    tokens_per_second: of decoding; floor_tokens_per_second: of the matrix products alone; kv_bytes: of the blocks in
    use at the end; formula_bytes: keys and values of the tokens they hold.
    """
    rows = []
    for kind, make_linear in KINDS.items():
        engine = Engine(llama, max_sequences=max(BATCHES), token_budget=max(BATCHES) * PROMPT, make_linear=make_linear)
        for batch, floor in zip(BATCHES, _floors(llama, make_linear), strict=True):
            rows.append(
                {"weights": kind, "batch": batch, "floor_tokens_per_second": batch / floor, **_run(engine, batch)}
            )
    return rows


def _run(engine: Engine, batch: int) -> dict[str, float | int]:
    scheduler, config = engine.scheduler, engine.config
    scheduler.allocator.clear_kept()
    for number in range(batch):
        prompt = [
            (number + position) % config.vocab_size for position in range(PROMPT)
        ]  # each another: no shared prefix
        engine.add(prompt, STEPS + 8)
    engine.step()
    engine.step()
    marks = [time.perf_counter()]
    for _ in range(STEPS):
        engine.step()
        marks.append(time.perf_counter())
    blocks = scheduler.allocator.num_blocks - scheduler.allocator.num_free
    held = sum(sequence.computed for sequence in scheduler.running)
    per_token = 2 * config.layers * config.kv_heads * config.head_dim * 4
    list(engine.run())
    step = sorted(later - earlier for earlier, later in pairwise(marks))[STEPS // 2]
    return {
        "tokens_per_second": batch / step,
        "kv_bytes": blocks * engine.cache.block_size * per_token,
        "formula_bytes": held * per_token,
    }


def _floors(llama: Llama, make_linear: type[PackedLinear] | type[Int8Linear]) -> list[float]:
    # Seconds for all products of a step, with nothing between them: fused as in the engine, on random activations.
    products: list[tuple[int, PackedLinear | Int8Linear]] = []

    def add(*weights: Tensor) -> None:
        products.append((weights[0].shape[1], make_linear(torch.cat(weights))))

    for layer in llama.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        add(attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight)
        add(attention.o_proj.weight)
        add(mlp.gate_proj.weight, mlp.up_proj.weight)
        add(mlp.down_proj.weight)
    add(llama.lm_head.weight)

    def all_products(batch: int) -> float:
        inputs = {width: torch.randn(batch, width) for width, _ in products}

        def call() -> None:
            for width, product in products:
                product(inputs[width])

        return measure.seconds(call, repeats=7)

    with torch.inference_mode():
        return [all_products(batch) for batch in BATCHES]
