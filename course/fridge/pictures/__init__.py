"""The course's drawings of ideas, a module a unit: code that a notebook would only hide."""

from fridge.pictures.flash_attention import (
    published,
    teraflops,
    tiles_behind_the_mask,
    time_and_memory,
    two_partial_results,
    two_ways_through_memory,
)
from fridge.pictures.gguf_file import gguf_file, perplexity_by_bits, tokens_by_format
from fridge.pictures.gptq_awq import two_weights
from fridge.pictures.kernel_fusion import fused_engines, one_trip, the_cycle_of_greed, weights_and_the_rest
from fridge.pictures.kv_cache import repeated_work
from fridge.pictures.memory_math import bits_of_a_group, what_fills_a_card, where_a_step_goes, where_the_rule_is_off
from fridge.pictures.paging import block_table_steps, factors, occupancy, reserved_and_used, shares_of_memory
from fridge.pictures.quantization import levels_on_weights, rulers, sizes_and_perplexities
from fridge.pictures.quantizers import by_grouping, side_by_side
from fridge.pictures.serving import goodput_over_rate, server_pipeline, waits
from fridge.pictures.speculation import one_round, overlap, shares, speedups
from fridge.pictures.start import answers_by_turn, elephants_and_fridge
from fridge.pictures.the_edge import arena, pareto, perplexity_over_length, sinks_and_window

__all__ = [
    "answers_by_turn",
    "arena",
    "bits_of_a_group",
    "block_table_steps",
    "by_grouping",
    "elephants_and_fridge",
    "factors",
    "fused_engines",
    "gguf_file",
    "goodput_over_rate",
    "levels_on_weights",
    "occupancy",
    "one_round",
    "one_trip",
    "overlap",
    "pareto",
    "perplexity_by_bits",
    "perplexity_over_length",
    "published",
    "repeated_work",
    "reserved_and_used",
    "rulers",
    "server_pipeline",
    "shares",
    "shares_of_memory",
    "side_by_side",
    "sinks_and_window",
    "sizes_and_perplexities",
    "speedups",
    "teraflops",
    "the_cycle_of_greed",
    "tiles_behind_the_mask",
    "time_and_memory",
    "tokens_by_format",
    "two_partial_results",
    "two_ways_through_memory",
    "two_weights",
    "waits",
    "weights_and_the_rest",
    "what_fills_a_card",
    "where_a_step_goes",
    "where_the_rule_is_off",
]
