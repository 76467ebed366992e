"""The course's drawings of ideas, a module a unit: code that a notebook would only hide."""

from fridge.pictures.kv_cache import repeated_work
from fridge.pictures.memory_math import bits_of_a_group, what_fills_a_card, where_a_step_goes, where_the_rule_is_off
from fridge.pictures.paging import block_table_steps, factors, occupancy, reserved_and_used, shares_of_memory
from fridge.pictures.quantization import levels_on_weights, rulers, sizes_and_perplexities
from fridge.pictures.speculation import one_round, overlap, shares, speedups

__all__ = [
    "bits_of_a_group",
    "block_table_steps",
    "factors",
    "levels_on_weights",
    "occupancy",
    "one_round",
    "overlap",
    "repeated_work",
    "reserved_and_used",
    "rulers",
    "shares",
    "shares_of_memory",
    "sizes_and_perplexities",
    "speedups",
    "what_fills_a_card",
    "where_a_step_goes",
    "where_the_rule_is_off",
]
