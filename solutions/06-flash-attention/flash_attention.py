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
# # 06 · FlashAttention
#
# Attention compares every position with every other one. For 4096 positions that is a table of 16 million scores, for
# each head of each layer. The arithmetic is no problem. Writing the table to memory, reading it back, writing it and
# reading it again is one. FlashAttention computes the same output, up to rounding, and never writes the
# table down.
#
# By the end you have the trick that makes it possible, a softmax that can be computed piece by piece; the tiled
# algorithm forwards and backwards, on a memory that counts every byte; and the same algorithm as a GPU kernel in
# Triton, which runs on your CPU too.
#
# | | |
# |---|---|
# | You need | PyTorch, causal attention and grouped heads (unit 03), the chain rule |
# | Time | about two hours |
# | Runs on | a laptop with 2 GB of free memory; a GPU is used where there is one |
# | Points | 34, in seven exercises |

# %%
import torch

from fridge import models, pictures
from fridge.attention import bench, compiling, kernels, papers, sweeps
from fridge.attention.kernels import DEVICE, tl, triton
from fridge.memory.cards import CARDS
from fridge.notebook import scoreboard
from fridge.testing import Hbm
from fridge.workbench import plots, tables

# %% [markdown]
# ## 1 · The pain: a table that nobody asked for
#
# This is attention as the formula says it: all scores, then the softmax of each row, then the mix of the values.
# Double the length and watch.

# %% tags=["for-real"]
lengths = [512, 1024, 2048, 4096]
place = "cuda" if torch.cuda.is_available() else "cpu"
setting = bench.Setting(4, 64, bench.best_dtype(place), place)  # 4 heads of 64
contestants = bench.contestants(place)

naive_runs = [
    bench.measure("naive", contestants["naive"], length, setting) for length in lengths
]
for run in naive_runs:
    table = bench.table_bytes(run)
    print(
        f"{run['length']:5} positions: inputs {run['input_bytes'] / 1e6:4.0f} MB, table {table / 1e6:5.0f} MB; "
        f"measured {run['peak_bytes'] / 1e6:5.0f} MB at the peak, {1000 * run['seconds']:6.0f} ms"
    )

# %% [markdown]
# Twice the length is four times the table. The inputs and the output only double. With heads of 64, at 4096 positions,
# the table is 64 times as large as the output that one wants. (Inputs and table are counted. The peak is measured: scores
# and softmax are two tables, and on a CPU small ones can't be seen, for memory that the process already holds is used
# again.)
#
# ## 2 · The picture: two memories
#
# A GPU has a large memory, **HBM** (显存): tens of gigabytes, read at 1 to 3 terabytes per second. And inside each of
# its processors it has a small one, **SRAM** (片上缓存): some hundred kilobytes, ten times as fast. Arithmetic happens on
# what lies in SRAM. A step that reads a lot and computes little, such as a softmax, waits for HBM (unit 01's
# roofline).
#
# Plain attention goes to HBM eight times. FlashAttention cuts the table into tiles that fit into SRAM, and finishes
# each tile there.

# %% tags=["for-real"]
pictures.two_ways_through_memory()

# %% [markdown]
# *In words: on the left, naive attention as three boxes between which two large squares, S and P, travel to HBM and
# back. On the right, FlashAttention: one block of queries stays in SRAM while blocks of keys and values stream past it;
# only the output goes back.*
#
# ## 3 · The prediction
#
# ### Exercise 1 · Bytes that move (4 points)
#
# Count, for one head, the bytes that go from HBM to SRAM or back.
#
# **Naive attention** has three steps. Each reads its inputs from HBM once, and writes its result there:
#
# 1. $S = QK^\top/\sqrt d$
# 2. $P = \mathrm{softmax}(S)$, row by row
# 3. $O = PV$
#
# **FlashAttention** takes a block of `block_q` queries at a time (the last block, or the only one, may be smaller). For
# each of these blocks it reads all keys and all values once. It writes the output, and one more number for each query,
# which you meet in exercise 4 and which takes as many bytes as any value.
#
# 2 points are for each formula.
#
# <details><summary>Hint 1</summary>Q and O have queries × head_dim values, K and V keys × head_dim, S and P queries ×
# keys.</details>
# <details><summary>Hint 2</summary>S is written and read, and so is P.</details>
# <details><summary>Hint 3</summary>The number of blocks is queries / block_q, rounded up.</details>


# %% nbgrader={"grade": false, "grade_id": "bytes-moved", "locked": false, "schema_version": 3, "solution": true, "task": false}
def naive_bytes(queries, keys, head_dim, bytes_per_value):
    """Bytes that naive attention moves between HBM and SRAM, for one head.

    Args:
        queries, keys: number of queries; number of keys, and of values.
        head_dim: length of each query, key, value and output.
        bytes_per_value: 1 for float8, 2 for float16, 4 for float32.

    Returns:
        A whole number of bytes, loads and stores together.
    """
    ### BEGIN SOLUTION
    inputs_and_output = 2 * queries * head_dim + 2 * keys * head_dim
    tables = 4 * queries * keys
    return bytes_per_value * (inputs_and_output + tables)
    ### END SOLUTION


def flash_bytes(queries, keys, head_dim, block_q, bytes_per_value):
    """Bytes that FlashAttention moves between HBM and SRAM, for one head.

    Args:
        queries, keys, head_dim, bytes_per_value: as above.
        block_q: queries in a block, 1 or more.

    Returns:
        A whole number of bytes: Q read once, K and V read once for each block of queries, O
        and one number for each query written.
    """
    ### BEGIN SOLUTION
    blocks = -(-queries // block_q)
    values = 2 * queries * head_dim + queries + blocks * 2 * keys * head_dim
    return bytes_per_value * values
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "naive-bytes-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal

with exercise("naive-bytes"):
    expect_equal(
        naive_bytes(2, 3, 4, 2),
        2 * (8 + 12 + 6 + 6 + 6 + 6 + 12 + 8),
        "naive attention, 2 queries, 3 keys, head_dim 4, 2 bytes a value",
        cause="2 bytes a value: S and P, queries x keys each, go to HBM and come back; Q, K, V and O make one way each",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: one query, as in decoding, and one key; thousands of positions; other sizes of a
    #   value; more queries than keys, and fewer.
    # Stated by: "queries, keys: number of queries; number of keys, and of values." | "A whole
    #   number of bytes, loads and stores together." | "bytes_per_value: 1 for float8, 2 for
    #   float16, 4 for float32." | "Each reads its inputs from HBM once, and writes its result
    #   there"
    # Right because: three separate steps share nothing but HBM: what one has made the next must
    #   read there, so that S and P go both ways, and Q, K, V and O one.
    long = "as many bytes as that have no room in 32 bits, NumPy's int32: use Python's whole numbers"
    expect_equal(naive_bytes(1, 1, 1, 1), 8, "one query, one key, one value each")
    expect_equal(naive_bytes(4096, 4096, 64, 2), 136_314_880, "4096 positions in float16")
    expect_equal(naive_bytes(4096, 4096, 64, 4), 272_629_760, "the same in float32")
    expect_equal(
        naive_bytes(1, 4096, 64, 2), 1_081_600, "one query and 4096 keys, as in decoding"
    )
    expect_equal(
        naive_bytes(131_072, 131_072, 128, 2), 137_573_171_200, "128 thousand positions", long
    )
    expect_equal(naive_bytes(512, 128, 16, 2), 565_248, "more queries than keys")
    expect_equal(naive_bytes(128, 512, 16, 2), 565_248, "more keys than queries")
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "flash-bytes-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal

with exercise("flash-bytes"):
    expect_equal(
        flash_bytes(4, 6, 2, 2, 4),
        4 * (8 + 2 * (12 + 12) + 8 + 4),
        "FlashAttention, 4 queries in two blocks, 6 keys, head_dim 2, 4 bytes a value",
        cause="4 bytes a value: K and V once for each block of queries, Q, O and one number a query once; nothing else",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: other sizes of a value; one query and one key; thousands of positions; queries
    #   that the blocks don't divide; a block larger than all queries; blocks of one query.
    # Stated by: "one more number for each query, which you meet in exercise 4 and which takes
    #   as many bytes as any value" | "queries, keys, head_dim, bytes_per_value: as above." | "Q
    #   read once, K and V read once for each block of queries, O and one number for each query
    #   written." | "For each of these blocks it reads all keys and all values once." | "(the
    #   last block, or the only one, may be smaller)" | "block_q: queries in a block, 1 or
    #   more."
    # Right because: only one block of queries stays in SRAM, so all keys and values come past
    #   once for each of them, for a last and smaller one as well; scores, which made the table,
    #   never leave.
    expect_equal(
        flash_bytes(4, 6, 2, 2, 2),
        2 * (8 + 2 * (12 + 12) + 8 + 4),
        "4 queries in two blocks, 6 keys, head_dim 2, in float16",
        cause="2 bytes a value: the one number for each query takes as many as the others",
    )
    expect_equal(flash_bytes(1, 1, 1, 1, 1), 5, "one query, one key")
    expect_equal(flash_bytes(4096, 4096, 64, 128, 2), 34_611_200, "4096 positions in float16")
    expect_equal(flash_bytes(4096, 4096, 64, 64, 2), 68_165_632, "the same, blocks of 64")
    expect_equal(
        flash_bytes(131_072, 131_072, 128, 128, 2),
        68_786_847_744,
        "128 thousand positions",
        "as many bytes as that have no room in 32 bits, NumPy's int32: use Python's whole numbers",
    )
    expect_equal(
        flash_bytes(10, 8, 4, 4, 2),
        564,
        "ten queries in blocks of four",
        cause="the last block is smaller, and reads all keys and values too",
    )
    expect_equal(flash_bytes(9, 8, 4, 4, 2), 546, "nine queries in blocks of four")
    expect_equal(flash_bytes(8, 8, 4, 4, 2), 400, "eight queries in blocks of four")
    expect_equal(flash_bytes(5, 8, 4, 64, 4), 436, "a block larger than the queries")
    expect_equal(flash_bytes(6, 50, 4, 1, 4), 9_816, "blocks of one query")
    ### END HIDDEN TESTS

# %% tags=["for-real"]
if scoreboard.ready("naive-bytes", "flash-bytes"):
    plain = naive_bytes(4096, 4096, 64, 2)
    print(f"4096 positions, one head of 64 in float16: naive {plain / 1e6:.0f} MB")
    for block in (16, 64, 128, 256):
        tiled = flash_bytes(4096, 4096, 64, block, 2)
        print(
            f"  blocks of {block:3} queries: {tiled / 1e6:4.0f} MB, {tiled / plain:.2f} of that"
        )

# %% [markdown]
# Both grow with the square of the length! FlashAttention isn't another order of growth in bytes: it is a factor. The
# factor is set by `block_q`, that is by how much fits into SRAM; with too little of it, the tiles even move more. The
# *memory* that they need, on the other hand, grows with the length alone.
#
# ## 4 · Build it
#
# ### Exercise 2 · Naive attention, counted (3 points)
#
# From here on you compute on an `Hbm`: a memory that belongs to the test and counts. Arrays lie in it under names. You
# load rows of them, compute with the tensors you get, and store rows back:
#
# ```python
# hbm.shape("q")                 # (queries, head_dim)
# q = hbm.load("q", 0, 16)       # rows 0 to 15, now in SRAM; a stop behind the end means the end
# q = hbm.load("q")              # all rows
# hbm.store("o", 0, block)       # writes rows, from row 0 on
# hbm.new("s", 16, 32)           # makes an array in HBM, by a name of yours
# hbm.free("q")                  # what lies of "q" in SRAM is no longer needed
# ```
#
# Each array has one place in SRAM. The next load of the same array overwrites what lies there: a block that you
# got earlier is then gone (it turns into NaN). Later the SRAM is small. In this exercise it has no limit. Arrays hold
# float32. Store to those that wait for a result and to those that you made, and to no other: what is given stays as it was.
#
# Write the three steps. Each loads what it needs, once (at one go or row by row), and stores its result; make S and P,
# [queries, keys] each, with `hbm.new`. P may take S's place. Then the bytes are those of exercise 1.
#
# <details><summary>Hint 1</summary>queries, head_dim = hbm.shape("q"), then hbm.new("s", queries, keys).</details>
# <details><summary>Hint 2</summary>Step 2 loads S again, though step 1 has it at hand. That is what three separate
# kernels do.</details>


# %% nbgrader={"grade": false, "grade_id": "naive-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def naive_attention(hbm):
    """softmax(Q K^T / sqrt(head_dim)) V in three steps through HBM, S and P included; no mask.

    Args:
        hbm: holds "q" [queries, head_dim], "k" and "v" [keys, head_dim], and "o" [queries,
            head_dim] for the output.

    Loads Q, K, V, S and P once each and stores S, P and O once each. Scores may be many
    thousands: exp(89) is infinite in float32 already.
    """
    ### BEGIN SOLUTION
    queries, head_dim = hbm.shape("q")
    keys = hbm.shape("k")[0]
    hbm.new("s", queries, keys)
    hbm.new("p", queries, keys)
    hbm.store("s", 0, hbm.load("q") @ hbm.load("k").T / head_dim**0.5)
    hbm.store("p", 0, torch.softmax(hbm.load("s"), dim=-1))
    hbm.store("o", 0, hbm.load("p") @ hbm.load("v"))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "naive-attention-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    Hbm,
    exact_attention,
    exercise,
    expect_close,
    expect_equal,
    randn,
)

with exercise("naive-attention"):

    def naive_run(q, k, v, what, cause="", nearly=""):
        """What it writes, and to the byte what it moves."""
        (queries, head_dim), keys = q.shape, len(k)
        hbm = Hbm(outputs=("o",), q=q, k=k, v=v, o=torch.full(q.shape, torch.nan))
        naive_attention(hbm)
        got, right = hbm.array("o"), exact_attention(q, k, v)[0]
        if nearly:
            expect_close(got, right, f"{what}: the output", cause, 1e-2)
        expect_close(got, right, f"{what}: the output", nearly or cause)
        steps = {"Q": queries * head_dim, "K": keys * head_dim, "S": queries * keys}
        loaded = steps["Q"] + 2 * steps["K"] + 2 * steps["S"]
        stored = steps["Q"] + 2 * steps["S"]
        why = "each step loads its inputs once and stores its result once"
        expect_equal(hbm.bytes_loaded, 4 * loaded, f"{what}: bytes loaded", why)
        expect_equal(hbm.bytes_stored, 4 * stored, f"{what}: bytes stored", why)
        return hbm

    naive_run(
        randn(5, 4, seed=1),
        randn(7, 4, seed=2),
        randn(7, 4, seed=3),
        "5 queries, 7 keys",
        cause="softmax(Q K^T / sqrt(head_dim)) V, the softmax of each query over its keys",
        nearly="it is nearly right: keep to float32",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: one query and one key; more queries than keys, and one query alone; another
    #   head_dim; large scores; the size of the arrays that are made.
    # Stated by: "hbm: holds "q" [queries, head_dim]" | ""k" and "v" [keys, head_dim], and "o"
    #   [queries, head_dim] for the output" | "softmax(Q K^T / sqrt(head_dim)) V in three steps"
    #   | "Scores may be many thousands: exp(89) is infinite in float32 already." | "make S and
    #   P, [queries, keys] each, with `hbm.new`"
    # Right because: a softmax can't divide before its row is complete, so in three steps the
    #   whole table has to stand in HBM between them: the bytes are the price of the steps, not
    #   of the formula.
    naive_run(randn(1, 3, seed=4), randn(1, 3, seed=5), randn(1, 3, seed=6), "one of each")
    other = "another head_dim: the scores are divided by its root"
    naive_run(
        randn(9, 8, seed=7), randn(4, 8, seed=8), randn(4, 8, seed=9), "more queries", other
    )
    naive_run(randn(1, 16, seed=1), randn(33, 16, seed=2), randn(33, 16, seed=3), "one query")
    large = torch.arange(24.0).reshape(6, 4) * 20
    why = (
        "exp of a large score overflows: subtract the row's maximum first, or use torch.softmax"
    )
    naive_run(large, large.flip(0), randn(6, 4, seed=5), "scores of many thousands", why)
    table = naive_run(
        randn(6, 2, seed=1), randn(11, 2, seed=2), randn(11, 2, seed=3), "6 and 11"
    )
    expect_equal(
        table.largest_created,
        66,
        "values of the largest array made",
        "S and P are [queries, keys] each: 6 x 11",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 3 · Softmax in pieces (5 points)
#
# Tiles need a softmax that can be computed piece by piece. But the softmax of a row divides by a sum over the *whole*
# row, and for safety subtracts the row's maximum, which one doesn't know before the end.
#
# The way out (Milakov and Gimelshein, 2018): for the keys seen so far, keep three things for each row of scores $s$:
#
# $$m = \max_j s_j \qquad l = \sum_j e^{s_j - m} \qquad o = \sum_j e^{s_j - m}\, v_j$$
#
# Call them a *partial result*. From two partial results, of two sets of keys, the one of all the keys can be computed
# without seeing a score again: bring both to the larger maximum, then add. At the end the output is $o / l$, and
# $m + \log l$ is the **log-sum-exp** of the row, which the backward pass will want.

# %% tags=["for-real"]
pictures.two_partial_results()

# %% [markdown]
# *In words: two groups of bars, each scaled by its own maximum. To add the groups, the left one shrinks by the factor
# e to the minus two, because its maximum is 2 smaller. The right one stays as it is.*
#
# Three functions, 2 points for the first and the last together, 3 for `merge`.
#
# Mind a row that has no key to see: its scores are all $-\infty$. Its partial result is $m = -\infty$, $l = 0$, $o =
# 0$, its output 0 and its log-sum-exp $-\infty$. There $-\infty - (-\infty)$ lies in wait, which is NaN.
#
# <details><summary>Hint 1</summary>scores.amax(-1). For rows whose maximum is -inf, subtract 0 in its place: exp(-inf
# - 0) is 0, as it should be.</details>
# <details><summary>Hint 2</summary>m = torch.maximum(m1, m2), and each side shrinks by exp(its own m - m).</details>
# <details><summary>Hint 3</summary>Both l and o shrink. o has one dimension more.</details>


# %% nbgrader={"grade": false, "grade_id": "online-softmax", "locked": false, "schema_version": 3, "solution": true, "task": false}
def partial_softmax(scores, values):
    """The partial result of attention over some keys.

    Args:
        scores: [rows, keys], one key or more, some maybe in the thousands, above 0 or below,
            with -inf where a key may not be seen.
        values: [keys, head_dim].

    Returns:
        (m, l, o): [rows], [rows] and [rows, head_dim], as above; -inf, 0 and 0 for rows
        without a key.
    """
    ### BEGIN SOLUTION
    m = scores.amax(dim=-1)
    p = torch.exp(scores - torch.where(m == -torch.inf, 0.0, m)[:, None])
    return m, p.sum(dim=-1), p @ values
    ### END SOLUTION


def merge(one, other):
    """The partial result of two sets of keys together.

    Args:
        one, other: (m, l, o) of the two sets, for the same rows; their maxima may lie far
            apart.

    Returns:
        (m, l, o) of both, whichever comes first.
    """
    ### BEGIN SOLUTION
    m = torch.maximum(one[0], other[0])
    shift = torch.where(m == -torch.inf, 0.0, m)
    a, b = torch.exp(one[0] - shift), torch.exp(other[0] - shift)
    return m, a * one[1] + b * other[1], a[:, None] * one[2] + b[:, None] * other[2]
    ### END SOLUTION


def finish(partial):
    """The output of attention and the log-sum-exp, from the partial result of all keys.

    Args:
        partial: (m, l, o).

    Returns:
        (output, lse): [rows, head_dim] and [rows]; 0 and -inf for rows without a key.
    """
    ### BEGIN SOLUTION
    m, l, o = partial
    return o / torch.where(l == 0, 1.0, l)[:, None], m + torch.log(l)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "partial-softmax-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import exercise, expect_close, expect_parts, randn

with exercise("partial-softmax"):

    def finished(partial):
        return expect_parts(finish(partial), "output, lse", "what finish returns")

    why_each = {
        "m": "m is the largest score of each row",
        "l": "l is the sum of exp(s - m) over the keys",
        "o": "o is the sum of exp(s - m) v over the keys, not yet divided",
    }

    def of_a_part(scores, values, what, cause="", atol=1e-5):
        """All three parts of a partial result, and what finish makes of them."""
        exact, wide = scores.double(), values.double()
        m = exact.amax(-1)
        p = torch.exp(exact - m.nan_to_num(neginf=0.0)[:, None])
        got = partial_softmax(scores.clone(), values.clone())
        parts = expect_parts(got, "m, l, o", "what partial_softmax returns")
        for part, expected, name in zip(parts, (m, p.sum(-1), p @ wide), "mlo", strict=True):
            why = cause or why_each[name]
            expect_close(part, expected, f"{what}: {name} of the partial result", why)
        some = p.sum(-1) > 0
        output = p @ wide / torch.where(some, p.sum(-1), 1.0)[:, None]
        given = m.float(), p.sum(-1).float(), (p @ wide).float()
        output_got, lse_got = finished(given)
        why = cause or "the output is o / l"
        expect_close(output_got, output, f"{what}: the output of finish", why)
        lse = torch.where(some, torch.logsumexp(exact, -1), -torch.inf)
        why = cause or "the log-sum-exp is m + log(l)"
        expect_close(lse_got, lse, f"{what}: the log-sum-exp of finish", why, atol)

    of_a_part(randn(3, 4, seed=1), randn(4, 2, seed=2), "3 rows, 4 keys")
    ### BEGIN HIDDEN TESTS
    # Looks at: one row and one key; more rows and keys; scores of thousands, positive and
    #   negative; hidden keys; rows that see no key; finish alone.
    # Stated by: "(m, l, o): [rows], [rows] and [rows, head_dim], as above" | "for the keys seen
    #   so far, keep three things for each row of scores" | "one key or more, some maybe in
    #   the thousands, above 0 or below" | "-inf where a key may not be seen" | "-inf, 0 and 0 for rows without a
    #   key" | "At the end the output is $o / l$, and $m + \log l$ is the **log-sum-exp** of the
    #   row"
    # Right because: subtracting the row's maximum multiplies l and o by one and the same
    #   factor, which cancels in o / l and comes back as the m in m + log l; and no exponent is
    #   above 0, so that nothing overflows.
    of_a_part(torch.tensor([[0.5]]), torch.tensor([[3.0, -1.0]]), "one row, one key")
    of_a_part(randn(6, 33, seed=3), randn(33, 8, seed=4), "6 rows, 33 keys")
    big = "without the maximum exp overflows: exp(1000) is infinite in float32"
    big += "; and m + log(l) in float32 keeps few of l's digits: l is summed, not taken from it"
    large = torch.tensor([[1000.0, 999.0], [1e4, -1e4], [9999.0, 1e4]])
    of_a_part(large, randn(2, 3, seed=5), "large", big, 2e-3)
    low = "m is the largest score of each row, however far below 0 that is"
    negative = torch.tensor([[-1000.0, -1001.0], [-9000.0, -8999.0]])
    of_a_part(negative, randn(2, 3, seed=5), "very negative", low, 2e-3)
    holes = randn(5, 6, seed=6)
    holes[0, 2:] = holes[1, 0] = holes[3, 5] = -torch.inf
    of_a_part(holes, randn(6, 4, seed=7), "some keys hidden")
    holes[2] = -torch.inf
    none = "a row without a key: exp(-inf - (-inf)) is NaN, and so is 0 / 0"
    of_a_part(holes, randn(6, 4, seed=7), "a row that sees nothing", none)
    of_a_part(torch.full((2, 3), -torch.inf), randn(3, 2, seed=8), "no row sees anything", none)
    two = torch.tensor([2.0, -1.0]), torch.tensor([4.0, 1.25]), torch.tensor([[8.0], [0.5]])
    output, lse = finished(two)
    expect_close(output, torch.tensor([[2.0], [0.4]]), "finish: o / l")
    expect_close(lse, torch.tensor([3.3862944, -0.7768564]), "finish: m + log(l)")
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "online-softmax-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import exercise, expect_close, expect_parts, expect_tensor, randn

with exercise("online-softmax"):

    def merged(one, other):
        return expect_parts(merge(one, other), "m, l, o", "what merge returns")

    def part(scores, values):
        m = scores.amax(-1)
        p = torch.exp(scores - m.nan_to_num(neginf=0.0)[:, None])
        return m.float(), p.sum(-1).float(), (p @ values).float()

    def merges(scores, values, cuts, what, cause="", atol=1e-5):
        """The parts between the cuts, merged from left to right, give that of the whole."""
        scores, values = scores.double(), values.double()
        pieces = zip(scores.split(cuts, dim=1), values.split(cuts, dim=0), strict=True)
        so_far, *others = [part(*piece) for piece in pieces]
        for other in others:
            so_far = merged(so_far, other)
        whole = part(scores, values)
        for got, expected, name in zip(so_far, whole, "mlo", strict=True):
            expect_close(got, expected, f"{what}: {name} of the merged result", cause, atol)

    merges(
        torch.tensor([[1.0, 2.0, 4.0], [3.0, 0.0, 1.0]]),
        randn(3, 2, seed=1),
        [2, 1],
        "two keys and one key",
        cause="each side shrinks by exp(its own m - the larger m), both l and o, and then they are added",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: other cuts, down to key by key; rising, falling and equal scores; scores far
    #   apart; rows that see one side, or none; the two sides exchanged.
    # Stated by: "From two partial results, of two sets of keys, the one of all the keys can be
    #   computed" | "bring both to the larger maximum, then add" | "their maxima may lie far
    #   apart" | "Its partial result is $m = -\infty$, $l = 0$, $o = 0$" | "(m, l, o) of both,
    #   whichever comes first."
    # Right because: l and o are sums that were scaled by e^(-m), so that another maximum is one
    #   multiplication away for both; and sums over two sets of keys add up to the sum over all,
    #   in any order.
    scores, values = randn(5, 12, seed=2) * 3, randn(12, 4, seed=3)
    for cuts in ([6, 6], [1, 11], [11, 1], [4, 4, 4], [1] * 12, [5, 3, 4], [2, 7, 1, 2]):
        merges(scores, values, cuts, f"12 keys in pieces of {cuts}", "any split gives the same")
    rising = torch.arange(8.0)[None] * 4
    last = "the later side may have the larger maximum: what was summed before must shrink"
    merges(rising, randn(8, 2, seed=4), [1] * 8, "rising scores, key by key", last)
    first = "the earlier side may have the larger maximum: what comes later must shrink"
    merges(rising.flip(1), randn(8, 2, seed=4), [1] * 8, "falling scores, key by key", first)
    merges(torch.ones(2, 6), randn(6, 3, seed=5), [3, 3], "equal scores")
    huge = "exp of a large number: subtract the larger of the two maxima, not the smaller"
    far = torch.tensor([[0.0, 500.0, -500.0, 1000.0]])
    merges(far, randn(4, 2, seed=6), [1, 1, 1, 1], "scores far apart", huge)
    merges(far.flip(1), randn(4, 2, seed=6), [2, 2], "far apart, the largest first", huge)
    holes = randn(4, 6, seed=7)
    holes[0, :3] = holes[1, 3:] = holes[2] = -torch.inf
    none = "a side without a key has m = -inf; -inf - (-inf) is NaN"
    merges(holes, randn(6, 3, seed=8), [3, 3], "rows that see one side, or none", none)
    merges(holes, randn(6, 3, seed=8), [1] * 6, "the same, key by key", none)
    left, right = part(scores[:, :5], values[:5]), part(scores[:, 5:], values[5:])
    there, back = merged(left, right), merged(right, left)
    for name, one, other in zip("mlo", there, back, strict=True):
        what, why = f"merge(a, b) and merge(b, a): {name}", "the order doesn't matter"
        expect_close(one, expect_tensor(other, what), what, why)
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 4 · FlashAttention, forwards (6 points)
#
# Now the tiles. SRAM is small from here on: it holds one block of queries, one of keys and one of values, and no more.
# The scores of a tile and the running $m$, $l$, $o$ live in registers, which are smaller still: scores of one query with
# all keys have no place there.
#
# For each block of queries: load it, go through the keys and values block by block, merge what each of them gives,
# and store the output and the log-sum-exp. The table of scores never exists as a whole, neither in HBM nor in SRAM.
# An answer that makes an array of the table's size in HBM isn't accepted, nor one that keeps blocks which SRAM has no
# room for, or scores with all keys.
#
# 3 points are for the right output, 3 for moving no more bytes than `flash_bytes` says. Call your functions from
# exercise 3, or write the update of $m$, $l$ and $o$ into the loop: exercise 7 wants it there anyway.
#
# <details><summary>Hint 1</summary>Two loops: for start in range(0, queries, block_q), and in it one over the keys. A
# stop behind the end means the end, so that the last block needs no special case.</details>
# <details><summary>Hint 2</summary>Begin with m = -inf, l = 0 and o = 0, or with the first block's partial
# result.</details>
# <details><summary>Hint 3</summary>Which loop is outside decides about the traffic: the block that stays is the block
# of queries.</details>


# %% nbgrader={"grade": false, "grade_id": "flash-forward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flash_forward(hbm, block_q, block_k):
    """Attention of one head, tile by tile; no mask.

    Args:
        hbm: holds "q" and "o" [queries, head_dim], "k" and "v" [keys, head_dim] and "lse"
            [queries], all float32; "o" and "lse" are to be filled with the output and the
            log-sum-exp of the scores Q K^T / sqrt(head_dim), as exact as float32.
        block_q, block_k: rows in a block, 1 or more; the last block, or the only one, may be
            smaller. SRAM holds block_q rows of q, and block_k rows each of k and v.

    Loads Q once, and K and V once for each block of queries. Stores O and LSE once. Makes no
    array in HBM. Scores may be in the thousands, above 0 or below.
    """
    ### BEGIN SOLUTION
    queries, head_dim = hbm.shape("q")
    keys = hbm.shape("k")[0]
    for start in range(0, queries, block_q):
        q = hbm.load("q", start, start + block_q)
        m, l, o = torch.full((len(q),), -torch.inf), torch.zeros(len(q)), torch.zeros_like(q)
        for first in range(0, keys, block_k):
            k = hbm.load("k", first, first + block_k)
            v = hbm.load("v", first, first + block_k)
            scores = q @ k.T / head_dim**0.5
            new = torch.maximum(m, scores.amax(dim=-1))
            shrink, p = torch.exp(m - new), torch.exp(scores - new[:, None])
            l = l * shrink + p.sum(dim=-1)
            o = o * shrink[:, None] + p @ v
            m = new
        hbm.store("o", start, o / l[:, None])
        hbm.store("lse", start, m + torch.log(l))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "flash-forward-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import Hbm, exact_attention, exercise, expect_close, expect_true, randn

with exercise("flash-forward"):

    def flash_run(q, k, v, block_q, block_k, what, cause="", atol=1e-5):
        """Output and log-sum-exp, with SRAM for three blocks and no table in HBM."""
        sram = 4 * q.shape[1] * (block_q + 2 * block_k)
        o, lse = torch.full(q.shape, torch.nan), torch.full((len(q),), torch.nan)
        hbm = Hbm(sram, ("o", "lse"), q=q, k=k, v=v, o=o, lse=lse)
        flash_forward(hbm, block_q, block_k)
        expect_true(
            hbm.largest_created <= max(q.numel(), k.numel()),
            f"{what}: the largest array made in HBM, in values",
            "nothing of the size of the table of scores",
            hbm.largest_created,
            "the scores of a tile never leave the processor",
        )
        output, sums = exact_attention(q, k, v)
        expect_close(hbm.array("o"), output, f"{what}: the output", cause, atol)
        expect_close(hbm.array("lse"), sums, f"{what}: the log-sum-exp", cause, atol)
        return hbm

    few = randn(8, 4, seed=1), randn(12, 4, seed=2), randn(12, 4, seed=3)
    formula = "scores divided by sqrt(head_dim), the output by l; the log-sum-exp is m + log(l)"
    flash_run(*few, 8, 12, "8 queries, 12 keys, one tile", formula, 1e-2)
    flash_run(*few, 8, 12, "the same, to five digits", "it is nearly right: keep to float32")
    merged = "the tiles are merged in turn: when the maximum grows, the earlier o and l shrink"
    flash_run(*few, 8, 4, "8 queries, 12 keys, blocks of 8 and 4", merged)
    anew = "m, l and o begin anew for each block of queries, whose rows are stored where they belong"
    flash_run(*few, 4, 4, "8 queries, 12 keys, blocks of 4", anew)
    ### BEGIN HIDDEN TESTS
    # Looks at: lengths that the blocks divide, and don't; blocks larger than all, and of one
    #   row; one query, or one key; rising and falling scores; scores of thousands, positive and
    #   negative; another head_dim; values that are all the same.
    # Stated by: "go through the keys and values block by block, merge what each of them gives"
    #   | "rows in a block, 1 or more; the last block, or the only one, may be smaller." |
    #   "holds "q" and "o" [queries, head_dim], "k" and "v" [keys, head_dim] and "lse"
    #   [queries]" | "Call your functions from exercise 3, or write the update of $m$, $l$ and
    #   $o$ into the loop" | "Scores may be in the thousands, above 0 or below." | "the
    #   log-sum-exp of the scores Q K^T / sqrt(head_dim), as exact as float32" | ""o" and "lse"
    #   are to be filled with the output"
    # Right because: m, l and o are at each moment the exact result for the keys seen so far,
    #   whatever the tiles were; after the last tile these are all keys, and dividing by l is
    #   the only step that needed the whole row.
    q, k, v = randn(37, 8, seed=4) * 2, randn(29, 8, seed=5) * 2, randn(29, 8, seed=6)
    flash_run(q[:8], k[:8], v[:8], 8, 8, "head_dim 8, one tile", formula)
    for blocks in ((8, 8), (5, 16), (16, 5), (37, 29), (64, 64), (1, 29), (37, 1), (12, 7)):
        ends = "the last block may be smaller, and a block may be larger than all"
        flash_run(q, k, v, *blocks, f"37 queries, 29 keys, blocks of {blocks}", ends)
    flash_run(q[:1], k[:1], v[:1], 4, 4, "one query, one key")
    flash_run(q[:1], k, v, 16, 8, "one query, 29 keys")
    flash_run(q, k[:1], v[:1], 8, 8, "37 queries, one key")
    flash_run(q[:16], k[:16], v[:16], 8, 8, "lengths that the blocks divide")
    whole = torch.tensor(
        [[10.0, -20.0, 30.0, 40.0], [-50.0, 20.0, 0.0, 10.0], [60.0, 0.0, 8.0, 4.0]]
    )
    huge = (
        "scores of thousands: exp overflows without the maximum, and without m the log-sum-exp"
    )
    for block_k in (1, 2, 3):
        what = f"large scores, blocks of 2 and {block_k}"
        flash_run(whole, whole.flip(1) * 2, randn(3, 4, seed=8), 2, block_k, what, huge, 1e-3)
    flash_run(whole, -whole, randn(3, 4, seed=8), 2, 1, "large negative scores", huge, 1e-3)
    far = whole.abs() + 10, -30 - whole.abs(), randn(3, 4, seed=8)
    below = "all scores of a row far below 0: m begins at -inf, or as the first block's maximum"
    flash_run(*far, 2, 1, "no score above -600", below, 1e-3)
    steps = torch.arange(16.0)[:, None] * torch.ones(16, 4)
    rising = "a later tile with a larger maximum: the earlier o and l must shrink"
    flash_run(torch.ones(3, 4), steps * 4, randn(16, 4, seed=7), 2, 4, "rising scores", rising)
    falling = "a later tile with a smaller maximum: its own part must shrink"
    flash_run(
        torch.ones(3, 4), -steps * 4, randn(16, 4, seed=7), 2, 4, "falling scores", falling
    )
    same = torch.full((29, 8), 3.0)
    held = flash_run(q, k, same, 8, 8, "values that are all the same")
    expect_close(held.array("o"), torch.full((37, 8), 3.0), "their mix", "the weights sum to 1")
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "flash-traffic-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import Hbm, exercise, expect_equal, expect_true, measured, randn

with exercise("flash-traffic"):

    def traffic(queries, keys, head_dim, block_q, block_k, what):
        """No more bytes than the formula's, each output written once."""
        q, k = randn(queries, head_dim, seed=1), randn(keys, head_dim, seed=2)
        sram = 4 * head_dim * (block_q + 2 * block_k)
        o, lse = torch.full(q.shape, torch.nan), torch.full((queries,), torch.nan)
        hbm = Hbm(sram, ("o", "lse"), q=q, k=k, v=k, o=o, lse=lse)
        flash_forward(hbm, block_q, block_k)
        made = hbm.largest_created
        expect_equal(made, 0, f"{what}: values in arrays made in HBM", "none is needed")
        blocks = -(-queries // block_q)
        loaded = {
            name: sum(access.values for access in hbm.loads if access.name == name) // head_dim
            for name in "qkv"
        }
        expect_true(
            loaded["q"] <= queries,
            f"{what}: rows of q loaded",
            f"at most {queries}",
            loaded["q"],
            "the outer loop goes over blocks of queries; nothing is loaded twice in it",
        )
        # SRAM keeps one block, for the next queries to begin with; all other keys come again.
        whole = keys // block_k * block_k  # a last, smaller one is the other test's to miss
        least = blocks * whole - (blocks - 1) * min(whole, block_k)
        for name in "kv":
            expect_true(
                loaded[name] >= least,
                f"{what}: rows of {name} loaded",
                f"{blocks * keys}, all keys for each block of queries",
                loaded[name],
                "blocks are kept which SRAM has no room for",
            )
        load = 4 * (queries * head_dim + 2 * blocks * keys * head_dim)
        expect_true(
            hbm.bytes_loaded <= load,
            f"{what}: bytes loaded",
            f"at most {load}: Q once, K and V once for each block of queries",
            hbm.bytes_loaded,
            "the outer loop goes over blocks of queries; nothing is loaded twice in it",
        )
        store = 4 * (queries * head_dim + queries)
        once = "each block of o and lse is stored once, when all keys are done"
        expect_equal(hbm.bytes_stored, store, f"{what}: bytes stored", once)
        return hbm.bytes_moved

    traffic(8, 12, 4, 4, 4, "8 queries, 12 keys, blocks of 4")
    ### BEGIN HIDDEN TESTS
    # Looks at: blocks of queries larger than those of keys, and smaller; lengths that the
    #   blocks don't divide; one block of queries, or of keys; one query, and blocks of one row;
    #   large blocks and small ones; what is kept on the way, for many keys
    #   and for many queries.
    # Stated by: "SRAM holds block_q rows of q, and block_k rows each of k and v." | "moving no
    #   more bytes than `flash_bytes` says" | "the last block, or the only one, may be smaller"
    #   | "rows in a block, 1 or more" | "Loads Q once, and K and V once for each block of
    #   queries. Stores O and LSE once. Makes no array in HBM." | "nor one that keeps blocks which
    #   SRAM has no room for, or scores with all keys"
    # Right because: while a block of queries stays, each key and value passes it once, and its
    #   m, l and o never leave the processor: so nothing is read twice for it, and nothing is
    #   written before its rows are complete.
    traffic(37, 29, 8, 8, 4, "37 queries, 29 keys, blocks of 8 and 4")
    traffic(37, 29, 8, 4, 8, "37 queries, 29 keys, blocks of 4 and 8")
    traffic(64, 64, 4, 16, 16, "64 positions, blocks of 16")
    traffic(10, 40, 4, 16, 4, "one block of queries")
    traffic(40, 10, 4, 4, 16, "one block of keys")
    traffic(1, 50, 4, 1, 8, "one query")
    traffic(24, 24, 2, 1, 1, "blocks of one row")
    few, many = randn(4, 4, seed=1), randn(64, 4, seed=2)
    for q, k, cause in (
        (
            few,
            many,
            "scores with all keys are kept: m, l and o are all that goes from tile to tile",
        ),
        (
            many,
            few,
            "outputs of all queries are kept: store each block's when its keys are done",
        ),
    ):
        held = Hbm(4 * 4 * 12, ("o", "lse"), q=q, k=k, v=k, o=q, lse=torch.zeros(len(q)))
        _, work = measured(flash_forward, held, 4, 4)
        expect_true(
            work.largest <= 512,
            f"bytes of the largest array on the way, {len(q)} queries, {len(k)} keys, blocks of 4",
            "at most 512; the scores of a tile take 64",
            work.largest,
            cause,
        )
    traffic(32, 32, 4, 4, 4, "32 positions, blocks of 4")
    moved = traffic(32, 32, 4, 16, 4, "32 positions, blocks of 16 and 4")
    most = "at most the 3200 that flash_bytes says"
    expect_true(moved <= 3200, "32 positions, blocks of 16 and 4: bytes moved", most, moved)
    ### END HIDDEN TESTS

# %% [markdown]
# Now watch it work: how many bytes your two versions move on the same inputs, by length, with blocks of
# 128 queries and 32 keys. (In SRAM they take as much as three blocks of 64, and move half as much.)

# %% tags=["for-real"]
if scoreboard.ready("naive-attention", "flash-forward", "flash-traffic"):
    sizes, moved = [128, 256, 512, 1024], {"naive": [], "tiled": []}
    for n in sizes:
        x = torch.randn(n, 64)
        plain_hbm = Hbm(q=x, k=x, v=x, o=x)
        naive_attention(plain_hbm)
        tiled_hbm = Hbm(4 * 64 * (128 + 2 * 32), q=x, k=x, v=x, o=x, lse=torch.zeros(n))
        flash_forward(tiled_hbm, 128, 32)
        moved["naive"].append(plain_hbm.bytes_moved / 1e6)
        moved["tiled"].append(tiled_hbm.bytes_moved / 1e6)
        print(
            f"{n:5} positions: naive {moved['naive'][-1]:6.2f} MB with {plain_hbm.peak_sram / 1e3:6.0f} kB in SRAM, "
            f"tiled {moved['tiled'][-1]:5.2f} MB with {tiled_hbm.peak_sram / 1e3:.0f} kB"
        )
    factor = moved["naive"][-1] / moved["tiled"][-1]
    ax = plots.axes(
        f"At 1024 positions the tiles move {factor:.1f} times fewer bytes",
        "positions",
        "MB moved",
    )
    plots.lines(ax, sizes, moved)

# %% [markdown]
# *In words: two curves of megabytes moved over the length. Both bend upwards, naive attention's more steeply. The SRAM
# that the tiles need stays the same.*
#
# ### Exercise 5 · A causal mask, and heads that share keys (5 points)
#
# Language models add two things, both from unit 03.
#
# - **Causal**: a query sees the keys up to its own position. Where there are more keys than queries (a cache holds the
#   past), the queries are the *last* positions: query $i$ sees key $j$ if $j \le i + \text{keys} - \text{queries}$.
# - **Grouped heads**: `kv_heads` divides `heads`, and neighbouring query heads share a KV head. With 6 heads and 2 KV
#   heads, heads 0, 1, 2 use KV head 0.
#
# The mask is not only work, it saves work: half of the tiles lie wholly behind it. Don't load them. In the picture
# below only the tiles on the diagonal need a mask at all.

# %% tags=["for-real"]
pictures.tiles_behind_the_mask()

# %% [markdown]
# *In words: a grid of tiles, queries down, keys across. Tiles below the diagonal are full, those on it are cut by a
# staircase, and those above it are hatched: nobody loads them. With more keys than queries, the staircase starts
# further to the right.*
#
# Copy your loop from exercise 4 and extend it; what isn't accepted there isn't here. 3 points are for the output, 2 for
# not loading what nobody sees.
#
# <details><summary>Hint 1</summary>hbm.load("k", first, stop, head=head // group), with group = heads //
# kv_heads.</details>
# <details><summary>Hint 2</summary>The last query of a block is stop - 1. The first key that it doesn't see, and with
# it the end of the inner loop, is stop + keys - queries.</details>
# <details><summary>Hint 3</summary>In a tile: rows = torch.arange(start, start + len(q))[:, None], columns likewise,
# then scores.masked_fill(columns > rows + keys - queries, -torch.inf).</details>


# %% nbgrader={"grade": false, "grade_id": "flash-causal", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flash_attention(hbm, block_q, block_k, causal):
    """Attention of all heads, tile by tile.

    Args:
        hbm: holds "q" and "o" [heads, queries, head_dim], "k" and "v" [kv_heads, keys,
            head_dim] and "lse" [heads, queries]; to load and store, say which head:
            hbm.load("q", 0, 16, head=2), hbm.store("lse", 0, block, head=2).
        block_q, block_k: as in exercise 4; so are SRAM, scores, and what "o" and "lse" get.
        causal: whether query i sees only the keys j <= i + keys - queries; then
            queries <= keys.

    Loads Q once. For each block of queries of each head it loads K and V once, up to the block
    of the last key that the block's last query sees, in any order, and nothing behind it.
    Stores O and LSE once. Makes no array in HBM.
    """
    ### BEGIN SOLUTION
    heads, queries, head_dim = hbm.shape("q")
    kv_heads, keys, _ = hbm.shape("k")
    past = keys - queries
    for head in range(heads):
        kv_head = head // (heads // kv_heads)
        for start in range(0, queries, block_q):
            q = hbm.load("q", start, start + block_q, head=head)
            m, l, o = (
                torch.full((len(q),), -torch.inf),
                torch.zeros(len(q)),
                torch.zeros_like(q),
            )
            rows = torch.arange(start, start + len(q))[:, None]
            end = start + len(q) + past if causal else keys
            for first in range(0, end, block_k):
                k = hbm.load("k", first, first + block_k, head=kv_head)
                v = hbm.load("v", first, first + block_k, head=kv_head)
                scores = q @ k.T / head_dim**0.5
                if causal:
                    hidden = torch.arange(first, first + len(k)) > rows + past
                    scores = scores.masked_fill(hidden, -torch.inf)
                new = torch.maximum(m, scores.amax(dim=-1))
                shrink, p = torch.exp(m - new), torch.exp(scores - new[:, None])
                l = l * shrink + p.sum(dim=-1)
                o = o * shrink[:, None] + p @ v
                m = new
            hbm.store("o", start, o / l[:, None], head=head)
            hbm.store("lse", start, m + torch.log(l), head=head)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "flash-causal-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import Hbm, exact_attention, exercise, expect_close, expect_true, randn

with exercise("flash-causal"):

    def heads_run(shape, blocks, causal, cause="", scale=1.0, atol=1e-5, scores=None):
        """Output and log-sum-exp for (heads, kv_heads, queries, keys, head_dim)."""
        heads, kv_heads, queries, keys, head_dim = shape
        q, k = (
            randn(heads, queries, head_dim, seed=1) * scale,
            randn(kv_heads, keys, head_dim, seed=2),
        )
        if scale > 100:
            q, k = q.round(), (4 * k).round()  # whole numbers: float32 makes no error in scores
        if scores is not None:  # all of them the same
            q, k = torch.full_like(q, scores), torch.full_like(k, head_dim**-0.5)
        v = randn(kv_heads, keys, head_dim, seed=3)
        sram = 4 * head_dim * (blocks[0] + 2 * blocks[1])
        o, lse = torch.full(q.shape, torch.nan), torch.full(q.shape[:2], torch.nan)
        hbm = Hbm(sram, ("o", "lse"), q=q, k=k, v=v, o=o, lse=lse)
        flash_attention(hbm, *blocks, causal)
        what = (
            f"{heads} heads on {kv_heads}, {queries} queries, {keys} keys, blocks of {blocks}, "
            f"causal={causal}"
        )
        expect_true(
            hbm.largest_created <= max(q.numel(), k.numel()),
            f"{what}: the largest array made in HBM, in values",
            "nothing of the size of the table of scores",
            hbm.largest_created,
        )
        output, sums = exact_attention(q, k, v, causal)
        expect_close(hbm.array("o"), output, f"{what}: the output", cause, atol)
        expect_close(hbm.array("lse"), sums, f"{what}: the log-sum-exp", cause, atol)
        return hbm

    own = "query i sees the keys up to its own position i + keys - queries, itself included; the others add 0 to o and l"
    plain = "exercise 4's loop: without a mask each query sees all keys; m, l and o begin anew for each block of queries"
    heads_run((1, 1, 8, 8, 4), (4, 4), False, plain)
    heads_run((1, 1, 8, 8, 4), (4, 4), True, own)
    heads_run((2, 2, 4, 8, 4), (4, 4), False, "each head has rows of its own in all arrays")
    heads_run(
        (4, 2, 4, 8, 4), (4, 4), False, "neighbouring heads share: head // (heads // kv_heads)"
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: blocks of other sizes, larger than all, and of one; fewer queries than keys,
    #   down to one; more queries than keys without a mask; other numbers of heads and KV heads;
    #   large scores; another head_dim; the first query alone.
    # Stated by: "block_q, block_k: as in exercise 4" | "the queries are the *last* positions:
    #   query $i$ sees key $j$ if $j \le i + \text{keys} - \text{queries}$" | "whether query i
    #   sees only the keys j <= i + keys - queries; then queries <= keys." | "`kv_heads` divides
    #   `heads`, and neighbouring query heads share a KV head." | "so are SRAM, scores, and what
    #   "o" and "lse" get" | ""k" and "v" [kv_heads, keys, head_dim]" | "a query sees the keys
    #   up to its own position"
    # Right because: query i stands at position i + keys - queries, and a key behind it gets the
    #   score -inf, which adds e^(-inf) = 0 to l and o; sharing KV heads changes where keys are
    #   read, and nothing in the formula.
    heads_run(
        (1, 1, 4, 4, 8), (4, 4), False, "another head_dim: the scores are divided by its root"
    )
    heads_run((1, 1, 13, 13, 4), (4, 4), True, own)
    heads_run((1, 1, 13, 13, 4), (4, 3), True, own)
    heads_run((1, 1, 13, 13, 4), (3, 5), True, own)
    heads_run((1, 1, 13, 13, 4), (13, 1), True, own)
    heads_run((1, 1, 6, 6, 4), (1, 1), True, own)
    heads_run((1, 1, 5, 5, 4), (16, 16), True, "a block larger than all", 30.0)
    end = "fewer queries than keys: the queries are the last positions"
    heads_run((1, 1, 3, 11, 4), (2, 4), True, end)
    heads_run((1, 1, 1, 9, 4), (4, 4), True, end)
    heads_run((1, 1, 7, 10, 4), (4, 4), True, end)
    heads_run((2, 1, 8, 16, 4), (4, 8), True, end)
    heads_run((1, 1, 1, 1, 4), (4, 4), True, "one query, one key")
    heads_run(
        (1, 1, 9, 5, 4), (4, 4), False, "without a mask there may be more queries than keys"
    )
    shared = (
        "neighbouring heads share: with 6 heads and 2 KV heads, heads 0, 1, 2 use KV head 0"
    )
    heads_run((6, 2, 5, 7, 4), (4, 4), False, shared)
    heads_run((6, 3, 5, 7, 4), (4, 4), True, shared)
    heads_run((3, 3, 4, 6, 4), (4, 4), True, "as many KV heads as heads")
    heads_run((3, 1, 4, 6, 4), (4, 4), True, "one KV head for all")
    heads_run((2, 1, 12, 12, 8), (4, 4), True, "large scores", 40.0)
    hidden = "scores in the thousands: hidden ones are -inf, before the maximum is taken, and m begins at -inf"
    heads_run((4, 2, 12, 12, 4), (4, 4), True, hidden, 500.0, 2e-3)
    heads_run((1, 1, 6, 8, 4), (4, 4), True, hidden, 1.0, 2e-3, scores=-9999.0)
    held = heads_run((2, 1, 7, 7, 4), (4, 4), True)
    alone = "the first query sees the first key alone: its log-sum-exp is that score"
    first = (held.array("q")[:, 0] * held.array("k")[0, 0]).sum(-1) / 2
    expect_close(held.array("lse")[:, 0], first, "the log-sum-exp of the first query", alone)
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "flash-skip-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import Hbm, exercise, expect_equal, expect_true, measured, randn

with exercise("flash-skip"):

    def skips(shape, blocks, causal=True):
        """No key behind the block of the last seen one is loaded, and nothing twice."""
        heads, kv_heads, queries, keys, head_dim = shape
        q, k = randn(heads, queries, head_dim, seed=1), randn(kv_heads, keys, head_dim, seed=2)
        block_q, block_k = blocks
        sram = 4 * head_dim * (block_q + 2 * block_k)
        hbm = Hbm(sram, ("o", "lse"), q=q, k=k, v=k, o=q, lse=q[..., 0])
        flash_attention(hbm, block_q, block_k, causal)
        what = f"{heads} heads, {queries} queries, {keys} keys, blocks of {blocks}, causal={causal}"
        made = hbm.largest_created
        expect_equal(made, 0, f"{what}: values in arrays made in HBM", "none is needed")
        of_queries = sum(
            access.stop - access.start for access in hbm.loads if access.name == "q"
        )
        expect_true(
            of_queries <= heads * queries,
            f"{what}: rows of q loaded",
            f"at most {heads * queries}",
            of_queries,
            "each block of queries is loaded once, before its keys",
        )
        rows = least = 0
        for start in range(0, queries, block_q):
            seen = min(start + block_q, queries) + keys - queries if causal else keys
            rows += min(keys, -(-seen // block_k) * block_k)
            # SRAM may still hold one block of the last queries'.
            least += max(0, seen // block_k - 1) * block_k
        load = 4 * heads * head_dim * (queries + 2 * rows)
        expect_true(
            hbm.bytes_loaded <= load,
            f"{what}: bytes loaded",
            f"at most {load}",
            hbm.bytes_loaded,
            "blocks of keys that no query of the block sees are not loaded",
        )
        of_keys = [access for access in hbm.loads if access.name == "k"]
        expect_true(
            sum(access.stop - access.start for access in of_keys) >= heads * least,
            f"{what}: rows of k loaded",
            f"{heads * rows}, for each block of queries of each head those that it sees",
            sum(access.stop - access.start for access in of_keys),
            "blocks are kept which SRAM has no room for, or keys that are seen aren't loaded",
        )
        store = 4 * heads * queries * (head_dim + 1)
        expect_equal(hbm.bytes_stored, store, f"{what}: bytes stored", "o and lse, once each")
        furthest = max((access.stop for access in of_keys), default=0)
        expect_equal(furthest, keys, f"{what}: the last key that was loaded")
        return hbm.bytes_moved

    skips((1, 1, 16, 16, 4), (4, 4))
    ### BEGIN HIDDEN TESTS
    # Looks at: blocks of other sizes, of one too; lengths that the blocks don't divide; fewer
    #   queries than keys, down to one; several heads without a mask; bytes with a mask against
    #   bytes without; what is kept on the way, for many keys.
    # Stated by: "block_q, block_k: as in exercise 4" | "up to the block of the last key that
    #   the block's last query sees" | "Where there are more keys than queries (a cache holds
    #   the past), the queries are the *last* positions" | "Loads Q once. For each block of
    #   queries of each head it loads K and V once" | "half of the tiles lie wholly behind it.
    #   Don't load them." | "what isn't accepted there isn't here"
    # Right because: of a block's queries the last one sees most, so that keys behind its last
    #   key have weight 0 for all of them: what adds 0 needn't be loaded.
    skips((1, 1, 16, 16, 4), (4, 2))
    skips((1, 1, 16, 16, 4), (2, 4))
    skips((2, 1, 15, 15, 4), (4, 4))
    skips((1, 1, 8, 24, 4), (4, 4))
    skips((1, 1, 7, 22, 4), (3, 4))
    skips((1, 1, 1, 17, 4), (4, 4))
    skips((4, 2, 12, 12, 4), (4, 4), causal=False)
    skips((1, 1, 9, 9, 4), (1, 1))
    whole = skips((1, 1, 32, 32, 4), (4, 4), causal=False)
    half = skips((1, 1, 32, 32, 4), (4, 4))
    what = "bytes of 32 queries and keys with a causal mask"
    expect_true(half <= 0.65 * whole, what, f"at most 65 % of the {whole} without", half)
    q, k = randn(1, 4, 4, seed=1), randn(1, 64, 4, seed=2)
    held = Hbm(4 * 4 * 12, ("o", "lse"), q=q, k=k, v=k, o=q, lse=torch.zeros(1, 4))
    _, work = measured(flash_attention, held, 4, 4, True)
    expect_true(
        work.largest <= 512,
        "bytes of the largest array on the way, 4 queries, 64 keys, blocks of 4",
        "at most 512; the scores of a tile take 64",
        work.largest,
        "scores with all keys are kept: m, l and o are all that goes from tile to tile",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 6 · Backwards, without the table (6 points)
#
# Training needs gradients. The plain backward pass wants the table $P$ again, and plain attention keeps it from the
# forward pass: that is where the memory of training goes. FlashAttention keeps one number per query instead, the
# log-sum-exp $L$, and **computes each tile again** when it's needed, from $S = QK^\top/\sqrt d$:
#
# $$P = e^{S - L} \qquad dV = P^\top dO \qquad dP = dO\,V^\top$$
#
# The gradient of a softmax needs a sum over each row of $P$, which spans all tiles. There is a way round that too:
# for each query
#
# $$D_i = \sum_j P_{ij}\, dP_{ij} = \sum_c dO_{ic}\, O_{ic}$$
#
# and the right-hand side needs no tile at all. Then
#
# $$dS = P \circ (dP - D) \qquad dQ = dS\,K/\sqrt d \qquad dK = dS^\top Q/\sqrt d$$
#
# This is more arithmetic than with the table. On GPUs it is faster all the same, says the paper: what is computed
# again needn't be read.
#
# One head here. 4 points are for the gradients, 2 for the traffic.
#
# <details><summary>Hint 1</summary>Outer loop over blocks of keys, inner loop over blocks of queries: dk and dv of
# the block grow in the inner loop and are stored once. dq grows over the outer loop: load it, add, store
# it.</details>
# <details><summary>Hint 2</summary>P = exp(q @ k.T / sqrt(head_dim) - lse[:, None]), and 0 where the mask hides. No
# maximum, no sum: the log-sum-exp holds both.</details>
# <details><summary>Hint 3</summary>With a causal mask, the tiles to skip are those whose last query sees none of the
# keys: stop - 1 + keys - queries &lt; first. If SRAM is full, hbm.free what you no longer need.</details>


# %% nbgrader={"grade": false, "grade_id": "flash-backward", "locked": false, "schema_version": 3, "solution": true, "task": false}
def flash_backward(hbm, block_q, block_k, causal):
    """The gradients of one head's attention, tile by tile.

    Args:
        hbm: holds "q", "o", "do" and "dq" [queries, head_dim], "k", "v", "dk" and "dv" [keys,
            head_dim] and "lse" [queries]; "o" and "lse" are those of the forward pass, "do" is
            the gradient of the output. The other gradients are full of zeros, and are to hold
            the result.
        block_q, block_k: as in exercise 4. SRAM holds four blocks of block_q rows, four of
            block_k rows and two of block_q numbers, lse's for one; what it has no room for
            isn't kept.
        causal: as in exercise 5; queries <= keys then.

    Scores may be some hundreds, hidden ones too. An array that you make in HBM is no larger
    than Q or K.

    Nothing moves for a tile that is wholly hidden. For each other one at most nine blocks of
    the larger of both sizes move, loads and stores together, and two of block_q numbers;
    beside that, once for all tiles, at most four times as much as Q and as K hold, and two
    numbers for each query.
    """
    ### BEGIN SOLUTION
    queries, head_dim = hbm.shape("q")
    keys = hbm.shape("k")[0]
    past, scale = keys - queries, head_dim**-0.5
    hbm.new("d", queries)
    for start in range(0, queries, block_q):
        do = hbm.load("do", start, start + block_q)
        hbm.store("d", start, (do * hbm.load("o", start, start + block_q)).sum(-1))
    hbm.free("o")
    for first in range(0, keys, block_k):
        k, v = hbm.load("k", first, first + block_k), hbm.load("v", first, first + block_k)
        columns = torch.arange(first, first + len(k))
        dk, dv = torch.zeros_like(k), torch.zeros_like(v)
        for start in range(0, queries, block_q):
            stop = min(start + block_q, queries)
            if causal and stop - 1 + past < first:
                continue
            q, do = hbm.load("q", start, stop), hbm.load("do", start, stop)
            p = torch.exp(q @ k.T * scale - hbm.load("lse", start, stop)[:, None])
            if causal:
                rows = torch.arange(start, stop)[:, None]
                p = p.masked_fill(columns > rows + past, 0.0)
            ds = p * (do @ v.T - hbm.load("d", start, stop)[:, None])
            dv += p.T @ do
            dk += ds.T @ q * scale
            hbm.store("dq", start, hbm.load("dq", start, stop) + ds @ k * scale)
        hbm.store("dk", first, dk)
        hbm.store("dv", first, dv)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "flash-backward-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import Hbm, exact_attention, exercise, expect_close, expect_true, randn

with exercise("flash-backward"):
    whys = {
        "dv": "dV = P^T dO, and P = exp(S - lse) with the scaled scores S",
        "dq": "dQ = dS K / sqrt(head_dim), summed over all keys; dS = P (dP - D), D a sum of dO * O over head_dim",
        "dk": "dK = dS^T Q / sqrt(head_dim), summed over all queries",
    }
    tiles = {
        "dv": "dv of a block of keys begins at 0 and grows over all queries; P = exp(S - lse), lse of the whole row",
        "dq": "dq is summed over all keys, block by block; D a sum of dO * O over head_dim, and not over a tile",
        "dk": "dk of a block of keys begins at 0 and grows over all queries",
    }

    def backward_run(sizes, blocks, causal, cause="", scale=1.0, atol=5e-5, far=0.0):
        """The three gradients of (queries, keys, head_dim), against autograd in float64."""
        queries, keys, head_dim = sizes
        q, do = randn(queries, head_dim, seed=1) * scale, randn(queries, head_dim, seed=4)
        k, v = randn(keys, head_dim, seed=2), randn(keys, head_dim, seed=3)
        if far:  # the first query's hidden scores lie that far above its own
            q[0, 0], q[1:, 0], k[0, 0], k[1:, 0] = 2.0, 0.0, 0.0, far * head_dim**0.5 / 2
        leaves = [part.double().requires_grad_() for part in (q, k, v)]
        o, lse = exact_attention(*leaves, causal)
        o.backward(do.double())
        names = {"q": q, "k": k, "v": v, "o": o.float(), "do": do, "lse": lse.float()}
        names |= {"dq": q * 0, "dk": k * 0, "dv": v * 0}
        sram = 4 * (4 * head_dim * (blocks[0] + blocks[1]) + 2 * blocks[0])
        hbm = Hbm(sram, ("dq", "dk", "dv"), **names)
        flash_backward(hbm, *blocks, causal)
        what = f"{queries} queries, {keys} keys, blocks of {blocks}, causal={causal}"
        expect_true(
            hbm.largest_created <= max(q.numel(), k.numel()),
            f"{what}: the largest array made in HBM, in values",
            "nothing of the size of the table",
            hbm.largest_created,
            "compute each tile of P again from q, k and lse",
        )
        of_names = {"dv": leaves[2], "dq": leaves[0], "dk": leaves[1]}
        for name, leaf in of_names.items():
            why = cause[name] if isinstance(cause, dict) else cause or whys[name]
            expect_close(hbm.array(name), leaf.grad, f"{what}: {name}", why, atol)
        return hbm

    backward_run((8, 8, 4), (8, 8), False, atol=1e-2)
    backward_run((8, 8, 4), (8, 8), False, "it is nearly right: keep to float32")
    backward_run((8, 8, 4), (4, 4), False, tiles)
    backward_run((8, 8, 4), (4, 4), True, "where the mask hides, P is 0")
    ### BEGIN HIDDEN TESTS
    # Looks at: blocks of other sizes, larger than all, and of one row; lengths that the blocks
    #   don't divide; fewer queries than keys, down to one; more queries than keys without a
    #   mask; scores of some hundreds, hidden ones too; another head_dim; what dv sums to.
    # Stated by: "SRAM holds four blocks of block_q rows, four of block_k rows and two of
    #   block_q numbers" | "block_q, block_k: as in exercise 4." | "causal: as in exercise 5" |
    #   "as in exercise 5; queries <= keys then." | "Scores may be some hundreds, hidden ones
    #   too." | "dQ = dS\,K/\sqrt d" | "dV = P^\top dO"
    # Right because: the log-sum-exp holds a row's maximum and sum, so that each tile of P can
    #   be made again from q and k alone; and the one sum that spans all tiles, D, can be had
    #   from the output and its gradient.
    backward_run((8, 8, 8), (8, 8), False)
    apart = "blocks of two sizes: mask by position, and skip a tile only if its last query sees none of its keys"
    backward_run((12, 12, 4), (6, 3), True, apart)
    for blocks in ((4, 4), (5, 3), (3, 5), (16, 16), (1, 1), (13, 4), (4, 13)):
        ends = "the last block may be smaller, and a block may be larger than all"
        backward_run((13, 13, 4), blocks, True, ends)
        backward_run((13, 11, 8), blocks, False, ends)
    end = "fewer queries than keys: the queries are the last positions"
    backward_run((4, 11, 4), (2, 4), True, end)
    backward_run((1, 9, 4), (4, 4), True, end)
    backward_run((7, 12, 2), (4, 4), True, end)
    backward_run((1, 1, 4), (4, 4), True, "one query, one key")
    backward_run((9, 4, 4), (4, 4), False, "more queries than keys")
    backward_run((8, 8, 4), (4, 4), True, "scores of some hundreds: P = exp(S - lse)", 60.0)
    beyond = "exp of a hidden score may be infinite, and inf * 0 is NaN: put 0 in its place, or -inf before exp"
    backward_run((8, 8, 4), (4, 4), True, beyond, far=300.0)
    held = backward_run((9, 14, 4), (4, 4), True)
    ones = "each row of P sums to 1, so that dv sums to what do sums to"
    total = held.array("do").sum(0)
    expect_close(held.array("dv").sum(0), total, "the sum of dv over the keys", ones, 5e-5)
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "backward-traffic-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import Hbm, exact_attention, exercise, expect_true, measured, randn

with exercise("backward-traffic"):

    def backward_bytes(sizes, blocks, causal):
        """Bytes moved, checked against what the docstring grants."""
        (queries, keys, head_dim), (block_q, block_k) = sizes, blocks
        q, k = randn(queries, head_dim, seed=1), randn(keys, head_dim, seed=2)
        o, lse = exact_attention(q, k, k, causal)
        names = {"q": q, "k": k, "v": k, "o": o.float(), "do": q, "lse": lse.float()}
        names |= {"dq": q * 0, "dk": k * 0, "dv": k * 0}
        sram = 4 * (4 * head_dim * (block_q + block_k) + 2 * block_q)
        hbm = Hbm(sram, ("dq", "dk", "dv"), **names)
        flash_backward(hbm, block_q, block_k, causal)
        granted = 4 * (queries + keys) * head_dim + 2 * queries
        for start in range(0, queries, block_q):
            stop = min(start + block_q, queries)
            for first in range(0, keys, block_k):
                if not causal or first <= stop - 1 + keys - queries:
                    rows, columns = stop - start, min(block_k, keys - first)
                    granted += 9 * head_dim * max(rows, columns) + 2 * rows
        what = f"{queries} queries, {keys} keys, blocks of {blocks}, causal={causal}"
        gradients = 4 * (queries + 2 * keys) * head_dim
        expect_true(
            hbm.bytes_stored >= gradients,
            f"{what}: bytes stored",
            f"at least {gradients}: each row of dq, dk and dv",
            hbm.bytes_stored,
            "the gradients go back to HBM, by hbm.store",
        )
        expect_true(
            hbm.bytes_moved <= 4 * granted,
            f"{what}: bytes moved",
            f"at most {4 * granted}",
            hbm.bytes_moved,
            "tiles that are wholly hidden are not loaded"
            if causal
            else "each tile's blocks are loaded once, and dk and dv are stored once",
        )
        return hbm.bytes_moved

    def saves(sizes, blocks, share):
        """A causal mask leaves a share of the tiles, and the traffic with them."""
        whole, masked = (
            backward_bytes(sizes, blocks, False),
            backward_bytes(sizes, blocks, True),
        )
        expect_true(
            masked <= share * whole,
            f"{sizes[0]} queries, {sizes[1]} keys, blocks of {blocks}: bytes with a causal mask",
            f"at most {share:.0%} of the {whole} without one",
            masked,
            "tiles that are wholly hidden are not loaded",
        )

    saves((32, 32, 4), (4, 4), 0.75)
    ### BEGIN HIDDEN TESTS
    # Looks at: other lengths and blocks, large and small, with a mask and without; fewer
    #   queries than keys, down to one, and more; blocks of queries larger than those of keys,
    #   and smaller; what a mask saves, of four tiles, too; what is kept on the way.
    # Stated by: "For each other one at most nine blocks of the larger of both sizes move, loads
    #   and stores together, and two of block_q numbers" | "causal: as in exercise 5; queries <=
    #   keys then." | "SRAM holds four blocks of block_q rows, four of block_k rows and two of
    #   block_q numbers" | "Nothing moves for a tile that is wholly hidden." | "what it has no
    #   room for isn't kept"
    # Right because: the gradients of a block of keys grow in the processor while its queries
    #   come past, and a hidden tile would add 0 to all three: so a tile moves its own few
    #   blocks, and only where something is seen.
    saves((48, 48, 8), (4, 4), 0.7)
    saves((31, 31, 4), (4, 4), 0.75)
    saves((30, 30, 4), (2, 5), 0.75)
    backward_bytes((8, 24, 4), (4, 4), True)
    backward_bytes((24, 8, 4), (4, 4), False)
    backward_bytes((1, 20, 4), (4, 4), True)
    backward_bytes((16, 16, 4), (16, 4), False)
    backward_bytes((16, 16, 4), (4, 16), True)
    backward_bytes((32, 32, 4), (2, 2), False)
    moved = backward_bytes((32, 32, 4), (16, 16), False)
    what = "32 positions in four tiles without a mask: bytes moved"
    expect_true(moved <= 14_080, what, "at most 14080", moved)
    whole, masked = (backward_bytes((8, 8, 4), (4, 4), causal) for causal in (False, True))
    expect_true(
        masked <= whole - 128,
        "8 queries, 8 keys, blocks of 4: bytes with a causal mask",
        f"at most {whole - 128}: of {whole} without one, those of the hidden tile are left out",
        masked,
        "a tile is hidden if its first key comes behind the last one that its last query sees",
    )
    few, many = randn(4, 4, seed=1), randn(64, 4, seed=2)
    for q, k in ((many, few), (few, many)):
        names = {"q": q, "k": k, "v": k, "o": q, "do": q, "lse": torch.zeros(len(q))}
        names |= {"dq": q * 0, "dk": k * 0, "dv": k * 0}
        held = Hbm(4 * (32 * 4 + 8), ("dq", "dk", "dv"), **names)
        _, work = measured(flash_backward, held, 4, 4, False)
        most = max(512, 4 * held.largest_created)  # what you make in HBM may be as large as Q
        expect_true(
            work.largest <= most,
            f"bytes of the largest array on the way, {len(q)} queries, {len(k)} keys, blocks of 4",
            f"at most {most}; a block takes 64",
            work.largest,
            "a gradient of all rows is kept: in HBM it grows block by block, by load, add and store",
        )
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 7 · The kernel (5 points)
#
# A function that runs on the GPU is a *kernel*. Thousands of copies of it run at once; each is called a *program* here,
# works on one block, and has SRAM and registers of its own. **Triton** is a small language inside Python for
# writing them: you load a block, compute with it as if it were a tensor, and store it. The compiler sees to the rest.
#
# Everything else is as in exercise 5: the programs share out your two outer loops, heads and blocks of queries, and the
# inner loop over the keys stays. Three things are new.
#
# - Memory is a **pointer**: the address of the first value. A block of addresses is a pointer plus a block of
#   offsets. Value $c$ of row $r$ of head $h$ lies at offset $(h \cdot \text{rows} + r) \cdot \text{head\_dim} + c$.
# - A load behind the end isn't cut off, it reads what lies there. So each load and store has a **mask**.
# - Sizes of blocks are powers of two, known to the compiler (`tl.constexpr`), and 16 or more in a `tl.dot`.
#
# An example: each program divides some rows of a matrix by their largest value.


# %% tags=["for-real"]
@triton.jit
def divide_kernel(x, y, rows, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)  # [BLOCK] numbers of rows
    offsets = row[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]  # [BLOCK, COLUMNS]
    inside = row[:, None] < rows
    block = tl.load(x + offsets, mask=inside, other=1.0)
    tl.store(y + offsets, block / tl.max(block, 1)[:, None], mask=inside)


if kernels.INSTALLED:
    x = torch.tensor([[1.0, 2.0], [5.0, 4.0], [3.0, 6.0]], device=DEVICE)
    y = torch.empty_like(x)
    divide_kernel[(2,)](x, y, 3, COLUMNS=2, BLOCK=2)  # two programs, two rows each
    print(y)

# %% [markdown]
# Where there is no GPU, Triton's interpreter runs the programs one after the other on the CPU. That is slow, and
# computes the same. You can `print` in there. Where Triton isn't installed (it exists for Linux), the tests skip this
# exercise, and it costs you nothing.
#
# What you need: `tl.program_id`, `tl.arange`, `tl.load`, `tl.store`, `tl.zeros`, `tl.full`, `tl.dot(a, b,
# input_precision="ieee")` (a product of two blocks, exact in float32), `tl.trans`, `tl.exp`, `tl.log`, `tl.max(block,
# 1)`, `tl.sum(block, 1)`, `tl.maximum`, `tl.minimum`, `tl.where`; more of `tl`, or a second function, is fine. Fill in the
# kernel's body and its launch. The kernel computes everything, in one launch; `triton_attention` makes room for the
# results and launches it. The tests are in float32; where a GPU then times your kernel in half precision, `tl.dot` wants both blocks in one dtype:
# `p.to(v_block.dtype)`.
#
# <details><summary>Hint 1</summary>Inside the kernel, q's block is loaded once, before the loop, with the mask rows
# &lt; queries. Keys behind the end: load them as 0, and set their scores to -inf.</details>
# <details><summary>Hint 2</summary>m = tl.full([BLOCK_Q], float("-inf"), tl.float32), l and acc are tl.zeros. In the
# loop: new = tl.maximum(m, tl.max(s, 1)), shrink = tl.exp(m - new), p = tl.exp(s - new[:, None]).</details>
# <details><summary>Hint 3</summary>The loop's end with a causal mask: tl.minimum(keys, (block + 1) * BLOCK_Q + keys -
# queries). The grid: (triton.cdiv(queries, block_q), heads).</details>


# %% nbgrader={"grade": false, "grade_id": "triton-forward", "locked": false, "schema_version": 3, "solution": true, "task": false}
@triton.jit
def flash_kernel(
    q,
    k,
    v,
    o,
    lse,
    queries,
    keys,
    scale,
    GROUP: tl.constexpr,
    CAUSAL: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """One program: one block of queries (program_id 0) of one head (program_id 1).

    Args:
        q, o: pointers to [heads, queries, HEAD_DIM]; k, v: to [kv_heads, keys, HEAD_DIM];
            lse: to [heads, queries].
        scale: what the scores are multiplied with.
        GROUP: query heads for each KV head.
    """
    ### BEGIN SOLUTION
    block, head = tl.program_id(0), tl.program_id(1)
    rows = block * BLOCK_Q + tl.arange(0, BLOCK_Q)
    across = tl.arange(0, HEAD_DIM)
    own = (head * queries + rows[:, None]) * HEAD_DIM + across[None, :]
    inside = rows[:, None] < queries
    q_block = tl.load(q + own, mask=inside, other=0.0)
    m = tl.full([BLOCK_Q], float("-inf"), tl.float32)
    l = tl.zeros([BLOCK_Q], tl.float32)
    acc = tl.zeros([BLOCK_Q, HEAD_DIM], tl.float32)
    end = keys
    if CAUSAL:
        end = tl.minimum(keys, (block + 1) * BLOCK_Q + keys - queries)
    for first in range(0, end, BLOCK_K):
        columns = first + tl.arange(0, BLOCK_K)
        theirs = ((head // GROUP) * keys + columns[:, None]) * HEAD_DIM + across[None, :]
        there = columns[:, None] < keys
        k_block = tl.load(k + theirs, mask=there, other=0.0)
        v_block = tl.load(v + theirs, mask=there, other=0.0)
        s = tl.dot(q_block, tl.trans(k_block), input_precision="ieee") * scale
        seen = columns[None, :] < keys
        if CAUSAL:
            seen = seen & (columns[None, :] <= rows[:, None] + keys - queries)
        s = tl.where(seen, s, float("-inf"))
        new = tl.maximum(m, tl.max(s, 1))
        shrink = tl.exp(m - new)
        p = tl.exp(s - new[:, None])
        l = l * shrink + tl.sum(p, 1)
        acc = acc * shrink[:, None] + tl.dot(
            p.to(v_block.dtype), v_block, input_precision="ieee"
        )
        m = new
    tl.store(o + own, acc / l[:, None], mask=inside)
    tl.store(lse + head * queries + rows, m + tl.log(l), mask=rows < queries)
    ### END SOLUTION


def triton_attention(q, k, v, causal=False, block_q=16, block_k=16):
    """Attention of all heads in one launch of the kernel.

    Args:
        q: [heads, queries, head_dim], head_dim a power of two, 16 or more;
            k, v: [kv_heads, keys, head_dim]; blocks needn't divide the lengths.
        causal: as in exercise 5; queries <= keys then.
        block_q, block_k: powers of two, 16 or more.

    Returns:
        (o, lse): [heads, queries, head_dim] in q's dtype and [heads, queries] in float32.
    """
    q, k, v = (part.to(DEVICE).contiguous() for part in (q, k, v))
    ### BEGIN SOLUTION
    heads, queries, head_dim = q.shape
    kv_heads, keys, _ = k.shape
    o = torch.empty_like(q)
    lse = torch.empty(heads, queries, dtype=torch.float32, device=q.device)
    grid = (triton.cdiv(queries, block_q), heads)
    group, scale = heads // kv_heads, head_dim**-0.5
    sizes = {"HEAD_DIM": head_dim, "BLOCK_Q": block_q, "BLOCK_K": block_k}
    flash_kernel[grid](
        q, k, v, o, lse, queries, keys, scale, GROUP=group, CAUSAL=causal, **sizes
    )
    return o, lse
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "triton-forward-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.attention.kernels import INTERPRETED
from fridge.testing import (
    exact_attention,
    exercise,
    expect_close,
    expect_equal,
    expect_parts,
    measured,
    needs,
    randn,
)

with exercise("triton-forward"):
    needs("triton")

    def triton_parts(*inputs, **blocks):
        return expect_parts(
            triton_attention(*inputs, **blocks), "o, lse", "what triton_attention returns"
        )

    def compared(got, q, k, v, causal, what, cause="", atol=2e-5):
        near = atol if INTERPRETED else max(atol, 5e-3)  # a GPU may compute products in TF32
        right = exact_attention(q, k, v, causal)
        for part, expected, name in zip(got, right, ("output", "lse"), strict=True):
            expect_close(part, expected, f"{what}: the {name}", cause, near)

    def kernel_run(shape, causal, cause="", scale=1.0, atol=2e-5, nearly="", **blocks):
        """Output and log-sum-exp for (heads, kv_heads, queries, keys, head_dim)."""
        heads, kv_heads, queries, keys, head_dim = shape
        q, k = (
            randn(heads, queries, head_dim, seed=1) * scale,
            randn(kv_heads, keys, head_dim, seed=2),
        )
        if scale > 100:
            q, k = q.round(), (4 * k).round()  # whole numbers: float32 makes no error in scores
        v = randn(kv_heads, keys, head_dim, seed=3)
        what = (
            f"{heads} heads on {kv_heads}, {queries} queries, {keys} keys, head_dim {head_dim}, "
            f"causal={causal}"
        )
        got = triton_parts(q.clone(), k.clone(), v.clone(), causal, **blocks)
        for most, why in ((1e-2, cause), (atol, nearly)) if nearly else ((atol, cause),):
            compared(got, q, k, v, causal, what, why, most)

    formula = (
        "no mask: softmax(q k^T * scale) v, and lse is the maximum + the logarithm of the sum"
    )
    kernel_run((1, 1, 16, 16, 16), False, formula, nearly="it is nearly right: keep to float32")
    two = "two blocks of keys: when the maximum grows, the earlier output and sum shrink"
    kernel_run((1, 1, 16, 32, 16), False, two)
    kernel_run((1, 1, 32, 32, 16), True, "query i sees the keys up to i + keys - queries")
    ### BEGIN HIDDEN TESTS
    # Looks at: several heads; who does the work, and in how many launches; queries and keys
    #   that the blocks don't divide; causal not given; inputs that don't lie densely; a head
    #   beside one of NaN; fewer queries than
    #   keys, down to one, and more; heads that share KV heads; another head_dim; blocks of
    #   queries larger than those of keys, and smaller; large scores, and very low ones; values
    #   that are all the same.
    # Stated by: "the programs share out your two outer loops, heads and blocks of queries" | "The
    #   kernel computes everything, in one launch" | "blocks needn't divide the lengths" | "causal: as
    #   in exercise 5; queries <= keys then." | "GROUP: query heads for each KV head." | "head_dim a
    #   power of two, 16 or more" | "block_q, block_k: powers of two, 16 or more." | "So each load and
    #   store has a **mask**" | "part.to(DEVICE).contiguous()" | "def triton_attention(q, k, v,
    #   causal=False" | "Everything else is as in exercise 5" | "(o, lse): [heads, queries, head_dim]
    #   in q's dtype and [heads, queries] in float32."
    # Right because: each program owns the rows it writes and has an m, l and o of its own, so
    #   that programs may run in any order or at once; and masks give what lies behind the end
    #   the weight 0.
    kernel_run((2, 2, 16, 16, 16), False, "each head has programs of its own")
    _, work = measured(triton_attention, *(randn(3, 40, 16, seed=s) for s in range(3)), True)
    expect_equal(
        work.launches,
        1,
        "launches of a kernel for 3 heads and 40 queries",
        "one launch makes a program for each block of queries of each head: the grid has two numbers",
    )
    expect_equal(
        work.flops,
        0,
        "floating-point operations in products of PyTorch's",
        "the kernel multiplies, by tl.dot; triton_attention makes its output and launches it",
    )
    smaller = "the last block of queries is smaller, and has a program, too"
    kernel_run((1, 1, 5, 16, 16), False, smaller)
    kernel_run((1, 1, 21, 16, 16), False, smaller)
    behind = "the last block of keys is smaller: its keys count; those behind the end aren't loaded, and get -inf"
    kernel_run((1, 1, 16, 21, 16), False, behind)
    kernel_run((1, 1, 5, 3, 16), False, behind)
    kernel_run(
        (2, 2, 17, 19, 16),
        False,
        "rows behind the end belong to the next head: don't store them",
    )
    q, k = randn(2, 17, 16, seed=4), randn(2, 19, 16, seed=5)
    v = torch.cat((randn(1, 19, 16, seed=6), torch.full((1, 19, 16), torch.nan)))
    got = [part[:1] for part in triton_parts(q.clone(), k.clone(), v.clone(), False)]
    theirs = "keys behind the end aren't loaded: here they are another head's, and NaN"
    what = "head 0 beside a head whose values are NaN, 17 queries, 19 keys"
    compared(got, q[:1], k[:1], v[:1], False, what, theirs)
    free = "without a mask each query sees all keys, however few queries lie before it"
    kernel_run((1, 1, 33, 50, 16), False, free)
    q, k, v = randn(1, 33, 16, seed=1), randn(1, 50, 16, seed=2), randn(1, 50, 16, seed=3)
    inputs = q.clone(), k.clone(), v.clone()
    what = "33 queries, 50 keys, causal not given"
    compared(triton_parts(*inputs), q, k, v, False, what, "causal is False if it isn't given")
    q, k, v = (
        part.transpose(0, 1).contiguous().transpose(0, 1) for part in randn(3, 2, 18, 16)
    )
    lies = "2 heads, 18 queries and keys, rows of all heads side by side in memory"
    gaps = "the offsets count on rows of one head side by side: .contiguous() puts them there"
    compared(triton_parts(q, k, v, True), q, k, v, True, lies, gaps)
    end = "fewer queries than keys: the queries are the last positions"
    kernel_run((1, 1, 7, 40, 16), True, end)
    kernel_run((1, 1, 1, 33, 16), True, end)
    kernel_run((1, 1, 20, 23, 16), True, end)
    kernel_run((1, 1, 1, 1, 16), True, "one query, one key")
    kernel_run((4, 2, 3, 5, 16), True, "heads 0 and 1 use KV head 0: head // GROUP")
    kernel_run((1, 1, 16, 18, 32), False, "head_dim 32")
    kernel_run((1, 1, 18, 34, 16), True, "large scores: subtract the maximum", 40.0)
    hidden = "scores in the thousands: hidden ones are -inf, before the maximum is taken, and m begins at -inf"
    kernel_run((3, 1, 8, 8, 16), True, hidden, 300.0, 2e-3)
    low = torch.full((1, 8, 16), -9999.0), torch.full((1, 8, 16), 0.25), randn(1, 8, 16, seed=3)
    got = triton_parts(*(part.clone() for part in low), True)
    compared(got, *low, True, "8 queries and keys, all scores -9999", hidden, 2e-3)
    kernel_run((1, 1, 33, 34, 16), True, "blocks of 32 and 16", block_q=32, block_k=16)
    kernel_run((1, 1, 17, 50, 16), True, "blocks of 16 and 32", block_q=16, block_k=32)
    one = torch.ones(1, 20, 16)
    output, _ = triton_parts(randn(2, 5, 16, seed=1), randn(1, 20, 16, seed=2), one, True)
    expect_close(output, torch.ones(2, 5, 16), "the mix of values that are all 1", "", 1e-3)
    ### END HIDDEN TESTS

# %% [markdown]
# ## 5 · For real
#
# ### In a model
#
# Your attention from exercise 5 takes the place of the model's own, in all layers of SmolLM2, on an `Hbm` whose SRAM
# has room for three blocks of 64. The `Hbm` is a Python object that counts, so this is slow. What matters is that
# nothing changes.

# %% tags=["for-real"]
account = []


def counted_attention(q, k, v):
    # The model may be on a GPU, in half precision; the Hbm is on the CPU, in float32.
    q32, k32, v32 = (part[0].float().cpu() for part in (q, k, v))
    o, lse = torch.zeros_like(q32), torch.zeros(q32.shape[:2])
    memory = Hbm(4 * 3 * 64 * q.shape[-1], q=q32, k=k32, v=v32, o=o, lse=lse)
    flash_attention(memory, 64, 64, causal=True)
    account.append((memory.bytes_moved / 1e6, memory.peak_sram / 1e3))
    return memory.array("o")[None].to(q)


# %% tags=["for-real"]
if scoreboard.ready("flash-causal", "flash-skip"):
    model, tokenizer = models.load(), models.load_tokenizer()
    story = "The GPU has two memories, a large one and a fast one. " * 16
    tokens = tokenizer(story, return_tensors="pt").input_ids.to(model.device)
    ours = model.with_parts(attention=counted_attention)(tokens)
    theirs = model(tokens)
    same = (ours.argmax(-1) == theirs.argmax(-1)).float().mean()
    print(f"{tokens.shape[1]} tokens, {model.config.layers} layers")
    print(f"largest difference of the logits: {float((ours - theirs).abs().max()):.1e}")
    print(f"most likely next tokens: {float(same):.0%} the same")
    megabytes, kilobytes = zip(*account)
    print(f"moved {sum(megabytes):.0f} MB, with {max(kilobytes):.0f} kB of SRAM")

# %% [markdown]
# ### On this machine
#
# PyTorch's `scaled_dot_product_attention` (SDPA) has several back ends for the same formula. *math* is the formula as
# it stands. *flash* is the tiled algorithm; there is one for CPUs too, for a CPU has a small fast memory as well, its
# caches. Where you have a GPU, more back ends take part, and so does your kernel: the plain algorithm, right and not
# tuned. (The interpreter's time, without a GPU, would say nothing.)


# %% tags=["for-real"]
def my_kernel(q, k, v, causal):
    heads = (part.flatten(0, 1) for part in (q, k, v))  # those of all sequences of the batch
    return triton_attention(*heads, causal, block_q=64, block_k=32)[0].view(q.shape)


if place == "cuda" and scoreboard.ready("triton-forward"):
    contestants["your kernel"] = my_kernel
runs = {"naive": naive_runs}
for name, attend in contestants.items():
    if name not in runs:
        runs[name] = [bench.measure(name, attend, n, setting) for n in lengths]
work = [f"{bench.operations(n, setting) / 1e9:.2f} GFLOP" for n in lengths]
times = [(name, *map(bench.in_words, rows)) for name, rows in runs.items()]
positions = [f"{n} positions" for n in lengths]
tables.show(("", *positions), [("counted, for all", *work), *times], numbers=range(1, 5))

# %% tags=["for-real"]
pictures.time_and_memory(runs)

# %% [markdown]
# *In words: two panels over the length. Left, milliseconds on a logarithmic axis, a curve for each way. Right, megabytes
# at the measured peak, and in broad grey the size of one table of scores, which climbs with the square of the length.
# Naive and math hold such tables, and flash none.*
#
# The arithmetic grows with the square of the length for everyone: twice the length is four times the work, and where
# nothing else disturbs the machine, about four times the time. What the tiles save is the way to memory, and the memory
# itself. (As above, small peaks of a CPU can't be seen well.)
#
# ### On a large GPU
#
# What the papers measure, the course can measure too: plain attention, SDPA's back ends (math, memory-efficient, flash,
# cuDNN) and a tuned Triton kernel, forwards and backwards, lengths 512 to 16384. The instructor's folder has the kernel
# and the program. Its raw figures, with the GPU and the versions, are kept with the library, in
# `fridge/attention/measurements/`, and the next cell plots them.

# %% tags=["for-real"]
kept = sweeps.kept()
for results in kept:
    pictures.teraflops(results)
if not kept:
    print(
        "No measurement on a GPU has been taken for this course so far, and no other numbers "
        "stand in for one. The picture above, of your CPU, is what there is."
    )

# %% [markdown]
# If you have a GPU (Colab's T4 will do), this cell takes a small part of that measurement. A T4 has no bfloat16 and
# no flash back end: SDPA then says so, and the table has a gap where it would stand.

# %% tags=["for-real"]
if torch.cuda.is_available():
    plan = sweeps.plan(contestants, "cuda", lengths=(4096, 512, 1024, 2048), head_dims=(64,))
    here = sweeps.sweep(plan, contestants, seconds=300)
    pictures.teraflops(here)
else:
    print("No GPU here.")

# %% [markdown]
# ### What the papers measured
#
# An H100's arithmetic is 295 times as fast as its memory: 989 TFLOP/s in half precision, 3.35 TB/s (unit 01's cards). Your
# exercise 1 counts the bytes; the operations are two products, $4 n^2 d$ for each head. So you can say how many TFLOP/s
# each way can reach at most. Predict before you run it: does naive attention get faster with the length? With larger
# heads? And FlashAttention?


# %% tags=["for-real"]
def at_most(moved, length, head_dim, card):
    """TFLOP/s of one head that moves so many bytes: the slower of memory and arithmetic."""
    operations = 4 * length**2 * head_dim
    seconds = max(moved / card.bandwidth, operations / card.flops)
    return operations / seconds / 1e12


h100, positions_of_papers = CARDS["H100-80"], (512, 1024, 2048, 4096, 8192, 16384)
predicted = {}
if scoreboard.ready("naive-bytes", "flash-bytes"):
    for size in (64, 128):
        moved = {
            "naive": [naive_bytes(n, n, size, 2) for n in positions_of_papers],
            "flash, blocks of 128": [
                flash_bytes(n, n, size, 128, 2) for n in positions_of_papers
            ],
        }
        predicted[size] = {
            way: [at_most(*pair, size, h100) for pair in zip(counts, positions_of_papers)]
            for way, counts in moved.items()
        }
        for way, bounds in predicted[size].items():
            print(
                f"head {size:3}, {way:20}: at most {bounds[0]:3.0f} to {bounds[-1]:3.0f} TFLOP/s"
            )

# %% [markdown]
# Now the numbers of Shah et al. 2024, read where they stand in the paper (`fridge/attention/papers.json` names figure and
# page of each). They are the paper's, measured on its H100; nothing in this picture was measured here but your prediction.

# %% tags=["for-real"]
if predicted:
    forward = {"card": "H100-80", "pass": "forward", "causal": False}
    pictures.published(papers.published(**forward), predicted)

# %% [markdown]
# *In words: two panels, heads of 64 and of 128, TFLOP/s over the length. PyTorch's plain attention runs along the bottom,
# below the broad grey line that predicts it, and is out of memory at 16384. The others lie about three to seven times as
# high. FlashAttention-2 and Triton stay below the narrow grey line or on it; FlashAttention-3, and with heads of 128 cuDNN,
# climb over it.*
#
# - **Naive attention waits for memory, whatever its length.** Each score travels four times, for $4d$ operations: $d/2$
#   operations a byte in half precision, so twice the head is twice the speed, and the length hardly counts. An H100 would
#   need 295 to be busy.
# - **FlashAttention has `block_q` operations a byte.** With 128 that is not 295 either: by your count, an H100 still waits.
# - **Why do some do better than your bound?** The count says that all keys and values come from HBM for each block of
#   queries. A card has a cache between HBM and SRAM (L2, 50 MB on an H100), and many programs read the same keys at about
#   the same time: most of these loads never reach HBM. A bound is only as good as its model of the memory.
# - **And why do others stay below?** Arithmetic doesn't overlap with loads by itself, and a softmax's exponentials
#   run beside the tensor cores. FlashAttention-3 is about that overlap.
#
# ### Your kernel, on a card that isn't here
#
# Triton needs no GPU to compile. The next cell compiles *your* kernel for three cards, as it would run in half precision
# with heads of 64 and blocks of 64 and 32, and reads what came out: whether products run on **tensor cores** (`mma.sync`, and
# `wgmma` from Hopper on) or one by one (`fma`); how much shared memory, your SRAM, a program takes, of how much it may have; the
# registers of each thread, 255 at most; and what found no place in them and **spills**, to memory and back. Beside it
# stands how long 16 heads of 4096 positions take at best, by the bytes and by the operations.

# %% tags=["for-real"]
kinds = {
    "*fp16": ("q", "k", "v", "o"),
    "*fp32": ("lse",),
    "i32": ("queries", "keys"),
    "fp32": ("scale",),
}
types = {name: kind for kind, names in kinds.items() for name in names}
constants = {"GROUP": 1, "CAUSAL": True, "HEAD_DIM": 64, "BLOCK_Q": 64, "BLOCK_K": 32}
if not kernels.INSTALLED:
    print(kernels.ADVICE)
elif scoreboard.ready("triton-forward", "flash-bytes"):
    made = compiling.for_cards(flash_kernel, types, constants, ("T4", "A100-80", "H100-80"))
    moved, operations = 16 * flash_bytes(4096, 4096, 64, 64, 2), 16 * 4 * 4096**2 * 64
    rows = [
        (
            card,
            *compiling.in_words(card, found),
            f"{1000 * moved / CARDS[card].bandwidth:.2f} ms",
            f"{1000 * operations / CARDS[card].flops:.2f} ms",
        )
        for card, found in made.items()
    ]
    tables.show(("", *compiling.COLUMNS, "by bytes", "by operations"), rows)

# %% [markdown]
# One source, three programs. On an A100 the products become instructions for tensor cores, on an H100 a larger kind of
# them, for four warps at once. For a T4 today's Triton has none (it needs compute capability 8.0): each product is
# written out as single multiplications, the registers don't suffice, and compiling takes several times as long. With blocks of
# 128 × 64 and heads of 128 it takes minutes. So this unit keeps to small blocks there; a T4's own tensor cores are used by
# PyTorch's memory-efficient back end.
#
# ## 6 · What others report, what we measured
#
# | claim | source | here |
# |---|---|---|
# | GPT-2 (1024 positions) trains 3 times as fast, BERT-large (512) 15 % faster | Dao et al. 2022, abstract (A100) | not measured: no GPU so far |
# | about twice as fast as that, 50 to 73 % of an A100's peak | Dao 2023, abstract | not measured; its figure 4 is among the numbers above |
# | 1.5 to 2 times faster again on an H100, 740 TFLOP/s in FP16 | Shah et al. 2024, abstract | not measured; predicted from bytes, beside the paper's own numbers |
# | memory grows with the length, not with its square | Dao et al. 2022 | what your `Hbm` counted; the peaks above |
# | the output is exact, no approximation | Dao et al. 2022 | your tests, and SmolLM2's logits |
#
# - **The factor depends on what waits.** Papers compare on GPUs whose arithmetic is a hundred times faster than their
#   memory, so that whoever moves less wins big. On a CPU the gap is smaller, and so is the gain.
# - **Bytes aren't time.** The formula of exercise 1 says how much less moves. How much faster that is depends
#   on whether memory was the bottleneck. With small blocks the tiles move more, and with larger ones SRAM
#   is full: on a GPU, that is what the tuning of a kernel is about.
#
# ## 7 · What this unit doesn't claim
#
# - FlashAttention doesn't make attention linear. Compute stays quadratic; the causal mask halves it.
# - For **decoding**, one query at a time, there is no table to avoid, and the cache must be read once whatever
#   one does. There the gain comes from splitting the *keys* among processors (Flash-Decoding), which is your `merge`.
# - Your kernel is right and slow. A fast one keeps its tiles in the tensor cores' own form, overlaps loads with
#   arithmetic and treats tiles off the diagonal without a mask.
# - No dropout, no sliding windows, no paging. The paged cache of unit 04 and these tiles come together in vLLM's
#   kernels.
#
# Three things to read next:
#
# 1. Dao, Fu, Ermon, Rudra, Ré, *FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness*, 2022
#    (arXiv 2205.14135): section 3 is exercises 3 to 6, with the proof of the bytes.
# 2. Milakov, Gimelshein, *Online normalizer calculation for softmax*, 2018 (arXiv 1805.02867): five pages, the trick.
# 3. Dao, *FlashAttention-2*, 2023 (arXiv 2307.08691): why the outer loop goes over the queries.

# %% [markdown]
# ## What stays
#
# A softmax can be computed in pieces, so that the table of scores needs no memory of its own. The arithmetic stays; what
# goes is the traffic between a large memory and a small one, and that is often what one waits for.

# %% tags=["for-real"]
from fridge.notebook import recall

recall.ask("06-flash-attention")

# %% [markdown]
# ## Your score

# %% tags=["for-real"]
from fridge.notebook import scoreboard

scoreboard.show("06-flash-attention")
