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
# # 02 · INT4 quantization
#
# A model's weights are numbers with 16 or 32 bits each. *Quantization* (量化) writes them with 4. The model becomes four to
# eight times smaller, and the question of this notebook is what else it becomes: does it get stupid, and where?
#
# By the end you have written the formats that people run at home, INT8, INT4 in groups and NF4 with double quantization,
# packed to the last bit and equal to what the library `bitsandbytes` stores. You have put a 4-bit layer of your own into
# a real 135-million-parameter model, and measured with a yardstick of your own what each format costs in quality.
#
# | | |
# |---|---|
# | You need | PyTorch, and what a linear layer does: $y = xW^\top + b$ |
# | Time | about two hours |
# | Runs on | a laptop with 2 GB of free memory; no GPU |
# | Points | 32, in nine exercises |

# %%
import torch

from fridge import models, pictures
from fridge.models.caches import ConcatCache
from fridge.notebook import scoreboard
from fridge.quantization import quantized
from fridge.workbench import measure, plots, text

# %% tags=["for-real"]
model = models.load()
tokenizer = models.load_tokenizer()
linear_weights = sum(layer.weight.numel() for _, layer in quantized.linears(model))
print(
    f"{models.name()}: {linear_weights / 1e6:.0f} million weights in the linear layers, {model.dtype}"
)
print(f"{linear_weights * model.dtype.itemsize / 1e6:.0f} MB, all read for every token")

# %% [markdown]
# ## 1 · The pain: fewer bits, the obvious way
#
# Four bits are 16 different values. The obvious way: find the largest weight of a matrix, lay 15 equally spaced
# values between its plus and its minus, and round every weight to the nearest of them. Three lines. Here is the model
# before and after.


# %% tags=["for-real"]
def rounded_to_15_values(weight):
    step = weight.abs().max() / 7
    return (weight / step).round() * step


def continue_text(some_model, prompt="The capital of France is", tokens=10):
    ids, cache = tokenizer(prompt, return_tensors="pt").input_ids, ConcatCache()
    reply = []
    for _ in range(tokens):
        ids = some_model(ids, cache, last_only=True).argmax(-1)
        reply.append(int(ids))
    return prompt + tokenizer.decode(reply)


obvious = quantized.round_trip(model, rounded_to_15_values)
print("before:", continue_text(model))
print("after: ", continue_text(obvious))
del obvious
quantized.tidy()

# %% [markdown]
# The same model, an eighth of the size, and nothing left of it. Where did it go? Look at one matrix.

# %% tags=["for-real"]
layer_weight = model.model.layers[0].self_attn.k_proj.weight.float()
ax = plots.axes(
    f"The largest weight sets the steps; {float((rounded_to_15_values(layer_weight) == 0).float().mean()):.0%} "
    "of the others become 0",
    "weight (key projection of layer 0)",
    "weights",
)
ax.hist(layer_weight.flatten().tolist(), bins=200, color=plots.SECOND)
step = float(layer_weight.abs().max() / 7)
for k in range(-7, 8):
    ax.axvline(k * step, color=plots.INK, linewidth=0.7, linestyle=":")
ax.set_yscale("log")

# %% [markdown]
# *In words: the weights form a narrow bell around 0 with a few far outliers, on a logarithmic scale. The dotted lines, the
# 15 values, are spread as wide as the outliers, and nearly all the weights lie around the middle line.*
#
# A few **outliers** decide how coarse the grid is for all the rest. Everything in this notebook is an answer to this one
# picture.
#
# ## 2 · The picture: who shares a ruler
#
# A *ruler* is what turns a small integer, the **code**, back into a weight: a number to multiply by (the **scale**), and
# perhaps a number to add. An outlier ruins the ruler for those who share it. So let fewer weights share one:

# %% tags=["for-real"]
pictures.rulers()

# %% [markdown]
# *In words: the same 8 × 16 weights three times, with one outlier. With one ruler for the whole tensor the outlier
# coarsens all 128 weights. With a ruler for each row (output channel) it coarsens the 16 of its row, with a ruler for each
# group of 8 consecutive weights those 8.*
#
# Each ruler costs bytes. That is the whole trade, and you can compute it before you build anything.
#
# ## 3 · The prediction
#
# ### Exercise 1 · To the byte (2 points)
#
# The formats of this notebook all have this form: consecutive weights form a **group**, every weight is a code of `bits` bits, and
# every group has 4 bytes for its ruler. INT4 keeps two float16 numbers there, a scale and a minimum; NF4 keeps one
# float32 number, the largest absolute value of its group, called **absmax**. The last group may be shorter and costs the same.
#
# Codes are packed without gaps, and the last byte may be partly empty.
#
# **Double quantization** quantizes the absmax values in turn: each becomes a single byte, every 256 of them share a float32
# scale (4 bytes), as do those that are left, and the whole tensor has one float32 offset (4 bytes).
#
# <details><summary>Hint 1</summary>How many groups do 65 numbers make, in groups of 64? -(-a // b) rounds up.</details>
# <details><summary>Hint 2</summary>With double quantization there are three kinds of bytes besides the codes: one for each
# group, four for each 256 groups, and four.</details>


# %% nbgrader={"grade": false, "grade_id": "quantized-bytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantized_bytes(numbers, bits=4, group_size=64, double_quant=False):
    """Bytes of a quantized tensor.

    Args:
        numbers: how many weights, at least 1.
        bits: bits of a code.
        group_size: consecutive weights that share a ruler.
        double_quant: a group's ruler is 1 byte; every 256 groups share 4 bytes; the tensor has
            4 bytes more. Otherwise a group's ruler is 4 bytes.

    Returns:
        Bytes, a whole number.
    """
    ### BEGIN SOLUTION
    codes = -(-numbers * bits // 8)
    groups = -(-numbers // group_size)
    if not double_quant:
        return codes + 4 * groups
    return codes + groups + 4 * -(-groups // 256) + 4
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "quantized-bytes-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal

with exercise("quantized-bytes"):
    expect_equal(
        quantized_bytes(64),
        32 + 4,
        "64 weights of 4 bits, one group of 64",
        cause="two codes a byte make 32 bytes, and the group's ruler has 4",
    )
    expect_equal(
        quantized_bytes(64, group_size=16),
        32 + 16,
        "64 weights in groups of 16",
        cause="group_size is an argument: four groups, four rulers",
    )
    expect_equal(
        quantized_bytes(65, group_size=65),
        33 + 4,
        "65 weights of 4 bits, one group of 65",
        cause="the last byte counts, also when it is partly empty",
    )
    expect_equal(
        quantized_bytes(65),
        33 + 8,
        "65 weights of 4 bits in groups of 64",
        cause="65 codes and two rulers: the last group has a ruler too, however short it is, and "
        "no codes but its own",
    )
    expect_equal(
        quantized_bytes(576 * 576),
        165_888 + 4 * 5184,
        "SmolLM2's query projection, 576 x 576, in NF4",
    )
    expect_equal(
        quantized_bytes(64 * 256, double_quant=True),
        8192 + 256 + 4 + 4,
        "256 groups of 64, double quantization",
        cause="a byte instead of 4 for each of the 256 groups, 4 bytes for their scale, and 4 "
        "for the offset",
    )
    expect_equal(
        quantized_bytes(576 * 576, double_quant=True),
        165_888 + 5184 + 4 * 21 + 4,
        "SmolLM2's query projection with double quantization",
        cause="5184 absmax values make 20 blocks of 256 and a part of a block, each with a scale; "
        "the tensor has one offset",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: codes of fewer and of more bits; a single weight; groups of one, and groups as
    #   long as a row; double quantization of one group, of whole blocks, and of one group more;
    #   double quantization with other bits and groups; billions of weights.
    # Stated by: "every weight is a code of `bits` bits" | "The last group may be shorter and
    #   costs the same." | "group_size: consecutive weights that share a ruler." | "every 256
    #   of them share a float32 scale (4 bytes), as do those that are left" | "a group's ruler
    #   is 1 byte; every 256 groups share 4 bytes" | "Bytes, a whole number."
    # Right because: a ruler takes its bytes however few weights it serves, so groups and
    #   blocks of 256 are each rounded up, while codes are packed across groups and rounded up
    #   once.
    expect_equal(
        quantized_bytes(4096 * 4096, bits=8, group_size=4096),
        4096 * 4096 + 4 * 4096,
        "INT8 with a ruler a row",
        cause="bits is an argument",
    )
    without_gaps = "codes are packed without gaps, across bytes and groups"
    expect_equal(
        quantized_bytes(10, bits=3, group_size=5), 4 + 8, "10 weights of 3 bits", without_gaps
    )
    expect_equal(
        quantized_bytes(9, bits=2, group_size=4), 3 + 12, "9 weights of 2 bits", without_gaps
    )
    expect_equal(quantized_bytes(1, group_size=128), 1 + 4, "a single weight")
    expect_equal(quantized_bytes(7, group_size=1), 4 + 28, "groups of one", without_gaps)
    expect_equal(
        quantized_bytes(64 * 512, double_quant=True),
        16_384 + 512 + 8 + 4,
        "512 groups, double quantization",
    )
    expect_equal(
        quantized_bytes(64 * 256 + 1, double_quant=True),
        8193 + 257 + 8 + 4,
        "257 groups, double quantization",
        cause="the 257th absmax opens a second block of 256",
    )
    expect_equal(
        quantized_bytes(64, double_quant=True),
        32 + 1 + 4 + 4,
        "one group, double quantization: it can cost more than it saves",
        cause="one group has a byte for its absmax, 4 for a scale and 4 for the offset, too",
    )
    expect_equal(
        quantized_bytes(32 * 300, bits=3, group_size=32, double_quant=True),
        3600 + 300 + 8 + 4,
        "300 groups of 32, 3 bits, double quantization",
        cause="bits and group_size are arguments here, too; 256 absmax values share a scale, "
        "however long their groups are",
    )
    billions = 70_000_000_001
    exact = "whole numbers are exact; float32 has 24 bits for them"
    expect_equal(
        quantized_bytes(billions),
        35_000_000_001 + 4 * 1_093_750_001,
        "70 billion weights and one more",
        exact,
    )
    expect_equal(
        quantized_bytes(billions, double_quant=True),
        35_000_000_001 + 1_093_750_001 + 4 * 4_272_461 + 4,
        "70 billion weights and one more, double quantization",
        exact,
    )
    ### END HIDDEN TESTS

# %% [markdown]
# Now predict the elephant, a model of 70 billion weights, and the little one that you have here. (Its embedding, which is
# also its output layer or *head*, stays in float32 in this notebook.)

# %% tags=["for-real"]
if scoreboard.ready("quantized-bytes"):
    forms = {
        "INT8, a ruler each 4096": (8, 4096, False),
        "INT4, groups of 32": (4, 32, False),
        "INT4, groups of 128": (4, 128, False),
        "NF4": (4, 64, False),
        "NF4 + double quantization": (4, 64, True),
    }
    print(f"{'format':27}{'bits a weight':>14}{'70B, GB':>9}{'here, MB':>10}")
    for form, arguments in forms.items():
        big = quantized_bytes(70_000_000_000, *arguments)
        here = quantized_bytes(linear_weights, *arguments)
        print(f"{form:27}{8 * big / 70e9:14.3f}{big / 1e9:9.1f}{here / 1e6:10.1f}")

# %% [markdown]
# "Four bits" is never four bits. Keep the table in mind: at the end you compare it with memory that you measure.
#
# ## 4 · Build it
#
# ### Exercise 2 · INT8, and what an outlier does (3 points)
#
# **Symmetric absmax** quantization: the largest absolute value becomes the code 127, 0 stays 0, and everything between is
# rounded to the nearest code.
#
# $$ \text{scale} = \frac{\max|w|}{127}, \qquad \text{code} = \mathrm{round}(w / \text{scale}), \qquad w \approx \text{code} \cdot \text{scale}. $$
#
# One scale can serve the whole tensor, or each row its own. A row of $W$ makes one output, an *output channel*.
# (The code −128 stays unused, so that plus and minus have the same range.)
#
# <details><summary>Hint 1</summary>weight.abs().amax(dim=1, keepdim=True) has the shape [out, 1].</details>
# <details><summary>Hint 2</summary>Where all weights are 0 the scale is 0, and 0 / 0 is NaN. Which scale does no harm there?
# </details>


# %% nbgrader={"grade": false, "grade_id": "int8-absmax", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize_int8(weight, per_channel=False):
    """Symmetric absmax quantization to 8 bits.

    Args:
        weight: [out, in], float32, at least one number.
        per_channel: a scale for each row instead of one for all.

    Returns:
        (codes, scale): codes [out, in], int8, from -127 to 127, so that codes * scale is as
        near to `weight` as this scale allows; scale, float32, a single number or [out, 1], the
        absmax divided by 127. Where all weights that share a scale are 0, their codes are 0
        and the scale is any finite number.

    Raises:
        ValueError: a weight is NaN or infinite.
    """
    ### BEGIN SOLUTION
    if not weight.isfinite().all():
        raise ValueError("the weight has numbers that are NaN or infinite")
    absmax = weight.abs().amax(dim=1, keepdim=True) if per_channel else weight.abs().max()
    scale = torch.where(absmax > 0, absmax / 127, 1.0)
    return (weight / scale).round().clamp(-127, 127).to(torch.int8), scale
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "int8-absmax-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    as_tensor,
    exercise,
    expect_close,
    expect_equal,
    expect_number,
    expect_parts,
    expect_raises,
    expect_tensor,
    expect_true,
    randn,
)

with exercise("int8-absmax"):

    def quantized_parts(weight, what, **options):
        got = quantize_int8(weight.clone(), **options)
        codes, scale = expect_parts(got, "codes, scale", f"{what}: what quantize_int8 returns")
        codes = expect_tensor(
            codes, f"{what}: the codes, the first of what quantize_int8 returns", weight.shape
        )
        return codes, scale

    weight = torch.tensor([[127.0, -64.2, 3.4], [0.4, 0.0, -2.0]])
    words = "[[127, -64.2, 3.4], [0.4, 0, -2]]"
    codes, scale = quantized_parts(weight, f"{words}, one scale")
    expect_equal(
        codes,
        [[127, -64, 3], [0, 0, -2]],
        f"codes of {words}, one scale",
        cause="one scale, 127 / 127, for all six: the largest absolute value gets 127 and the "
        "others the nearest code",
    )
    expect_equal(
        expect_number(scale, f"scale of {words}"),
        1.0,
        f"scale of {words}",
        cause="the absmax divided by 127, and nothing added",
    )
    codes, scale = quantized_parts(weight, f"{words}, a scale a row", per_channel=True)
    expect_equal(
        codes,
        [[127, -64, 3], [25, 0, -127]],
        f"codes of {words}, a scale a row",
        cause="each row's own largest absolute value gets 127, or -127",
    )
    expect_close(
        scale,
        torch.tensor([[1.0], [2 / 127]]),
        f"scales of {words}, one a row",
        cause="a scale a row, shape [out, 1]: its absmax / 127, so that code * scale gives the "
        "weight back",
    )
    expect_tensor(
        codes, "the codes' dtype", dtype=torch.int8, cause="a code is to take one byte"
    )
    expect_tensor(scale, "the scales' dtype, one a row", dtype=torch.float32)

    ### BEGIN HIDDEN TESTS
    # Looks at: tiny, small, large and only negative weights, and very large finite ones; a
    #   single weight, and a square matrix; all zeros, and a row of zeros; NaN and infinity; an
    #   outlier beside ordinary rows.
    # Stated by: "the largest absolute value becomes the code 127, 0 stays 0, and everything
    #   between is rounded to the nearest code." | "weight: [out, in], float32, at least one
    #   number." | "Where all weights that share a scale are 0, their codes are 0 and the
    #   scale is any finite number." | "ValueError: a weight is NaN or infinite." |
    #   "per_channel: a scale for each row instead of one for all."
    # Right because: the largest absolute value gets the largest code, so nothing is cut off,
    #   and rounding to the nearest code moves a weight by half a step at most.
    def check(weight, per_channel, what):
        """Codes in range, the right scale, and no error above half a step."""
        codes, scale = quantized_parts(weight, what, per_channel=per_channel)
        absmax = weight.abs().amax(1, keepdim=True) if per_channel else weight.abs().max()
        if per_channel:
            scale = expect_tensor(
                scale,
                f"{what}: the scales",
                absmax.shape,
                cause="each row has a scale of its own, shape [out, 1]",
            )
            expect_close(
                scale / absmax * 127,
                torch.ones_like(absmax),
                f"{what}: scales as parts of absmax / 127",
                cause="a row's absmax / 127, and nothing added; a tiny scale isn't 0",
            )
        else:
            scale = torch.tensor(expect_number(scale, f"{what}: the scale"))
            expect_close(
                scale / absmax * 127,
                torch.tensor(1.0),
                f"{what}: the scale as a part of absmax / 127",
                cause="the largest absolute value, which may be a negative number's, / 127, "
                "and nothing added; a tiny scale isn't 0",
            )
        codes = expect_tensor(codes, f"{what}: the codes", weight.shape, torch.int8)
        largest = int(codes.int().abs().max())
        expect_true(
            largest == 127,
            f"{what}: the largest absolute code",
            "127",
            largest,
            cause="the absmax gets the code 127, also where it is tiny: round to the nearest code",
        )
        scale = scale.double().reshape(-1, 1)
        steps = (codes.double() * scale - weight.double()).abs() / scale
        worst = float(steps.max())
        expect_true(
            worst <= 0.5001,
            f"{what}: the largest error",
            "at most half a step of the scale",
            f"{worst:.3f} steps",
            cause="round to the nearest code; truncation errs by up to a whole step",
        )

    for per_channel in (False, True):
        words = "a scale a row" if per_channel else "one scale"
        check(randn(6, 11, seed=1), per_channel, f"random weights, {words}")
        check(1e-4 * randn(3, 64, seed=2), per_channel, f"small weights, {words}")
        check(1e-20 * randn(3, 8, seed=2), per_channel, f"tiny weights, {words}")
        large = 1e36 * (1 + randn(4, 100, seed=7).abs().clamp(max=1))  # their sum is infinite
        check(large, per_channel, f"large weights, all finite, {words}")
        check(-randn(4, 5, seed=3).abs() - 0.1, per_channel, f"negative weights, {words}")
        check(randn(1, 1, seed=4), per_channel, f"a single weight, {words}")
        check(randn(5, 5, seed=5) * 1000, per_channel, f"a square matrix, {words}")
        zeros = torch.zeros(2, 3)
        codes, scale = quantized_parts(zeros, f"zeros, {words}", per_channel=per_channel)
        expect_equal(codes, zeros.tolist(), f"codes of zeros, {words}")
        scale = expect_tensor(as_tensor(scale), f"the scale of zeros, {words}")
        expect_true(
            bool(scale.isfinite().all()),
            f"the scale of zeros, {words}",
            "a finite number",
            scale,
            cause="dividing by 0 gives NaN or infinity; for zeros any finite scale is right",
        )
        for bad in (float("nan"), float("inf"), -float("inf")):
            expect_raises(
                ValueError,
                lambda bad=bad, per_channel=per_channel: quantize_int8(
                    torch.tensor([[1.0, bad], [2.0, 3.0]]), per_channel=per_channel
                ),
                f"a weight of {bad}, {words}",
            )
    mixed = torch.tensor([[0.0, 0.0, 0.0], [1.0, -0.5, 0.25]])

    def dequantized(weight, what):
        """Codes times scales, a scale a row."""
        codes, scale = quantized_parts(weight, what, per_channel=True)
        codes = expect_tensor(codes, f"{what}: the codes", weight.shape, torch.int8)
        scale = expect_tensor(scale, f"{what}: the scales", (len(weight), 1))
        return codes.double() * scale.double()

    expect_close(
        dequantized(mixed, "a row of zeros beside another"),
        mixed,
        "a row of zeros beside another, dequantized",
        cause="each row for itself: one of zeros changes nothing in another",
        atol=1 / 254 + 1e-6,
    )

    # One outlier: with one scale the other rows are lost, with a scale a row they are not.
    spoilt = randn(8, 32, seed=6)
    spoilt[3, 7] = 1000.0
    expect_close(
        dequantized(spoilt, "an outlier")[4:],
        spoilt[4:],
        "rows beside an outlier's row, a scale a row",
        atol=0.02,
    )
    ### END HIDDEN TESTS

# %% [markdown]
# What does one outlier do to a real matrix? Put a single large number into a copy of one, and watch the error of all the
# others.

# %% tags=["for-real"]
if scoreboard.ready("int8-absmax"):
    outlier_sizes = [1, 3, 10, 30, 100, 300]
    rms = {"one scale": [], "a scale a row": []}
    for factor in outlier_sizes:
        spoilt_weight = layer_weight.clone()
        spoilt_weight[0, 0] = factor * layer_weight.abs().max()
        for kind, per_row in (("one scale", False), ("a scale a row", True)):
            q, s = quantize_int8(spoilt_weight, per_channel=per_row)
            error = (q * s - spoilt_weight)[1:].square().mean().sqrt()  # of the rows beside it
            rms[kind].append(float(error / layer_weight.std()))
    ax = plots.axes(
        "With one scale, one outlier coarsens every weight of the tensor",
        "outlier, in multiples of the largest weight",
        "error of the other rows / spread of the weights",
    )
    plots.lines(ax, outlier_sizes, rms)
    ax.set(xscale="log", yscale="log", xticks=outlier_sizes, xticklabels=outlier_sizes)

# %% [markdown]
# *In words: with one scale the error of the other rows grows in proportion to the outlier, until all of them are rounded
# to 0 and the error is as large as the weights. With a scale a row it doesn't move.*
#
# ### Exercise 3 · INT4 in groups, with a minimum (4 points)
#
# A row is still hundreds or thousands of weights long. With 16 codes that is too many for one ruler. So cut the tensor into
# groups of 32, and use the codes well: a symmetric code spends half of them on a side where a group may have nothing.
# **Asymmetric** quantization spreads the codes from the group's smallest number to its largest:
#
# $$ \text{scale} = \frac{\max - \min}{15}, \qquad \text{code} = \mathrm{round}\Big(\frac{w - \min}{\text{scale}}\Big),
# \qquad w \approx \text{code} \cdot \text{scale} + \min. $$
#
# Where is zero on this ruler? At the code $-\min/\text{scale}$, the **zero point** (零点). Some formats (GPTQ's, AWQ's) round it to an
# integer and store that in 4 bits; llama.cpp's Q4_1 stores the minimum itself in 16 bits. Yours returns the minimum.
#
# No weight moves by more than half a step: $|w - w'| \le \text{scale} / 2$. That is the **error bound** that the test checks.
#
# Groups are consecutive numbers of the flattened tensor (row after row, as `weight.flatten()` gives them). The last group may
# be shorter. Don't let anything that isn't a weight into its minimum.
#
# <details><summary>Hint 1</summary>To fill up the last group, repeat the last number: it changes no minimum and no maximum.
# Or treat the last group by itself.</details>
# <details><summary>Hint 2</summary>numbers.reshape(-1, group_size).amin(dim=1) gives a minimum for each group.</details>
# <details><summary>Hint 3</summary>In a group of equal numbers, max - min = 0. If all its codes are 0, any finite scale gives the
# right numbers back.</details>


# %% nbgrader={"grade": false, "grade_id": "int4-groups", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize_groups(weight, group_size=32, bits=4):
    """Asymmetric quantization in groups of consecutive numbers.

    Args:
        weight: a float32 tensor of any shape, at least one number.
        group_size: numbers that share a scale and a minimum; the last group may be shorter.
        bits: bits of a code; codes are 0 .. 2 ** bits - 1.

    Returns:
        (codes, scale, minimum), for n numbers in g groups: codes [n], uint8, 0 for a group's
        smallest number and 2 ** bits - 1 for its largest; scale [g], float32; minimum [g],
        float32. A group whose numbers are all equal may have any codes with which
        codes * scale + minimum is that number.

    Raises:
        ValueError: a weight is NaN or infinite, or group_size is below 1.
    """
    ### BEGIN SOLUTION
    if group_size < 1:
        raise ValueError(f"groups of {group_size}")
    if not weight.isfinite().all():
        raise ValueError("the weight has numbers that are NaN or infinite")
    numbers = weight.flatten()
    missing = -len(numbers) % group_size
    groups = torch.cat((numbers, numbers[-1:].expand(missing))).reshape(-1, group_size)
    minimum, maximum = groups.amin(dim=1), groups.amax(dim=1)
    top = 2**bits - 1
    scale = torch.where(maximum > minimum, (maximum - minimum) / top, 1.0)
    codes = ((groups - minimum[:, None]) / scale[:, None]).round().clamp(0, top)
    return codes.to(torch.uint8).flatten()[: len(numbers)], scale, minimum
    ### END SOLUTION


def dequantize_groups(codes, scale, minimum, group_size, shape):
    """The numbers that codes stand for.

    Args:
        codes, scale, minimum: as `quantize_groups` returns them.
        group_size: as it was given to `quantize_groups`.
        shape: of the result, a tuple of ints.

    Returns:
        codes * scale + minimum, each code with its own group's, float32, of shape `shape`.
    """
    ### BEGIN SOLUTION
    padded = torch.nn.functional.pad(codes, (0, -len(codes) % group_size))
    numbers = padded.reshape(-1, group_size) * scale[:, None] + minimum[:, None]
    return numbers.flatten()[: len(codes)].reshape(shape)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "int4-groups-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    exercise,
    expect_close,
    expect_equal,
    expect_parts,
    expect_raises,
    expect_tensor,
    expect_true,
    randn,
)

with exercise("int4-groups"):

    def groups_of(weight, what, *group_size, **options):
        got = quantize_groups(weight.clone(), *group_size, **options)
        return expect_parts(
            got, "codes, scale, minimum", f"{what}: what quantize_groups returns"
        )

    weight = torch.tensor([[0.0, 15.0, 3.2], [-1.0, 0.5, 1.1]])
    words = "[[0, 15, 3.2], [-1, 0.5, 1.1]] in groups of 3"
    codes, scale, minimum = groups_of(weight, words, 3)
    expect_equal(
        codes,
        [0, 15, 3, 0, 11, 15],
        f"codes of {words}",
        cause="groups are consecutive numbers, row after row; each group's own smallest number "
        "gets 0, its largest 15, the others the nearest code",
    )
    expect_tensor(
        codes, "the codes' dtype", dtype=torch.uint8, cause="with 8 bits they reach 255"
    )
    expect_close(
        scale,
        torch.tensor([1.0, 2.1 / 15]),
        "scales of the two groups",
        cause="(max - min) / 15 in float32: from 0 to 15 there are fifteen steps",
    )
    expect_close(
        minimum,
        torch.tensor([0.0, -1.0]),
        "minima of the two groups",
        cause="the group's smallest number as it is, not rounded to a step",
    )
    expect_tensor(scale, "the scales' dtype", dtype=torch.float32)
    expect_tensor(minimum, "the minima's dtype", dtype=torch.float32)
    numbers = dequantize_groups(
        torch.tensor([0, 15, 3, 0, 11], dtype=torch.uint8),
        torch.tensor([1.0, 0.2]),
        torch.tensor([0.0, -1.0]),
        3,
        (5,),
    )
    expect_close(
        numbers,
        torch.tensor([0.0, 15.0, 3.0, -1.0, 1.2]),
        "codes 0, 15, 3, 0, 11 dequantized, groups of 3 and 2, scales 1 and 0.2, minima 0 and -1",
        cause="code * scale + minimum, three codes with the first scale and minimum, two with "
        "the second",
    )
    expect_tensor(numbers, "the dequantized numbers' dtype", dtype=torch.float32)

    ### BEGIN HIDDEN TESTS
    # Looks at: groups that cross rows; a short last group, groups of one, and a tensor smaller
    #   than a group; a group_size that isn't given; numbers all positive, and all negative;
    #   numbers all equal; codes of fewer and of more bits; tensors of one and three dimensions;
    #   outliers, and tiny, small and very large finite numbers; NaN, infinity, and group sizes
    #   below 1.
    # Stated by: "consecutive numbers of the flattened tensor (row after row" | "numbers that
    #   share a scale and a minimum; the last group may be shorter." | "group_size=32, bits=4"
    #   | "spreads the codes from the group's smallest number to its largest" | "A group whose
    #   numbers are all equal may have any codes with which codes * scale + minimum is that
    #   number." | "bits: bits of a code; codes are 0 .. 2 ** bits - 1." | "weight: a float32
    #   tensor of any shape, at least one number." | "No weight moves by more than half a
    #   step" | "ValueError: a weight is NaN or infinite, or group_size is below 1."
    # Right because: the ruler reaches from its group's smallest number to its largest and no
    #   further; padding or a neighbour's outlier would lengthen it, and with it every step.
    def check(weight, group_size, what, cause="", bits=4):
        """The contract for each group, by itself, in float64."""
        codes, scale, minimum = groups_of(weight, what, group_size, bits=bits)
        flat = weight.flatten().double()
        groups, top = -(-len(flat) // group_size), 2**bits - 1
        cause = cause or "a group's own smallest and largest number decide, and nothing else"
        codes = expect_tensor(codes, f"{what}: the codes", [len(flat)], cause=cause)
        expect_tensor(codes, f"{what}: the codes' dtype", dtype=torch.uint8)
        scale = expect_tensor(scale, f"{what}: the scales", [groups], cause=cause)
        minimum = expect_tensor(minimum, f"{what}: the minima", [groups], cause=cause)
        for g in range(groups):
            part = slice(g * group_size, (g + 1) * group_size)
            mine, c = flat[part], codes[part].double()
            low, high = float(mine.min()), float(mine.max())
            s, m = float(scale[g]), float(minimum[g])
            size = max(abs(low), abs(high))
            back = c * s + m
            if high == low:
                worst = float((back - mine).abs().max())
                expect_true(
                    worst <= 1e-6 * size,
                    f"{what}: group {g}, whose numbers are all {low:g}, dequantized",
                    f"{low:g}",
                    float(back[0]),
                    cause="max - min is 0 there, no scale to divide by; the code 0 means the "
                    "minimum",
                )
                continue
            expect_true(
                abs(s * top / (high - low) - 1) < 1e-3,
                f"{what}: scale of group {g}",
                f"(max - min) / {top} = {(high - low) / top:.6g}",
                s,
                cause=cause,
            )
            expect_true(
                abs(m - low) <= 1e-6 * size,
                f"{what}: minimum of group {g}",
                f"{low:.6g}",
                m,
                cause=cause,
            )
            ends = [int(c.min()), int(c.max())]
            expect_equal(
                ends, [0, top], f"{what}: smallest and largest code of group {g}", cause
            )
            worst = float((back - mine).abs().max()) / s
            expect_true(
                worst <= 0.501,
                f"{what}: the largest error in group {g}",
                "at most half a step of the scale",
                f"{worst:.3f} steps",
                cause="round to the nearest code",
            )
        again = dequantize_groups(codes, scale, minimum, group_size, tuple(weight.shape))
        group = torch.arange(len(flat)) // group_size
        expected = codes.double() * scale.double()[group] + minimum.double()[group]
        expect_close(
            again,
            expected.reshape(weight.shape),
            f"{what}: your codes, dequantized",
            cause="each code with its own group's scale and minimum: group_size codes a group, "
            "and the rest in the last",
            atol=1e-5 * float(flat.abs().max()),
        )

    check(randn(4, 32, seed=1), 32, "4 x 32, a group a row")
    check(randn(48, seed=4), 16, "a tensor of one dimension")
    across = "groups run through the flattened tensor, across the ends of its rows"
    check(randn(2, 3, 5, seed=5), 6, "a tensor of three dimensions", across)
    check(randn(6, 48, seed=2), 32, "6 x 48, groups that begin and end inside rows", across)
    at_zero = "the ruler begins at the smallest number and ends at the largest, wherever 0 is"
    check(5 + randn(4, 6, seed=3).abs(), 4, "24 positive numbers in groups of 4", at_zero)
    check(-5 - randn(4, 5, seed=3).abs(), 5, "20 negative numbers in groups of 5", at_zero)
    short = "the last group is shorter, and nothing that fills it up decides"
    check(5 + randn(23, seed=3).abs(), 4, "23 positive numbers in groups of 4", short)
    check(-5 - randn(3, 7, seed=3).abs(), 4, "21 negative numbers in groups of 4", short)
    check(randn(10, seed=4), 128, "fewer numbers than a group", short)
    check(torch.tensor([1.0, 2.0, -3.7]), 2, "a last group of one number", short)
    check(randn(7, seed=6), 1, "groups of one")
    check(torch.zeros(5, 7), 8, "zeros")
    check(torch.tensor([0.3] * 8 + [1.0, 2.0, 3.0]), 8, "a constant group and a short one")
    wide = "bits is an argument: codes are 0 .. 2 ** bits - 1"
    check(randn(5, 33, seed=7), 32, "8 bits", wide, bits=8)
    check(randn(5, 33, seed=7), 16, "3 bits", wide, bits=3)
    check(randn(5, 33, seed=8), 64, "2 bits", wide, bits=2)
    nothing_added = (
        "nothing may be added to the scale, which is small for small numbers, and not 0"
    )
    check(randn(64, seed=6) * 1e-5, 16, "small numbers", nothing_added)
    check(randn(64, seed=6) * 1e-20, 16, "tiny numbers", nothing_added)
    large = 1e36 * (1 + randn(4, 100, seed=7).abs().clamp(max=1))  # their sum is infinite
    check(large, 64, "large numbers, all finite")
    spoilt = randn(4, 32, seed=9)
    spoilt[1, 5] = 1000.0
    check(spoilt, 32, "an outlier")
    for numbers, groups in ((32, 1), (33, 2), (64, 2), (65, 3)):
        what = f"the scales of {numbers} numbers, group_size not given"
        expect_tensor(
            groups_of(randn(numbers, seed=numbers), what)[1],
            what,
            [groups],
            cause="group_size is 32 where it isn't given",
        )
    for bad in (float("nan"), float("inf"), -float("inf")):
        expect_raises(
            ValueError,
            lambda bad=bad: quantize_groups(torch.tensor([1.0, 2.0, bad]), 2),
            f"a weight of {bad}",
        )
    for size in (0, -1):
        expect_raises(
            ValueError,
            lambda size=size: quantize_groups(torch.ones(4), size),
            f"groups of {size}",
        )
    ### END HIDDEN TESTS

# %% [markdown]
# Try it on the model's real weights, every third matrix of them. *RMS error* is the root of the mean squared difference.

# %% tags=["for-real"]
if scoreboard.ready("int4-groups"):

    def int4_round_trip(weight, group_size=32, bits=4):
        q, s, m = quantize_groups(weight, group_size, bits)
        # Formats store the scale and the minimum in 16 bits.
        return dequantize_groups(
            q, s.half().float(), m.half().float(), group_size, weight.shape
        )

    some = [layer.weight.float() for _, layer in quantized.linears(model)][::3]
    for size in (32, 64, 128):
        squares = sum(float((w - int4_round_trip(w, size)).square().sum()) for w in some)
        rms_error = (squares / sum(w.numel() for w in some)) ** 0.5
        print(f"INT4, groups of {size:3}: RMS error {rms_error:.6f}")

# %% [markdown]
# With larger groups there is an error, as there must be. With groups of 32 there is **none**: tens of millions of float32 numbers
# went through 4 bits and came back the same, bit for bit (if you run the course's default model). Before you read on: how can
# that be?
#
# <details><summary>What is going on</summary>These weights have been through 4 bits before. The course's default model comes
# from a GGUF file in the format Q4_1, which is what you built: groups of 32, a 16-bit scale, a 16-bit minimum. Each group has at
# most 16 different values, equally spaced, and the smallest and the largest of them are there. So your minimum is the file's
# minimum, your scale is the file's scale, and each weight lies on a code. Rounding finds nothing to round. It
# says nothing about INT4 on weights that have never been quantized.</details>
#
# So remember for the rest of this notebook: **this model has already paid for 4 bits once**. What you measure below is the
# price of a second format on top. With internet, `FRIDGE_MODEL=HuggingFaceTB/SmolLM2-135M-Instruct` in the environment gives you the
# weights as they were trained, and the row of INT4 in groups of 32 then costs something too.
#
# ### Exercise 4 · Two codes a byte (2 points)
#
# PyTorch has no 4-bit integers. Two codes share a byte, and the order is a matter of agreement. `bitsandbytes` puts the
# **first** code into the high four bits:
#
# ```
#   codes   3   10   |  15    0   |  7
#   bytes  0011 1010 | 1111 0000  | 0111 ????
# ```
#
# When the number of codes is odd, half a byte is left over. Your function fills it with a code that it is given.
#
# <details><summary>Hint 1</summary>codes[0::2] are the first, third, fifth … codes. `<<` shifts, `|` joins, `&` masks.</details>
# <details><summary>Hint 2</summary>An int8 holds no number above 127. Which dtype has room for 15 << 4?</details>


# %% nbgrader={"grade": false, "grade_id": "packing", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pack_4bit(codes, fill=0):
    """Pack codes, two a byte, the first in the high half.

    Args:
        codes: [n], integers from 0 to 15, uint8 or int8 to int64; n may be 0.
        fill: the code, from 0 to 15, in the low half of the last byte if n is odd.

    Returns:
        uint8, [(n + 1) // 2].

    Raises:
        ValueError: a code is not from 0 to 15.
    """
    ### BEGIN SOLUTION
    if len(codes) and not 0 <= codes.min() <= codes.max() <= 15:
        raise ValueError("a code must be from 0 to 15")
    codes = codes.to(torch.uint8)
    if len(codes) % 2:
        codes = torch.cat((codes, codes.new_tensor([fill])))
    return codes[0::2] << 4 | codes[1::2]
    ### END SOLUTION


def unpack_4bit(packed, count):
    """The first `count` codes of what `pack_4bit` returned.

    Args:
        packed: uint8, [(count + 1) // 2].
        count: number of codes.

    Returns:
        uint8, [count].

    Raises:
        ValueError: `packed` has another length than `count` codes need.
    """
    ### BEGIN SOLUTION
    if len(packed) != (count + 1) // 2:
        raise ValueError(f"{len(packed)} bytes don't hold {count} codes")
    return torch.stack((packed >> 4, packed & 15), dim=1).flatten()[:count]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "packing-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import exercise, expect_equal, expect_raises, expect_tensor

with exercise("packing"):
    codes = torch.tensor([3, 10, 15, 0, 7], dtype=torch.uint8)
    packed = expect_tensor(
        pack_4bit(codes[:4].clone()),
        "the bytes of codes 3, 10, 15, 0",
        [2],
        torch.uint8,
        cause="two codes a byte, in uint8; an even number needs no fill",
    )
    expect_equal(
        packed,
        [0b0011_1010, 0b1111_0000],
        "codes 3, 10, 15, 0 in two bytes",
        cause="3 and 10 share a byte, 15 and 0 the next; the first of the two has the high "
        "four bits",
    )
    expect_equal(
        pack_4bit(codes.clone()),
        [0b0011_1010, 0b1111_0000, 0b0111_0000],
        "codes 3, 10, 15, 0 and 7 in three bytes",
        cause="the fifth code has the high four bits of a third byte, the fill its low four",
    )
    for what, packed, unpacked, cause in (
        ("2 codes of byte 58", [58], [3, 10], "the high four bits first, then the low four"),
        ("2 codes of byte 240", [240], [15, 0], "in uint8 a shift brings no sign along"),
        (
            "4 codes of bytes 58 and 240",
            [58, 240],
            [3, 10, 15, 0],
            "both codes of a byte, then the next byte's",
        ),
        (
            "3 codes of bytes 58 and 112",
            [58, 112],
            [3, 10, 7],
            "`count` codes, without the fill",
        ),
    ):
        got = unpack_4bit(torch.tensor(packed, dtype=torch.uint8), len(unpacked))
        expect_equal(got, unpacked, f"{what}, unpacked", cause)
    expect_tensor(got, "the unpacked codes' dtype", dtype=torch.uint8)
    ### BEGIN HIDDEN TESTS
    # Looks at: a fill, needed and not needed; a single code, and none; all pairs of codes, in
    #   several dtypes; all bytes, unpacked to the end and without the last code; codes out of
    #   range, by little and by much; too few bytes, and too many.
    # Stated by: "fill: the code, from 0 to 15, in the low half of the last byte if n is odd."
    #   | "n may be 0." | "codes: [n], integers from 0 to 15, uint8 or int8 to int64" | "The
    #   first `count` codes of what `pack_4bit` returned." | "ValueError: a code is not from 0
    #   to 15." | "`packed` has another length than `count` codes need."
    # Right because: 16 times 16 pairs of codes are 256, just as many as a byte has values:
    #   each pair has a byte of its own, and shift and mask find both halves again.
    filled = "the low four bits of the last byte are the fill, which is an argument"
    expect_equal(
        pack_4bit(codes.clone(), fill=9),
        [58, 240, 0b0111_1001],
        "five codes and a fill of 9",
        filled,
    )
    expect_equal(pack_4bit(codes[:4].clone(), fill=9), [58, 240], "four codes need no fill")
    expect_equal(
        pack_4bit(codes[2:3].clone(), fill=7),
        [0b1111_0111],
        "a single code, filled with 7",
        filled,
    )
    expect_equal(pack_4bit(codes[:0].clone()), [], "no codes")
    packed = torch.tensor([0b0011_1010, 0b1111_0000, 0b0111_0000], dtype=torch.uint8)
    expect_equal(unpack_4bit(packed[:0], 0), [], "no bytes")
    expect_equal(unpack_4bit(packed, 6), [3, 10, 15, 0, 7, 0], "six codes of three bytes")
    expect_equal(unpack_4bit(packed[:1], 1), [3], "one code of one byte")
    every = torch.cartesian_prod(torch.arange(16), torch.arange(16))
    for dtype in (torch.uint8, torch.int8, torch.int32, torch.int64):
        got = pack_4bit(every.flatten().to(dtype))
        expect_equal(got, list(range(256)), f"all pairs of codes, given as {dtype}")
        expect_tensor(got, f"the dtype of packed {dtype}", dtype=torch.uint8)
    expect_equal(
        unpack_4bit(torch.arange(256, dtype=torch.uint8), 512),
        every.flatten().tolist(),
        "all bytes, unpacked",
        cause="uint8 shifts without a sign; mask the low half with 15",
    )
    expect_equal(
        unpack_4bit(torch.arange(256, dtype=torch.uint8), 511),
        every.flatten().tolist()[:511],
        "511 codes of 256 bytes",
    )
    for bad in ([1, 16], [-1, 3], [3, 2, 99], [16]):
        expect_raises(ValueError, lambda bad=bad: pack_4bit(torch.tensor(bad)), f"codes {bad}")
    for bad in ([3, 256], [5, -256]):
        expect_raises(
            ValueError,
            lambda bad=bad: pack_4bit(torch.tensor(bad)),
            f"codes {bad}",
            cause="both become 0 in uint8: look at the codes before you convert them",
        )
    for count in (3, 4, 7, 8, 0):
        expect_raises(
            ValueError,
            lambda count=count: unpack_4bit(packed, count),
            f"{count} codes of three bytes",
            cause="three bytes hold 5 or 6 codes",
        )
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 5 · NF4 (5 points)
#
# Equal steps suit numbers that are spread evenly. Weights aren't: most lie close to 0, few far out, roughly a normal
# distribution. **NF4**, *4-bit NormalFloat* from the QLoRA paper, puts its 16 levels where a normal distribution has its
# numbers: close together around 0, far apart at the ends.
#
# A **quantile** answers "which number has a share $p$ of the distribution below it?" `torch.special.ndtri(p)` computes it for the
# normal distribution: 0 for $p = 0.5$, 1.64 for $p = 0.95$. The levels are built like this, and the list of them is the **code book**:
#
# - **8 positive levels**: the quantiles of 9 equally spaced probabilities from 0.9677083 to 0.5, without the last one (whose
#   quantile is 0);
# - **7 negative levels**: the same with 8 equally spaced probabilities, without the last one, and with a minus;
# - **0** itself, so that a weight of 0 stays 0;
# - all divided by the largest, sorted: from −1 to 1.
#
# (At $p = 1$ the quantile is infinite, so the construction has to begin below it. 0.9677083 is the mean of $1 - 1/30$ and $1 - 1/32$.)
#
# To quantize, cut the flattened tensor into blocks of 64, divide each by its absmax, and take the **nearest** level. Your
# codes must be those of `bitsandbytes`, so two details are fixed:
#
# - multiply by `1 / absmax` in float32 (instead of dividing by it, which can differ in the last bit);
# - a number exactly halfway between two levels takes the lower one.
#
# (The tests ask bitsandbytes itself. On some processors it mentions, once, an optional kernel that it didn't find; it works without.)
#
# 2 points are for the code book and 3 for the codes; each has its own test cell.
#
# <details><summary>Hint 1</summary>torch.linspace(0.9677083, 0.5, 9)[:-1] are the eight probabilities of the positive side.
# </details>
# <details><summary>Hint 2</summary>The number x gets the code "how many midpoints between neighbouring levels lie below x":
# torch.bucketize(x, midpoints), or x[:, None] > midpoints and a sum.</details>
# <details><summary>Hint 3</summary>A block of zeros has the absmax 0, and 1 / 0 is infinite. All its codes are that of the level
# 0, and its absmax is 0.</details>


# %% nbgrader={"grade": false, "grade_id": "nf4", "locked": false, "schema_version": 3, "solution": true, "task": false}
def nf4_code_book():
    """The 16 levels of NF4, ascending, float32, [16]; one is 0, the first -1, the last 1."""
    ### BEGIN SOLUTION
    positive = torch.special.ndtri(torch.linspace(0.9677083, 0.5, 9, dtype=torch.float64)[:-1])
    negative = -torch.special.ndtri(torch.linspace(0.9677083, 0.5, 8, dtype=torch.float64)[:-1])
    levels = torch.cat((negative, torch.zeros(1), positive)).sort().values
    return (levels / levels.max()).float()
    ### END SOLUTION


def quantize_nf4(weight, code_book, block_size=64):
    """Quantize to the nearest level, in blocks that share an absmax.

    Args:
        weight: a float32 tensor of any shape, at least one number.
        code_book: [16], ascending levels from -1 to 1, one of them 0, float32.
        block_size: consecutive numbers of the flattened tensor that share an absmax; the last
            block may be shorter.

    Returns:
        (codes, absmax), for n numbers in b blocks: codes [n], uint8, indices into `code_book`;
        absmax [b], float32, the largest absolute value of each block. A block of zeros has the
        absmax 0, and the codes of the level 0.

    Raises:
        ValueError: a weight is NaN or infinite.
    """
    ### BEGIN SOLUTION
    if not weight.isfinite().all():
        raise ValueError("the weight has numbers that are NaN or infinite")
    numbers = weight.flatten()
    blocks = torch.nn.functional.pad(numbers, (0, -len(numbers) % block_size))
    blocks = blocks.reshape(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    scaled = blocks * torch.where(absmax > 0, 1 / absmax, 0.0)[:, None]
    midpoints = (code_book[:-1] + code_book[1:]) / 2
    codes = torch.zeros_like(scaled, dtype=torch.uint8)
    for midpoint in midpoints:
        codes += scaled > midpoint
    return codes.flatten()[: len(numbers)], absmax
    ### END SOLUTION


def dequantize_nf4(codes, absmax, code_book, block_size, shape):
    """The numbers that codes stand for: each code's level times its block's absmax, float32,
    of shape `shape`.
    """
    ### BEGIN SOLUTION
    levels = code_book.index_select(0, codes.int())
    levels = torch.nn.functional.pad(levels, (0, -len(levels) % block_size))
    numbers = (levels.reshape(-1, block_size) * absmax[:, None]).flatten()
    return numbers[: len(codes)].reshape(shape)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "nf4-code-book-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import exercise, expect_close, expect_tensor, expect_true

with exercise("nf4-code-book"):
    code_book = expect_tensor(nf4_code_book(), "the code book", [16], cause="7 + 1 + 8 levels")
    expect_tensor(code_book, "the code book's dtype", dtype=torch.float32)
    expect_true(
        bool((code_book.diff() > 0).all()),
        "the order of the levels",
        "each larger than the one before",
        code_book.tolist(),
        cause="the levels are sorted, and 0 is there once",
    )
    expect_close(
        code_book[7],
        torch.tensor(0.0),
        "level 7",
        cause="behind seven negative levels comes 0 itself, and then eight positive ones",
    )
    expect_close(
        code_book[[0, 15]],
        torch.tensor([-1.0, 1.0]),
        "levels 0 and 15, the first and the last",
        cause="the quantiles of 0.9677083 as torch.special.ndtri computes them, divided by the "
        "largest",
    )
    expect_close(
        code_book[[6, 8]],
        torch.tensor([-0.0910500, 0.0795803]),
        "levels 6 and 8, the neighbours of 0",
        cause="the quantiles, ndtri(p), of equally spaced p from 0.9677083 to 0.5: 9 on the "
        "positive side, 8 on the negative one, each without the last",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: all levels, beside those of bitsandbytes.
    # Stated by: "quantiles of 9 equally spaced probabilities from 0.9677083 to 0.5, without
    #   the last one"
    # Right because: quantiles at equal steps of probability lie dense where a normal
    #   distribution has most of its numbers, so most weights find a level close by; two halves
    #   of their own leave one level for 0.
    from bitsandbytes.functional import get_4bit_type

    expect_close(
        code_book,
        get_4bit_type("nf4", device="cpu"),
        "the code book beside bitsandbytes'",
        cause="quantiles of the normal distribution at equally spaced probabilities, divided by the largest",
        atol=2e-6,
    )
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "nf4-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    exercise,
    expect_close,
    expect_equal,
    expect_parts,
    expect_raises,
    expect_tensor,
    randn,
)

with exercise("nf4"):
    from bitsandbytes.functional import get_4bit_type, quantize_4bit

    nf4_levels = get_4bit_type("nf4", device="cpu")

    def nf4_parts(weight, what, code_book, *block_size):
        got = quantize_nf4(weight.clone(), code_book.clone(), *block_size)
        return expect_parts(got, "codes, absmax", f"{what}: what quantize_nf4 returns")

    def same_as_bitsandbytes(weight, what, cause=""):
        codes, absmax = nf4_parts(weight, what, nf4_levels)
        packed, state = quantize_4bit(weight, blocksize=64, quant_type="nf4")
        theirs = torch.stack((packed.flatten() >> 4, packed.flatten() & 15), dim=1).flatten()
        absmax = expect_tensor(
            absmax, f"absmax values of {what}", state.absmax.shape, cause=cause
        )
        expect_close(
            absmax,
            state.absmax,
            f"absmax of {what}",
            cause=cause or "each block's own largest absolute value, as it is",
            atol=0 if weight.any() else 1e-30,
        )
        expect_tensor(
            absmax,
            f"the dtype of absmax of {what}",
            dtype=torch.float32,
            cause="an absmax is to take four bytes",
        )
        codes = expect_tensor(
            codes,
            f"codes of {what}",
            [weight.numel()],
            cause="a code for each number, and none for what fills up the last block",
        )
        expect_equal(
            codes,
            theirs[: weight.numel()].tolist(),
            f"codes of {what}",
            cause=cause
            or "the code of the nearest level, above or below, to number * (1 / absmax)",
        )

    same_as_bitsandbytes(randn(2, 64, seed=1), "two blocks of random numbers")
    levels = torch.tensor([0, 7, 8, 15, 6], dtype=torch.uint8)
    numbers = dequantize_nf4(levels, torch.tensor([2.0, 10.0]), nf4_levels.clone(), 4, (5,))
    expect_close(
        numbers,
        torch.tensor([-2.0, 0.0, 0.1591606, 2.0, -0.910500]),
        "codes 0, 7, 8, 15, 6 dequantized, blocks of 4 and 1, absmax 2 and 10",
        cause="each code's level times its block's absmax: 2 for the first four, 10 for the last",
    )
    expect_tensor(numbers, "the dequantized numbers' dtype", dtype=torch.float32)
    ### BEGIN HIDDEN TESTS
    # Looks at: a short last block, blocks of one, and a tensor smaller than a block; zeros,
    #   alone and beside other blocks; outliers, tiny, small, negative, and very large finite
    #   numbers; numbers on a level, and halfway between two; numbers halfway but for the
    #   rounding of 1 / absmax; another code book; tensors of other dimensions; NaN and infinity.
    # Stated by: "consecutive numbers of the flattened tensor that share an absmax; the last
    #   block may be shorter." | "A block of zeros has the absmax 0, and the codes of the
    #   level 0." | "the largest absolute value of each block." | "a number exactly halfway
    #   between two levels takes the lower one." | "multiply by `1 / absmax` in float32" |
    #   "code_book: [16], ascending levels from -1 to 1, one of them 0, float32." | "weight: a
    #   float32 tensor of any shape, at least one number." | "ValueError: a weight is NaN or
    #   infinite."
    # Right because: the nearest level changes at the midpoints between levels, so a number's
    #   code is the count of midpoints below it; the same float32 product as the library's puts
    #   even borderline numbers on the same side.
    across = "blocks run through the flattened tensor, across the ends of its rows"
    same_as_bitsandbytes(randn(4, 32, seed=2), "4 x 32 numbers", across)
    short = "the last block is shorter"
    same_as_bitsandbytes(
        randn(150, seed=2), "150 numbers in a row, with a short last block", short
    )
    same_as_bitsandbytes(
        randn(5, 33, seed=2), "5 x 33 numbers, with a short last block", across
    )
    same_as_bitsandbytes(randn(1, seed=3), "a single number", short)
    same_as_bitsandbytes(1e-3 * randn(96, 100, seed=4), "9600 small numbers")
    same_as_bitsandbytes(
        1e-20 * randn(96, seed=4), "tiny numbers", "a tiny absmax isn't 0 and needs no care"
    )
    large = 1e36 * (1 + randn(4, 100, seed=7).abs().clamp(max=1))  # their sum is infinite
    same_as_bitsandbytes(large, "large numbers, all finite")
    outliers = randn(64, 48, seed=5)
    outliers.view(-1)[::97] *= 50
    same_as_bitsandbytes(outliers, "numbers with outliers")
    same_as_bitsandbytes(-randn(3, 64, seed=6).abs(), "negative numbers")
    same_as_bitsandbytes(randn(2, 3, 4, 16, seed=7), "a tensor of four dimensions")
    of_zeros = (
        "1 / 0 is infinite; a block of zeros has the absmax 0 and the codes of the level 0"
    )
    same_as_bitsandbytes(torch.zeros(2, 64), "zeros", of_zeros)
    mixed = torch.cat((torch.zeros(64), randn(64, seed=8), torch.zeros(64)))
    same_as_bitsandbytes(mixed, "blocks of zeros beside another", of_zeros)
    same_as_bitsandbytes(nf4_levels.repeat(4), "the levels themselves")
    halfway = torch.tensor([1.0, float(nf4_levels[8]) / 2, float(nf4_levels[6]) / 2])
    expect_equal(
        nf4_parts(halfway, "numbers halfway between levels", nf4_levels)[0],
        [15, 7, 6],
        "codes of 1 and of the numbers halfway between 0 and its two neighbours",
        cause="halfway between two levels, the lower one is taken",
    )

    def check(weight, block_size, what, cause="", code_book=nf4_levels):
        """Nearest level in float64, and the way back, with another block size or code book."""
        codes, absmax = nf4_parts(weight, what, code_book, block_size)
        numbers = weight.flatten().double()
        block = torch.arange(len(numbers)) // block_size
        expected = torch.stack([part.abs().max() for part in numbers.split(block_size)])
        expect_close(absmax, expected, f"{what}: absmax", cause, atol=0)
        codes = expect_tensor(codes, f"{what}: the codes", [len(numbers)], torch.uint8)
        scaled = numbers / expected[block]
        nearest = (scaled[:, None] - code_book.double()).abs().argmin(dim=1)
        expect_equal(codes, nearest.tolist(), f"{what}: codes", cause)
        expect_close(
            dequantize_nf4(codes, absmax, code_book.clone(), block_size, tuple(weight.shape)),
            (code_book.double()[nearest] * expected[block]).reshape(weight.shape),
            f"{what}: dequantized",
            atol=1e-5 * float(numbers.abs().max()),
        )

    sized = "block_size is an argument"
    check(randn(6, 32, seed=9), 64, "6 x 32 in blocks of 64")
    check(randn(3, 25, seed=10), 10, "75 numbers in blocks of 10", sized)
    check(randn(9, seed=11), 4096, "fewer numbers than a block", sized)
    check(randn(9, seed=12), 1, "blocks of one", sized)
    eighths = torch.tensor([-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 8])
    other = eighths / 8
    check(randn(4, 16, seed=13), 64, "another code book", "code_book is an argument", other)
    check(randn(4, 25, seed=13), 32, "another code book, blocks of 32", sized, other)
    # Seven times the midpoints, which float32 has exactly: divided by 7 they lie halfway, times
    # 1 / 7 some of them lie one rounding above.
    midpoints = (other[:-1] + other[1:]) / 2
    borderline = torch.cat((torch.tensor([7.0]), 7 * midpoints))
    expect_equal(
        nf4_parts(borderline, "7 and numbers 7 times halfway", other, 16)[0],
        torch.bucketize(borderline * (1 / torch.tensor(7.0)), midpoints),
        "codes of 7 and of numbers 7 times halfway between levels of another code book",
        cause="multiply by 1 / absmax in float32; dividing, or more bits, can give a neighbour",
    )
    for bad in (float("nan"), float("inf"), -float("inf")):
        expect_raises(
            ValueError,
            lambda bad=bad: quantize_nf4(torch.tensor([1.0, bad, 3.0]), nf4_levels.clone()),
            f"a weight of {bad}",
        )
    ### END HIDDEN TESTS

# %% [markdown]
# Here are the two rulers on the weights that they have to measure: a block of 64 of the model's weights, divided by its absmax,
# many times over.

# %% tags=["for-real"]
if scoreboard.ready("nf4-code-book"):
    own_levels = nf4_code_book()
    some = [w.weight.flatten() for _, w in quantized.linears(model)][::15]
    blocks = torch.cat(some).reshape(-1, 64)
    pictures.levels_on_weights(
        (blocks / blocks.abs().amax(dim=1, keepdim=True)).flatten(),
        {"NF4": own_levels, "16 equal steps": torch.linspace(-1, 1, 16)},
    )
    del some, blocks

# %% [markdown]
# *In words: the scaled weights form a bell around 0 with a spike at each end, where every block has its absmax. NF4's levels
# are dense below the bell and sparse outside, the equal steps are spread evenly.*
#
# (The small bumps far out on both sides are traces of the first quantization: there, few different values are possible.)
#
# ### Exercise 6 · Quantize the quantizer's numbers (4 points)
#
# Blocks of 64 cost a float32 absmax each: half a bit a weight, 4.4 GB for 70 billion. **Double quantization** squeezes those. They
# are all positive and alike, so subtract their mean first (the **offset**), then quantize what is left to 8 bits, symmetric,
# in blocks of 256, as in exercise 2:
#
# $$ \text{scale} = \frac{\max|a - \text{offset}|}{127} \text{ of each block}, \qquad \text{code} = \mathrm{round}\Big(\frac{a - \text{offset}}{\text{scale}}\Big). $$
#
# (`bitsandbytes` does the same, except that its 256 codes stand for 256 levels that are denser near 0. The bytes are equal.)
#
# <details><summary>Hint 1</summary>When all absmax values are equal, every difference is 0, and so is the scale. Which scale
# does no harm?</details>
# <details><summary>Hint 2</summary>If you fill up the last block, do it after the offset was subtracted, and with 0.</details>


# %% nbgrader={"grade": false, "grade_id": "double-quant", "locked": false, "schema_version": 3, "solution": true, "task": false}
def double_quantize(absmax, block_size=256):
    """Quantize absmax values to 8 bits.

    Args:
        absmax: [n], float32, finite, n at least 1.
        block_size: consecutive values that share a scale; the last block may be shorter.

    Returns:
        (codes, scale, offset), for n values in b blocks: codes [n], int8, from -127 to 127;
        scale [b], float32; offset, the mean of all absmax values, a single number. Where a
        block's values all equal the offset its codes are 0 and its scale is any finite number.
    """
    ### BEGIN SOLUTION
    offset = absmax.mean()
    rest = absmax - offset
    blocks = torch.nn.functional.pad(rest, (0, -len(rest) % block_size)).reshape(-1, block_size)
    codes, scale = quantize_int8(blocks, per_channel=True)
    return codes.flatten()[: len(absmax)], scale.flatten(), offset
    ### END SOLUTION


def double_dequantize(codes, scale, offset, block_size=256):
    """The absmax values that codes stand for: code * scale + offset, each code with its own
    block's scale. The arguments are as `double_quantize` returns and takes them.

    Returns:
        float32, [n].
    """
    ### BEGIN SOLUTION
    return codes * scale.repeat_interleave(block_size)[: len(codes)] + offset
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "double-quant-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    as_tensor,
    builds_on,
    exercise,
    expect_close,
    expect_equal,
    expect_number,
    expect_parts,
    expect_tensor,
    expect_true,
    randn,
)

with exercise("double-quant"):
    builds_on("int8-absmax")

    def doubly_quantized(absmax, what, **options):
        got = double_quantize(absmax.clone(), **options)
        codes, scale, offset = expect_parts(
            got, "codes, scale, offset", f"{what}: what double_quantize returns"
        )
        codes = expect_tensor(
            codes,
            f"{what}: the codes",
            [len(absmax)],
            torch.int8,
            cause="a code for each value, in int8, and none for what fills up the last block",
        )
        return codes, scale, offset

    absmax = torch.tensor([1.0, 2.0, 3.0, 2.0])  # mean 2; differences -1, 0, 1, 0
    codes, scale, offset = doubly_quantized(absmax, "[1, 2, 3, 2]")
    offset = expect_number(offset, "offset of [1, 2, 3, 2]")
    expect_close(
        offset,
        torch.tensor(2.0),
        "offset of [1, 2, 3, 2]",
        cause="the mean of the values, and of nothing that fills up a block",
    )
    expect_equal(
        codes,
        [-127, 0, 127, 0],
        "codes of [1, 2, 3, 2]",
        cause="the largest difference from the mean gets 127 or -127; nothing that fills up "
        "the block may be larger",
    )
    expect_close(
        as_tensor(scale),
        torch.tensor([1 / 127]),
        "scale of [1, 2, 3, 2]",
        cause="a scale a block, shape [1] here: the largest difference from the mean, 1, / 127",
    )
    expect_tensor(scale, "the scale's dtype", dtype=torch.float32)
    expect_close(
        double_dequantize(
            torch.tensor([-127, 0, 127], dtype=torch.int8),
            torch.tensor([1 / 127]),
            torch.tensor(2.0),
            3,
        ),
        torch.tensor([1.0, 2.0, 3.0]),
        "codes -127, 0 and 127 dequantized, scale 1/127, offset 2",
        cause="code * scale + offset, in floating point",
    )
    again = double_dequantize(
        torch.tensor([-127, 0, 127, 4], dtype=torch.int8),
        torch.tensor([1 / 127, 0.5]),
        torch.tensor(2.0),
        3,
    )
    expect_close(
        again,
        torch.tensor([1.0, 2.0, 3.0, 4.0]),
        "codes -127, 0, 127 and 4, dequantized with scales 1/127 and 0.5, blocks of 3, offset 2",
        cause="block_size is an argument: the fourth code has the second block's scale",
    )
    expect_tensor(again, "the dequantized values' dtype", dtype=torch.float32)

    ### BEGIN HIDDEN TESTS
    # Looks at: several blocks, a part of one, less than one; another block size; blocks alike
    #   inside, and one of several that equals the offset; values that are all equal, a single
    #   one, and zeros; small and tiny values; an outlier in one block of several.
    # Stated by: "for n values in b blocks: codes [n], int8, from -127 to 127; scale [b],
    #   float32" | "block_size: consecutive values that share a scale; the last block may be
    #   shorter." | "offset, the mean of all absmax values, a single number." | "Where a
    #   block's values all equal the offset its codes are 0 and its scale is any finite
    #   number." | "then quantize what is left to 8 bits, symmetric" | "code * scale + offset,
    #   each code with its own block's scale."
    # Right because: absmax values lie close together, so without their mean they are small and
    #   of both signs, and 255 codes a block divide what is left finely.
    def check(absmax, what, cause="", **options):
        codes, scale, offset = doubly_quantized(absmax, what, **options)
        block_size = options.get("block_size", 256)
        mean = absmax.double().mean()
        size = float(absmax.abs().max())
        expect_close(
            expect_number(offset, f"{what}: offset"),
            mean,
            f"{what}: offset",
            cause="the mean of all absmax values, of the whole tensor",
            atol=1e-5 * size,
        )
        rest = absmax.double() - mean
        peaks = torch.stack([part.abs().max() for part in rest.split(block_size)])
        scale = expect_tensor(
            scale, f"{what}: the scales", peaks.shape, cause=cause or "one scale a block"
        )
        expect_true(
            bool(scale.isfinite().all()),
            f"{what}: the scales",
            "finite numbers",
            scale,
            cause="dividing by 0 gives NaN or infinity; for zeros any finite scale is right",
        )
        block = torch.arange(len(absmax)) // block_size
        real = peaks > 1e-5 * size
        expect_close(
            scale.double()[real] * 127 / peaks[real],
            torch.ones(int(real.sum())),
            f"{what}: scales as parts of the block's largest |absmax - offset| / 127",
            cause="each block has a scale of its own, consecutive values make a block, and all "
            "blocks have one offset",
            atol=1e-3,
        )
        back = codes.double() * scale.double()[block] + mean
        bound = torch.where(real, 0.501 * peaks / 127, 0.0)[block] + 2e-5 * size
        worst = float(((back - absmax.double()).abs() - bound).max())
        expect_true(
            worst <= 0,
            f"{what}: the largest error",
            "at most half a step of the block's scale",
            f"{worst:.3g} more than that",
            cause=cause or "round to the nearest code",
        )
        expect_close(
            double_dequantize(codes, scale, offset, **options),
            back,
            f"{what}: your codes, dequantized",
            atol=1e-4 * size,
        )

    check(0.1 + randn(700, seed=1).abs(), "700 values, two blocks and a part of one")
    check(0.1 + randn(512, seed=2).abs(), "512 values, two blocks")
    check(randn(20, seed=3).abs() + 3, "20 values, less than a block")
    check(
        randn(20, seed=4).abs() + 3,
        "20 values in blocks of 8",
        "block_size is an argument",
        block_size=8,
    )
    check(1e-3 * (randn(300, seed=5).abs() + 1), "small values")
    check(
        1e-20 * (randn(300, seed=5).abs() + 1),
        "tiny values",
        "a scale is small for small values, and not 0",
    )
    check(
        torch.cat((torch.full((256,), 1.0), torch.full((44,), 3.0))), "two blocks, alike inside"
    )
    check(
        torch.tensor([2.0, 2.0, 1.0, 3.0]),
        "[2, 2, 1, 3] in blocks of 2, the first equal to the offset",
        "each block for itself: one that equals the offset changes nothing in another",
        block_size=2,
    )
    check(torch.full((300,), 1.5), "300 equal values")
    check(torch.tensor([0.7]), "a single value")
    check(torch.zeros(3), "zeros")
    outlier = torch.full((600,), 1.0) + 0.01 * randn(600, seed=6)
    outlier[40] = 50.0
    check(outlier, "an outlier in the first block of three")
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 7 · A 4-bit layer (4 points)
#
# Put the parts together. The layer keeps packed codes and the absmax values, and nothing else of the weight. When it is called
# it unpacks and dequantizes the weight, multiplies, and forgets it again. So the memory of one dequantized layer is needed at a
# time, instead of all of them.
#
# With `double_quant=True` the absmax values are kept doubly quantized, as in exercise 6.
#
# Use your own functions; a mistake in one of them costs points here too, so mend it first. (If one of them isn't right yet, `bitsandbytes.functional.quantize_4bit(..., quant_type="nf4")` gives
# you codes and absmax to go on with.)
#
# <details><summary>Hint 1</summary>self.register_buffer("packed", …) keeps a tensor that isn't trained and moves with the
# layer to another device. Remember the weight's shape too.</details>
# <details><summary>Hint 2</summary>torch.nn.functional.linear(x, weight, bias) takes x of any number of dimensions.</details>
# <details><summary>Hint 3</summary>nbytes: add up the nbytes of what you keep, without the code book. Compare with exercise 1.
# </details>


# %% nbgrader={"grade": false, "grade_id": "linear-4bit", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Linear4bit(torch.nn.Module):
    """A linear layer whose weight is kept in NF4.

    Args:
        weight: [out, in], float32.
        bias: [out], float32, or None; it isn't quantized.
        block_size: consecutive numbers of the flattened weight that share an absmax.
        double_quant: keep the absmax values doubly quantized, in blocks of 256.

    Attributes:
        nbytes: bytes kept: packed codes, absmax values (or their codes, scales and 4 bytes for
            the offset), and the bias. The code book isn't counted: all layers can share one.
    """

    def __init__(self, weight, bias=None, block_size=64, double_quant=False):
        super().__init__()
        ### BEGIN SOLUTION
        self.shape, self.block_size, self.double_quant = weight.shape, block_size, double_quant
        self.register_buffer("code_book", nf4_code_book().to(weight.device))
        codes, absmax = quantize_nf4(weight.detach().float(), self.code_book, block_size)
        self.register_buffer("packed", pack_4bit(codes))
        kept = double_quantize(absmax) if double_quant else (absmax,)
        self.statistics = len(kept)
        for index, part in enumerate(kept):
            self.register_buffer(f"statistics{index}", part)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        buffers = [self.packed, *kept, *([] if bias is None else [self.bias])]
        self.nbytes = sum(buffer.nbytes for buffer in buffers)
        ### END SOLUTION

    def forward(self, x):
        """x Wᵀ + bias with the dequantized weight.

        Args:
            x: [..., in], float32.

        Returns:
            [..., out].
        """
        ### BEGIN SOLUTION
        statistics = [getattr(self, f"statistics{index}") for index in range(self.statistics)]
        absmax = double_dequantize(*statistics) if self.double_quant else statistics[0]
        codes = unpack_4bit(self.packed, self.shape.numel())
        weight = dequantize_nf4(codes, absmax, self.code_book, self.block_size, self.shape)
        return torch.nn.functional.linear(x, weight.to(x.dtype), self.bias)
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "linear-4bit-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    builds_on,
    exercise,
    expect_close,
    expect_equal,
    expect_true,
    held_bytes,
    randn,
)

with exercise("linear-4bit"):
    builds_on("packing", "nf4-code-book", "nf4", "double-quant")
    from bitsandbytes.functional import get_4bit_type

    def in_nf4(weight, block_size=64):
        """The numbers nearest to `weight` that NF4 has in such blocks, and absmax values."""
        parts = weight.detach().flatten().double().split(block_size)
        absmax = torch.stack([part.abs().max() for part in parts])
        levels = get_4bit_type("nf4", device="cpu").double()
        codes = [
            ((p / a)[:, None] - levels).abs().argmin(1)
            for p, a in zip(parts, absmax, strict=True)
        ]
        return [levels[c] for c in codes], absmax

    def expected_output(x, weight, bias=0.0, absmax=None, block_size=64):
        levels, own_absmax = in_nf4(weight, block_size)
        scales = own_absmax if absmax is None else absmax
        near = torch.cat([part * a for part, a in zip(levels, scales, strict=True)]).reshape(
            weight.shape
        )
        return x.double() @ near.T + bias

    exact = Linear4bit(torch.tensor([[1.0, 0.0, -1.0], [1.0, 1.0, 0.0]]))
    expect_close(
        exact(torch.tensor([[1.0, 0.0, -1.0]])),
        torch.tensor([[2.0, 1.0]]),
        "output for weights and inputs of 1, 0 and -1, which NF4 keeps as they are",
        cause="y = x Wᵀ: an output for each row of the weight",
    )
    weight, x = randn(6, 32, seed=1), randn(3, 32, seed=2)
    layer = Linear4bit(weight)
    expect_equal(
        layer.nbytes,
        6 * 32 // 2 + 3 * 4,
        "nbytes of a layer 32 -> 6",
        cause="two codes a byte, and 4 bytes for each block of 64 numbers, which may cross "
        "rows; no code book",
    )
    expect_close(
        layer(x),
        expected_output(x, weight),
        "output of a layer 32 -> 6",
        cause="x as it is, times the weight as it comes back from its codes, whose blocks are "
        "consecutive numbers, row after row",
        atol=1e-4,
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: a bias, and none; double quantization, of few blocks and of many; an odd number
    #   of weights, a single one, and zeros; blocks of other sizes; x of one and of three
    #   dimensions; a second call, and a second layer; nbytes of all of these; what a layer
    #   keeps after a call; a small Llama with your layers.
    # Stated by: "bias: [out], float32, or None; it isn't quantized." | "double_quant: keep
    #   the absmax values doubly quantized, in blocks of 256." | "weight: [out, in], float32."
    #   | "block_size: consecutive numbers of the flattened weight that share an absmax." |
    #   "x: [..., in], float32." | "When it is called it unpacks and dequantizes the weight,
    #   multiplies, and forgets it again." | "bytes kept: packed codes, absmax values (or
    #   their codes, scales and 4 bytes for the offset), and the bias." | "The layer keeps
    #   packed codes and the absmax values, and nothing else of the weight." | "A linear layer
    #   whose weight is kept in NF4."
    # Right because: codes and absmax values stand for one fixed matrix, so the layer is an
    #   ordinary linear layer with that matrix, which exists only during a call and isn't kept.
    from fridge.quantization import quantized
    from fridge.testing import tiny_llama

    def doubly(absmax):
        """The absmax values after double quantization."""
        rest = absmax - absmax.mean()
        scales = torch.stack([part.abs().max() / 127 for part in rest.split(256)])
        scales = torch.where(scales > 1e-12, scales, 1.0)[torch.arange(len(rest)) // 256]
        return (rest / scales).round() * scales + absmax.mean()

    def check(out, inner, x, what, seed, cause="", bias=False, block_size=64):
        weight = randn(out, inner, seed=seed)
        offset = randn(out, seed=seed + 100) if bias else None
        blocks = -(-out * inner // block_size)
        own = {} if block_size == 64 else {"block_size": block_size}
        for double in (False, True):
            name = f"{what}{', double quantization' if double else ''}"
            mine = Linear4bit(
                weight.clone(),
                None if offset is None else offset.clone(),
                double_quant=double,
                **own,
            )
            absmax = doubly(in_nf4(weight, block_size)[1]) if double else None
            expected = expected_output(
                x, weight, offset.double() if bias else 0.0, absmax, block_size
            )
            doubled = "with double_quant, the absmax values as they come back from their codes"
            expect_close(
                mine(x.clone()),
                expected,
                f"{name}: output",
                cause=cause or (doubled if double else ""),
                atol=1e-3,
            )
            kept = (
                "4 an absmax, also of a short last block; no code book, no copy of the weight"
            )
            if double:
                kept = "a byte an absmax, 4 for each 256 and for those left, 4 for the offset"
            kept = f"half a byte a code, rounded up at the end, 4 a number of the bias, {kept}"
            bytes_of_blocks = blocks + 4 * -(-blocks // 256) + 4 if double else 4 * blocks
            expect_equal(
                mine.nbytes,
                (out * inner + 1) // 2 + bytes_of_blocks + (4 * out if bias else 0),
                f"{name}: nbytes",
                cause=kept,
            )
            expect_close(
                mine(x.clone()),
                expected,
                f"{name}: output of a second call",
                cause="a call leaves what the layer keeps as it is",
                atol=1e-3,
            )

    with_bias = "the bias is added to what the weight gives"
    check(8, 64, randn(4, 64, seed=3), "64 -> 8", seed=4)
    check(8, 64, randn(4, 64, seed=3), "64 -> 8 with a bias", 4, with_bias, bias=True)
    odd = "the last byte holds one code and the fill, which is no weight"
    check(5, 13, randn(2, 13, seed=5), "13 -> 5, an odd number of weights", 6, odd, bias=True)
    check(1, 1, randn(2, 1, seed=7), "1 -> 1", seed=8)
    check(16, 48, randn(2, 3, 48, seed=9), "48 -> 16, x of three dimensions", seed=10)
    check(16, 48, randn(48, seed=11), "48 -> 16, x of one dimension", seed=12, bias=True)
    check(160, 128, randn(2, 128, seed=13), "128 -> 160, more than 256 blocks", seed=14)
    large = Linear4bit(randn(160, 128, seed=14))
    large(randn(2, 128, seed=13))
    held, needed = held_bytes(large), 160 * 128 // 2 + 4 * 320
    expect_true(
        held <= needed + 4096,
        "bytes of all tensors that a layer 128 -> 160 keeps after a call",
        f"{needed}, its packed codes and absmax values, and some more for the code book",
        held,
        cause="the weight, as it was or dequantized, or a code a byte, outlives the call: keep "
        "packed codes alone, and forget the rest when forward returns",
    )
    sized = "block_size is an argument"
    check(6, 50, randn(2, 50, seed=16), "50 -> 6, blocks of 256", 17, sized, block_size=256)
    check(4, 100, randn(2, 100, seed=18), "100 -> 4, blocks of 128", 19, sized, block_size=128)
    zeros = Linear4bit(torch.zeros(3, 40))
    expect_close(zeros(randn(2, 40, seed=15)), torch.zeros(2, 3), "output of a weight of zeros")
    partly = torch.cat((torch.zeros(1, 64), randn(2, 64, seed=20)))
    x64 = randn(2, 64, seed=21)
    expect_close(
        Linear4bit(partly)(x64),
        expected_output(x64, partly),
        "output of a weight with a block of zeros beside others",
        cause="each block for itself: one of zeros changes nothing in another",
        atol=1e-4,
    )
    one, other = Linear4bit(weight), Linear4bit(-2 * weight)
    expect_close(
        one(x),
        expected_output(x, weight),
        "output of a layer after another was made",
        cause="each layer keeps codes and absmax values of its own",
        atol=1e-4,
    )
    expect_close(
        other(x), expected_output(x, -2 * weight), "output of the other one", atol=1e-4
    )

    tokens = torch.tensor([[5, 9, 2, 61, 33, 7]])
    mine = quantized.swap(
        tiny_llama(), lambda linear: Linear4bit(linear.weight.detach(), linear.bias)
    )
    reference = quantized.round_trip(
        tiny_llama(),
        lambda weight: (
            torch.cat([part * a for part, a in zip(*in_nf4(weight), strict=True)])
            .reshape(weight.shape)
            .float()
        ),
    )
    expect_close(
        mine(tokens),
        reference(tokens),
        "logits of a small Llama with your layers in place of its own",
        atol=1e-3,
    )
    ### END HIDDEN TESTS

# %% [markdown]
# Now into the model: every linear layer but the head becomes one of yours. The formula of exercise 1 predicts the
# bytes; `quantized.stored_bytes` walks through a model and adds up the memory of every tensor that it really holds.

# %% tags=["for-real"]
if scoreboard.ready("linear-4bit", "quantized-bytes"):
    for double in (False, True):
        mine_4bit = quantized.swap(
            model,
            lambda layer, dq=double: Linear4bit(layer.weight, layer.bias, double_quant=dq),
        )
        layers = [layer.weight.numel() for _, layer in quantized.linears(model)]
        formula = sum(quantized_bytes(numbers, double_quant=double) for numbers in layers)
        head_bytes = model.lm_head.weight.nbytes
        rest = quantized.stored_bytes(mine_4bit) - head_bytes
        print(
            f"double quantization {double}: formula {formula / 1e6:.2f} MB, held {rest / 1e6:.2f} MB besides the head's "
            f"{head_bytes / 1e6:.0f} MB (float32 before: {linear_weights * 4 / 1e6:.0f} MB)"
        )
    print(continue_text(mine_4bit, tokens=2))
    quantized.tidy()

# %% [markdown]
# Held is a little more than the formula: the norms, the frequencies of RoPE, and the code book, 64 bytes in each layer if
# yours keeps one in each. Everything else is what you predicted.
#
# ### Exercise 8 · LLM.int8(): outliers among the inputs (4 points)
#
# So far the weights were rounded and the arithmetic stayed in floating point. A processor multiplies 8-bit integers several times
# faster, but then the **activations**, the inputs $x$ of the layer, must be integers too. And they have worse outliers
# than weights have: in large language models a few *columns* of $x$ (the same few features for all tokens) are dozens of times larger
# than the rest. Let us see whether the little model has them too.

# %% tags=["for-real"]
activations = quantized.inputs_of(
    model, tokenizer(text.prose()[:1500], return_tensors="pt").input_ids
)
heights = {name: float(x.abs().max()) for name, x in activations.items()}
shown = max(heights, key=heights.get)
x_real = activations[shown].float()
peaks = x_real.abs().amax(dim=0).cpu()
ax = plots.axes(
    f"{int((peaks > 6).sum())} of {len(peaks)} columns hold every activation above 6",
    f"column of x (input of {shown.removeprefix('model.')})",
    "largest |x| among the tokens",
)
ax.plot(peaks, color=plots.SECOND, linewidth=0.9)
ax.set_yscale("log")
ax.axhline(6, color=plots.ACCENT, linestyle="--", linewidth=1.2)
shares = {
    name: float((x.abs().amax(dim=0) > 6).float().mean()) for name, x in activations.items()
}
print(f"columns above 6, on average over the layers: {sum(shares.values()) / len(shares):.1%}")
del activations
quantized.tidy()

# %% [markdown]
# *In words: on a logarithmic axis most columns stay below the dashed line at 6 for all tokens, and a few spikes stand far above it.*
#
# That is the layer with the largest of them. Its wildest column is so far out that an int8 ruler long enough for it would round nearly
# everything else to 0.
#
# **LLM.int8()** takes the matrix product apart:
#
# 1. a column of $x$ is an *outlier column* if any |number| in it is **greater than** the threshold, 6.0;
# 2. these columns are multiplied with the same columns of $W$ in floating point;
# 3. the other columns become int8: **each row of $x$** has its own scale, its absmax *without the outlier columns* / 127; **each
#    row of $W$** has its own, its absmax *over all columns* / 127, because $W$ is quantized once, before any $x$ is known;
# 4. the products of the codes are added up exactly (int32 has room for them), and multiplied by both scales; the two parts are
#    added.
#
# <details><summary>Hint 1</summary>(x.abs() > threshold).any(dim=0) tells for each column whether it is one.</details>
# <details><summary>Hint 2</summary>int8 times int8 in int8 overflows, silently. Convert the codes to int32 before you multiply.
# </details>
# <details><summary>Hint 3</summary>Your quantize_int8(…, per_channel=True) does all rows of a matrix, also if they are zeros. The scales
# have shapes [rows, 1] and [out, 1]; the result needs [rows, 1] times [1, out].</details>


# %% nbgrader={"grade": false, "grade_id": "llm-int8", "locked": false, "schema_version": 3, "solution": true, "task": false}
def outlier_columns(x, threshold=6.0):
    """Which columns of x [rows, in] have a number of absolute value greater than `threshold`.

    Returns:
        Their indices, ascending: a list of ints, or a tensor [k] of ints.
    """
    ### BEGIN SOLUTION
    return (x.abs() > threshold).any(dim=0).nonzero().flatten()
    ### END SOLUTION


def int8_linear(x, weight, threshold=6.0):
    """x Wᵀ with 8-bit integers, except for the outlier columns of x.

    Args:
        x: [rows, in], float32, finite.
        weight: [out, in], float32, finite.
        threshold: a number of greater absolute value makes its column an outlier column.

    Returns:
        [rows, out], float32.
    """
    ### BEGIN SOLUTION
    outliers = outlier_columns(x, threshold)
    usual = torch.ones(x.shape[1], dtype=torch.bool, device=x.device)
    usual[outliers] = False
    w_codes, w_scale = quantize_int8(weight, per_channel=True)
    exact = x[:, outliers] @ weight[:, outliers].T
    if not usual.any():
        return exact
    x_codes, x_scale = quantize_int8(x[:, usual], per_channel=True)
    sums = x_codes.int() @ w_codes[:, usual].int().T
    return sums * x_scale * w_scale.T + exact
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "llm-int8-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    builds_on,
    exercise,
    expect_close,
    expect_equal,
    expect_tensor,
    randn,
)

with exercise("llm-int8"):
    builds_on("int8-absmax")
    x = torch.tensor([[1.0, -20.0, 0.5, 6.0], [2.0, 0.0, -7.0, 1.0]])
    expect_equal(
        outlier_columns(x),
        [1, 2],
        "outlier columns",
        cause="the indices of the columns in which any row has a number above 6, plus or "
        "minus; 6.0 itself isn't",
    )
    # 127 and -64 become the codes 127 and -64 with a scale of 1: integers stay what they are.
    got = expect_tensor(
        int8_linear(
            torch.tensor([[127.0, -64.0], [3.0, 127.0]]),
            torch.tensor([[127.0, 1.0]]),
            threshold=200.0,
        ),
        "a product of small integers: the output",
        [2, 1],
    )
    expect_close(
        got,
        torch.tensor([[127.0 * 127 - 64], [3 * 127.0 + 127]]),
        "a product of small integers",
        cause="each scale is 127 / 127 here, and the codes' products are added up exactly, as "
        "int32",
        atol=1e-2,
    )
    expect_tensor(got, "the output's dtype", dtype=torch.float32)

    ### BEGIN HIDDEN TESTS
    # Looks at: several outlier columns, none, and nothing else; rows of different size, in x
    #   and in the weight; a weight whose largest numbers meet an outlier column; other
    #   thresholds, and one that isn't given; sums that short integers don't hold; one row with
    #   one output; zeros in x and in the weight, all or a row of them; a tiny x or weight.
    # Stated by: "a column of $x$ is an *outlier column* if any |number| in it is **greater
    #   than** the threshold" | "its absmax *without the outlier columns* / 127; **each row of
    #   $W$** has its own" | "its absmax *over all columns* / 127, because $W$ is quantized
    #   once, before any $x$ is known" | "threshold: a number of greater absolute value makes
    #   its column an outlier column." | "the products of the codes are added up exactly
    #   (int32 has room for them)" | "[rows, out], float32." | "does all rows of a matrix,
    #   also if they are zeros." | "the other columns become int8"
    # Right because: a dot product is a sum over columns, so it can be split: the few wide
    #   columns stay exact, and without them the scales are short enough that 8 bits serve the
    #   rest.
    def reference(x, weight, threshold):
        x, weight = x.double(), weight.double()
        is_outlier = (x.abs() > threshold).any(dim=0)
        usual = torch.where(is_outlier, 0.0, x)
        x_scale, w_scale = (m.abs().amax(1, keepdim=True) / 127 for m in (usual, weight))
        x_scale, w_scale = (torch.where(s > 0, s, 1.0) for s in (x_scale, w_scale))
        kept = torch.where(is_outlier, 0.0, (weight / w_scale).round())
        return ((usual / x_scale).round() @ kept.T) * x_scale * w_scale.T + (
            x - usual
        ) @ weight.T

    def check(x, weight, what, cause="", **options):
        threshold = options.get("threshold", 6.0)
        expected = reference(x, weight, threshold)
        columns = [c for c in range(x.shape[1]) if bool((x[:, c].abs() > threshold).any())]
        expect_equal(
            outlier_columns(x.clone(), **options),
            columns,
            f"{what}: outlier columns",
            cause="each column once, in which any row has a number beyond the threshold, plus or "
            "minus; threshold is an argument, of both functions, 6.0 where it isn't given",
        )
        expect_close(
            int8_linear(x.clone(), weight.clone(), **options),
            expected,
            f"{what}: output",
            cause,
            atol=2e-5 * max(1.0, float(expected.abs().max())),
        )

    check(
        randn(1, 8, seed=11),
        randn(1, 8, seed=12),
        "one row, one output, no outliers",
        cause="x and the weight are both rounded to codes, and the sum is multiplied by both "
        "scales",
    )
    alike, alike_weight = randn(4, 16, seed=21), randn(5, 16, seed=22)
    alike[:, 3], alike_weight[:, 7] = 5.0, -4.0
    check(
        alike,
        alike_weight,
        "rows whose scales are all the same",
        cause="row i and column o of the output: row i of x with row o of the weight",
    )
    check(
        torch.full((2, 600), 5.0),
        torch.ones(3, 600),
        "sums far beyond 16 bits",
        cause="the codes' products are added up exactly, as int32",
    )
    uneven = randn(4, 16, seed=5) * torch.tensor([[0.01], [1.0], [0.1], [2.0]])
    check(
        uneven,
        alike_weight[:3],
        "rows of x of different size",
        cause="each row of x has a scale of its own",
    )
    check(
        alike,
        randn(5, 16, seed=8) * torch.tensor([[0.01], [1.0], [0.1], [5.0], [3.0]]),
        "rows of the weight of different size",
        cause="each row of the weight has a scale of its own",
    )
    check(
        10 * uneven,
        randn(3, 16, seed=6),
        "rows of different size, a threshold of 100",
        cause="threshold is an argument, of both functions",
        threshold=100.0,
    )
    check(
        randn(3, 8, seed=9) + 20,
        randn(4, 8, seed=10),
        "nothing but outliers",
        cause="in floating point, outlier columns of x meet the same columns of the weight, "
        "which isn't rounded for them; they count once",
    )
    spoilt, plain = randn(5, 24, seed=1), randn(7, 24, seed=2)
    spoilt[:, 3] *= 40
    spoilt[2, 17] = -60.0
    plain[:, [3, 17]] /= 4
    check(
        spoilt,
        plain,
        "two outlier columns",
        cause="the whole column counts in float32, also the rows of it that are small; and the scale of a row of x is "
        "that of what is left",
    )
    wide = randn(6, 24, seed=3)
    wide[:, 5] = 9.0
    heavy = randn(4, 24, seed=4)
    heavy[:, 5] *= 30
    check(
        wide,
        heavy,
        "a weight whose largest numbers meet an outlier column",
        cause="the weight's scales are those of whole rows: it is quantized before x is known",
    )
    check(
        torch.cat((torch.zeros(1, 8), randn(2, 8, seed=13))),
        randn(4, 8, seed=14),
        "a row of zeros",
    )
    check(randn(3, 8, seed=15), torch.zeros(2, 8), "a weight of zeros")
    check(
        randn(3, 8, seed=15),
        torch.cat((torch.zeros(1, 8), randn(2, 8, seed=14))),
        "a row of zeros in the weight",
        cause="each row for itself: one of zeros changes nothing in another",
    )
    not_zero = "a scale is small for small numbers, and not 0"
    check(1e-15 * randn(3, 8, seed=15), 1e15 * randn(4, 8, seed=14), "a tiny x", not_zero)
    check(
        1e15 * randn(3, 8, seed=15),
        1e-15 * randn(4, 8, seed=14),
        "a tiny weight, a threshold of 1e18",
        cause=not_zero,
        threshold=1e18,
    )
    check(
        10 * randn(4, 12, seed=16),
        randn(5, 12, seed=17),
        "a threshold of 12",
        cause="threshold is an argument, of both functions",
        threshold=12.0,
    )
    close = randn(3, 6, seed=19)
    close[0] = torch.tensor([5.99, 6.01, -6.01, -5.99, 6.0, -6.0])
    check(
        close,
        randn(4, 6, seed=20),
        "numbers close to 6, threshold not given",
        cause="threshold is 6.0 where it isn't given",
    )
    only = torch.zeros(2, 4)
    only[0, 2] = 50.0
    check(only, randn(3, 4, seed=18), "zeros beside one outlier")
    ### END HIDDEN TESTS

# %% [markdown]
# How much does the trick save? Multiply the activations of the figure with their real weight, in three ways, and compare with
# float32.

# %% tags=["for-real"]
if scoreboard.ready("llm-int8"):
    w_real = dict(quantized.linears(model))[shown].weight.float()
    exact = x_real @ w_real.T
    for kind, limit in (
        ("all columns in int8", float("inf")),
        ("LLM.int8(), threshold 6", 6.0),
    ):
        error = int8_linear(x_real, w_real, threshold=limit) - exact
        columns = len(outlier_columns(x_real, limit))
        print(
            f"{kind:25} {columns:3} columns in float32, RMS error {float(error.std() / exact.std()):.2%} of the output"
        )

# %% [markdown]
# A handful of columns in floating point repairs what they would have spoilt. In this little model few layers have such columns; the authors saw them
# spread with size. From about 6.7 billion parameters on, the same few columns are outliers in every layer, and plain int8 falls apart
# while the decomposition holds.
#
# ### Exercise 9 · The yardstick (4 points)
#
# "It still sounds fine" is no measurement. **Perplexity** (困惑度) is: read a text that people wrote, and ask the model before each token how
# likely it finds the one that comes. The negative logarithms of these probabilities are averaged over the text, and the exponential
# of the average is the perplexity. It is the number of equally likely tokens between which the model hesitates: 1 is a prophet, the
# size of the vocabulary (49 152 here) is a monkey.
#
# A model reads a limited number of tokens at once, so a long text is read in **windows** that begin every `stride` tokens
# and overlap, so that no token is judged with hardly any context. Every token but the first must be scored **exactly once**:
#
# ```
#   tokens          0  1  2  3  4  5  6  7  8  9    window 5, stride 3
#   call 1 is fed   0  1  2  3  4                   scores 1 2 3 4 5 (logits at i predict i + 1)
#   call 2 is fed            3  4  5  6  7          scores       6 7 8 (4 and 5 are scored)
#   call 3 is fed                     6  7  8       scores           9 (7 and 8 are scored)
# ```
#
# So call number $k$ is fed the `window` tokens from position $k \cdot \text{stride}$ on, or those that are left. The very last token of
# the text may stay out, for nothing follows it. A call scores what no call before it has scored. The calls end when everything is scored.
#
# <details><summary>Hint 1</summary>Keep one number: how many tokens have been scored. A window that starts at s and is fed m
# tokens can score the tokens s + 1 … s + m.</details>
# <details><summary>Hint 2</summary>torch.nn.functional.cross_entropy(logits, targets, reduction="sum") adds up the negative logarithms. Divide once,
# at the end.</details>


# %% nbgrader={"grade": false, "grade_id": "perplexity", "locked": false, "schema_version": 3, "solution": true, "task": false}
def perplexity(model, tokens, window, stride):
    """Perplexity of a text, in overlapping windows; every token but the first is scored once.

    Args:
        model: model(ids) returns logits [1, m, vocab_size] for ids [1, m], int64; those at i
            predict token i + 1.
        tokens: [n], int64.
        window: largest number of tokens in a call.
        stride: distance between the starts of two calls, from 1 to `window`.

    Returns:
        exp of the mean negative log-likelihood of tokens 1 … n - 1, a number.

    Raises:
        ValueError: fewer than 2 tokens, or a stride that isn't from 1 to `window`; the model
            hasn't been called.
    """
    ### BEGIN SOLUTION
    if len(tokens) < 2 or not 1 <= stride <= window:
        raise ValueError(f"{len(tokens)} tokens, window {window}, stride {stride}")
    total, scored = 0.0, 0
    last = len(tokens) - 1  # the last token is predicted and predicts nothing
    for start in range(0, last, stride):
        end = min(start + window, last)
        logits = model(tokens[None, start:end])[0, scored - start :].float()
        targets = tokens[scored + 1 : end + 1].to(logits.device)
        total += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
        scored = end
        if scored == last:
            break
    return float(torch.tensor(total / last).exp())
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "perplexity-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    exercise,
    expect_close,
    expect_equal,
    expect_number,
    expect_raises,
    expect_tensor,
    randn,
    tiny_llama,
)

with exercise("perplexity"):

    def calls_of(tokens, window, stride, logits_of):
        """(perplexity, the tokens fed in each call) when the test's own model answers."""
        fed = []

        def model(ids, *_, **__):
            ids = expect_tensor(ids, "the ids given to the model")
            fed.append(ids[0].tolist())
            return logits_of(ids)

        value = expect_number(perplexity(model, tokens, window, stride), "the perplexity")
        return value, [call for call in fed if call]

    text_of_ten = torch.tensor([5, 9, 2, 61, 33, 7, 12, 40, 3, 8])
    value, fed = calls_of(text_of_ten, 5, 3, lambda ids: torch.zeros(1, ids.shape[1], 64))
    expect_close(
        value,
        torch.tensor(64.0),
        "perplexity when all 64 tokens are equally likely",
        cause="exp of the mean over the 9 scored tokens, each of which costs ln 64",
        atol=1e-3,
    )
    expect_equal(
        [call[0] for call in fed],
        [5, 61, 12],
        "the first tokens of the calls, 10 tokens, window 5, stride 3 (the figure above)",
        cause="a call begins every `stride` tokens, until the last token is scored, also with "
        "a short window",
    )
    expect_equal(
        fed[:2],
        [[5, 9, 2, 61, 33], [61, 33, 7, 12, 40]],
        "the first two calls",
        cause="each is fed `window` tokens",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: windows that overlap by much, by little, and not at all; what each call is fed,
    #   and how many there are; a last window that is short, or has one token; windows as long
    #   as the text, longer, and of a token or two; the shortest text, and a long one; a text
    #   with an easy and a hard half; too few tokens, and strides out of range.
    # Stated by: "stride: distance between the starts of two calls, from 1 to `window`." | "A
    #   call scores what no call before it has scored. The calls end when everything is
    #   scored." | "or those that are left." | "window: largest number of tokens in a call." |
    #   "every token but the first is scored once." | "The negative logarithms of these
    #   probabilities are averaged over the text" | "fewer than 2 tokens, or a stride that
    #   isn't from 1 to `window`; the model hasn't been called."
    # Right because: the first window that can score a token gives it the most context, and
    #   later ones skip it; dividing once at the end gives every token the same weight,
    #   whatever window it was in.
    tiny = tiny_llama(seed=1)

    def reference(tokens, window, stride):
        """Token by token: the window that scores it is the first that can."""
        total, calls = 0.0, []
        for target in range(1, len(tokens)):
            k = 0
            while k * stride + window < target:
                k += 1
            start = k * stride
            if start not in calls:
                calls.append(start)
            row = 0.5 * tiny(tokens[None, start:target])[0, -1].double()
            total -= float(row.log_softmax(-1)[tokens[target]])
        return torch.tensor(total / (len(tokens) - 1), dtype=torch.float64).exp(), calls

    def check(n, window, stride, what, cause=""):
        tokens = torch.randint(0, 64, (n,), generator=torch.Generator().manual_seed(n))
        expected, starts = reference(tokens, window, stride)
        value, fed = calls_of(tokens.clone(), window, stride, lambda ids: 0.5 * tiny(ids))
        what = f"{n} tokens, window {window}, stride {stride}{what}"
        expect_equal(
            len(fed),
            len(starts),
            f"{what}: number of calls",
            cause="no call without a token that is still to be scored",
        )
        for call, start in zip(fed, starts, strict=True):
            left = tokens[start : start + window].tolist()
            without_last = tokens[start : min(start + window, n - 1)].tolist()
            if (
                call != left
            ):  # whoever feeds the last token too and drops its logits is right as well
                expect_equal(
                    call,
                    without_last,
                    f"{what}: tokens of the call that starts at {start}",
                    cause="its window, to the last token but one at least: that predicts the last",
                )
        expect_close(
            value / expected,
            torch.tensor(1.0),
            f"{what}: perplexity as a part of the right one",
            cause,
            1e-4,
        )

    # Unlike parts: the first half is easy for the model, the second is hard. The mean of means
    # is another number.
    def half_blind(ids):
        logits = torch.zeros(1, ids.shape[1], 64)
        for row, token in enumerate(ids[0].tolist()):
            logits[0, row, token + 1 if token < 20 else 0] = 6.0
        return logits

    def check_halves(window, stride):
        right = (1 + 63 * torch.exp(torch.tensor(-6.0))).log().double()
        expected = ((44 * right + 24 * 6) / 44).exp()  # 20 tokens cost `right`, 24 cost 6 more
        value, _ = calls_of(torch.arange(0, 45), window, stride, half_blind)
        expect_close(
            value / expected,
            torch.tensor(1.0),
            f"a text with an easy and a hard half, window {window}, stride {stride}: "
            "perplexity as a part of the right one",
            cause="the mean over tokens, not over windows",
            atol=1e-4,
        )

    check(
        6,
        10,
        10,
        ": a single window",
        "exp of the mean of -log p; the logits at i are for token i + 1, whose p is that of a "
        "softmax over them, taken once",
    )
    apart = "the first token of a window is predicted by the window before it, at its end"
    check(33, 8, 8, ": four full windows that don't overlap", apart)
    check_halves(16, 16)
    once = "every token but the first counts once: a window leaves out what was scored before"
    check(30, 8, 4, "", once)
    check(30, 8, 8, ": windows that don't overlap", apart)
    check_halves(16, 12)
    check(30, 8, 1, ": one new token a call", once)
    check(30, 7, 5, ": a short last window", once)
    check(31, 7, 5, ": a short last window", once)
    check(34, 8, 8, ": a last window of one token", once)
    check(10, 10, 5, ": a window as long as the text", once)
    check(10, 9, 3, ": a window that just suffices", once)
    check(10, 64, 32, ": a window longer than the text", once)
    check(2, 4, 2, ": the shortest text", once)
    check(6, 1, 1, ": windows of one token", once)
    check(12, 2, 1, ": windows of two tokens", once)
    check(210, 24, 17, ": a long text", "add up logarithms: the product of many p is 0")

    def refuses(n, window, stride, what):
        called = []

        def model(ids, *_, **__):
            called.append(1)
            ids = expect_tensor(ids, "the ids given to the model")
            return torch.zeros(1, ids.shape[1], 64)

        expect_raises(
            ValueError,
            lambda: perplexity(model, torch.zeros(n, dtype=torch.int64), window, stride),
            what,
        )
        expect_equal(
            len(called), 0, f"calls of the model for {what}", cause="check before you call"
        )

    refuses(1, 4, 2, "one token")
    refuses(0, 4, 2, "no token")
    refuses(9, 4, 5, "a stride of 5 with a window of 4")
    refuses(9, 4, 0, "a stride of 0")
    refuses(9, 4, -1, "a stride of -1")
    ### END HIDDEN TESTS

# %% [markdown]
# ## 5 · For real
#
# Now the question of the title: 量化 without becoming stupid, is that so? Every format that you built, in every
# linear layer of the model but the head; its size by your formula, its perplexity by your yardstick, and a sentence.
#
# The weights go through each format and back, and the arithmetic stays in float32. That shows the **quality** of a format exactly,
# and nothing about its speed, which comes after. The text is a page of Python's manual, 256 tokens to score; **the cell after the next takes one to two minutes** on two
# idle cores. For a firmer answer raise `text_tokens`; the time grows in proportion.

# %% tags=["for-real"]
text_tokens, window, stride = 257, 160, 96
page = tokenizer(text.prose()[:20_000], return_tensors="pt").input_ids[0, :text_tokens]


def through_int8(weight):
    q, s = quantize_int8(weight, per_channel=True)
    return q * s


def through_nf4(double):
    def there_and_back(weight):
        levels = nf4_code_book().to(weight.device)
        q, absmax = quantize_nf4(weight.float(), levels)
        if double:
            absmax = double_dequantize(*double_quantize(absmax))
        return dequantize_nf4(q, absmax, levels, 64, weight.shape)

    return there_and_back


formats = {  # name: (the way there and back, bits, group size or None for a row, double quantization)
    "INT8, a scale a row": (through_int8, 8, None, False),
    "INT4, groups of 32": (lambda w: int4_round_trip(w, 32, 4), 4, 32, False),
    "INT4, groups of 64": (lambda w: int4_round_trip(w, 64, 4), 4, 64, False),
    "INT4, groups of 128": (lambda w: int4_round_trip(w, 128, 4), 4, 128, False),
    "NF4": (through_nf4(False), 4, 64, False),
    "NF4 + double quantization": (through_nf4(True), 4, 64, True),
    "INT3, groups of 64": (lambda w: int4_round_trip(w, 64, 3), 3, 64, False),
    "INT2, groups of 64": (lambda w: int4_round_trip(w, 64, 2), 2, 64, False),
}

# %% tags=["for-real"]
results = {}
if scoreboard.ready(
    "quantized-bytes",
    "int8-absmax",
    "int4-groups",
    "nf4-code-book",
    "nf4",
    "double-quant",
    "perplexity",
):
    fp32 = linear_weights * 4 / 1e6
    results["FP32"] = (fp32, perplexity(model, page, window, stride), continue_text(model))
    for name, (through, bits, size, double) in formats.items():
        small = quantized.round_trip(model, through)
        megabytes = sum(
            quantized_bytes(layer.weight.numel(), bits, size or layer.in_features, double)
            for _, layer in quantized.linears(model)
        )
        results[name] = (
            megabytes / 1e6,
            perplexity(small, page, window, stride),
            continue_text(small),
        )
        del small
        quantized.tidy()
    print(f"{'format':27}{'MB':>6}{'perplexity':>12}   The capital of France is …")
    for name, (megabytes, value, sentence) in results.items():
        words = sentence.removeprefix("The capital of France is").replace("\n", "⏎")
        print(f"{name:27}{megabytes:6.0f}{value:12.2f}  {words[:60]}")

# %% tags=["for-real"]
if results:
    values = {name: row[1] for name, row in results.items()}
    four = max(value for name, value in values.items() if name.startswith(("INT4", "NF4")))
    pictures.sizes_and_perplexities(
        f"Perplexity {values['FP32']:.1f} in float32 and at most {four:.1f} with four bits;\n"
        f"{values['INT3, groups of 64']:,.0f} with three bits, {values['INT2, groups of 64']:,.0f} with two",
        {name: row[:2] for name, row in results.items()},
    )

# %% [markdown]
# *In words: a dot for each format's perplexity on a logarithmic axis, beside its name and size. INT8 and INT4 in groups of 32 stand
# where float32 stands, with a sixth of its size for the latter. NF4 and INT4 in larger groups lie somewhat to the right, INT3 at ten times the
# perplexity, and INT2 is off by orders of magnitude.*
#
# Read the table slowly; five things are in it.
#
# - **INT8 is free**, or nearly so, here and in every paper.
# - **INT4 in groups of 32 is exactly free**, and you know why: this model was stored that way. It is an artefact, not a result.
# - **The other 4-bit formats** show what a second rounding costs. A finer grid of rulers costs bytes and buys quality: 32 is better
#   than 64, 64 better than 128. NF4 in blocks of 64 is exactly as large as INT4 in groups of 64, and close to it: a little ahead on one text, a
#   little behind on another. On weights that were never quantized, levels that lie where the weights lie beat equal steps (QLoRA's table, below);
#   these weights stood on equal steps before.
# - **Double quantization** costs practically nothing in quality: the absmax values move by less than a percent.
# - **There is a cliff.** The number of levels halves with each bit, so the error doubles. With 3 bits the model still makes a sentence and no longer makes
#   sense; with 2 it is gone, and its perplexity is larger than the vocabulary: it is *surer* of wrong tokens than a monkey. So stupidity comes in this order: first
#   facts, then sense, then grammar, then words.
#
# "Small" is the other half of it: little models break earlier than large ones. With 7 billion parameters and more, the papers
# lose a few per cent of perplexity at 4 bits. Compare that with your table.
#
# ### The same through bitsandbytes
#
# In practice you write none of this; you hand `transformers` a `BitsAndBytesConfig`:
#
# ```python
# config = BitsAndBytesConfig(
#     load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
# )
# model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=config)
# ```
#
# `fridge.quantization.bitsandbytes_peer.load` does that for 8 bits, NF4, and NF4 with double quantization. First
# question: are your weights theirs? (In every third layer, to save time.)

# %% tags=["for-real"]
from fridge.quantization import bitsandbytes_peer

if scoreboard.ready("nf4", "packing", "nf4-code-book"):
    from bitsandbytes.functional import get_4bit_type

    their_nf4 = bitsandbytes_peer.load(bits=4)
    books = {
        "their code book": get_4bit_type("nf4", device="cpu"),
        "your code book": nf4_code_book(),
    }
    differ, absmax_differ, compared = dict.fromkeys(books, 0), 0, 0
    for name, layer in list(quantized.linears(model))[::3]:
        compared += layer.weight.numel()
        packed, their_absmax = bitsandbytes_peer.nf4_of(their_nf4.get_submodule(name))
        for book, levels in books.items():
            q, absmax = quantize_nf4(layer.weight.float(), levels.to(layer.weight.device))
            differ[book] += int((pack_4bit(q) != packed).sum())
        absmax_differ += int((absmax != their_absmax).sum())
    print(f"absmax values that differ: {absmax_differ} of {compared // 64:,}")
    del layer, packed, q
    for book, number in differ.items():
        print(f"bytes of codes that differ, with {book}: {number} of {compared // 2:,}")

# %% [markdown]
# Not one code differs when you use their 16 levels. Theirs were computed once in float32 and written down, so some differ from
# yours in the last bit; a weight that falls between your midpoint and theirs gets the neighbouring code.
#
# Second question: size, quality and **speed**, theirs and yours. A token without a context is timed, which is what decoding spends
# most on. Loading and measuring takes half a minute on two idle cores. (In 8-bit mode bitsandbytes would log one line some thousand times, that it casts
# its inputs to float16. The course silences this line and no other: see `fridge/quantization/bitsandbytes_peer.py`.)

# %% tags=["for-real"]
one_token = page[None, :1].to(model.device)
speeds = {}


def ms_per_token(step):
    with torch.no_grad():
        return 1000 * measure.seconds(step, repeats=2)


def report(name, megabytes, step, value=None):
    speeds[name] = ms_per_token(step)
    shown_value = f"{value:12.2f}" if value is not None else f"{'':12}"
    print(f"{name:34}{megabytes:6.0f} MB{shown_value}{1000 / speeds[name]:10.1f} tokens/s")


if results and scoreboard.ready("linear-4bit"):
    print(f"{'model, with its head in FP32':34}{'size':>9}{'perplexity':>12}{'speed':>12}")
    report(
        "FP32",
        quantized.stored_bytes(model) / 1e6,
        lambda: model(one_token),
        results["FP32"][1],
    )
    report("your NF4", quantized.stored_bytes(mine_4bit) / 1e6, lambda: mine_4bit(one_token))


# %% tags=["for-real"]
def report_peer(name, peer):
    with torch.no_grad():
        size = (
            bitsandbytes_peer.stored_bytes(peer) / 1e6
        )  # before the first call, which may reorder things
        value = perplexity(lambda ids: peer(ids.to(peer.device)).logits, page, window, stride)
    report(name, size, lambda: peer(one_token), value)


if results and scoreboard.ready("packing"):
    report_peer("bitsandbytes NF4", their_nf4)
    del their_nf4
    for name, options in {
        "bitsandbytes NF4 + double quant.": {"bits": 4, "double_quant": True},
        "bitsandbytes LLM.int8()": {"bits": 8},
    }.items():
        quantized.tidy()  # the model before, or two would lie in memory
        report_peer(name, bitsandbytes_peer.load(**options))
        quantized.tidy()

# %% tags=["for-real"]
if speeds:
    slower = sum(ms > speeds["FP32"] for ms in speeds.values())
    ax = plots.axes(
        f"{slower} of {len(speeds) - 1} smaller models take longer for a token, on this processor",
        "time for one token (ms)",
        size=(8.0, 3.2),
    )
    names = list(speeds)[::-1]
    colors = [plots.ACCENT if name.startswith("your") else plots.SECOND for name in names]
    colors[-1] = plots.INK
    bars = ax.barh(names, [speeds[name] for name in names], color=colors)
    ax.bar_label(bars, fmt="%.0f", padding=3)
    ax.grid(axis="y", visible=False)
    plots.timed(ax)

# %% [markdown]
# *In words: a bar for the time of one token with each kind of layer: float32 in black, your layer in red, on an idle machine
# by far the longest, bitsandbytes' in blue.*
#
# The size is what the formula says. The time is the **negative result** of this notebook, for your layer everywhere and for theirs on most processors (idle ones: a figure that names other programs says little about times). Decoding reads every weight
# for every token, so fewer bytes should take less time in proportion, if the processor could multiply what it reads. It
# mostly can't:
#
# - **Yours** unpacks, looks up 16 levels, scales, and writes a float32 matrix to memory, at every call, and only then multiplies. Instead
#   of 4 bytes a weight it moves more than 10.
# - **bitsandbytes' NF4** on a CPU dequantizes too, in C++ and with less traffic. On a processor with AVX-512 and bfloat16 it has a
#   kernel that multiplies straight from the codes, in bfloat16; then it can come near float32 or pass it, and the perplexity moves a little,
#   because the arithmetic is coarser. Everywhere else it decodes **slower than float32**.
# - **LLM.int8()** quantizes its inputs at every call and takes the outlier columns apart, dozens of small steps for each of 210 layers. For one
#   token these weigh more than the product. Its authors measured the same on large GPUs.
#
# So 4 bits buy *room*, first of all. They buy speed where somebody wrote a kernel that multiplies packed codes in registers: llama.cpp
# on CPUs, the kernels of AWQ and Marlin on GPUs. Unit 04 comes back to it with integer products that are faster than float32 on your
# laptop.
#
# ### The elephant: seven billion weights on one card
#
# The title's question, for a card of your own. Qwen2.5-7B has 7.6 billion parameters, 15 GB in half precision: more than
# fits on a T4 with room to work. Predict first, with your formula of exercise 1 for what bitsandbytes quantizes, and 2
# bytes for each number of the rest (unit 01's `weight_bytes`, with 4.127 bits a weight, says the same).

# %% tags=["for-real"]
from fridge.memory.cards import CARDS
from fridge.quantization import on_a_card

big_model = (
    ""  # the name of a model on the hub, such as "Qwen/Qwen2.5-7B-Instruct", or a folder
)
predicted_bytes = 0
if scoreboard.ready("quantized-bytes"):
    parts = on_a_card.shapes(big_model or "Qwen2.5-7B")
    packed_bytes = sum(
        quantized_bytes(numbers, double_quant=True) for numbers in parts.matrices
    )
    predicted_bytes = packed_bytes + 2 * parts.rest
    print(
        f"{len(parts.matrices)} matrices, {sum(parts.matrices) / 1e9:.2f} billion weights: {packed_bytes / 1e9:.2f} GB"
    )
    print(
        f"the rest, {parts.rest / 1e9:.2f} billion in half precision: {2 * parts.rest / 1e9:.2f} GB"
    )
    fits = [
        name for name, one in CARDS.items() if one.memory > predicted_bytes + on_a_card.RESERVE
    ]
    print(
        f"{predicted_bytes / 1e9:.2f} GB in all; with 2 GB of reserve it fits on {', '.join(fits)}"
    )

# %% [markdown]
# Two fifths of these bytes are embedding and head, which nobody quantized. The next cell does it, where there is a GPU and
# you have put a name above: it fetches 15 GB, quantizes matrix by matrix on the card, and asks the card what it holds. On a T4
# of Colab's that takes some ten minutes, most of them for the download. It isn't graded.

# %% tags=["for-real"]
card = on_a_card.this_card()
if big_model and predicted_bytes and card:
    big, measured_bytes = on_a_card.place(big_model, predicted_bytes, card)
    print(
        f"predicted {predicted_bytes / 1e9:.3f} GB, measured on {card.name} {measured_bytes / 1e9:.3f} GB"
    )
else:
    print("Not run: it wants a GPU, and a name in `big_model`.")

# %% [markdown]
# ## 6 · What others report, what we measured
#
# | claim | source | here |
# |---|---|---|
# | INT8 with outlier columns loses nothing up to 175 billion parameters; plain int8 fails from 6.7 billion on | LLM.int8(), table 1 | 8 bits are free at 0.1 billion, with and without |
# | it halves the memory and costs time, small models most: 15 to 23 % for BLOOM-176B, several times as long for T5-3B | Hugging Face's blog on LLM.int8() | a tenth of a billion weights: the last bar of the figure, beside float32's |
# | mean perplexity of models of 125M to 13B: Int4 34.34, FP4 29.48 to 31.07, NF4 with double quantization 27.41 | QLoRA, table 2 | NF4 and INT4 of its size close together, because these weights stood on equal steps before; with and without double quantization the same |
# | double quantization saves 0.373 bits a weight | QLoRA, section 3 | 0.5 − 0.127, by your formula |
# | Llama-2-7B, WikiText-2: FP16 5.47; INT4, groups of 128: rounding 5.73, GPTQ 5.69, AWQ 5.60; INT3: rounding 6.66, AWQ 6.24 | AWQ, table 4 | the same order of formats, larger losses: a model 50 times smaller, rounded a second time |
#
# What you built is called *round to nearest*. The formats that people download do more, before the same rounding:
#
# - **GPTQ** rounds one column of a matrix after another and corrects the columns that are still to come, so that the errors of the *outputs*
#   on some sample texts cancel. The format stays INT4 in groups.
# - **AWQ** looks at the activations, finds the few per cent of input channels that matter (the outlier columns of exercise 8), and
#   scales their weights up before the rounding and their inputs down, so that the important weights get finer steps. The format stays
#   INT4 in groups.
# - **GGUF** is llama.cpp's file format, with a family of groupings: Q4_0 (a scale), Q4_1 (yours: a scale and a minimum), and the "K" formats, whose
#   scales are quantized in turn, like your absmax values, and which spend more bits on the layers that suffer most.
#
# ## 7 · What this unit doesn't claim
#
# - That 4 bits are harmless. They cost little for large models on ordinary text. Perplexity averages; rare knowledge, long
#   reasoning and other languages than the calibration texts' go first.
# - That these perplexities are comparable with others'. Text, tokenizer, window and stride all enter. Compare rows of one
#   table.
# - That activations and the KV cache can be quantized the same way. Exercise 8 shows why that is harder.
#
# Three things to read next:
#
# 1. Dettmers et al., *QLoRA: Efficient Finetuning of Quantized LLMs*, 2023 (arXiv 2305.14314), section 3: NF4 and double
#    quantization, in two pages.
# 2. Dettmers et al., *LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale*, 2022 (arXiv 2208.07339): how outlier
#    columns emerge with size.
# 3. Frantar et al., *GPTQ*, 2022 (arXiv 2210.17323), and Lin et al., *AWQ*, 2023 (arXiv 2306.00978): the same 4 bits, chosen better.
#
# ## What stays
#
# Weights that share a ruler share its outlier, and each ruler costs bytes: every format is a choice between the two. Fewer
# bits buy room; they buy time only where a kernel multiplies the codes themselves.

# %% tags=["for-real"]
from fridge.notebook import recall

recall.ask("02-int4-quantization")

# %% [markdown]
# ## Your score

# %% tags=["for-real"]
from fridge.notebook import scoreboard

scoreboard.show("02-int4-quantization")
