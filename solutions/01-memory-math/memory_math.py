# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 01 · Memory math
#
# A model of 70 billion parameters, a card with 16 GB. Does it fit? People find out by downloading 140 GB and waiting
# for the error message. You are going to know before the download starts, to the byte.
#
# By the end you have written the functions that answer it: bits per weight of any format, parameters from a config,
# bytes of weights and of the KV cache, the largest batch and the longest context on a card (显存, the card's memory), and
# a lower bound for the time of a token. You check them against `transformers` for ten models, without downloading one
# of them, and against the clock of your own machine.
#
# | | |
# |---|---|
# | You need | Python; you have seen a transformer's matrices before |
# | Time | about 90 minutes |
# | Runs on | a laptop with 2 GB of free memory; no GPU |
# | Points | 25, in eight exercises |

# %%
import math

import torch

from fridge import models, pictures
from fridge.memory import cards, model_configs, probe
from fridge.notebook import scoreboard
from fridge.workbench import measure, plots, tables

GB, GIB = 10**9, 2**30

# %% [markdown]
# ## 1 · The pain: trying it out
#
# A small model first. SmolLM2 has 134 515 008 parameters, and on a CPU each is a float32 of 4 bytes. Write down what
# running it will cost before you run the cell.

# %% tags=["for-real"]
loaded = []


def load_and_run():
    loaded.append(models.load())
    loaded[0](torch.tensor([[1]]))  # a file is read when its bytes are used, so use them


taken = measure.peak_memory(load_and_run)
model = loaded.pop()

print(f"4 bytes x 134,515,008 = {4 * 134_515_008 / 1e6:.0f} MB")
print(f"{models.name()}, {model.dtype} on {model.device}: took {taken / 1e6:.0f} MB")

# %% [markdown]
# The process takes a little more than the formula says: the tensors of the pass, and PyTorch's own working memory. The
# order is right, and that is the good news: memory is arithmetic.
#
# Now the elephant. PyTorch can build a model on the device `meta`, where a tensor has a shape and no memory. So you can
# hold Llama-3-70B on any laptop, and ask what it would weigh. Then ask for that memory.

# %% tags=["for-real"]
elephant = model_configs.on_meta("Llama-3-70B")
in_float16 = sum(2 * weight.numel() for weight in elephant.parameters())
print(
    f"Llama-3-70B in float16: {in_float16:,} bytes, {in_float16 / taken:.0f} times what you just used"
)

try:
    torch.empty(in_float16, dtype=torch.uint8, device=model.device)
    print(
        "The system promised that much. It would break the promise at the first bytes written."
    )
except RuntimeError as error:  # CUDA's out-of-memory error is one too
    print(f"{type(error).__name__}: {str(error).splitlines()[0].split('Allocator: ')[-1]}")

# %% [markdown]
# That is how most people learn how large a model is. The message names a number when it is too late, and it
# says nothing about what *would* fit: fewer bits? two cards? a shorter context?
#
# ## 2 · The picture: who lives on a card
#
# Three tenants share a card's memory. Each follows a rule of its own.

# %% tags=["for-real"]
pictures.what_fills_a_card()

# %% [markdown]
# *In words: a bar for a card's memory. A reserve and the weights take a fixed part; each conversation then adds its
# own KV cache, which grows with every token. With weights of a quarter of the size, many more
# conversations fit.*
#
# - **Weights**: parameters × bits. Fixed from the first moment on. The format decides, and so quantization (量化,
#   storing weights in fewer bits) helps here.
# - **KV cache**: what the model remembers of the text so far, for each token of each conversation (unit 03 builds it).
# - **Reserve**: CUDA's own context, intermediate results (activations), memory lost between allocations.
#
# ## 3 · The prediction
#
# The chapter (把大象装进冰箱, *putting the elephant into the fridge*) uses four numbers: a 7B model takes 14 GB in FP16 and 4
# GB in INT4, a 70B model 140 GB and 35 GB. The rule behind them: two bytes a parameter, divided by 4 for INT4. Write
# down which of the four you expect to be off, and in which direction. Your first three exercises will tell.
#
# ### Exercise 1 · Bits per weight (3 points)
#
# A format called "4-bit" doesn't take 4 bits. The codes 0 … 15 mean something only together with a **scale** (and in
# some formats a **zero point**), and those are stored too, once for each *group* of neighbouring weights.

# %% tags=["for-real"]
pictures.bits_of_a_group()

# %% [markdown]
# *In words: in FP16 each weight has 16 bits of its own. In a group-wise INT4 format, a group's weights have 4 bits each
# and share one scale and one zero point, which add their bits to the group.*
#
# Real formats:
#
# | format | code | group | stored for each group |
# |---|---|---|---|
# | FP32; FP16 and BF16 | 32; 16 bits | – | nothing |
# | INT8, one scale a row (LLM.int8) | 8 bits | a row, 4096 say | scale of 32 bits |
# | INT4 g128 (GPTQ, AWQ) | 4 bits | 128 | scale of 16 bits, zero point of 4 bits |
# | NF4 (bitsandbytes) | 4 bits | 64 | scale of 32 bits |
# | NF4 with double quantization | 4 bits | 64 | scale of 8 bits; 256 such scales share a further scale of 32 bits |
# | Q4_0 (GGUF) | 4 bits | 32 | scale of 16 bits |
# | Q4_1 (GGUF) | 4 bits | 32 | scale of 16 bits, minimum of 16 bits (a zero point in another form) |
# | Q8_0 (GGUF) | 8 bits | 32 | scale of 16 bits |
#
# *Double quantization*: the scales are numbers too, so QLoRA's authors quantized them as well.
#
# <details><summary>Hint 1</summary>Count the bits of one whole group, then divide by its weights.</details>
# <details><summary>Hint 2</summary>How many weights does one second-level scale serve, if 256 scales share it and each
# of those serves 64 weights?</details>


# %% nbgrader={"grade": false, "grade_id": "bits-per-weight", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bits_per_weight(
    bits, group=None, scale_bits=0, zero_bits=0, scale_group=None, second_bits=0
):
    """Bits that a weight takes on average, with its share of what is stored beside the codes.
    What isn't given takes no bits.

    Args:
        bits: bits of a weight's own code.
        group: weights that share a scale and a zero point, 1 or more; None: no groups, so
            nothing is stored beside the codes.
        scale_bits, zero_bits: bits of a group's scale and of its zero point; 0: there is none.
        scale_group: scales that share one second-level scale (double quantization), 1 or
            more; None: no second-level scale, whatever `second_bits` says.
        second_bits: bits of a second-level scale.

    Returns:
        Bits per weight, a float, not rounded. (All groups are full.)
    """
    ### BEGIN SOLUTION
    total = bits
    if group is not None:
        total += (scale_bits + zero_bits) / group
        if scale_group is not None:
            total += second_bits / (group * scale_group)
    return float(total)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "bits-per-weight-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal

with exercise("bits-per-weight"):
    expect_equal(
        bits_per_weight(16),
        16,
        "FP16: codes of 16 bits, no groups",
        cause="nothing is stored beside the codes, and the answer is in bits",
    )
    expect_equal(
        bits_per_weight(4, group=8, scale_bits=16),
        6,
        "codes of 4 bits, groups of 8, scale of 16 bits",
        cause="a group takes 8 x 4 + 16 bits, which its 8 weights share",
    )
    expect_equal(
        bits_per_weight(4, group=8, scale_bits=32),
        8,
        "codes of 4 bits, groups of 8, scale of 32 bits",
        cause="`scale_bits` says how many bits the scale has",
    )
    expect_equal(
        bits_per_weight(4, group=8, scale_bits=16, zero_bits=8),
        7,
        "codes of 4 bits, groups of 8, scale of 16 bits, zero point of 8",
        cause="a group takes 8 x 4 + 16 + 8 bits: it has a zero point, too",
    )
    expect_equal(
        bits_per_weight(4, group=64, scale_bits=32),
        4.5,
        "NF4: codes of 4 bits, groups of 64, scale of 32 bits",
        cause="32 bits for 64 weights are half a bit for each: not rounded",
    )
    expect_equal(
        bits_per_weight(4, group=128, scale_bits=16, zero_bits=4),
        4.15625,
        "INT4 g128: codes of 4 bits, groups of 128, scale of 16 bits, zero point of 4",
        cause="20 bits for 128 weights are 0.15625 for each: not rounded",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: the other formats of the table; double quantization; zero points beside it;
    #   groups of one weight; a second-level scale for each single scale; bits that aren't given;
    #   bits that are given without a group; second_bits without a scale_group.
    # Stated by: "with its share of what is stored beside the codes" | "scales that share one
    #   second-level scale (double quantization)" | "bits of a group's scale and of its zero
    #   point" | "weights that share a scale and a zero point, 1 or more" | "(double
    #   quantization), 1 or more" | "What isn't given takes no bits" | "None: no groups, so nothing
    #   is stored beside the codes" | "None: no second-level scale, whatever `second_bits` says"
    # Right because: what a group stores is shared by its weights, and what groups store
    #   together by the weights of all of them, so each stored bit is counted once.
    expect_equal(
        bits_per_weight(4, group=4, scale_bits=8, scale_group=2, second_bits=16),
        8,
        "codes of 4 bits, groups of 4, scales of 8 bits, two of which share a second-level "
        "scale of 16 bits",
        cause="8 weights have 8 x 4 bits and two scales of 8, and the second-level scale is stored, "
        "too, once for 2 scales of 4 weights each",
    )
    expect_equal(
        bits_per_weight(4, group=64, scale_bits=8, scale_group=256, second_bits=32),
        4 + 8 / 64 + 32 / (64 * 256),
        "NF4 with double quantization: codes of 4 bits, groups of 64, scales of 8 bits, 256 of "
        "which share one of 32 bits",
        cause="nothing is rounded, neither on the way nor at the end",
    )
    expect_equal(
        bits_per_weight(4, 64, scale_bits=8, zero_bits=4, scale_group=256, second_bits=32),
        4 + 12 / 64 + 32 / (64 * 256),
        "codes of 4 bits, groups of 64, scales of 8 bits, 256 of which share one of 32 bits, zero "
        "point of 4 bits",
        cause="zero points are not quantized again",
    )
    expect_equal(
        bits_per_weight(4, group=1, scale_bits=16, zero_bits=4),
        24,
        "codes of 4 bits, groups of one weight, scale of 16 bits, zero point of 4",
        cause="each weight has a scale and a zero point of its own",
    )
    expect_equal(
        bits_per_weight(4, group=64, scale_bits=8, scale_group=1, second_bits=32),
        4.625,
        "codes of 4 bits, groups of 64, scale of 8 bits, a second-level scale of 32 bits for "
        "each scale",
        cause="scale_group=1: a second-level scale that serves one scale is stored as well",
    )
    expect_equal(bits_per_weight(32), 32, "FP32: codes of 32 bits, no groups")
    expect_equal(
        bits_per_weight(8, group=4096, scale_bits=32),
        8 + 1 / 128,
        "INT8, a row of 4096 a group, scale of 32 bits",
    )
    expect_equal(
        bits_per_weight(4, group=32, scale_bits=16), 4.5, "Q4_0: groups of 32, scale of 16 bits"
    )
    expect_equal(
        bits_per_weight(4, group=32, scale_bits=16, zero_bits=16),
        5,
        "Q4_1: groups of 32, scale of 16 bits, minimum of 16 bits",
        cause="a scale and a minimum, 16 bits each",
    )
    expect_equal(
        bits_per_weight(8, group=32, scale_bits=16),
        8.5,
        "Q8_0: codes of 8 bits, groups of 32, scale of 16 bits",
    )
    expect_equal(
        bits_per_weight(4, group=8, zero_bits=4),
        4.5,
        "groups of 8, a zero point of 4 bits, scale_bits not given",
        cause="4 bits of zero point for 8 weights, and no scale: scale_bits is 0 where it isn't given",
    )
    expect_equal(
        bits_per_weight(4, group=8, scale_bits=16, scale_group=2),
        6,
        "groups of 8, scale of 16 bits, two scales a group, second_bits not given",
        cause="second_bits is 0 where it isn't given",
    )
    expect_equal(
        bits_per_weight(4, group=8, scale_bits=16, second_bits=32),
        6,
        "groups of 8, scale of 16 bits, second_bits 32, scale_group not given",
        cause="without a scale_group there is no second-level scale",
    )
    expect_equal(
        bits_per_weight(4, scale_bits=16, zero_bits=4, scale_group=2, second_bits=32),
        4,
        "codes of 4 bits, bits for scales and zero points, group not given",
        cause="without a group nothing is stored beside the codes",
    )
    ### END HIDDEN TESTS

# %% tags=["for-real"]
if scoreboard.ready("bits-per-weight"):
    formats = {
        "FP32": bits_per_weight(32),
        "FP16": bits_per_weight(16),
        "INT8": bits_per_weight(8, group=4096, scale_bits=32),
        "Q8_0": bits_per_weight(8, group=32, scale_bits=16),
        "Q4_1": bits_per_weight(4, group=32, scale_bits=16, zero_bits=16),
        "NF4": bits_per_weight(4, group=64, scale_bits=32),
        "INT4 g128": bits_per_weight(4, group=128, scale_bits=16, zero_bits=4),
        "NF4 + DQ": bits_per_weight(4, 64, scale_bits=8, scale_group=256, second_bits=32),
    }
    for name, bits in formats.items():
        print(f"{name:10} {bits:8.4f} bits, {bits / 16:6.1%} of FP16")

# %% [markdown]
# ## 4 · Build it: what fits
#
# ### Exercise 2 · Parameters from a config (5 points)
#
# A model's `config.json` is a kilobyte, and it fixes every shape. A Llama has these tensors:
#
# | part | tensors | shape |
# |---|---|---|
# | `embedding` | one | vocab_size × hidden_size |
# | `attention`, a layer | q | (heads · head_dim) × hidden_size |
# | | k and v | (KV heads · head_dim) × hidden_size each |
# | | o | hidden_size × (heads · head_dim) |
# | `mlp`, a layer | gate and up | intermediate_size × hidden_size each |
# | | down | hidden_size × intermediate_size |
# | `norms` | two a layer, and one after the last layer | hidden_size each |
# | `head` | one | vocab_size × hidden_size |
#
# Four variations that real models have:
#
# - **Tied embeddings** (`tie_word_embeddings` is true): the head *is* the embedding and costs nothing.
# - **Biases**: vectors as long as a matrix's output, the first number of its shape. With `attention_bias` true, q, k, v
#   and o have one each; false or without the field, none has. But a Qwen2 (`model_type` is `"qwen2"`) has no such
#   field: it always has them on q, k and v, and not on o.
# - **head_dim**: hidden_size / heads, unless the config has a number under `head_dim`.
# - **A mixture of experts** (MoE): with `num_local_experts` in the config, each layer has that many MLPs, *and* a
#   router, a matrix of num_local_experts × hidden_size, which sends each token to `num_experts_per_tok` of them. All of
#   them must be in memory (*total* parameters); a token meets only its own (*active* parameters).
#
# The field names are those of `model_configs.read("Llama-3-8B")`: print it. 3 points are for the parts of a dense
# model, 2 for mixtures of experts.
#
# <details><summary>Hint 1</summary>head_dim = config.get("head_dim") or …: a config may have the field, with None in
# it. </details>
# <details><summary>Hint 2</summary>Count one layer; multiply; add what exists once. SmolLM2 must come to 134 515 008.
# </details>
# <details><summary>Hint 3</summary>Active = total − (experts that a token doesn't meet) × (one expert), in every layer.
# The router always works.</details>


# %% nbgrader={"grade": false, "grade_id": "parameters", "locked": false, "schema_version": 3, "solution": true, "task": false}
def count_parameters(config):
    """Parameters of a Llama-family model, part by part.

    Args:
        config: a dict with the fields of a `config.json`.

    Returns:
        A dict with six ints: "embedding", "attention" (the four matrices, all layers), "mlp"
        (all layers, with all experts and routers), "norms", "biases" (all layers), "head". A
        part that the model doesn't have is 0. Their sum is the total.
    """
    ### BEGIN SOLUTION
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    head_dim = config.get("head_dim") or hidden // config["num_attention_heads"]
    queries = config["num_attention_heads"] * head_dim
    keys = config["num_key_value_heads"] * head_dim
    mlp = 3 * hidden * config["intermediate_size"]
    if experts := config.get("num_local_experts"):
        mlp = experts * mlp + experts * hidden
    bias = 0
    if config.get("attention_bias") or config["model_type"] == "qwen2":
        bias = queries + 2 * keys
    if config.get("attention_bias"):
        bias += hidden
    embedding = config["vocab_size"] * hidden
    return {
        "embedding": embedding,
        "attention": layers * 2 * hidden * (queries + keys),
        "mlp": layers * mlp,
        "norms": (2 * layers + 1) * hidden,
        "biases": layers * bias,
        "head": 0 if config["tie_word_embeddings"] else embedding,
    }
    ### END SOLUTION


def active_parameters(config):
    """Parameters that work on one token: all but the experts that it isn't sent to. For a
    dense model, the total.
    """
    ### BEGIN SOLUTION
    total = sum(count_parameters(config).values())
    if "num_local_experts" not in config:
        return total
    idle = config["num_local_experts"] - config["num_experts_per_tok"]
    expert = 3 * config["hidden_size"] * config["intermediate_size"]
    return total - config["num_hidden_layers"] * idle * expert
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "parameters-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
from fridge.memory import model_configs
from fridge.testing import exercise, expect_equal

PARTS = ("embedding", "attention", "mlp", "norms", "biases", "head")

with exercise("parameters"):

    def counts(name, expected, what="", causes=(), **changes):
        """The parts of one model's config, some fields of it changed."""
        parts = count_parameters(model_configs.read(name) | changes)
        expect_equal(
            sorted(parts),
            sorted(PARTS),
            f"{name}{what}: the six parts",
            cause="a part that the model doesn't have is 0, and not left out",
        )
        for part, number in zip(PARTS, expected, strict=True):
            cause = dict(causes).get(part, "")
            expect_equal(parts[part], number, f"{name}{what}: {part}", cause)

    counts(
        "SmolLM2-135M",
        (28_311_552, 1_327_104, 2_654_208, 1_728, 0, 0),
        " with one layer and 9 KV heads, as many as heads",
        {
            "embedding": "a matrix of vocab_size x hidden_size",
            "attention": "four matrices: q, k, v and o, here of hidden_size x hidden_size each",
            "mlp": "three matrices: gate, up and down, intermediate_size x hidden_size each",
            "norms": "two in a layer, and one after the last layer, hidden_size each",
            "biases": "a Llama without attention_bias has none",
            "head": "a tied head is the embedding itself, and costs nothing",
        },
        num_hidden_layers=1,
        num_key_value_heads=9,
    )
    counts(
        "SmolLM2-135M",
        (28_311_552, 39_813_120, 79_626_240, 35_136, 0, 0),
        " with 30 layers and 9 KV heads, as many as heads",
        dict.fromkeys(("attention", "mlp", "norms"), "all 30 layers together"),
        num_key_value_heads=9,
    )
    gqa = {"attention": "k and v have num_key_value_heads heads, q and o num_attention_heads"}
    counts("SmolLM2-135M", (28_311_552, 26_542_080, 79_626_240, 35_136, 0, 0), causes=gqa)
    counts(
        "Llama-2-7B",
        (131_072_000, 2_147_483_648, 4_328_521_728, 266_240, 0, 131_072_000),
        causes={"head": "a head that isn't tied is a matrix of its own"},
    )

    ### BEGIN HIDDEN TESTS
    # Looks at: each part of every dense model that model_configs has; tied heads and heads of
    #   their own; fewer KV heads than heads; head_dim in the config, as a number or None; biases
    #   by attention_bias; those of a Qwen2; biases beside a head_dim in the config.
    # Stated by: "A part that the model doesn't have is 0" | "the head *is* the embedding and
    #   costs nothing" | "(KV heads · head_dim) × hidden_size each" | "hidden_size / heads,
    #   unless the config has a number under `head_dim`" | "With `attention_bias` true, q, k, v
    #   and o have one each" | "it always has them on q, k and v, and not on o" |
    #   "vectors as long as a matrix's output"
    # Right because: the config fixes the shape of every tensor, and a tensor has as many
    #   parameters as its shape's product; a tied head is the embedding's own memory, used
    #   twice.
    counts(
        "Llama-2-13B",
        (163_840_000, 4_194_304_000, 8_493_465_600, 414_720, 0, 163_840_000),
    )
    counts(
        "Llama-2-70B",
        (262_144_000, 12_079_595_520, 56_371_445_760, 1_318_912, 0, 262_144_000),
        causes=gqa,
    )
    counts(
        "Llama-3-8B",
        (525_336_576, 1_342_177_280, 5_637_144_576, 266_240, 0, 525_336_576),
        causes=gqa,
    )
    counts(
        "Llama-3-70B",
        (1_050_673_152, 12_079_595_520, 56_371_445_760, 1_318_912, 0, 1_050_673_152),
    )
    counts(
        "Qwen2.5-0.5B",
        (136_134_656, 3_211_264, 13_074_432, 2_688, 2_688, 0),
        " with one layer and 14 KV heads, as many as heads",
        {
            "attention": "the four matrices; biases have a part of their own",
            "biases": "a Qwen2 has biases on q, k and v, and none on o; no field says so",
        },
        num_hidden_layers=1,
        num_key_value_heads=14,
    )
    counts(
        "Qwen2.5-0.5B",
        (136_134_656, 77_070_336, 313_786_368, 43_904, 64_512, 0),
        " with 24 layers and 14 KV heads, as many as heads",
        {"biases": "those of all 24 layers together"},
        num_key_value_heads=14,
    )
    output = {
        "biases": "a bias is as long as its matrix's output: heads x head_dim for q, KV heads x "
        "head_dim for k and v, hidden_size for o"
    }
    counts(
        "Qwen2.5-0.5B",
        (136_134_656, 44_040_192, 313_786_368, 43_904, 27_648, 0),
        causes=output,
    )
    counts(
        "Qwen2.5-7B",
        (544_997_376, 822_083_584, 5_703_204_864, 204_288, 129_024, 544_997_376),
        causes=output,
    )
    counts(
        "Mistral-7B-v0.1",
        (131_072_000, 1_342_177_280, 5_637_144_576, 266_240, 0, 131_072_000),
    )
    own = {
        "attention": "the config's head_dim counts, not hidden_size / heads, in all four "
        "matrices: q and o have (heads x head_dim) x hidden_size numbers each"
    }
    counts(
        "SmolLM2-135M",
        (28_311_552, 53_084_160, 79_626_240, 35_136, 0, 0),
        " with head_dim 128",
        own,
        head_dim=128,
    )
    parts = count_parameters(model_configs.read("SmolLM2-135M") | {"head_dim": None})
    expect_equal(
        [parts[part] for part in PARTS],
        [28_311_552, 26_542_080, 79_626_240, 35_136, 0, 0],
        "SmolLM2-135M with head_dim None: the six parts",
        cause="None in the field means hidden_size / heads",
    )
    counts(
        "Llama-3-8B",
        (525_336_576, 1_342_177_280, 5_637_144_576, 266_240, 327_680, 525_336_576),
        " with attention_bias",
        {"biases": "q, k, v and o have one each, as long as that matrix's output"},
        attention_bias=True,
    )
    counts(
        "SmolLM2-135M",
        (28_311_552, 53_084_160, 79_626_240, 35_136, 30 * (1152 + 2 * 384 + 576), 0),
        " with head_dim 128 and attention_bias",
        own | output,
        head_dim=128,
        attention_bias=True,
    )
    counts(
        "Qwen2.5-0.5B",
        (136_134_656, 88_080_384, 313_786_368, 43_904, 24 * (1792 + 2 * 256), 0),
        " with head_dim 128",
        own | output,
        head_dim=128,
    )
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "experts-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from fridge.memory import model_configs
from fridge.testing import exercise, expect_equal, expect_number, expect_true

with exercise("experts"):

    def counted(config, what):
        """The parts, as numbers."""
        parts = count_parameters(dict(config))
        expect_true(len(parts) > 0, f"{what}: all parts", "a dict of numbers", parts)
        return {
            str(name): expect_number(number, f"{what}: {name}")
            for name, number in parts.items()
        }

    mixtral, mistral = (
        model_configs.read(name) for name in ("Mixtral-8x7B", "Mistral-7B-v0.1")
    )
    # The same shapes but the MLPs. What is expected is made of your own parts: a mistake in
    # those of dense models costs no points here.
    mixed, dense = counted(mixtral, "Mixtral-8x7B"), counted(mistral, "Mistral-7B")
    expect_equal(
        mixed["mlp"],
        8 * dense["mlp"] + 32 * 8 * 4096,
        "Mixtral-8x7B: mlp (eight times your Mistral-7B's, and a router in each layer)",
        cause="each of the 32 layers has 8 experts and a router of 8 x hidden_size",
    )
    expect_equal(
        active_parameters(dict(mixtral)),
        sum(mixed.values()) - 6 * dense["mlp"],
        "Mixtral-8x7B: active parameters (all that you count but six of the eight MLPs)",
        cause="a token meets 2 of the 8 experts of each layer, the whole router and all the rest",
    )
    expect_equal(
        active_parameters(dict(mistral)),
        sum(dense.values()),
        "Mistral-7B, a dense model: active parameters (all that you count)",
        cause="a dense model works with all it has",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: the parts that experts don't touch; other numbers of experts, a single one too;
    #   experts in models of another type; tokens that meet one expert, some, all.
    # Stated by: "each layer has that many MLPs, *and* a router" | "(all layers, with all experts
    #   and routers)" | "with `num_local_experts` in the config" | "all but the experts that it
    #   isn't sent to"
    # Right because: any token may be sent to any expert, so memory has to hold all of them,
    #   while a token is multiplied with the router and its own experts alone.
    for part in ("embedding", "attention", "norms", "head"):
        expect_equal(
            mixed[part],
            dense[part],
            f"Mixtral-8x7B: {part}",
            cause="only the MLPs are there eight times; the rest is as in Mistral-7B",
        )
    number = "num_local_experts says how many there are, and how many rows the router has"
    for config, experts, met, cause in (
        (mixtral, 8, 1, number),
        (mixtral, 8, 8, number),
        (mixtral, 4, 2, number),
        (mixtral, 16, 4, number),
        (mixtral, 1, 1, "a single expert has a router, too, of one row"),
        (
            mistral,
            4,
            1,
            "the field num_local_experts makes a mixture, whatever model_type says",
        ),
    ):
        changed = config | {"num_local_experts": experts, "num_experts_per_tok": met}
        name = config["model_type"].title()
        what = f"{name} with num_local_experts {experts}, num_experts_per_tok {met}"
        parts = counted(changed, what)
        expect_equal(
            parts["mlp"],
            experts * dense["mlp"] + 32 * experts * 4096,
            f"{what}: mlp",
            cause=cause,
        )
        expect_equal(
            active_parameters(dict(changed)),
            sum(parts.values()) - (experts - met) * dense["mlp"],
            f"{what}: active parameters",
            cause="num_experts_per_tok says how many work; the whole router always does",
        )
    ### END HIDDEN TESTS

# %% [markdown]
# Is it true? `transformers` builds all ten models on `meta` and counts their tensors.

# %% tags=["for-real"]
if scoreboard.ready("parameters", "experts"):
    print(f"{'model':16}{'you':>16}{'transformers':>16}{'active':>16}  the same")
    for name in model_configs.NAMES:
        facts = model_configs.read(name)
        mine = sum(count_parameters(facts).values()), active_parameters(facts)
        theirs = model_configs.counted_by_transformers(name)
        print(f"{name:16}{mine[0]:16,}{theirs[0]:16,}{mine[1]:16,}  {mine == theirs}")

# %% [markdown]
# ### Exercise 3 · Bytes of the weights (3 points)
#
# When a model is "quantized to 4 bits", the matrices of its layers are: `attention` and `mlp`. The rest usually stays
# in 16 bits: the embedding, the head, the norms and the biases. (bitsandbytes, GPTQ and AWQ do it so by default. GGUF
# files also quantize embedding and head, often with more bits than the rest.)
#
# This is where "divide by 4" goes wrong, and it goes wrong most for small models with large vocabularies.
#
# Whole numbers of bits and bytes stay below $2^{53}$ in this unit, a petabyte and more: a float holds every such number exactly.
#
# <details><summary>Hint</summary>Two sums, two widths, one division by 8. Round up once, at the end.</details>


# %% nbgrader={"grade": false, "grade_id": "weight-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def weight_bytes(parts, bits, rest_bits=16):
    """Bytes of a model's weights.

    Args:
        parts: a dict as `count_parameters` returns it: six numbers, each 0 or more,
            in any order.
        bits: bits per weight of the matrices in the layers ("attention" and "mlp"), a number
            that need not be whole.
        rest_bits: bits of each of the other parameters.

    Returns:
        Bytes, an int: all the bits together, rounded up to whole bytes once, at the end.
    """
    ### BEGIN SOLUTION
    matrices = parts["attention"] + parts["mlp"]
    rest = sum(parts.values()) - matrices
    return math.ceil((matrices * bits + rest * rest_bits) / 8)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "weight-bytes-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal

with exercise("weight-bytes"):
    llama_2_7b = {
        "embedding": 131_072_000,
        "attention": 2_147_483_648,
        "mlp": 4_328_521_728,
        "norms": 266_240,
        "biases": 0,
        "head": 131_072_000,
    }
    expect_equal(
        weight_bytes(dict(llama_2_7b), 16),
        13_476_831_232,
        "Llama-2-7B in FP16 (the chapter: 14 GB)",
        cause="16 bits for each parameter, 8 bits a byte: bytes, no larger unit, and none on top",
    )
    matrices = dict.fromkeys(llama_2_7b, 0) | {"attention": 16, "mlp": 32}
    expect_equal(
        weight_bytes(dict(matrices), 4),
        24,
        "16 weights of attention and 32 of mlp in 4 bits, and nothing else",
        cause="both parts have `bits` bits a weight: 48 x 4 / 8 bytes",
    )
    expect_equal(
        weight_bytes(dict(matrices), 4.5),
        27,
        "16 weights of attention and 32 of mlp in 4.5 bits, and nothing else",
        cause="`bits` need not be a whole number: 48 x 4.5 / 8 bytes",
    )
    expect_equal(
        weight_bytes(dict(llama_2_7b), 4.15625),
        3_889_307_648,
        "Llama-2-7B in INT4 g128 (the chapter: 4 GB)",
        cause="embedding, norms, biases and head stay in 16 bits",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: small and large models in other formats; models with biases; parts that are 0, a
    #   tied head or all of them; parts in another order; other widths for the rest, narrower ones
    #   too; bits that fill the last byte in part, with less than a bit, and exactly.
    # Stated by: "bits per weight of the matrices in the layers" | "in 16 bits: the embedding,
    #   the head, the norms and the biases" | "six numbers, each 0 or more" | "in any order" |
    #   "bits of each of the other parameters" | "all the bits together, rounded up to whole bytes
    #   once, at the end"
    # Right because: only the matrices of the layers have the low width, and packed weights
    #   don't stop at byte borders, so it is the sum of bits that is rounded, once.
    parts = {
        "embedding": 262_144_000,
        "attention": 12_079_595_520,
        "mlp": 56_371_445_760,
        "norms": 1_318_912,
        "biases": 0,
        "head": 262_144_000,
    }
    expect_equal(weight_bytes(dict(parts), 16), 137_953_296_384, "Llama-2-70B in FP16")
    expect_equal(weight_bytes(dict(parts), 4.15625), 36_613_668_864, "Llama-2-70B in INT4 g128")
    expect_equal(
        weight_bytes(dict(parts), 4 + 8 / 64 + 32 / (64 * 256)),
        36_362_993_664,
        "Llama-2-70B in NF4 with double quantization",
        cause="4.126953125 bits a weight: all decimals count",
    )
    tied = matrices | {"embedding": 40, "norms": 4}
    expect_equal(
        weight_bytes(dict(tied), 16),
        184,
        "40 weights of embedding, 16 of attention, 32 of mlp, 4 of norms in 16 bits, head 0",
        cause="a tied head has no bytes of its own",
    )
    expect_equal(
        weight_bytes(matrices | {"biases": 6}, 16),
        108,
        "16 weights of attention, 32 of mlp and 6 biases in 16 bits",
        cause="biases take bytes, too",
    )
    expect_equal(
        weight_bytes(matrices | {"biases": 6}, 4),
        36,
        "16 weights of attention and 32 of mlp in 4 bits, and 6 biases",
        cause="biases stay in 16 bits",
    )
    parts = {
        "embedding": 136_134_656,
        "attention": 44_040_192,
        "mlp": 313_786_368,
        "norms": 43_904,
        "biases": 27_648,
        "head": 0,
    }
    expect_equal(weight_bytes(dict(parts), 4.5), 473_689_856, "Qwen2.5-0.5B in NF4")
    expect_equal(
        weight_bytes(dict(parts), 32, rest_bits=32),
        4 * 494_032_768,
        "Qwen2.5-0.5B in FP32, rest_bits 32",
        cause="rest_bits is an argument",
    )
    expect_equal(
        weight_bytes(dict(parts), 4, rest_bits=8),
        (44_040_192 + 313_786_368) // 2 + 136_134_656 + 43_904 + 27_648,
        "Qwen2.5-0.5B with 4 bits and the rest in 8",
    )
    expect_equal(
        weight_bytes(dict.fromkeys(parts, 0) | {"attention": 2}, 4.5),
        2,
        "two weights of 4.5 bits: 9 bits",
        cause="round up: a byte that is filled in part counts whole",
    )
    small = {"embedding": 2, "attention": 2, "mlp": 2, "norms": 1, "biases": 0, "head": 0}
    expect_equal(
        weight_bytes(dict(small), 4.5),
        9,
        "four weights of 4.5 bits, two of attention and two of mlp, and three of 16: 66 bits",
        cause="round once, at the end, and not each part by itself",
    )
    expect_equal(
        weight_bytes(dict(small), 4),
        8,
        "four weights of 4 bits and three of 16: 64 bits",
        cause="64 bits fill eight bytes; no ninth is begun",
    )
    expect_equal(
        weight_bytes(dict(reversed(small.items())), 4),
        8,
        "four weights of 4 bits and three of 16, the parts in another order",
        cause="a part is found by its name, wherever it stands in the dict",
    )
    expect_equal(
        weight_bytes(dict(small), 8, rest_bits=4),
        6,
        "four weights of 8 bits and three of 4: 44 bits",
        cause="rest_bits is an argument, and its weights are packed, too: three of 4 bits take 12",
    )
    expect_equal(
        weight_bytes(dict(small), 4.5, rest_bits=4),
        4,
        "four weights of 4.5 bits and three of 4: 30 bits",
        cause="round once, at the end: the rest begins within a byte of the matrices",
    )
    expect_equal(
        weight_bytes(dict.fromkeys(parts, 0) | {"attention": 2}, 4.0625),
        2,
        "two weights of 4.0625 bits: 8.125 bits",
        cause="an eighth of a bit is left over after one byte, and takes another one",
    )
    expect_equal(weight_bytes(dict.fromkeys(small, 0), 4.5), 0, "a model without weights")
    ### END HIDDEN TESTS

# %% [markdown]
# The chapter's numbers, the rule "two bytes a parameter, divided by 4", and what is stored.

# %% tags=["for-real"]
if scoreboard.ready("bits-per-weight", "parameters", "weight-bytes"):
    off = {}
    print(f"{'GB':16}{'FP16':>8}{'/ 4':>8}{'INT4 g128':>11}{'off by':>8}")
    for name in model_configs.NAMES:
        counted = count_parameters(model_configs.read(name))
        full, packed = (weight_bytes(counted, formats[f]) for f in ("FP16", "INT4 g128"))
        off[name] = packed / (full / 4) - 1
        print(
            f"{name:16}{full / GB:8.2f}{full / 4 / GB:8.2f}{packed / GB:11.2f}{off[name]:8.0%}"
        )

# %% tags=["for-real"]
if scoreboard.ready("bits-per-weight", "parameters", "weight-bytes"):
    pictures.where_the_rule_is_off(off)

# %% [markdown]
# *In words: one bar for each model, how much larger its INT4 weights are than a quarter of FP16. The bars are longest
# for small models with a large vocabulary and shortest for the mixture of experts and the 70B models.*
#
# So 14, 140, 4 and 35 GB are fair for the Llama-2 models they were made for. Three things move the truth away from the
# rule:
#
# - **Scales and zero points**: 4.16 bits for 4, that is 4 % of the quantized part, and 12.5 % for NF4 or Q4_0.
# - **What isn't quantized**: embedding and head. Llama-2's vocabulary has 32 000 words, Llama-3's 128 256, Qwen2.5's
#   about 152 000.
# - **The name**: Llama-2-7B has 6.74 billion parameters, Qwen2.5-7B has 7.62.
#
# And a fourth, before any model is loaded: a GB is $10^9$ bytes and a GiB $2^{30}$, 7 % more. Files and formulas are
# told in GB. Labels on graphics cards say GB and mean GiB, more or less.
#
# ### Exercise 4 · Bytes of the KV cache (3 points)
#
# For each layer, each KV head and each token, the cache holds one key and one value of `head_dim` numbers (unit 03
# shows why). With grouped-query attention there are fewer KV heads than query heads, and the cache shrinks with them.
#
# Some models look back through a **sliding window**: each layer sees the last `sliding_window` tokens and can drop what
# is older. Mistral-7B has one of 4096. And here is a trap from real life: Qwen2.5's config has a `sliding_window` too,
# and beside it `"use_sliding_window": false`.
#
# <details><summary>Hint 1</summary>How many tokens does a layer keep? The smaller of two numbers, if there is a window.
# </details>
# <details><summary>Hint 2</summary>config.get("use_sliding_window") is None for a config without the field, and None
# isn't False.</details>


# %% nbgrader={"grade": false, "grade_id": "kv-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kv_bytes(config, tokens, batch=1, bits=16):
    """Bytes of the keys and values of `batch` sequences of `tokens` tokens each.

    A layer keeps all tokens, also more than the model was trained for; but at most
    `sliding_window` tokens of a sequence if the config has a number in that field, unless its
    field `use_sliding_window` is False. No other field matters for that, `max_window_layers`
    neither: the window is every layer's. A head has `head_dim` numbers if the config has a
    number there, else hidden_size / heads.

    Args:
        config: a dict with the fields of a `config.json`.
        tokens: length of each sequence, 0 or more.
        batch: number of sequences, at least 1.
        bits: bits of each number in the cache, which need not be whole.

    Returns:
        Bytes, an int: all the bits together, rounded up to whole bytes once, at the end.
    """
    ### BEGIN SOLUTION
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    if config.get("sliding_window") and config.get("use_sliding_window") is not False:
        tokens = min(tokens, config["sliding_window"])
    numbers = 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * head_dim
    return math.ceil(numbers * tokens * batch * bits / 8)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "kv-bytes-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
from fridge.memory import model_configs
from fridge.testing import exercise, expect_equal

with exercise("kv-bytes"):
    llama_2 = model_configs.read("Llama-2-7B")
    one_layer = llama_2 | {"num_hidden_layers": 1}
    one_head = {"num_attention_heads": 1, "num_key_value_heads": 1, "hidden_size": 128}
    expect_equal(
        kv_bytes(one_layer | one_head, tokens=1),
        512,
        "one layer with one head of 128 numbers, one token, 16 bits",
        cause="a key and a value, 128 numbers each; 8 bits are a byte",
    )
    expect_equal(
        kv_bytes(dict(one_layer), tokens=1),
        16 * 1024,
        "one layer of Llama-2-7B, one token, 16 bits",
        cause="for each of 32 KV heads, of hidden_size / heads = 128 numbers",
    )
    expect_equal(
        kv_bytes(dict(llama_2), tokens=1),
        512 * 1024,
        "Llama-2-7B, one token, 16 bits",
        cause="in each of 32 layers",
    )
    expect_equal(
        kv_bytes(model_configs.read("Llama-3-8B"), tokens=1),
        128 * 1024,
        "Llama-3-8B, one token, 16 bits",
        cause="the KV heads are stored, not the query heads",
    )
    expect_equal(
        kv_bytes(model_configs.read("Mistral-7B-v0.1"), tokens=10_000),
        4096 * 128 * 1024,
        "Mistral-7B, 10 000 tokens, a window of 4096, no field use_sliding_window",
        cause="a layer keeps the last 4096 tokens; only use_sliding_window False ends that",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: several sequences; numbers of other widths, of whole bits and not; bits that fill
    #   the last byte in part, with less than a bit too; no tokens; lengths just below, at and
    #   above the window; windows that are switched off; windows of models of any type; windows
    #   that are None, and configs without one; texts longer than the model's context; a mixture
    #   of experts; head_dim in the config, as a number or None.
    # Stated by: "keys and values of `batch` sequences of `tokens` tokens each" | "bits of each
    #   number in the cache, which need not be whole" | "all the bits together, rounded up to
    #   whole bytes once, at the end" | "length of each sequence, 0 or more" | "at most
    #   `sliding_window` tokens of a sequence" | "unless its field `use_sliding_window` is False"
    #   | "No other field matters for that, `max_window_layers` neither: the window is every layer's"
    #   | "if the config has a number in that field" | "A layer keeps all tokens, also more than
    #   the model was trained for" | "For each layer, each KV head and each token, the cache
    #   holds one key and one value" | "if the config has a number there, else hidden_size /
    #   heads"
    # Right because: every layer keeps a key and a value for each KV head and each token that
    #   it may still look at: query heads store nothing, and what has left the window is never
    #   read again.
    llama, mistral = model_configs.read("Llama-3-8B"), model_configs.read("Mistral-7B-v0.1")
    expect_equal(
        kv_bytes(dict(llama), tokens=8192, batch=16),
        16 * 2**30,
        "Llama-3-8B, 16 sequences of 8192",
        cause="each sequence has keys and values of its own",
    )
    expect_equal(
        kv_bytes(dict(llama), tokens=8192, batch=16, bits=8),
        8 * 2**30,
        "Llama-3-8B, 16 sequences of 8192, 8 bits a number",
        cause="bits is an argument",
    )
    expect_equal(
        kv_bytes(dict(llama), tokens=32, bits=4.5),
        32 * 36_864,
        "Llama-3-8B, 32 tokens, 4.5 bits a number",
        cause="two numbers may share a byte: all bits are added up, and no number is rounded",
    )
    expect_equal(
        kv_bytes(dict(llama), tokens=0), 0, "Llama-3-8B, no tokens", cause="no tokens, no bytes"
    )
    expect_equal(
        kv_bytes(model_configs.read("SmolLM2-135M"), tokens=7, batch=3, bits=32),
        7 * 3 * 46_080,
        "SmolLM2, three sequences of seven tokens, 32 bits",
    )
    for tokens, kept in ((4095, 4095), (4096, 4096), (4097, 4096)):
        expect_equal(
            kv_bytes(dict(mistral), tokens=tokens),
            kept * 128 * 1024,
            f"Mistral-7B, {tokens} tokens, a window of 4096",
            cause="a layer keeps what there is, and never more than the window",
        )
    expect_equal(
        kv_bytes(dict(mistral), tokens=5000, batch=3),
        3 * 4096 * 128 * 1024,
        "Mistral-7B, three sequences of 5000 tokens",
        cause="the window is each sequence's own",
    )
    expect_equal(
        kv_bytes(dict(llama), tokens=10_000),
        10_000 * 128 * 1024,
        "Llama-3-8B, 10 000 tokens, no window",
        cause="without a window all tokens are kept, beyond max_position_embeddings, too",
    )
    expect_equal(
        kv_bytes(model_configs.read("Qwen2.5-7B"), tokens=200_000),
        200_000 * 57_344,
        "Qwen2.5-7B, 200 000 tokens",
        cause="use_sliding_window is False: nothing is dropped",
    )
    expect_equal(
        kv_bytes(llama | {"sliding_window": 100, "use_sliding_window": True}, tokens=300),
        100 * 128 * 1024,
        "Llama-3-8B with a window of 100 and use_sliding_window True, 300 tokens",
        cause="any model that has a number in sliding_window has a window",
    )
    expect_equal(
        kv_bytes(
            model_configs.read("Qwen2.5-7B") | {"use_sliding_window": True}, tokens=200_000
        ),
        131_072 * 57_344,
        "Qwen2.5-7B with use_sliding_window True, 200 000 tokens",
        cause="the window of 131072 tokens is every layer's",
    )
    expect_equal(
        kv_bytes(llama | {"sliding_window": None}, tokens=10),
        10 * 128 * 1024,
        "Llama-3-8B with sliding_window None, 10 tokens",
        cause="None is no window",
    )
    expect_equal(
        kv_bytes(model_configs.read("Mixtral-8x7B"), tokens=30_000),
        30_000 * 128 * 1024,
        "Mixtral-8x7B, 30 000 tokens",
        cause="experts share one cache",
    )
    expect_equal(
        kv_bytes(llama | {"head_dim": 256}, tokens=1),
        256 * 1024,
        "Llama-3-8B with head_dim 256, one token",
        cause="the config's head_dim counts, not hidden_size / heads",
    )
    expect_equal(
        kv_bytes(llama | {"head_dim": None}, tokens=1),
        128 * 1024,
        "Llama-3-8B with head_dim None, one token",
        cause="None in the field means hidden_size / heads",
    )
    small = llama | {"num_hidden_layers": 1, "num_key_value_heads": 1, "head_dim": 3}
    for batch, expected, cause in (
        (1, 4, "round up: a byte that is filled in part counts whole"),
        (
            2,
            7,
            "round once, at the end, and not each sequence by itself, nor its keys and its values",
        ),
    ):
        expect_equal(
            kv_bytes(dict(small), tokens=1, batch=batch, bits=4.5),
            expected,
            f"{6 * batch} numbers of 4.5 bits: {27 * batch} bits (one layer, one KV head, "
            f"head_dim 3, one token, batch {batch})",
            cause=cause,
        )
    expect_equal(
        kv_bytes(small | {"head_dim": 1}, tokens=1, bits=4.0625),
        2,
        "2 numbers of 4.0625 bits: 8.125 bits (one layer, one KV head, head_dim 1, one token)",
        cause="an eighth of a bit is left over after one byte, and takes another one",
    )
    ### END HIDDEN TESTS

# %% tags=["for-real"]
if scoreboard.ready("kv-bytes"):
    print(f"{'':16}{'a token':>10}{'4096 tokens':>13}{'32 768':>10}{'32 768, 8 bits':>16}")
    for name in model_configs.NAMES:
        facts = model_configs.read(name)
        long = [kv_bytes(facts, n) / GB for n in (4096, 32_768)]
        short = kv_bytes(facts, 1) / 1024
        small = kv_bytes(facts, 32_768, bits=8) / GB
        print(f"{name:16}{short:6.0f} KiB{long[0]:10.2f} GB{long[1]:7.2f} GB{small:13.2f} GB")

# %% [markdown]
# Llama-2-7B and Mistral-7B weigh almost the same, and at 32 768 tokens their caches differ by a factor of 32: four from
# the KV heads, eight from the window. (That is arithmetic: Llama-2 was trained for 4096 tokens.)
#
# ### Exercise 5 · How many cards (2 points)
#
# Now the question itself. These are the cards, with what the driver shows you of their memory.

# %%
for card in cards.CARDS.values():
    print(
        f"{card.name:9} label {card.label:3} GB   memory {card.memory / GB:6.1f} GB = {card.memory / GIB:5.1f} GiB"
        f"   {card.bandwidth / GB:6.0f} GB/s   {card.flops / 1e12:5.0f} TFLOP/s in FP16"
    )

# %% [markdown]
# The rule that all of this unit uses: several identical cards share weights and KV cache evenly (*tensor parallelism*:
# each holds a slice of every matrix). On each card, `reserve` bytes are kept free: CUDA's own context takes a few
# hundred megabytes, activations and the allocator's losses the rest. We reserve 2 GB. So it fits on $n$ cards if
#
# $$ \mathrm{weights} + \mathrm{KV} \le n \cdot (\mathrm{card} - \mathrm{reserve}). $$
#
# Frameworks ask for more: the number of cards must divide the number of heads, so in practice 3 becomes 4. Here it stays 3.
#
# <details><summary>Hint</summary>Divide and round up. -(-a // b) rounds up in whole numbers.</details>


# %% nbgrader={"grade": false, "grade_id": "cards-needed", "locked": false, "schema_version": 3, "solution": true, "task": false}
def cards_needed(weights, kv, card, reserve=2_000_000_000):
    """The smallest number of identical cards that hold a model and its KV cache.

    Args:
        weights, kv: bytes of the weights and of the KV cache, 0 or more; cards share them
            evenly.
        card: bytes of one card's memory.
        reserve: bytes kept free on each card, 0 or more.

    Returns:
        An int, at least 1.

    Raises:
        ValueError: a card has no bytes left beside the reserve, even if there is nothing to
            hold.
    """
    ### BEGIN SOLUTION
    room = card - reserve
    if room <= 0:
        raise ValueError(f"a reserve of {reserve} leaves nothing of {card} bytes")
    return max(1, -(-(weights + kv) // room))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "cards-needed-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal, expect_raises

with exercise("cards-needed"):
    expect_equal(
        cards_needed(weights=14 * 10**9, kv=2 * 10**9, card=24 * 10**9),
        1,
        "14 GB of weights, 2 GB of KV cache, cards of 24 GB",
        cause="one card is enough; the answer is how many, a number",
    )
    expect_equal(
        cards_needed(weights=196 * 10**9, kv=0, card=100 * 10**9),
        2,
        "196 GB of weights, no KV cache, cards of 100 GB",
        cause="two cards share the 196 GB, which fill their room of 98 GB each exactly",
    )
    expect_equal(
        cards_needed(weights=205 * 10**9, kv=0, card=100 * 10**9),
        3,
        "205 GB of weights, no KV cache, cards of 100 GB",
        cause="a little more than two cards hold: round up to the next whole number",
    )
    expect_equal(
        cards_needed(weights=43 * 10**9, kv=0, card=16 * 10**9),
        4,
        "43 GB of weights, no KV cache, cards of 16 GB",
        cause="2 GB of each card are reserved: 14 GB are left on each",
    )
    expect_equal(
        cards_needed(weights=12 * 10**9, kv=40 * 10**9, card=24 * 10**9),
        3,
        "12 GB of weights, 40 GB of KV cache, cards of 24 GB",
        cause="weights and KV cache together, 52 GB, need room, and the cards share both",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: a byte less and a byte more than the cards hold, and just as much; weights and KV
    #   cache of many sizes; many cards; other reserves, and none; a tiny model, and nothing at
    #   all; a reserve that leaves a single byte, and one that leaves no room, for a model or for
    #   nothing.
    # Stated by: "\mathrm{weights} + \mathrm{KV} \le n \cdot (\mathrm{card} - \mathrm{reserve})"
    #   | "bytes of the weights and of the KV cache, 0 or more; cards share them evenly" | "The
    #   smallest number of identical cards that hold a model and its KV cache" | "bytes kept free
    #   on each card, 0 or more" | "An int, at least 1" | "a card has no bytes left beside the
    #   reserve, even if there is nothing to hold"
    # Right because: the reserve is kept on every card, so each one adds card minus reserve,
    #   and there are no parts of cards: divide, and round up.
    expect_equal(
        cards_needed(weights=36 * 10**9, kv=2 * 10**9, card=16 * 10**9),
        3,
        "36 GB of weights, 2 GB of KV cache, cards of 16 GB",
        cause="weights and KV cache share the cards: neither has cards of its own",
    )
    for more, cards_expected in ((-1, 2), (0, 2), (1, 3)):
        expect_equal(
            cards_needed(42 * 10**9 + more, 2 * 10**9, 24 * 10**9),
            cards_expected,
            f"44 GB and {more} bytes on cards that have room for 22 GB each",
            cause="what fills the cards exactly still fits; one byte more needs another card",
        )
    expect_equal(
        cards_needed(137_953_296_384, 1_342_177_280, 16_106_127_360),
        10,
        "Llama-2-70B in FP16 with 4096 tokens, on T4s",
        cause="as many cards as it takes, ten or more",
    )
    expect_equal(
        cards_needed(10, 0, card=4, reserve=0),
        3,
        "10 bytes on cards of 4 bytes, reserve 0",
        cause="the reserve is an argument",
    )
    expect_equal(
        cards_needed(5, 2, card=100, reserve=99),
        7,
        "7 bytes on cards of 100, of which 99 are reserved",
        cause="one byte of each card is left, and that is room",
    )
    expect_equal(
        cards_needed(10, 0, card=10, reserve=5),
        2,
        "10 bytes on cards of 10 bytes, reserve 5",
        cause="the reserve is an argument",
    )
    expect_equal(
        cards_needed(1, 0, card=100, reserve=10), 1, "1 byte on cards of 100 bytes, reserve 10"
    )
    expect_equal(
        cards_needed(0, 0, card=100, reserve=10),
        1,
        "no weights and no KV cache, cards of 100 bytes",
        cause="at least 1",
    )
    for reserve in (100, 101):
        expect_raises(
            ValueError,
            lambda reserve=reserve: cards_needed(10, 0, card=100, reserve=reserve),
            f"a reserve of {reserve} on a card of 100",
            cause="then no number of cards is enough",
        )
    expect_raises(
        ValueError,
        lambda: cards_needed(0, 0, card=100, reserve=100),
        "a reserve of 100 on a card of 100, no weights and no KV cache",
        cause="the error is about the card, whatever it is to hold",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 6 · The largest batch, the longest context (4 points)
#
# Turn the question round. The weights are on the card; how much conversation fits into the rest?
#
# Both functions use exercise 5's rule, and whole numbers only: three conversations and a half are three. When not even
# the weights fit, the answer is 0; a reserve that leaves nothing of a card is no error here, but a card on which nothing
# fits. 2 points are for each function.
#
# <details><summary>Hint 1</summary>Room for the cache: cards * (card - reserve) - weights. It can be
# negative.</details>
# <details><summary>Hint 2</summary>One token more costs `batch` times kv_per_token.</details>


# %% nbgrader={"grade": false, "grade_id": "largest", "locked": false, "schema_version": 3, "solution": true, "task": false}
def largest_batch(weights, kv_per_token, context, card, cards=1, reserve=2_000_000_000):
    """How many sequences of `context` tokens fit beside the weights.

    Args:
        weights: bytes of the weights, 0 or more.
        kv_per_token: bytes of the KV cache for one token of one sequence, at least 1.
        context: tokens of each sequence, at least 1.
        card: bytes of one card's memory.
        cards: number of cards, at least 1, which share weights and KV cache evenly.
        reserve: bytes kept free on each card, 0 or more.

    Returns:
        An int; 0 if not one fits, or not even the weights. (No error if reserve >= card: 0.)
    """
    ### BEGIN SOLUTION
    room = cards * (card - reserve) - weights
    return max(0, room // (kv_per_token * context))
    ### END SOLUTION


def largest_context(
    weights, kv_per_token, batch, card, cards=1, reserve=2_000_000_000, limit=None
):
    """How many tokens each of `batch` sequences can have.

    Args:
        batch: sequences, at least 1.
        limit: the longest context that the model was trained for, at least 1; None: no limit.
            The others as for `largest_batch`.

    Returns:
        An int, never above `limit`; 0 if not one token fits, or not even the weights.
    """
    ### BEGIN SOLUTION
    room = cards * (card - reserve) - weights
    tokens = max(0, room // (kv_per_token * batch))
    return tokens if limit is None else min(tokens, limit)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "largest-batch-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal

with exercise("largest-batch"):
    expect_equal(
        largest_batch(0, 2_500_000, 4000, card=85 * 10**9),
        8,
        "no weights, a card of 85 GB, sequences of 4000 tokens of 2.5 MB each",
        cause="a sequence takes 4000 x 2.5 MB, 10 GB, and parts of a sequence don't count",
    )
    expect_equal(
        largest_batch(30 * 10**9, 2_500_000, 4000, card=85 * 10**9),
        5,
        "weights of 30 GB, a card of 85 GB, 10 GB for each sequence",
        cause="the weights are there, too, once for all sequences",
    )
    expect_equal(
        largest_batch(13 * 10**9, 500_000, 4000, card=24 * 10**9),
        4,
        "weights of 13 GB, a card of 24 GB, 2 GB for each sequence",
        cause="2 GB of the card are reserved where no reserve is given: 9 GB are left",
    )
    expect_equal(
        largest_batch(14 * 10**9, 500_000, 4000, card=24 * 10**9),
        4,
        "weights of 14 GB, a card of 24 GB, 2 GB for each sequence: room for exactly four",
        cause="what fills the card exactly still fits",
    )
    expect_equal(
        largest_batch(30 * 10**9, 500_000, 4000, card=24 * 10**9),
        0,
        "weights of 30 GB on a card of 24 GB",
        cause="not even the weights fit: 0, neither less nor more",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: a byte less and a byte more than fits, and just as much; weights that leave no
    #   room; several cards, also for weights larger than one; no reserve; one that isn't given;
    #   one larger than the card; the smallest sequences; a real model.
    # Stated by: "exercise 5's rule, and whole numbers only: three conversations and a half are
    #   three" | "0 if not one fits, or not even the weights" | "number of cards, at least 1, which share
    #   weights and KV cache evenly" | "bytes kept free on each card, 0 or more" |
    #   "reserve=2_000_000_000" | "a reserve that leaves nothing of a card is no error here" |
    #   "bytes of the KV cache for one token of one sequence, at least 1" | "How many sequences
    #   of `context` tokens fit beside the weights"
    # Right because: the weights are stored once for all, and a sequence costs its whole
    #   context, so what is left over beside whole sequences serves nobody.
    expect_equal(
        largest_batch(0, 2, 5, card=110, reserve=10),
        10,
        "a card of 110 bytes, reserve 10, no weights, 10 bytes for each sequence",
        cause="the reserve is an argument: 100 bytes are left",
    )
    for weights, batch in ((49, 5), (50, 5), (51, 4), (89, 1), (90, 1), (91, 0), (100, 0)):
        expect_equal(
            largest_batch(weights, 2, 5, card=110, reserve=10),
            batch,
            f"room of {100 - weights} bytes, 10 for each sequence",
            cause="what fills the card exactly still fits; a part of a sequence doesn't",
        )
    for weights in (101, 109, 110, 10_000):
        expect_equal(
            largest_batch(weights, 2, 5, card=110, reserve=10),
            0,
            f"weights of {weights} bytes, room for 100",
            cause="not even the weights fit: 0, neither less nor more",
        )
    expect_equal(
        largest_batch(0, 2, 5, card=100, cards=3, reserve=0),
        30,
        "three cards of 100 bytes, reserve 0, no weights, 10 bytes for each sequence",
        cause="the room of every card counts",
    )
    expect_equal(
        largest_batch(0, 2, 5, card=15, cards=3, reserve=0),
        4,
        "three cards of 15 bytes, reserve 0, no weights, 10 bytes for each sequence",
        cause="the cards share each sequence's KV cache: what is left over on each counts, too",
    )
    expect_equal(
        largest_batch(0, 2, 5, card=110, cards=3, reserve=10),
        30,
        "three cards of 110 bytes, reserve 10, no weights, 10 bytes for each sequence",
        cause="each card keeps its reserve",
    )
    expect_equal(
        largest_batch(50, 2, 5, card=110, cards=3, reserve=10),
        25,
        "three cards of 110 bytes, reserve 10, weights of 50, 10 bytes for each sequence",
        cause="the cards share the weights, which are there once",
    )
    expect_equal(
        largest_batch(250, 2, 5, card=110, cards=3, reserve=10),
        5,
        "three cards of 110 bytes, reserve 10, weights of 250: larger than one card",
    )
    expect_equal(
        largest_batch(14 * 10**9, 250_000, 4000, card=24 * 10**9),
        8,
        "weights of 14 GB on a card of 24 GB, 1 GB for each sequence",
        cause="2 GB of the card are reserved where no reserve is given",
    )
    expect_equal(
        largest_batch(0, 1, 1, card=7, reserve=0),
        7,
        "a card of 7 bytes, reserve 0, no weights, one byte for each sequence",
    )
    expect_equal(
        largest_batch(0, 2, 5, card=10, reserve=30),
        0,
        "a card of 10 bytes, reserve 30, no weights, 10 bytes for each sequence",
        cause="a reserve that leaves nothing of a card leaves room for no sequence: 0, and no error",
    )
    expect_equal(
        largest_batch(14 * 10**9 + 1, 250_000, 4000, card=24 * 10**9),
        7,
        "room for eight sequences of 1 GB, but for one byte",
        cause="what misses a byte doesn't fit: no tolerance",
    )
    expect_equal(
        largest_batch(36_613_668_864, 327_680, 4096, card=85_899_345_920),
        35,
        "Llama-2-70B in INT4 on an A100-80, 4096 tokens each",
    )
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "largest-context-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal

with exercise("largest-context"):
    expect_equal(
        largest_context(0, 2, batch=1, card=100, reserve=0),
        50,
        "no weights, a card of 100 bytes, reserve 0, 2 bytes a token, one sequence, no limit",
        cause="what fills the card exactly still fits",
    )
    expect_equal(
        largest_context(40, 2, batch=1, card=100, reserve=0),
        30,
        "weights of 40 bytes, a card of 100, reserve 0, 2 bytes for each token, one sequence",
        cause="the weights are there, too",
    )
    expect_equal(
        largest_context(14 * 10**9, 500_000, batch=1, card=24 * 10**9),
        16_000,
        "weights of 14 GB, a card of 24 GB, 500 kB for each token, one sequence",
        cause="2 GB of the card are reserved where no reserve is given: 8 GB are left",
    )
    expect_equal(
        largest_context(14 * 10**9, 500_000, batch=1, card=24 * 10**9, limit=4096),
        4096,
        "room for 16 000 tokens of one sequence, limit 4096",
        cause="never above `limit`, which is allowed itself",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: a byte less and a byte more than fits, and just as much; one sequence and
    #   several; weights that leave no room, with a limit and without; a limit beyond what fits,
    #   and one just met; several cards; a reserve that leaves nothing; a real model.
    # Stated by: "Both functions use exercise 5's rule, and whole numbers only" | "How many
    #   tokens each of `batch` sequences can have" | "0 if not one token fits, or not even the
    #   weights" | "An int, never above `limit`" | "number of cards, at least 1, which share weights and KV
    #   cache evenly" | "a reserve that leaves nothing of a card is no error here" | "bytes of
    #   the KV cache for one token of one sequence"
    # Right because: all sequences grow together, so a token more is paid for once in each of
    #   them; memory and training set two limits, and the smaller one holds.
    for weights, tokens in ((49, 25), (50, 25), (51, 24)):
        expect_equal(
            largest_context(weights, 2, batch=1, card=110, reserve=10),
            tokens,
            f"room of {100 - weights} bytes, 2 for each token of one sequence",
            cause="what fills the card exactly still fits; a part of a token doesn't",
        )
    expect_equal(
        largest_context(40, 2, batch=3, card=110, reserve=10),
        10,
        "room of 60 bytes, 2 for each token of each of three sequences",
        cause="three sequences share the room, and the answer is the tokens of one of them",
    )
    for weights, tokens in ((49, 8), (52, 8), (53, 7), (94, 1)):
        expect_equal(
            largest_context(weights, 2, batch=3, card=110, reserve=10),
            tokens,
            f"room of {100 - weights} bytes, 2 for each token of each of three sequences",
            cause="each of the sequences gets the token; what fills the card exactly still fits",
        )
    for weights in (95, 100, 101):
        expect_equal(
            largest_context(weights, 2, batch=3, card=110, reserve=10),
            0,
            f"room of {100 - weights} bytes, 2 for each token of each of three sequences",
            cause="not one token for each of them fits: 0, neither less nor more",
        )
    expect_equal(
        largest_context(40, 2, batch=3, card=110, reserve=10, limit=4096),
        10,
        "room for 10 tokens of each of three sequences, limit 4096",
        cause="room and limit: the smaller of the two",
    )
    expect_equal(
        largest_context(40, 2, batch=3, card=110, reserve=10, limit=10),
        10,
        "room for 10 tokens of each of three sequences, limit 10",
        cause="the limit is that of each sequence",
    )
    expect_equal(
        largest_context(5000, 2, batch=3, card=110, reserve=10, limit=4096),
        0,
        "weights of 5000 bytes, room for 100, limit 4096",
        cause="nothing fits: 0, not a negative number and not the limit",
    )
    expect_equal(
        largest_context(0, 2, batch=1, card=100, cards=2, reserve=0),
        100,
        "two cards of 100 bytes, reserve 0, no weights, 2 bytes for each token",
        cause="the room of every card counts",
    )
    expect_equal(
        largest_context(0, 2, batch=1, card=15, cards=2, reserve=0),
        15,
        "two cards of 15 bytes, reserve 0, no weights, 2 bytes for each token",
        cause="the cards share each token's KV cache: what is left over on each counts, too",
    )
    expect_equal(
        largest_context(0, 2, batch=1, card=110, cards=2, reserve=10),
        100,
        "two cards of 110 bytes, reserve 10, no weights, 2 bytes for each token",
        cause="each card keeps its reserve",
    )
    for reserve in (110, 200):
        expect_equal(
            largest_context(0, 2, batch=1, card=110, reserve=reserve, limit=4096),
            0,
            f"a card of 110 bytes, reserve {reserve}, no weights",
            cause="a reserve that leaves nothing of a card leaves room for no token: 0, and no error",
        )
    expect_equal(
        largest_context(14 * 10**9 + 1, 500_000, batch=1, card=24 * 10**9),
        15_999,
        "room for 16 000 tokens of 500 kB, but for one byte",
        cause="what misses a byte doesn't fit: no tolerance",
    )
    expect_equal(
        largest_context(40, 2, batch=1, card=110, cards=2, reserve=10),
        80,
        "two cards of 110 bytes, reserve 10, weights of 40, 2 bytes for each token",
        cause="the cards share the weights, which are there once",
    )
    expect_equal(
        largest_context(36_613_668_864, 327_680, 1, card=25_769_803_776, cards=2),
        33_343,
        "Llama-2-70B in INT4 on two cards of 24 GiB",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# What that means for the model that many people start with:

# %% tags=["for-real"]
if scoreboard.ready(
    "bits-per-weight",
    "parameters",
    "weight-bytes",
    "kv-bytes",
    "largest-batch",
    "largest-context",
):
    facts = model_configs.read("Llama-3-8B")
    counted, per_token = count_parameters(facts), kv_bytes(facts, 1)
    print("Llama-3-8B: longest context of one conversation; conversations of 4096 tokens")
    for place in ("T4", "RTX 3090", "A100-80"):
        for name in ("FP16", "INT8", "INT4 g128"):
            need, memory = weight_bytes(counted, formats[name]), cards.CARDS[place].memory
            longest = largest_context(need, per_token, 1, memory, limit=8192)
            talks = largest_batch(need, per_token, 4096, memory)
            print(
                f"{place:9} {name:10}{need / GB:5.1f} GB of weights{longest:7} tokens{talks:5} at once"
            )

# %% [markdown]
# On the T4 the weights in FP16 fill the card alone, 16.06 of 16.11 GB, with nothing left for the reserve: 0 and 0. Fewer
# bits for the weights turn directly into more conversations.
#
# ### The title's question
#
# A 70-billion-parameter model on 16 GB: your functions know. Llama-2-70B, one conversation of 4096 tokens.

# %% tags=["for-real"]
if scoreboard.ready(
    "bits-per-weight", "parameters", "weight-bytes", "kv-bytes", "cards-needed"
):
    facts = model_configs.read("Llama-2-70B")
    counted, talk = count_parameters(facts), kv_bytes(facts, 4096)
    places = ("T4", "RTX 3090", "A100-40", "H100-80")
    print(
        f"KV cache: {talk / GB:.1f} GB. Cards needed:{'':12}"
        + "".join(f"{p:>10}" for p in places)
    )
    for name in ("FP16", "INT8", "NF4", "INT4 g128"):
        need = weight_bytes(counted, formats[name])
        numbers = [cards_needed(need, talk, cards.CARDS[place].memory) for place in places]
        print(
            f"{name:10}{need / GB:8.1f} GB of weights{'':11}"
            + "".join(f"{n:10}" for n in numbers)
        )

# %% [markdown]
# So: **no, not in 4 bits**, on neither card. How many bits may a weight have, then? Try them all, in steps of a
# hundredth.


# %% tags=["for-real"]
def most_bits(card, counted, kv):
    """The most bits per weight, in hundredths, with which all fits on one card; 0 for none."""
    for hundredths in range(1600, 0, -1):
        if cards_needed(weight_bytes(counted, hundredths / 100), kv, card.memory) == 1:
            return hundredths / 100
    return 0


if scoreboard.ready("parameters", "weight-bytes", "kv-bytes", "cards-needed"):
    facts = model_configs.read("Llama-2-70B")
    counted, talk = count_parameters(facts), kv_bytes(facts, 4096)
    for place in ("T4", "RTX 3090", "A100-40", "A100-80"):
        most = most_bits(cards.CARDS[place], counted, talk)
        print(f"Llama-2-70B on one {place}: {most:.2f} bits per weight")

# %% [markdown]
# What would have to give?
#
# - **The bits.** On 16 GB a weight may have about 1.4 bits with all scales, on 24 GB about 2.5. Formats of that size
#   exist (llama.cpp's IQ1 and IQ2, AQLM, QuIP#). They cost quality, more at 1.4 than at 2.5; unit 02 lets you see where
#   a model becomes stupid.
# - **The cards.** Three T4s or two RTX 3090s hold it in INT4 (with most frameworks, four T4s).
# - **The speed.** What doesn't fit stays in the computer's own memory and crosses the bus for every single token
#   (offloading). It works. You will compute how long it takes, below.
# - **The model.** A 13B model in INT4 fits on 16 GB with room to talk. A mixture of experts doesn't help here: it
#   computes with few parameters and stores them all.
#
# ## 5 · For real: how fast can it be?
#
# What fits may still be slow. In a decode step, each weight is read from memory once and multiplied with very little:
# the one token of each sequence. Reading is the work. The **arithmetic intensity** of a step says how much computing
# there is for each byte read, in FLOPs (floating-point operations) a byte:
#
# $$ \mathrm{intensity} = \frac{2 \cdot \mathrm{parameters} \cdot \mathrm{tokens}}{\mathrm{weight\ bytes} + \mathrm{KV\ bytes}} $$
#
# Each parameter meets each token in one multiplication and one addition: 2 FLOPs. `tokens` is what one pass of the
# model processes: all of the prompt in prefill, one a sequence in decode. (Attention's own products aren't counted
# here. They matter for very long contexts.)
#
# A machine reads at most `bandwidth` bytes and computes at most `flops` operations a second, and does both at once. So
# a step can't take less than the longer of the two times. That is the **roofline** model.
#
# ### Exercise 7 · The lower bound (3 points)
#
# <details><summary>Hint 1</summary>Time to read: bytes / bandwidth. Time to compute: operations / flops.</details>
# <details><summary>Hint 2</summary>They overlap, so they don't add up.</details>


# %% nbgrader={"grade": false, "grade_id": "roofline", "locked": false, "schema_version": 3, "solution": true, "task": false}
def intensity(parameters, weights, tokens, kv=0):
    """FLOPs per byte of one pass of the model.

    Args:
        parameters: those that each token is multiplied with (for a mixture of experts, the
            active ones), 0 or more.
        weights: bytes of weights read in the pass, above 0.
        tokens: tokens processed in the pass, all sequences together.
        kv: bytes of the KV cache read in the pass, all sequences together.

    Returns:
        A float, not rounded.
    """
    ### BEGIN SOLUTION
    return 2 * parameters * tokens / (weights + kv)
    ### END SOLUTION


def fastest_step(parameters, weights, tokens, kv, bandwidth, flops):
    """A lower bound for the time of one pass, in seconds.

    Args:
        bandwidth: bytes that the machine reads in a second.
        flops: operations that it computes in a second. Both may be measured, and not whole.
            The others as for `intensity`.

    Returns:
        Seconds, a float, not rounded.
    """
    ### BEGIN SOLUTION
    reading = (weights + kv) / bandwidth
    computing = 2 * parameters * tokens / flops
    return max(reading, computing)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "roofline-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal, expect_number


def expect_near(got, expected, what, cause=""):
    """`got` is a number within a millionth of the expected one."""
    number = expect_number(got, what, cause)
    number = expected if abs(number - expected) <= 1e-6 * expected else number
    expect_equal(number, expected, what, cause)


with exercise("roofline"):
    expect_near(
        intensity(parameters=1000, weights=2000, tokens=1),
        1,
        "intensity of 1000 parameters in 2000 bytes, 1 token",
        cause="a multiplication and an addition for each parameter and token",
    )
    expect_near(
        intensity(parameters=1000, weights=500, tokens=1),
        4,
        "intensity of 1000 parameters in 500 bytes, 1 token",
        cause="2000 FLOPs, divided by the bytes that are read: 500",
    )
    expect_near(
        intensity(parameters=1000, weights=2000, tokens=512),
        512,
        "intensity of 1000 parameters in 2000 bytes, 512 tokens",
        cause="each token has its FLOPs, and the weights are read once for all of them",
    )

    def bound(expected, what, cause="", **arguments):
        """A step of 1000 2-byte parameters, at 100 bytes and 1000 FLOPs a second."""
        usual = {"parameters": 1000, "weights": 2000, "tokens": 1, "kv": 0}
        got = fastest_step(**usual | {"bandwidth": 100, "flops": 1000} | arguments)
        expect_near(got, expected, f"seconds of a step: {what}", cause)

    bound(
        30,
        "3000 bytes at 100 a second, 2000 FLOPs at 10**9 a second",
        "reading takes 3000 / 100 s, computing next to nothing: the longer time decides",
        weights=3000,
        flops=10**9,
    )
    bound(
        20,
        "2000 bytes at 10**9 a second, 1000 parameters and 1 token at 100 FLOPs a second",
        "computing takes 2 x 1000 / 100 s, reading next to nothing: the longer time decides",
        bandwidth=10**9,
        flops=100,
    )
    bound(
        25,
        "2000 bytes of weights and 500 of KV cache at 100 a second, 2000 FLOPs at 10**9 a second",
        "the KV cache is read, too",
        kv=500,
        flops=10**9,
    )
    overlap = "reading and computing go on at once: the longer of the two decides"
    bound(25, "25 s of reading, 2 s of computing", overlap, kv=500)
    bound(
        20,
        "20 s of reading, nothing to compute: parameters 0",
        "what is only read, to be computed elsewhere, takes its time as well",
        parameters=0,
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: a real model in decode, alone and in a batch; weights of fewer bits; steps in
    #   which reading decides, computing decides, and both take equally long; many tokens; KV
    #   caches, large and small; faster machines; speeds that aren't whole; quotients and bounds
    #   that aren't whole.
    # Stated by: "all of the prompt in prefill, one a sequence in decode" | "bytes of weights
    #   read in the pass" | "a step can't take less than the longer of the two times" | "tokens
    #   processed in the pass, all sequences together" | "bytes of the KV cache read in the pass,
    #   all sequences together" | "bytes that the machine reads in a second" | "Both may be
    #   measured, and not whole" | "a float, not rounded"
    # Right because: reading and computing go on at the same time, so the shorter of them hides
    #   behind the longer, and neither can take less than its bytes or its operations need.
    exact = "a quotient, neither cut to a whole number nor rounded"
    got = intensity(1000, 3000, tokens=1)
    expect_near(got, 2 / 3, "intensity of 1000 parameters in 3000 bytes, 1 token", exact)
    got = intensity(1000, 1000, tokens=4, kv=1000)
    expect_near(
        got,
        4,
        "intensity of 1000 parameters in 1000 bytes, 4 tokens, a KV cache of 1000 bytes",
        cause="the KV cache is read, too, and `kv` is that of all sequences together",
    )
    seven = {"parameters": 6_607_077_376, "weights": 13_214_154_752}  # Llama-2-7B, FP16
    got = intensity(**seven, tokens=1)
    expect_near(got, 1, "intensity of decode, Llama-2-7B in FP16, one sequence")
    got = intensity(**seven, tokens=16, kv=16 * 2**31)
    expect_near(
        got,
        32 * 6_607_077_376 / (13_214_154_752 + 2**35),
        "intensity of decode, 16 sequences of 4096 tokens",
        cause="the weights are read once for all of them, the KV cache of each is read too",
    )
    got = intensity(1000, 500, tokens=3, kv=100)
    expect_near(got, 10, "intensity of 1000 parameters in 500 bytes, 3 tokens, KV of 100 bytes")

    bound(
        100,
        "2000 bytes at 10**9 a second, 1000 parameters and 5 tokens at 100 FLOPs a second",
        "all 5 tokens are computed, and the step takes as long as all of them",
        tokens=5,
        bandwidth=10**9,
        flops=100,
    )
    bound(
        20,
        "2000 bytes of weights at 100 a second, 3 tokens at 10**9 FLOPs a second",
        "the weights are read once for all tokens, in 20 s, longer than computing takes",
        tokens=3,
        flops=10**9,
    )
    bound(100 / 3, "20 s of reading, 33 1/3 s of computing", exact, tokens=50, flops=3000)
    bound(2 / 7, "2/7 s of reading, 0.002 s of computing", exact, bandwidth=7000, flops=10**6)
    broken = "bandwidth and flops need not be whole"
    bound(800, "2000 bytes at 2.5 a second, 2 s of computing", broken, bandwidth=2.5)
    bound(800, "20 s of reading, 2000 FLOPs at 2.5 a second", broken, flops=2.5)
    bound(20, "20 s of reading, 2 s of computing", overlap)
    bound(100, "20 s of reading, 100 s of computing (50 tokens)", overlap, tokens=50)
    bound(20, "20 s of reading, 20 s of computing (10 tokens)", overlap, tokens=10)
    bound(
        60,
        "60 s of reading (KV cache of 4000 bytes), 20 s of computing (10 tokens)",
        "the KV cache is read, too, however many tokens there are",
        tokens=10,
        kv=4000,
    )
    bound(
        24,
        "23 s of reading (KV cache of 300 bytes), 24 s of computing (12 tokens)",
        "the KV cache is read, and adds nothing to the computing that is counted here",
        tokens=12,
        kv=300,
    )
    bound(10, "10 s of reading at twice the bandwidth, 2 s of computing", bandwidth=200)
    bound(
        2,
        "0.02 s of reading at 1000 times the bandwidth, 2 s of computing",
        "then computing decides",
        bandwidth=100_000,
    )
    bound(5, "5 s of reading weights of half a byte, 2 s of computing", weights=500)
    ### END HIDDEN TESTS

# %% [markdown]
# The offloaded 70B, first. Everything that the card has no room for crosses the bus between the computer's memory and
# the card, for each token.

# %% tags=["for-real"]
if scoreboard.ready("bits-per-weight", "parameters", "weight-bytes", "kv-bytes", "roofline"):
    facts = model_configs.read("Llama-2-70B")
    counted, talk = count_parameters(facts), kv_bytes(facts, 4096)
    whole = weight_bytes(counted, formats["INT4 g128"])
    for name, bus in (("T4", cards.PCIE_3_X16), ("RTX 3090", cards.PCIE_4_X16)):
        card = cards.CARDS[name]
        outside = max(0, whole + talk - (card.memory - 2 * GB))
        slow = fastest_step(0, outside, 1, 0, bus, card.flops)
        fast = fastest_step(
            sum(counted.values()), whole - outside, 1, talk, card.bandwidth, card.flops
        )
        print(
            f"70B in INT4 on one {name}: {outside / GB:.1f} GB stay outside; "
            f"a token takes at least {fast:.2f} s on the card and {slow:.2f} s on the bus"
        )

# %% [markdown]
# That is the full answer to the title: *yes, if you have the patience*. The bus decides, at a second or two a token on
# the smaller card.
#
# ### Exercise 8 · Where batching stops paying (2 points)
#
# A second sequence in the batch costs almost no reading: the weights are read anyway. So batching (批处理) multiplies the
# throughput, until computing takes as long as reading. From there on, twice the batch takes twice the time.
#
# One thing spoils it: each sequence brings its own KV cache to be read. If that takes as long as the sequence's
# computing, or longer, there is no such batch at all: the weights come on top.
#
# <details><summary>Hint 1</summary>Reading a batch of b: (weights + b · KV) / bandwidth. Computing it: 2 · parameters ·
# b / flops. Solve for b.</details>
# <details><summary>Hint 2</summary>Multiply by bandwidth and flops, and ints stay ints. When is there no
# solution?</details>


# %% nbgrader={"grade": false, "grade_id": "break-even", "locked": false, "schema_version": 3, "solution": true, "task": false}
def break_even_batch(parameters, weights, kv_per_sequence, bandwidth, flops):
    """The smallest batch whose decode step takes at least as long to compute as to read.

    Args:
        parameters, weights, bandwidth, flops: as for `fastest_step`, all above 0.
        kv_per_sequence: bytes of the KV cache of one sequence, 0 or more.

    Returns:
        An int, at least 1; None if reading takes longer for every batch. With ints it is
        exact: where both times are equal, or nearly, neither a rounded quotient nor a
        tolerance may decide.
    """
    ### BEGIN SOLUTION
    # 2 P b / flops >= (W + b K) / bandwidth, multiplied by both
    gain = 2 * parameters * bandwidth - kv_per_sequence * flops
    if gain <= 0:
        return None
    return max(1, int(-(-weights * flops // gain)))  # rounds up, and ints stay exact
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "break-even-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal, expect_true

with exercise("break-even"):

    def breaks_even(got, batch, what, cause=""):
        """A number is due; None is an answer here, and no sign of a missing `return`."""
        expect_true(got is not None, what, str(batch), "None", cause)
        expect_equal(got, batch, what, cause)

    expect_equal(
        break_even_batch(1024, 2048, 0, bandwidth=16, flops=1600),
        100,
        "1024 parameters of 2 bytes, no KV cache; 16 bytes and 1600 FLOPs a second",
        cause="reading takes 128 s; computing takes 2 x 1024 / 1600 = 1.28 s for each sequence, "
        "so 100 compute as long as they read, which is enough",
    )
    breaks_even(
        break_even_batch(6_607_077_376, 13_214_154_752, 0, bandwidth=2039e9, flops=312e12),
        154,
        "Llama-2-7B in FP16 on an A100-80, very short contexts",
        cause="153 sequences still read longer than they compute: round up to a whole batch",
    )
    breaks_even(
        break_even_batch(1024, 2048, 8, bandwidth=16, flops=2048),
        256,
        "1024 parameters of 2 bytes, a KV cache of 8 bytes a sequence; 16 bytes and 2048 FLOPs "
        "a second",
        cause="each sequence computes 1 s and reads its own cache in 0.5 s: the 0.5 s that it gains "
        "make up for the 128 s of reading the weights",
    )
    never = break_even_batch(1024, 2048, 64, bandwidth=16, flops=1600)
    expect_true(
        never is None,
        "1024 parameters of 2 bytes, a KV cache of 64 bytes a sequence; 16 bytes and 1600 FLOPs "
        "a second",
        "None, for a sequence's KV cache takes 4 s to read and its computing only 1.28 s",
        never,
        cause="reading takes longer for every batch, so there is no such number",
    )

    ### BEGIN HIDDEN TESTS
    # Looks at: weights of fewer bits; KV caches of several sizes; batches at which both take
    #   exactly as long, and ones between; times that no float holds exactly; times that are
    #   almost equal; a KV cache that takes as long to read as its sequence to compute, or longer,
    #   or a little less; a machine that computes slowly; speeds that aren't whole; large batches;
    #   a real model with a long context.
    # Stated by: "parameters, weights, bandwidth, flops: as for `fastest_step`" | "bytes of the
    #   KV cache of one sequence, 0 or more" | "takes at least as long to compute as to read" |
    #   "where both times are equal, or nearly, neither a rounded quotient nor a tolerance may
    #   decide" | "With ints it is exact" | "None if reading takes longer for every batch" | "An
    #   int, at least 1" | "bandwidth, flops: as for `fastest_step`, all above 0" | "The smallest
    #   batch whose decode step" | "If that takes as long as the sequence's computing, or longer,
    #   there is no such batch at all"
    # Right because: a batch shares the reading of the weights and nothing else: a sequence
    #   more gains its computing time minus the reading of its own cache, and where that is no
    #   gain, no batch is large enough.
    breaks_even(
        break_even_batch(1024, 512, 0, bandwidth=16, flops=1600),
        25,
        "1024 parameters of half a byte, no KV cache; 16 bytes and 1600 FLOPs a second",
        cause="`weights` says how many bytes are read: a quarter of those in 16 bits",
    )
    for kv, batch in ((0, 128), (8, 256), (12, 512), (1, 137)):
        breaks_even(
            break_even_batch(1024, 2048, kv, bandwidth=16, flops=2048),
            batch,
            f"a KV cache of {kv} bytes a sequence, computing 1 s and reading {kv / 16} s for each",
            cause="what a sequence's own reading takes has to be made good too",
        )
    for parameters, weights, kv, bandwidth, flops, batch in (
        (350, 1000, 20, 100, 3000, 300),
        (1000, 2000, 50, 30, 1000, 200),
    ):
        breaks_even(
            break_even_batch(parameters, weights, kv, bandwidth, flops),
            batch,
            f"{parameters} parameters, {weights} bytes of weights, a KV cache of {kv} bytes a sequence; "
            f"{bandwidth} bytes and {flops} FLOPs a second",
            cause=f"at {batch} both take equally long, which rounded quotients miss: multiply "
            "by bandwidth and flops, and it stays in whole numbers",
        )
    breaks_even(
        break_even_batch(1024, 12_388, 0, bandwidth=1.5, flops=2.5),
        11,
        "1024 parameters, 12388 bytes of weights, no KV cache; 1.5 bytes and 2.5 FLOPs a second",
        cause="bandwidth and flops need not be whole",
    )
    breaks_even(
        break_even_batch(5, 2, 3, bandwidth=1, flops=3),
        6,
        "a KV cache of 3 bytes a sequence, computing 3 1/3 s and reading 3 s for each",
        cause="a small gain is a gain",
    )
    for kv in (16, 17):
        never = break_even_batch(1024, 2048, kv, bandwidth=16, flops=2048)
        expect_true(
            never is None,
            f"a KV cache of {kv} bytes a sequence, computing 1 s and reading {kv / 16} s for each",
            "None",
            never,
            cause="the weights come on top, so reading takes longer for every batch",
        )
    breaks_even(
        break_even_batch(1024, 2048, 0, bandwidth=1024, flops=16),
        1,
        "a machine that computes slowly: reading 2 s, computing 128 s for each sequence",
        cause="one sequence computes longer than it reads: the smallest batch is 1, and never less",
    )
    breaks_even(
        break_even_batch(1024, 2048 + 16, 0, bandwidth=16, flops=2048),
        129,
        "128 sequences compute 128 s and reading takes 129 s",
    )
    breaks_even(
        break_even_batch(1024, 2**20, 8, bandwidth=16, flops=2048),
        131_072,
        "2**20 bytes of weights, computing 1 s and reading 0.5 s for each sequence",
        cause="a batch may be as large as it takes",
    )
    breaks_even(
        break_even_batch(1024, 2**42 + 1, 0, bandwidth=2**30, flops=2048),
        4097,
        "4096 sequences compute 4096 s and reading takes a billionth of a second longer",
        cause="almost isn't enough: 4096 sequences still read longer, so it takes one more",
    )
    never = break_even_batch(6_607_077_376, 13_214_154_752, 2**28, 2039e9, 312e12)
    expect_true(never is None, "Llama-2-7B on an A100-80, 512 tokens each", "None", never)
    ### END HIDDEN TESTS

# %% [markdown]
# Ask it about a real card. In decode, the embedding is only looked up, so it counts neither as reading nor as
# computing.

# %% tags=["for-real"]
if scoreboard.ready("parameters", "weight-bytes", "kv-bytes", "break-even"):
    a100 = cards.CARDS["A100-80"]
    print("the smallest batch at which an A100-80 computes as long as it reads, FP16")
    for name in ("Llama-2-7B", "Llama-3-8B", "Llama-3-70B"):
        facts = model_configs.read(name)
        working = count_parameters(facts) | {"embedding": 0}
        size, number = weight_bytes(working, 16), sum(working.values())
        batches = [
            break_even_batch(number, size, kv_bytes(facts, n), a100.bandwidth, a100.flops)
            for n in (0, 100, 500, 1000, 4000)
        ]
        print(
            f"{name:12}",
            *(f"{n:>5} tokens: {b}" for n, b in zip((0, 100, 500, 1000, 4000), batches)),
        )

# %% [markdown]
# With a few hundred to a few thousand tokens of context there is no such batch any more: decoding stays limited by
# bandwidth, however many join. Memory runs out first, or patience. GQA moves the point by its factor, and so does an
# 8-bit cache.
#
# ### This machine: its bandwidth, its arithmetic
#
# Now measure instead of believing a data sheet. A large copy reads each byte once and writes it once. A large matrix
# product computes much and reads little. Two numbers, one roof. (`fridge.memory.probe` holds the few lines of each
# measurement.)

# %% tags=["for-real"]
copying = probe.copy_bandwidth(model.device)
computing = probe.arithmetic(model.device, model.dtype)

print(
    f"a copy moves {copying / GB:.1f} GB/s; matrix products reach {computing / GB:.0f} GFLOP/s"
)
tables.facts(measure.machine())

# %% [markdown]
# ### The prediction, and the clock
#
# SmolLM2's head is tied to its embedding, so a decode step reads every parameter. What is the bound for one token, and
# what does the model take? (`fridge`'s model with its concatenating cache, 64 tokens of context, the median of five
# steps.)

# %% tags=["for-real"]
if scoreboard.ready("parameters", "weight-bytes", "kv-bytes", "roofline"):
    facts, width = model_configs.chosen(), 8 * model.dtype.itemsize
    working = count_parameters(facts)
    if working["head"]:
        working["embedding"] = 0  # not tied: a table that is looked up, not multiplied
    number, size = sum(working.values()), weight_bytes(working, width, rest_bits=width)
    cached = kv_bytes(facts, 64, bits=width)
    predicted = fastest_step(number, size, 1, cached, copying, computing)
    measured = probe.decode_seconds(model)
    print(f"predicted: at least {1000 * predicted:.1f} ms a token, {size / 1e6:.0f} MB to read")
    print(f"measured:  {1000 * measured:.1f} ms, {measured / predicted:.1f} times the bound")

# %% [markdown]
# Where does the rest go? There are suspects, and each can be questioned alone:
#
# 1. **Reading isn't copying.** Multiply one large matrix with a vector: pure reading, in the pattern of decode.
# 2. **Small matrices.** Do only the matrix products of a step, the same weights in the same order, with nothing around
#    them.
# 3. **Everything else.** A *hollow* model has the same number of layers and the same operations in Python and PyTorch,
#    with matrices so narrow that they weigh nothing. Its step is the cost of asking.

# %% tags=["for-real"]
reading = probe.read_bandwidth(model.device, model.dtype)
products = probe.products_seconds(model)
asking = probe.decode_seconds(probe.hollow(model))

if scoreboard.ready("parameters", "weight-bytes", "kv-bytes", "roofline"):
    times = {
        "bound, bandwidth of a copy": predicted,
        "bound, bandwidth of reading": size / reading,
        "the matrix products alone": products,
        "the hollow model: no bytes": asking,
        "the measured step": measured,
    }
    pictures.where_a_step_goes({name: 1000 * seconds for name, seconds in times.items()})

# %% [markdown]
# *In words: five horizontal bars in milliseconds: the two bounds, the matrix products alone, the hollow model, and
# the whole step.*

# %% tags=["for-real"]
if scoreboard.ready("parameters", "weight-bytes", "kv-bytes", "roofline"):
    print(f"reading {reading / GB:.1f} GB/s, copying {copying / GB:.1f} GB/s")
    print(f"the products of a step run at {size / products / GB:.1f} GB/s")
    print(f"products + hollow model = {1000 * (products + asking):.1f} ms")
    print(f"the measured step       = {1000 * measured:.1f} ms")

# %% [markdown]
# Read it like this. Where the products alone take longer than the bound, the matrices are too small to be read at full
# speed: most of SmolLM2's have one to four megabytes, and each product starts anew. What the hollow model takes is
# overhead: hundreds of small operations, each with its microseconds in Python and in PyTorch's dispatcher, whatever
# they compute. (The hollow model does tiny products too, so the sum counts the asking for the products twice.) If the
# sum still falls short of the step, the operations between the products have pushed data out of the processor's caches,
# or other programs wanted the cores. The course watches for that: then a line below the cell, or below the figure, says
# so. Run the cells again when it is quiet, and see what stays.
#
# On a large model the asking costs the same and the bytes are hundreds of times more, so the bound gets sharper with
# size. gpt-fast's authors measured 104.9 tokens/s for Llama-2-7B in 16 bits on an A100-80, after they had got rid of
# most of the asking with a compiler. Your bound for it:

# %% tags=["for-real"]
if scoreboard.ready("parameters", "weight-bytes", "kv-bytes", "roofline"):
    facts, a100 = model_configs.read("Llama-2-7B"), cards.CARDS["A100-80"]
    large = count_parameters(facts) | {"embedding": 0}
    to_read, talk = weight_bytes(large, 16), kv_bytes(facts, 200)
    best = fastest_step(
        sum(large.values()), to_read, 1, talk, bandwidth=a100.bandwidth, flops=a100.flops
    )
    print(f"at most {1 / best:.1f} tokens/s; 104.9 are {104.9 * best:.0%} of the bound")

# %% [markdown]
# ### Threads and caches
#
# Two more things change the bandwidth that you get: how many cores ask for data, and whether the data is still in the
# processor's cache. Read matrices of growing size, with one thread and with as many as PyTorch takes here.

# %% tags=["for-real"]
megabytes, all_threads = [1, 2, 4, 8, 16, 32, 64, 128, 256], torch.get_num_threads()
speeds = {}
for threads in sorted({1, all_threads}):
    torch.set_num_threads(threads)
    name = "1 thread" if threads == 1 else f"{threads} threads"
    speeds[name] = [probe.read_bandwidth(model.device, megabytes=n) / GB for n in megabytes]
    print(f"{name}: a decode step takes {1000 * probe.decode_seconds(model):.1f} ms")
torch.set_num_threads(all_threads)

# %% tags=["for-real"]
small_one, large_one = speeds["1 thread"][0], speeds["1 thread"][-1]
ax = plots.axes(
    f"One thread reads 1 MB again and again at {small_one:.0f} GB/s, and 256 MB at {large_one:.0f}",
    "size of the matrix (MB)",
    "reading speed (GB/s)",
)
plots.lines(ax, megabytes, speeds)
ax.set(xscale="log", xticks=megabytes, xticklabels=megabytes, ylim=(0, None))
ax.minorticks_off()
plots.timed(ax)

# %% [markdown]
# *In words: reading speed over the size of the matrix, a curve for one thread and one for all threads. On an idle
# machine, matrices that stay in the processor's cache are read faster than those that come from memory.*
#
# More threads help only while each has a core. They share every matrix product, and all wait for the slowest of them:
# seven times in each of 30 layers, and once more for the head. Where another program has one of the cores, two threads
# can take much longer than one, for those that are done wait for the one that isn't being run. (The set-up cell at the
# head of this notebook lets them sleep meanwhile. By default they spin, and take the cores from one another, too.)
#
# SmolLM2's 538 MB fit into no cache of a laptop. On a server processor with a cache of hundreds of megabytes, a part of
# them may stay, and then a step can beat the bound that you computed from memory's bandwidth.
#
# ### Batching, measured
#
# The last prediction of this unit: throughput by batch. Bound and clock side by side.

# %% tags=["for-real"]
if scoreboard.ready("parameters", "weight-bytes", "kv-bytes", "roofline", "break-even"):
    batches = [1, 2, 4, 8, 16, 32]
    bounds = [fastest_step(number, size, b, b * cached, reading, computing) for b in batches]
    clock = [probe.decode_seconds(model, b) for b in batches]
    turn = break_even_batch(number, size, cached, reading, computing)
    print(f"computing takes over from reading at a batch of {turn} on this machine")

# %% tags=["for-real"]
if scoreboard.ready("parameters", "weight-bytes", "kv-bytes", "roofline", "break-even"):
    ax = plots.axes(
        f"{batches[-1]} sequences: {batches[-1] * clock[0] / clock[-1]:.0f} times the tokens a second of one",
        "sequences in the batch",
        "tokens per second",
    )
    for_both = {"bound": bounds, "measured": clock}
    per_second = {k: [b / s for b, s in zip(batches, v)] for k, v in for_both.items()}
    plots.lines(ax, batches, per_second)
    ax.set(xscale="log", yscale="log", xticks=batches, xticklabels=batches)
    ax.minorticks_off()
    plots.timed(ax)

# %% [markdown]
# *In words: tokens per second over the batch, on logarithmic axes. The bound rises in a straight line and then bends to
# a flat line where computing takes over. On an idle machine the measured curve lies below it; the bound is made of
# measurements too, and one that was disturbed is too low.*
#
# A CPU reads slowly and computes slowly, so its bend comes early; a GPU's comes late. A product with a few rows is far
# from the speed of a large square one, and attention, which your formula leaves out, grows with the batch too: that
# keeps the measured curve under its roof.
#
# ### The calculator
#
# Your functions, put together: weights, KV cache and activations of any model here, against the cards. The function
# draws one picture; where `ipywidgets` is installed, the cell below it has sliders.

# %% tags=["for-real"]
from fridge.memory.calculator import Calculator

if scoreboard.ready("bits-per-weight", "parameters", "weight-bytes", "kv-bytes"):
    mine = Calculator(count_parameters, weight_bytes, kv_bytes, formats)
    mine.draw("Llama-2-70B", "INT4 g128", context=4096, batch=4)

# %% [markdown]
# *In words: a stacked bar of weights, KV cache, activations and reserve for Llama-2-70B in INT4, and a vertical line
# for each card's memory; the bar ends beyond the 40 GB card's line.*

# %% tags=["for-real"]
if scoreboard.ready("bits-per-weight", "parameters", "weight-bytes", "kv-bytes"):
    mine.sliders()

# %% [markdown]
# ## 6 · What others report, what we computed
#
# | claim | source | here |
# |---|---|---|
# | 7B: 14 GB in FP16, 4 GB in INT4; 70B: 140 and 35 GB | the chapter | 13.48 and 3.89; 137.95 and 36.61 for Llama-2 (exercise 3); up to 86 % more than "divide by 4" for a small model with a large vocabulary |
# | double quantization saves 0.373 bits a parameter | QLoRA, arXiv 2305.14314 | 4.5 − 4.127 = 0.373 (exercise 1) |
# | LLaMA-13B: up to 1.7 GB of KV cache for a sequence | vLLM's blog, 2023 | 1.68 GB for 2048 tokens (exercise 4, with Llama-2-13B's config) |
# | Mixtral-8x7B: 47B parameters, 13B active | Mixtral, arXiv 2401.04088 | 46.70 and 12.88 (exercise 2) |
# | Llama-2-7B on an A100-80: 104.9 tokens/s | gpt-fast's README | below your bound, as it must be |
#
# ## 7 · What this unit doesn't claim
#
# - The reserve of 2 GB is a habit, not a law. A long prefill or a large batch needs more for activations; a server such
#   as vLLM takes a fraction of the card instead (90 % by default).
# - Cards share evenly here. Real tensor parallelism copies the norms, and copies KV heads once there are more cards
#   than heads.
# - A bound for time says what is impossible, not what you will get. It knows no kernels, no overhead, no other users.
# - That a format fits says nothing about what is left of the model in it. That is unit 02.
#
# Three things to read next:
#
# 1. Williams, Waterman, Patterson, *Roofline: an insightful visual performance model*, 2009: where the roof comes from.
# 2. Pope et al., *Efficiently Scaling Transformer Inference*, 2022 (arXiv 2211.05102): the same arithmetic for 540
#    billion parameters on many chips.
# 3. Dettmers et al., *QLoRA*, 2023 (arXiv 2305.14314), section 3: NF4 and double quantization, which unit 02 builds.
#
# ## What stays
#
# Memory is arithmetic: weights, KV cache, reserve, to the byte and before any download. And decoding is reading, so bytes
# decide its time as well.

# %% tags=["for-real"]
from fridge.notebook import recall

recall.ask("01-memory-math")

# %% [markdown]
# ## Your score

# %% tags=["for-real"]
from fridge.notebook import scoreboard

scoreboard.show("01-memory-math")
