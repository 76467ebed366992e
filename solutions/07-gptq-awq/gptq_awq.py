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
# # 07 · GPTQ and AWQ
#
# Two sentences: what hurts, and what the reader can do about it at the end.
#
# | | |
# |---|---|
# | You need | PyTorch, and the units that this one stands on |
# | Time | about an hour |
# | Runs on | a laptop with 2 GB of free memory; no GPU |
# | Points | 16, in three exercises |

# %%
import torch

from fridge import models
from fridge.notebook import scoreboard
from fridge.quantization import grids, quantized
from fridge.workbench import plots, text

# %% [markdown]
# ## 1 · The pain: a name for it
#
# Run today's way on the real model, and watch it hurt. Cells that run the model are tagged `for-real`: grading skips
# them, so no exercise needs one.

# %% tags=["for-real"]
model = models.load()
tokenizer = models.load_tokenizer()
print(f"{models.name()}: {model.config.layers} layers, {model.dtype} on {model.device}")

# %% [markdown]
# ## 2 · The picture: what changes
#
# One figure of the idea, drawn by code in `fridge/pictures/` and readable in grey, with a sentence in words below it.
#
# ## 3 · The prediction
#
# A number that the reader writes down before measuring it: bytes, calls, tokens per second. Where it is arithmetic, it
# is an exercise, and graded to the byte.
#
# ## 4 · Build it
#
# Four to eight exercises, each one function or one small class. This one shows the form; put your own in its place.
#
# ### Exercise 6 · AWQ's scale (6 points)
#
# GPTQ repairs the damage of rounding. **AWQ**, activation-aware weight quantization, lets less of it happen where it hurts. The observation: a few
# input channels, one in a hundred, are much louder than the others, and an error of *their* weights is multiplied by loud inputs. Keep
# the columns of this one per cent in 16 bits, and most of the loss is gone (AWQ, table 1). But then a matrix has two kinds of numbers, and no kernel likes that.
#
# So instead multiply the loud columns by a number $s_j > 1$ *before* the rounding, and divide their inputs by it. The product is
# the same: $\sum_j (w_j s_j)(x_j / s_j)$. The error isn't: a step of the grid is about as wide as before, and the input that multiplies the
# error is $s_j$ times smaller. Nothing is free. Columns that are scaled up widen the range of their group, so its steps get coarser for all.
# How far, then? AWQ takes the scales from the inputs, and one number $\alpha$ for the whole layer:
#
# $$ s_j = \big(\text{mean}\,|x_j|\big)^{\alpha}, \qquad Q = \text{round\_to\_nearest}(W \,\text{diag}(s))\; \text{diag}(s)^{-1}, $$
#
# and tries many $\alpha$. Which is best? The one whose *outputs* are nearest to the old ones: the smallest $\text{tr}(E H E^\top)$ with
# $E = Q - W$. For $\alpha = 0$ all scales are 1, and $Q$ is what rounding to nearest gives. So where 0 is among the $\alpha$, AWQ is never worse than
# that, on the text that it was calibrated on.
#
# `grids.round_to_nearest(weight, bits, group_size)` is in the library. A factor that all scales share changes nothing but the size of the grid, so
# scales count up to such a factor.
#
# <details><summary>Hint 1</summary>weight * scales multiplies column j by scales[j], because the last dimensions line up.</details>
# <details><summary>Hint 2</summary>tr(E H Eᵀ) is the sum of all elements of (E @ H) * E.</details>
# <details><summary>Hint 3</summary>min(candidates, key=…) finds the best of several tuples, if you give it a function of one of them that
# computes a number.</details>


# %% nbgrader={"grade": false, "grade_id": "awq-scale", "locked": false, "schema_version": 3, "solution": true, "task": false}
ALPHAS = tuple(i / 20 for i in range(21))  # 0, 0.05, ... 1


def awq_scale(weight, mean_abs, hessian, bits, group_size=None, alphas=ALPHAS):
    """Round a layer's weight to nearest, its columns scaled as their inputs are loud.

    Args:
        weight: [rows, columns], float32.
        mean_abs: [columns], float32, the mean absolute value of each input, 0 or more. What is
            below 1e-4 counts as 1e-4: no column gets the scale 0.
        hessian: [columns, columns], float32, the mean of x xᵀ.
        bits: of a code.
        group_size: consecutive columns that share a grid; None: all of a row.
        alphas: what to try, at least one number from 0 to 1, in any order.

    Returns:
        (alpha, scales, quantized): alpha, that of `alphas` with the smallest output error
        tr(E H Eᵀ), E = quantized - weight, of all rows together; of equally good ones any.
        scales, [columns]: mean_abs to the power alpha, perhaps times a factor that all columns
        share. quantized, [rows, columns]: weight times scales, rounded to nearest, divided by
        the scales again.
    """
    ### BEGIN SOLUTION
    best = None
    for alpha in alphas:
        scales = mean_abs.clamp(min=1e-4) ** alpha
        quantized = grids.round_to_nearest(weight * scales, bits, group_size) / scales
        error = quantized - weight
        loss = ((error @ hessian) * error).sum()
        if best is None or loss < best[0]:
            best = loss, alpha, scales, quantized
    return best[1:]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "awq-scale-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.quantization import grids
from fridge.testing import (
    exercise,
    expect_close,
    expect_equal,
    expect_number,
    expect_parts,
    expect_tensor,
    expect_true,
    randn,
)

with exercise("awq-scale"):

    def layer(rows, columns, seed, loud=(), together=0.0):
        """weight, mean_abs and hessian of a layer whose inputs differ in loudness.

        `loud`: (column, loudness); `together`: how much all inputs move as one.
        """
        loudness = (1.2 * randn(columns, seed=seed)).exp()
        for column, value in loud:
            loudness[column] = value
        moves = randn(96, 1, seed=seed + 2) * randn(columns, seed=seed + 3).sign()
        x = (randn(96, columns, seed=seed + 1) + together * moves) * loudness
        return randn(rows, columns, seed=seed + 4), x.abs().mean(0), x.T @ x / len(x)

    def answer(given, what, bits, *rest, **named):
        """alpha, scales and the quantized weight, as plain values of the right shapes."""
        weight, mean_abs, hessian = (part.clone() for part in given)
        got = awq_scale(weight, mean_abs, hessian, bits, *rest, **named)
        returned = f"{what}: what awq_scale returns"
        alpha, scales, quantized = expect_parts(got, "alpha, scales, quantized", returned)
        return (
            expect_number(alpha, f"{what}: alpha"),
            expect_tensor(scales, f"{what}: the scales", mean_abs.shape),
            expect_tensor(quantized, f"{what}: the quantized weight", weight.shape),
        )

    def expect_scales(got, due, what, cause="mean_abs ** alpha"):
        """The same up to a factor."""
        upside_down = 1 / due
        if torch.allclose((got / got[0]).float(), upside_down / upside_down[0], rtol=1e-3):
            cause = "loud columns get the large scales: mean_abs ** alpha, not one over it"
        ratio = got.double() / due.double()
        expect_close(
            ratio / ratio[0],
            torch.ones(len(due)),
            f"{what}: the scales, as parts of the right ones and of the first column",
            cause,
            atol=1e-4,
        )

    row = torch.tensor([[1.2, -0.5, 0.5, 0.2]])
    what = "[[1.2, -0.5, 0.5, 0.2]] with mean_abs [1, 4, 16, 4], 2 bits, alphas=(0.5,)"
    tiny = row, torch.tensor([1.0, 4.0, 16.0, 4.0]), torch.eye(4)
    chosen, by, result = answer(tiny, what, 2, alphas=(0.5,))
    expect_equal(round(chosen, 6), 0.5, f"{what}: alpha", cause="alphas is an argument")
    expect_scales(by, torch.tensor([1.0, 2.0, 4.0, 2.0]), what)
    expect_close(
        result,
        torch.tensor([[1.0, -0.5, 0.5, 0.0]]),
        f"{what}: the quantized weight",
        cause="times [1, 2, 4, 2] the row is [1.2, -1, 2, 0.4], to nearest [1, -1, 2, 0]; the "
        "scales divided out again, it is near the weight",
    )
    what = "the same row, alphas=(0.0,)"
    chosen, by, result = answer(tiny, what, 2, alphas=(0.0,))
    expect_close(
        result,
        grids.round_to_nearest(row, 2),
        f"{what}: the quantized weight",
        cause="with alpha 0 all scales are alike, and what comes out is rounding to nearest",
    )
    planted = layer(6, 20, seed=3690, loud=((7, 40.0),))
    what = "6 x 20 weights of 3 bits, channel 7 forty times as loud"
    chosen, by, result = answer(planted, what, 3)
    causes = {
        0.0: "alpha 0 is rounding to nearest; of all alphas the one with the smallest error counts",
        0.05: "the outputs' error tr(E H Eᵀ) decides; this alpha has the smallest weight error",
        0.15: "E = quantized - weight, with the scales divided out again",
        0.5: "tr(E H Eᵀ) needs the whole of H; this alpha is best for its diagonal alone",
        0.8: "all rows count; this alpha is best for the first",
    }
    expect_equal(
        round(chosen, 6), 0.7, f"{what}: the best alpha", causes.get(round(chosen, 2), "")
    )

    ### BEGIN HIDDEN TESTS
    # Looks at: 2, 3 and 4 bits; groups, the last of them shorter; alphas of one's own, in any
    #   order, with and without 0; inputs that move together; a silent input, and a faint one;
    #   equally loud inputs; an input a thousand times as loud; a row of zeros; hundreds of
    #   columns.
    # Stated by: "bits: of a code." | "group_size: consecutive columns that share a grid" | "at
    #   least one number from 0 to 1, in any order" | "the smallest output error tr(E H Eᵀ)" |
    #   "What is below 1e-4 counts as 1e-4" | "of equally good ones any" | "mean_abs to the power
    #   alpha" | "weight: [rows, columns], float32." | "[columns, columns], float32"
    # Right because: an error of column j is divided by its scale and multiplied by its input,
    #   so loud columns get finer steps; the output error, with all of H, says how far to go.
    # The seeds are such that no scaled weight lies within 1e-4 of a step of the border between
    # two codes, and no second alpha within 4 % of the best: float32's roundings, some 1e-6 of
    # a step, decide nothing, in whatever order an answer multiplies.
    def check(given, what, bits, group_size=None, alphas=None, tells=(), is_tied=False):
        """The best of alphas, its scales, and what comes of them.

        `tells`: rules by which a wrong answer may have chosen, where that shows.
        """
        weight, mean_abs, hessian = given
        loud = mean_abs.clamp(min=1e-4)

        def through(alpha, size=group_size):
            scaled = weight * loud**alpha
            return grids.round_to_nearest(scaled, bits, size) / loud**alpha

        named = {} if alphas is None else {"alphas": alphas}
        alpha, scales, quantized = answer(given, what, bits, group_size, **named)
        alphas = alphas or [step / 20 for step in range(21)]
        nearest = min(alphas, key=lambda one: abs(one - alpha))
        expect_true(abs(nearest - alpha) < 1e-6, f"{what}: alpha", "one of alphas", alpha)
        what = f"{what}, alpha {nearest:g}"
        cause = "mean_abs ** alpha"
        if float(mean_abs.min()) < 1e-4:
            cause = "what is below 1e-4 counts as 1e-4, and then comes the power"
        expect_scales(scales, loud**nearest, what, cause)
        others = {
            "divide by the scales again, once the scaled weight is rounded": through(nearest)
            * loud**nearest,
            "it is weight * scales that is rounded, each column times its own scale": through(
                0.0
            ),
            "group_size is an argument": through(nearest, None),
            "this is the weight of the last alpha, not of the best": through(alphas[-1]),
        }
        tolerance = 1e-5 * float(weight.abs().max())
        near = [
            cause
            for cause, value in others.items()
            if torch.allclose(value, quantized.float(), rtol=0, atol=tolerance)
        ]
        expect_close(
            quantized,
            through(nearest),
            f"{what}: the quantized weight",
            cause="".join(near[:1]),
            atol=tolerance,
        )
        if is_tied:
            return
        h = hessian.double()
        rules = {
            "outputs": ("", lambda e: (e @ h * e).sum()),
            "weights": (
                "the outputs' error tr(E H Eᵀ) decides, and not the weights'",
                lambda e: e.square().sum(),
            ),
            "diagonal": (
                "tr(E H Eᵀ) needs the whole of H: these inputs move together",
                lambda e: (e.square() * h.diag()).sum(),
            ),
        }
        errors = {one: (through(one) - weight).double() for one in alphas}
        chosen = {
            name: min(alphas, key=lambda one, rule=rule: float(rule(errors[one])))
            for name, (_, rule) in rules.items()
        }
        causes = [rules[name][0] for name in tells if chosen[name] == nearest]
        expect_equal(
            nearest,
            chosen["outputs"],
            f"{what} of {len(alphas)}: the best one",
            cause="".join(causes[:1]),
        )

    both = ("weights", "diagonal")
    check(planted, "the planted channel again", 3, tells=both)
    check(layer(5, 22, seed=120), "5 x 22 in groups of 8", 3, 8)
    check(layer(7, 13, seed=60, together=1.0), "7 x 13 of 2 bits, groups of 5", 2, 5)
    own = (0.9, 0.2, 0.6, 0.4)
    loud = ((3, 30.0), (29, 20.0))
    check(layer(4, 30, seed=370, loud=loud, together=0.5), "4 x 30 of 4 bits", 4, 12, own)
    check(layer(4, 30, seed=250, loud=loud, together=0.5), "another 4 x 30", 4, 12, list(own))
    together = layer(11, 11, seed=60, together=1.0)
    check(together, "11 x 11, inputs that move together", 2, 4, (0.7, 0.3, 0.1), tells=both)
    together = layer(9, 24, seed=0, together=3.0)
    check(together, "9 x 24, inputs that move together", 3, tells=both)
    check(layer(5, 14, seed=3810, together=1.0), "5 x 14 in groups of 7", 3, 7)
    check(layer(4, 9, seed=1070, together=0.5), "4 x 9, for which rounding alone is best", 4, 4)
    check(layer(4, 9, seed=1000, together=0.5), "4 x 9, for which alpha 1 is best", 4, 4)
    for value, words in ((0.0, "a silent input"), (3e-5, "a faint input")):
        silent = layer(6, 12, seed=50, together=1.0)
        for column in (2, 7):
            silent[1][column] = value
            silent[2][column] = silent[2][:, column] = 0.0
        check(silent, f"6 x 12, {words}", 3, alphas=(0.5,))
        check(silent, f"6 x 12, {words}", 3)
    alike = layer(4, 10, seed=9)
    for value in (0.0, 1.0, 3.7):
        alike[1].fill_(value)
        check(alike, f"inputs of mean_abs {value} all", 3, 4, (0.3, 0.8), is_tied=True)
    very = layer(5, 14, seed=300, loud=((4, 3000.0),), together=1.0)
    check(very, "a very loud input", 3)
    zeros = layer(6, 20, seed=50, loud=((7, 40.0),))
    zeros[0][2] = 0.0
    check(zeros, "a row of zeros", 3)
    quarters = (0.0, 0.25, 0.5, 0.75)
    check(layer(3, 300, seed=650, together=0.5), "3 x 300", 4, 128, quarters)
    ### END HIDDEN TESTS

# %% [markdown]
# How far do real layers go? Four of them at 3 bits in groups of 64, each with all the alphas, and the output error over that of rounding to
# nearest.

# %% tags=["for-real"]
if scoreboard.ready("awq-scale"):
    passage = tokenizer(text.prose()[:2000], return_tensors="pt").input_ids[:, :256]
    layer_inputs = quantized.inputs_of(model, passage)
    tried = [step / 20 for step in range(21)]
    curves = {}
    third, last = model.config.layers // 3, model.config.layers - 1
    for shown in (
        "1.self_attn.q_proj",
        f"{third}.mlp.gate_proj",
        f"{third}.self_attn.o_proj",
        f"{last}.mlp.down_proj",
    ):
        real_x = layer_inputs[f"model.layers.{shown}"].float()
        real_weight = model.get_submodule(f"model.layers.{shown}").weight.float()
        real_hessian = real_x.T @ real_x / len(real_x)
        losses = []
        for one in tried:
            small = awq_scale(
                real_weight, real_x.abs().mean(0), real_hessian, 3, 64, alphas=(one,)
            )[2]
            shift = small - real_weight
            losses.append(float(((shift @ real_hessian) * shift).sum()))
        curves[shown] = [loss / losses[0] for loss in losses]
    del layer_inputs
    quantized.tidy()
    lowest = {name: min(curve) for name, curve in curves.items()}
    at = [tried[curve.index(min(curve))] for curve in curves.values()]
    ax = plots.axes(
        f"The best alpha is {min(at):g} to {max(at):g}, and saves "
        f"{1 - max(lowest.values()):.0%} to {1 - min(lowest.values()):.0%} of the output error",
        "alpha",
        "output error / that of rounding to nearest",
    )
    plots.lines(ax, tried, curves)
    ax.axhline(1, color=plots.INK, linewidth=0.7)
    ax.set_ylim(bottom=0)

# %% [markdown]
# *In words: four curves that begin at 1, fall to a lowest point about a third of the way to alpha 1, and rise again; two end far above 1, worse
# than rounding to nearest. Two fall far, to a third and less; one falls by a few per cent.*
#
# Where few inputs are much louder than the others, there is much to gain, and where all are about alike, little. Scaling in proportion to the
# loudness (alpha 1) is too much everywhere, and for some layers worse than nothing: the columns that are scaled up coarsen the grid of all the others in their groups.

# %% [markdown]
# ### Exercise 7 · Folding the scales in (5 points)
#
# Dividing the inputs by $s$ at every call would cost time, and need a kernel. So the division is **folded** into what comes before, once, in the
# weights: whatever gives $x$ gives $x / s$ from now on. The scaled columns $w_j s_j$ stay in the layer (and are rounded there), and the model's logits stay as they are.
#
# Who comes before?
#
# | these read it | it comes from | divide there |
# |---|---|---|
# | q, k and v | the norm before the attention | the norm's weight |
# | gate and up | the norm before the MLP | the norm's weight |
# | down | silu(gate) · up | the rows of up: behind up nothing is bent, and silu(gate / s) would be something else |
# | o | the attention's mix of values | the rows of v: a mix of $v / s$ is the mix of $v$, over $s$ |
#
# Two consequences. Those that read the same input share one scale: q, k and v; gate and up. (To find it, put their rows below one another and
# give `awq_scale` one tall matrix.) And in **grouped-query attention**
# (GQA), where several query heads share a key-value head, they share its rows of v, and so the columns of o that belong to these query heads share scales.
# AWQ's own code leaves o out where v and o have different shapes. You don't have to: `scales["o"]` has one number for each row of v. (To find
# those, average the loudness over the query heads of a key-value head first.)
#
# | $s$ | multiplies columns of | divides |
# |---|---|---|
# | `"qkv"`, [hidden] | q, k, v | `input_layernorm.weight` |
# | `"o"`, [kv_heads · head_dim] | o | rows of v |
# | `"gate_up"`, [hidden] | gate, up | `post_attention_layernorm.weight` |
# | `"down"`, [intermediate] | down | rows of up |
#
# <details><summary>Hint 1</summary>weight * s multiplies columns; weight / s[:, None] divides rows.</details>
# <details><summary>Hint 2</summary>v is in two of them: its columns are multiplied by one scale, and its rows divided by another. So is up.</details>
# <details><summary>Hint 3</summary>o's columns are those of query head 0, then those of query head 1, and so on. With 9 query heads and 3 key-value heads the first
# three query heads use key-value head 0, the next three head 1.</details>


# %% nbgrader={"grade": false, "grade_id": "fold", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fold(layer, scales, head_dim):
    """A decoder layer that computes the same, its weights' columns multiplied by scales.

    Args:
        layer: dict, name -> tensor, as a Llama layer's state_dict() has it. The weights are
            "input_layernorm.weight", "self_attn.q_proj.weight", k_proj, v_proj and o_proj
            likewise, "post_attention_layernorm.weight", "mlp.gate_proj.weight", up_proj and
            down_proj. There may be biases, "self_attn.v_proj.bias" and so on: they belong to
            what a layer gives.
        scales: dict with some of "qkv", "o", "gate_up" and "down", float32, all above 0, of
            the shapes in the table. For what isn't there nothing changes.
        head_dim: of a head. The query heads of one key-value head follow one another.

    Returns:
        A new dict with the same names, each tensor of the old one's shape and dtype.
    """
    ### BEGIN SOLUTION
    new = dict(layer)

    def multiply(names, s):
        for name in names:
            new[f"{name}.weight"] = new[f"{name}.weight"] * s

    def divide(name, s):
        for part, by in (("weight", s[:, None]), ("bias", s)):
            if f"{name}.{part}" in new:
                new[f"{name}.{part}"] = new[f"{name}.{part}"] / by

    if "qkv" in scales:
        multiply([f"self_attn.{one}_proj" for one in "qkv"], scales["qkv"])
        new["input_layernorm.weight"] = new["input_layernorm.weight"] / scales["qkv"]
    if "o" in scales:
        divide("self_attn.v_proj", scales["o"])
        heads = scales["o"].reshape(-1, head_dim)
        shared_by = new["self_attn.o_proj.weight"].shape[1] // heads.numel()
        multiply(["self_attn.o_proj"], heads.repeat_interleave(shared_by, dim=0).flatten())
    if "gate_up" in scales:
        multiply(["mlp.gate_proj", "mlp.up_proj"], scales["gate_up"])
        norm = "post_attention_layernorm.weight"
        new[norm] = new[norm] / scales["gate_up"]
    if "down" in scales:
        multiply(["mlp.down_proj"], scales["down"])
        divide("mlp.up_proj", scales["down"])
    return {name: tensor.to(layer[name].dtype) for name, tensor in new.items()}
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "fold-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    exercise,
    expect_close,
    expect_equal,
    expect_tensor,
    expect_true,
    randn,
    tiny_llama,
)

with exercise("fold"):
    names = {  # short name -> as in the layer
        "input norm": "input_layernorm.weight",
        **{one: f"self_attn.{one}_proj.weight" for one in "qkvo"},
        "second norm": "post_attention_layernorm.weight",
        **{one: f"mlp.{one}_proj.weight" for one in ("gate", "up", "down")},
    }

    def sides(hidden, heads, kv_heads, head_dim, inner):
        """Short name -> shape."""
        q, kv = heads * head_dim, kv_heads * head_dim
        shapes = {"input norm": (hidden,), "q": (q, hidden), "k": (kv, hidden)}
        shapes |= {"v": (kv, hidden), "o": (hidden, q), "second norm": (hidden,)}
        return shapes | {
            "gate": (inner, hidden),
            "up": (inner, hidden),
            "down": (hidden, inner),
        }

    def part(got, name, like, what, cause=""):
        """One of the tensors that fold returned."""
        is_dict = issubclass(type(got), dict)
        expect_true(is_dict, f"{what}: what fold returns", "a dict, name -> tensor", got)
        missing = "nothing under this name"
        value = dict.get(got, name, missing)
        if value is missing:
            cause = "the new layer has all names of the old one"
        return expect_tensor(value, f"{what}: {name}", like.shape, like.dtype, cause)

    def check(layer, scales, head_dim, due, what, cause=None, atol=1e-5):
        """`due`: name -> tensor, where it changes."""
        given = {name: tensor.clone() for name, tensor in layer.items()}
        got = fold(given, {key: s.clone() for key, s in scales.items()}, head_dim)
        for name, old in layer.items():
            right = due.get(name, old)
            value = part(got, name, old, what, "each tensor of the old one's shape and dtype")
            words = (cause or {}).get(name, "")
            expect_close(
                value, right, f"{what}: {name}", words, atol * float(right.abs().max())
            )
        expect_equal(len(got), len(layer), f"{what}: how many names the new layer has")

    ones = {names[short]: torch.ones(side) for short, side in sides(3, 4, 2, 2, 2).items()}

    def check_ones(key, s, due, what, causes):
        """A layer of ones: `due` says what is multiplied by what, by rows or columns."""
        wanted = {
            names[short]: torch.ones_like(ones[names[short]]) * torch.tensor(by)
            for short, by in due.items()
        }
        causes = {names[short]: cause for short, cause in causes.items()}
        check(ones, {key: torch.tensor(s)}, 2, wanted, f"a layer of ones, {what}", causes)

    columns = [1.0, 2.0, 4.0]
    check_ones(
        "qkv",
        columns,
        {"input norm": [1.0, 0.5, 0.25], "q": columns, "k": columns, "v": columns},
        "scales qkv = [1, 2, 4]",
        {
            "input norm": "the norm gives x / s, so its weight is divided",
            "q": "the columns of q are multiplied by s",
            "k": "k reads what q reads, so it shares the scale: its columns are multiplied, too",
            "v": "v reads what q reads, so it shares the scale: its columns are multiplied, too",
        },
    )
    check_ones(
        "gate_up",
        columns,
        {"second norm": [1.0, 0.5, 0.25], "gate": columns, "up": columns},
        "scales gate_up = [1, 2, 4]",
        {
            "input norm": "gate and up read what the second norm gives, and not the first",
            "second norm": "the norm gives x / s, so its weight is divided",
            "gate": "the columns of gate are multiplied by s",
            "up": "up reads what gate reads, so it shares the scale",
        },
    )
    check_ones(
        "down",
        [2.0, 4.0],
        {"up": [[0.5], [0.25]], "down": [2.0, 4.0]},
        "scales down = [2, 4]",
        {
            "gate": "silu(gate / s) is not silu(gate) / s: only up is divided",
            "up": "what down reads is divided in up's rows",
            "down": "the columns of down are multiplied by s",
        },
    )
    check_ones(
        "o",
        [1.0, 2.0, 4.0, 8.0],
        {
            "v": [[1.0], [0.5], [0.25], [0.125]],
            "o": [1.0, 2.0, 1.0, 2.0, 4.0, 8.0, 4.0, 8.0],
        },
        "4 query heads of 2 share 2 key-value heads, scales o = [1, 2, 4, 8]",
        {
            "v": "what o reads is divided in v's rows",
            "o": "query heads 0 and 1 read key-value head 0, so their columns of o have its "
            "scales, [1, 2] each; heads 2 and 3 have [4, 8]",
        },
    )

    ### BEGIN HIDDEN TESTS
    # Looks at: all four scales at once; one, three and all query heads to a key-value head;
    #   biases; square matrices; half precision; no scales; the logits of a small Llama.
    # Stated by: "scales: dict with some of "qkv", "o", "gate_up" and "down"" | "The query heads
    #   of one key-value head follow one another." | "they belong to what a layer gives" | "the
    #   rows of up: behind up nothing is bent" | "each tensor of the old one's shape and dtype" |
    #   "For what isn't there nothing changes." | "the model's logits stay as they are"
    # Right because: each product x · w has the factor 1/s on one side and s on the other,
    #   and between the two nothing that isn't linear.
    def random_layer(hidden, heads, kv_heads, head_dim, inner, seed, biases=()):
        """Weights, and biases of the layers named."""
        shapes = {
            names[short]: side
            for short, side in sides(hidden, heads, kv_heads, head_dim, inner).items()
        }
        for short in biases:
            weight = names[short]
            shapes[weight.replace("weight", "bias")] = shapes[weight][:1]
        return {
            name: randn(*side, seed=seed + i) for i, (name, side) in enumerate(shapes.items())
        }

    def random_scales(layer, seed):
        """All four, from a fifth to five."""
        count = {
            "qkv": len(layer[names["input norm"]]),
            "o": len(layer[names["v"]]),
            "gate_up": len(layer[names["input norm"]]),
            "down": len(layer[names["up"]]),
        }
        return {
            key: (0.8 * randn(number, seed=seed + i)).clamp(-1.6, 1.6).exp()
            for i, (key, number) in enumerate(count.items())
        }

    def expected(layer, scales, head_dim):
        """The oracle: column by column and row by row, in float64."""
        new = {name: tensor.double() for name, tensor in layer.items()}
        for key, readers, norm in (
            ("qkv", "qkv", "input norm"),
            ("gate_up", ("gate", "up"), "second norm"),
        ):
            for column, s in enumerate(scales.get(key, torch.ones(0)).tolist()):
                for short in readers:
                    new[names[short]][:, column] *= s
                new[names[norm]][column] /= s
        for key, source in (("o", "v"), ("down", "up")):
            for row, s in enumerate(scales.get(key, torch.ones(0)).tolist()):
                new[names[source]][row] /= s
                bias = names[source].replace("weight", "bias")
                if bias in new:
                    new[bias][row] /= s
        for column, s in enumerate(scales.get("down", torch.ones(0)).tolist()):
            new[names["down"]][:, column] *= s
        if "o" in scales:
            heads = layer[names["o"]].shape[1] // head_dim
            shared_by = heads * head_dim // len(scales["o"])
            for head in range(heads):
                for place in range(head_dim):
                    s = scales["o"][head // shared_by * head_dim + place].item()
                    new[names["o"]][:, head * head_dim + place] *= s
        return new

    for heads, kv_heads, words in (
        (4, 4, "each query head its own key-value head"),
        (6, 2, "three query heads to a key-value head"),
        (5, 1, "all query heads share one key-value head"),
    ):
        layer = random_layer(10, heads, kv_heads, 3, 13, seed=40 * heads)
        scales = random_scales(layer, seed=40 * heads + 20)
        for key, s in scales.items():
            due = expected(layer, {key: s}, 3)
            causes = {
                names["o"]: "head_dim is an argument; query heads are o's columns / head_dim, "
                "key-value heads v's rows / head_dim"
            }
            check(layer, {key: s}, 3, due, f"{words}, scales for {key}", causes)
        due = expected(layer, scales, 3)
        both = (
            "v's columns have the factor qkv, and its rows one over o; nothing undoes the other"
        )
        too = "up's columns have the factor gate_up, and its rows one over down; nothing undoes the other"
        causes = {names["v"]: both, names["up"]: too}
        check(layer, scales, 3, due, f"{words}, all four scales", causes)
        check(layer, {}, 3, {}, f"{words}, no scales")
    biased = random_layer(10, 6, 2, 4, 7, seed=500, biases=("q", "k", "v", "o", "up", "down"))
    scales = random_scales(biased, seed=520)
    causes = {
        names["v"].replace(
            "weight", "bias"
        ): "v's bias is a part of what v gives: divide it, too",
        names["up"].replace("weight", "bias"): "up's bias is a part of what up gives",
        names["q"].replace("weight", "bias"): "q gives what it gave, and so its bias stays",
    }
    check(biased, scales, 4, expected(biased, scales, 4), "a layer with biases", causes)
    square = random_layer(12, 4, 4, 3, 12, seed=700, biases=("q", "k", "v", "o", "gate", "up"))
    scales = random_scales(square, seed=720)
    causes |= dict.fromkeys(
        (names["v"], names["up"]), "1 / s divides rows, not columns: s[:, None]"
    )
    check(square, scales, 3, expected(square, scales, 3), "square matrices with biases", causes)
    scales = random_scales(biased, seed=520)
    half = {name: tensor.half() for name, tensor in biased.items()}
    due = expected(half, scales, 4)
    check(half, scales, 4, due, "a layer in float16", atol=2e-3)

    small = tiny_llama(seed=7)
    some_ids = torch.tensor([[5, 9, 2, 61, 33, 33, 8]])
    before = small(some_ids)
    for index, block in enumerate(small.model.layers):
        weights = {name: tensor.clone() for name, tensor in block.state_dict().items()}
        got = fold(weights, random_scales(weights, seed=600 + 10 * index), 8)
        what = f"layer {index} of a small Llama"
        folded = {name: part(got, name, old, what) for name, old in block.state_dict().items()}
        block.load_state_dict(folded)
    expect_close(small(some_ids), before, "the logits of a small Llama, folded", atol=1e-3)
    ### END HIDDEN TESTS

# %% [markdown]
# The real model, one of its layers folded with arbitrary scales: what becomes of the logits?

# %% tags=["for-real"]
if scoreboard.ready("fold"):
    passage = tokenizer(text.prose()[:1000], return_tensors="pt").input_ids[:, :128]
    real_layer, config = model.model.layers[model.config.layers // 3], model.config
    lengths = {
        "qkv": config.hidden_size,
        "o": config.kv_heads * config.head_dim,
        "gate_up": config.hidden_size,
        "down": config.intermediate_size,
    }
    any_scales = {
        name: 4 * torch.rand(count, device=model.device) + 0.25
        for name, count in lengths.items()
    }
    logits_before = model(passage)
    state_before = {name: value.clone() for name, value in real_layer.state_dict().items()}
    real_layer.load_state_dict(fold(state_before, any_scales, config.head_dim))
    moved = float((model(passage) - logits_before).abs().max())
    real_layer.load_state_dict(state_before)
    print(
        f"scales from 0.25 to 4.25: the logits, up to {logits_before.abs().max():.1f}, move by at most {moved:.1e}"
    )
    del logits_before, state_before

# %% [markdown]
# They move by float32's last digits. So AWQ costs nothing when the model runs: what you ship is an ordinary model with an ordinary grid, and no kernel
# knows that it was scaled.

# %% [markdown]
# ### Exercise 8 · Block after block (5 points)
#
# One thing is left: which inputs? You could run the model once on the calibration text, record what every layer is given, and
# round all layers. That order is tempting, and wrong. Once the first block is rounded, the second is given something else than you
# recorded, and the tenth something else by far. A layer that is rounded for inputs which it never gets corrects errors that
# nobody makes. The last section measures what that costs.
#
# So go block after block. Run a block on what the rounded blocks before it give, and record the inputs of all its layers in that one
# run. Round its layers. Run it again: what comes out now is what the next block is given. (Within a block the later layers' inputs are a little
# out of date. GPTQ's code has a flag against that, `--true-sequential`, which runs the block anew for each group of layers: more runs for fresher
# inputs. Here it is one run.)
#
# A **hook** (钩子) is a function that a layer calls before it computes. PyTorch's layers take one by
# `layer.register_forward_pre_hook(hook)`, and so do the test's. Two things go wrong with hooks. One that is registered on something that isn't
# called never fires: for months Keras' GPTQ was rounding to nearest because of that, and nothing looked wrong (pull request 23512). And one that
# stays keeps the inputs of every later run in memory.
#
# If a layer can't be rounded (a Hessian without an inverse, say), whoever called must hear of it. llm-compressor logged a line for each
# such layer, rounded it to nearest and went on: in one run all 154 layers, and the run looked like a success (issue 2952).
#
# <details><summary>Hint 1</summary>A dict, name -> inputs, that hooks fill while the block runs. Each hook needs the name of its own layer:
# a lambda in a loop looks its names up when it is called, and by then the loop is at its end.</details>
# <details><summary>Hint 2</summary>For each block: register, run, remove, call quantize for each layer, run again.</details>
# <details><summary>Hint 3</summary>`try: … finally: …` does its last part also when there is an error.</details>


# %% nbgrader={"grade": false, "grade_id": "quantize-model", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quantize_model(blocks, x, quantize):
    """Round all layers of a model, each from the inputs that it is really given.

    A block runs over x twice at most: once to record, once rounded. All sequences may go
    through it at once, or some after others.

    Args:
        blocks: a list, at least one. block(x) is what a block makes of x, of the same shape;
            block.layers is a dict, name -> linear layer, with any names, in any order.
            layer.register_forward_pre_hook(hook) works as in PyTorch: whenever its block runs,
            the layer first calls hook(layer, args), args a tuple of one tensor, its inputs
            [batch, tokens, in]; the hook returns None. What it gives is a handle, and
            handle.remove() takes the hook away.
        x: [batch, tokens, hidden], what the first block is given.
        quantize: quantize(layer, inputs) rounds the layer's weight in place, and returns
            nothing. It is called once for each layer, with all inputs that the layer has when
            the blocks before its own are rounded and no layer of its own block is: a tensor
            [.., in], each token of each sequence once, in the order of x.

    Raises:
        What quantize raises.

    Either way no hook is left on any layer.
    """
    ### BEGIN SOLUTION
    for block in blocks:
        seen = {}

        def record(name, seen=seen):
            return lambda layer, args: seen.update({name: args[0]})

        handles = [
            layer.register_forward_pre_hook(record(name))
            for name, layer in block.layers.items()
        ]
        try:
            block(x)
        finally:
            for handle in handles:
                handle.remove()
        for name, layer in block.layers.items():
            quantize(layer, seen[name])
        x = block(x)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "quantize-model-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import (
    RecordingModel,
    exercise,
    expect_close,
    expect_equal,
    expect_raises,
    expect_true,
)

with exercise("quantize-model"):

    def check(model, what):
        quantize_model(list(model.blocks), model.x.clone(), model.quantize)
        expect_equal(
            sorted(name for name, _ in model.quantize.calls),
            model.names,
            f"{what}: the layers that quantize was called for",
            cause="quantize is called once for each layer of each block, the last block, too; "
            "hooks hear of a run only if they were registered before it",
        )
        for name, inputs in model.quantize.calls:
            expect_close(
                inputs,
                model.right(name),
                f"{what}: the inputs that quantize was given for {name}, one row a token",
                cause=model.cause(name, inputs),
                atol=1e-4,
            )
        for block in model.blocks:
            expect_true(
                block.sequences <= 2 * len(model.x),
                f"{what}: sequences that block {block.number} read, {len(model.x)} being in x",
                f"at most {2 * len(model.x)}",
                block.sequences,
                cause="one run records the inputs of all layers, one more gives the next block its x",
            )
        expect_equal(
            model.hooks,
            0,
            f"{what}: hooks that are left",
            cause="handle.remove() for each handle, once the inputs are recorded",
        )

    check(RecordingModel(1), "one block")
    check(RecordingModel(2, seed=1), "two blocks")
    ### BEGIN HIDDEN TESTS
    # Looks at: many blocks; a single sequence, and a single token; many sequences of many
    #   tokens; blocks with layers of their own; layers listed in another order than they run;
    #   a layer that can't be rounded, and hooks after it; a second model.
    # Stated by: "each from the inputs that it is really given" | "x: [batch, tokens, hidden], what
    #   the first block is given." | "each token of each sequence once, in the order of x" |
    #   "block.layers is a dict, name -> linear layer, with any names, in any order." | "a dict,
    #   name -> linear layer, with any names, in any order" | "What quantize raises." | "Round
    #   all layers of a model"
    # Right because: each layer corrects its errors for the inputs that it will really get,
    #   with the errors of all rounded blocks before it in them.
    check(RecordingModel(5, seed=2), "five blocks")
    check(RecordingModel(2, (1, 4), seed=3), "a single sequence")
    check(RecordingModel(2, (4, 1), seed=4), "sequences of a single token")
    check(RecordingModel(2, (11, 70), seed=5), "eleven sequences of 70 tokens")
    gated = RecordingModel(3, seed=6, only={0: ("up", "down"), 2: ("mix", "out")})
    check(gated, "blocks of two, four and two layers")
    check(
        RecordingModel(2, seed=7, is_backward=True), "layers listed from the last to the first"
    )
    for fails_at in (0, 5):
        failing = RecordingModel(2, seed=8, fails_at=fails_at)
        what = f"quantize raises ValueError in its call {fails_at + 1}"
        expect_raises(
            ValueError,
            lambda failing=failing: quantize_model(
                list(failing.blocks), failing.x.clone(), failing.quantize
            ),
            what,
            cause="let it through: whoever called must know that the layer isn't rounded",
        )
        expect_equal(
            failing.hooks,
            0,
            f"{what}: hooks that are left",
            cause="remove them before quantize is called, or in a `finally`",
        )
    ### END HIDDEN TESTS

# %% [markdown]
# ## 5 · For real
#
# The reader's code inside the real model, measured and plotted, beside the library that people use.

# %% tags=["for-real"]
print("later")

# %% [markdown]
# ## 6 · What others report, what we measured
#
# | claim | source | here |
# |---|---|---|
# | what a paper says, with its machine | who, when, where in it | what the cells above measured |
#
# Why they differ. When an idea doesn't pay here, that stands here too.
#
# ## 7 · What this unit doesn't claim
#
# - What was left out.
#
# Three things to read next, primary sources.
#
# ## What stays
#
# Two sentences to remember.

# %% tags=["for-real"]
from fridge.notebook import recall

recall.ask("07-gptq-awq")

# %% [markdown]
# ## Your score

# %% tags=["for-real"]
scoreboard.show("07-gptq-awq")
