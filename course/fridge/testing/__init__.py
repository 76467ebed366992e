"""What test cells are written with: outcomes, expectations, and objects that the test owns and can count with."""

from fridge.models.caches import ConcatCache, RewindableCache
from fridge.testing.attention import exact_attention
from fridge.testing.blocks import RecordingModel
from fridge.testing.chance import expect_distribution
from fridge.testing.edge import (
    arena_case,
    expect_arena,
    expect_shards,
    random_arena,
    sink_attention,
    step_attention,
    whole_codes,
)
from fridge.testing.expect import expect_close, expect_equal, expect_raises, expect_true
from fridge.testing.fusion import Card, Device, expect_kernels, expect_lean, expect_named, fewest_kernels, stepped
from fridge.testing.gguf_blocks import expect_blocks, pack_q4_k, pack_q6_k, random_blocks
from fridge.testing.gguf_parts import GgufFile, TensorEntry, expect_file, gguf_value
from fridge.testing.given import (
    as_tensor,
    expect_list,
    expect_number,
    expect_parts,
    expect_tensor,
    token_ids,
    whole_numbers,
)
from fridge.testing.hbm import Hbm
from fridge.testing.outcome import NotAttempted, Wrong, builds_on, exercise, needs
from fridge.testing.paging import CountingPool, SpareAllocator, TightAllocator, dense_attention
from fridge.testing.programs import expect_program
from fridge.testing.quantizing import QuantizedLayer, brain_surgeon, expect_columns, quantized_layer
from fridge.testing.scripted import Call, ScriptedModel
from fridge.testing.serving import SimulatedServer
from fridge.testing.speculation import (
    ScriptedSpeaker,
    TokenTable,
    accepted_law,
    agreed,
    random_table,
    speculated,
)
from fridge.testing.stand_in import StandIn, expect_small_file
from fridge.testing.streaming import (
    KneeServer,
    ScriptedEngine,
    ScriptedPipes,
    expect_fields,
    expect_json,
    stream_events,
    told,
)
from fridge.testing.tiny import TINY, randn, tiny_llama
from fridge.testing.work import allocated, held_bytes, measured

__all__ = [
    "TINY",
    "Call",
    "Card",
    "ConcatCache",
    "CountingPool",
    "Device",
    "GgufFile",
    "Hbm",
    "KneeServer",
    "NotAttempted",
    "QuantizedLayer",
    "RecordingModel",
    "RewindableCache",
    "ScriptedEngine",
    "ScriptedModel",
    "ScriptedPipes",
    "ScriptedSpeaker",
    "SimulatedServer",
    "SpareAllocator",
    "StandIn",
    "TensorEntry",
    "TightAllocator",
    "TokenTable",
    "Wrong",
    "accepted_law",
    "agreed",
    "allocated",
    "arena_case",
    "as_tensor",
    "brain_surgeon",
    "builds_on",
    "dense_attention",
    "exact_attention",
    "exercise",
    "expect_arena",
    "expect_blocks",
    "expect_close",
    "expect_columns",
    "expect_distribution",
    "expect_equal",
    "expect_fields",
    "expect_file",
    "expect_json",
    "expect_kernels",
    "expect_lean",
    "expect_list",
    "expect_named",
    "expect_number",
    "expect_parts",
    "expect_program",
    "expect_raises",
    "expect_shards",
    "expect_small_file",
    "expect_tensor",
    "expect_true",
    "fewest_kernels",
    "gguf_value",
    "held_bytes",
    "measured",
    "needs",
    "pack_q4_k",
    "pack_q6_k",
    "quantized_layer",
    "randn",
    "random_arena",
    "random_blocks",
    "random_table",
    "sink_attention",
    "speculated",
    "step_attention",
    "stepped",
    "stream_events",
    "tiny_llama",
    "token_ids",
    "told",
    "whole_codes",
    "whole_numbers",
]
