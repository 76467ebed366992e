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
# # 03 · The KV cache
#
# A language model writes one token, reads everything again from the first word, writes the next token, and reads
# everything again. You are going to stop it from doing that.
#
# By the end you have written causal attention that continues a sequence, rotary positions, a preallocated key-value
# cache (KV 缓存), and a generation loop, each from an empty function. All of them run inside a real 135-million-parameter
# model, and you compare your cache with the one in `transformers`, in tokens, milliseconds and bytes.
#
# | | |
# |---|---|
# | You need | PyTorch, and the formula $\mathrm{softmax}(QK^\top/\sqrt{d})\,V$ |
# | Time | about 90 minutes |
# | Runs on | a laptop with 2 GB of free memory; no GPU |
# | Points | 25, in seven exercises |

# %%
import torch

from fridge import models, pictures
from fridge.notebook import scoreboard
from fridge.workbench import measure, plots, text

# %% tags=["for-real"]
model = models.load()
tokenizer = models.load_tokenizer()
print(
    f"{models.name()}: {model.config.layers} layers, {model.config.kv_heads} KV heads, {model.dtype} on {model.device}"
)

# %% [markdown]
# ## 1 · The pain: a model without a memory
#
# This is the whole of text generation, done today's way. `model(tokens)` returns logits of shape
# `[batch, positions, vocabulary]`; the largest logit at the last position names the next token. That choice is called
# *greedy decoding*, and this notebook uses it throughout, because then two programs that are both right write the
# same text.


# %% tags=["for-real"]
def generate_without_cache(prompt, max_new_tokens):
    tokens = list(prompt)
    for _ in range(max_new_tokens):
        logits = model(torch.tensor([tokens]), last_only=True)
        tokens.append(int(logits[0, -1].argmax()))
    return tokens[len(prompt) :]


question = [{"role": "user", "content": "Why is the sky blue? Answer in one sentence."}]
chat = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=False)
print(tokenizer.decode(generate_without_cache(chat, 24)))

# %% [markdown]
# It works, as well as a model of this size can: it is fluent, and it makes things up. What matters here is the clock.
# Watch it while the text gets longer. The *context* is the number of tokens that the model has to
# take into account for the next one.

# %% tags=["for-real"]
contexts = [64, 128, 256, 512, 1024]
prose = tokenizer(text.prose()[:20_000], return_tensors="pt").input_ids.to(model.device)

no_cache_ms = []
for context in contexts[:4]:
    one_step = measure.seconds(lambda n=context: model(prose[:, :n], last_only=True), repeats=3)
    no_cache_ms.append(1000 * one_step)
    print(
        f"context {context:4}: {1000 * one_step:6.0f} ms and {context:3} positions for one more token"
    )

# %% [markdown]
# Every token costs a position more than the one before it, and the clock follows, unless another program disturbs it
# (then a line below says so, and the positions are what to believe). At 512 tokens of context, the model computes 512
# positions to learn a single new thing, and 511 of those it had computed one step earlier, with the same result: in
# causal attention, a position never sees what comes after it, so nothing that happens later can change it.
#
# ## 2 · The picture: what is computed twice
#
# Each row below is one step of generation, each square one position that the model computes in that step.

# %% tags=["for-real"]
pictures.repeated_work()

# %% [markdown]
# *In words: the first step computes the prompt's four positions. Without a cache the steps after it compute 5, 6 and 7
# positions, of which only the last is new. With a cache they compute one each.*
#
# What does a step need from the positions before it? Look at attention: the new position's query meets **every earlier
# key**, and the weights mix **every earlier value**. Nothing else of the past enters, not the queries and not the MLPs.
# So keep the keys and the values of each layer. That store is the **KV cache**.
#
# Two words that the field uses all the time:
#
# - **prefill**: the prompt goes through the model in one call and fills the cache;
# - **decode**: one call for each further token, one position per call.
#
# ## 3 · The prediction
#
# Before you build it, write down what it will save and what it will cost. Both are plain arithmetic, so you can be
# right to the last position and the last byte.
#
# ### Exercise 1 · Work (2 points)
#
# A prompt of $p$ tokens, a reply of $n$ tokens. How many positions does the model compute in all steps together?
# Note that the last token of the reply is chosen and returned; nobody asks what follows it.
#
# <details><summary>Hint 1</summary>Without a cache, the step that chooses reply token 1 computes p positions, the next
# one p + 1. Which one is the last?</details>
# <details><summary>Hint 2</summary>With a cache every position is computed once. Which token is never fed back?
# </details>


# %% nbgrader={"grade": false, "grade_id": "work", "locked": false, "schema_version": 3, "solution": true, "task": false}
def positions_processed(prompt_tokens, new_tokens):
    """Positions that a model computes to generate `new_tokens` tokens after a prompt.

    Args:
        prompt_tokens: length of the prompt, at least 1 and at most a million.
        new_tokens: length of the reply, at most a million; for 0 nothing is computed.

    Returns:
        (without_cache, with_cache): two ints.
    """
    ### BEGIN SOLUTION
    if new_tokens == 0:
        return 0, 0
    without_cache = sum(prompt_tokens + step for step in range(new_tokens))
    return without_cache, prompt_tokens + new_tokens - 1
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "work-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal, expect_number, expect_parts

with exercise("work"):
    without_cache, with_cache = (
        expect_number(part, "one of the two numbers for prompt 4, reply 4")
        for part in expect_parts(
            positions_processed(4, 4), "without_cache, with_cache", "what is returned"
        )
    )
    steps = "step i computes p + i positions, i from 0 to n - 1"
    is_swapped = (without_cache, with_cache) == (4 + 1 + 1 + 1, 4 + 5 + 6 + 7)
    expect_equal(
        without_cache,
        4 + 5 + 6 + 7,
        "the first number, positions without a cache: prompt 4, reply 4 (the figure above), steps of 4, 5, 6 and 7",
        cause="the number without a cache comes first" if is_swapped else steps,
    )
    expect_equal(
        with_cache,
        4 + 1 + 1 + 1,
        "the second number, positions with a cache: prompt 4, reply 4 (the figure above)",
        cause="the prompt's positions count once, and so does each token of the reply but the last, which isn't fed",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: a long prompt with a long reply; a reply of one token; an empty reply; a prompt
    #   of one token, and of a million.
    # Stated by: "How many positions does the model compute in all steps together?" | "the last
    #   token of the reply is chosen and returned; nobody asks what follows it" | "for 0 nothing
    #   is computed" | "length of the prompt, at least 1 and at most a million"
    # Right because: each step chooses one token, without a cache by computing all positions so
    #   far and with one by computing what is new; the last token is returned and never fed
    #   back.
    expect_equal(
        positions_processed(500, 500),
        (374_750, 999),
        "prompt 500, reply 500",
        cause=steps,
    )
    expect_equal(positions_processed(7, 1), (7, 7), "a reply of one token")
    expect_equal(positions_processed(7, 0), (0, 0), "no reply, no work")
    expect_equal(
        positions_processed(1, 3),
        (1 + 2 + 3, 1 + 1 + 1),
        "a prompt of one token",
        cause="a prompt of one token costs one position",
    )
    expect_equal(
        positions_processed(1_000_000, 4000),
        (4_007_998_000, 1_003_999),
        "a prompt of a million tokens, a reply of 4000",
        cause="count in whole numbers of 64 bits: float32 is exact only to 2**24, and int32 ends at 2**31",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 2 · Memory (2 points)
#
# The cache buys that time with memory. For each layer, each KV head and each token it holds one key and one value of
# `head_dim` numbers.
#
# Models with *grouped-query attention* (GQA) have fewer KV heads than query heads: several query heads look at the
# same keys and values. Your function receives both numbers.
#
# | model | layers | heads | KV heads | head_dim |
# |---|---|---|---|---|
# | SmolLM2-135M | 30 | 9 | 3 | 64 |
# | Llama-2-7B | 32 | 32 | 32 | 128 |
# | Llama-3-8B | 32 | 32 | 8 | 128 |
#
# <details><summary>Hint 1</summary>Start with the bytes of one token in one layer of SmolLM2, in float32 (4 bytes a
# number). Then multiply.</details>
# <details><summary>Hint 2</summary>Which of the two head counts says how many keys are stored?</details>


# %% nbgrader={"grade": false, "grade_id": "memory", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kv_cache_bytes(layers, heads, kv_heads, head_dim, tokens, batch=1, bytes_per_value=2):
    """Bytes that the keys and values of a batch of sequences take.

    Args:
        layers, heads, kv_heads, head_dim: the model's shape.
        tokens: length of each sequence, 0 or more.
        batch: number of sequences.
        bytes_per_value: 4 for float32, 2 for float16 and bfloat16, 1 for an 8-bit cache.

    Returns:
        Bytes, an int.
    """
    ### BEGIN SOLUTION
    keys_and_values = 2
    return keys_and_values * layers * kv_heads * head_dim * tokens * batch * bytes_per_value
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "memory-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal

with exercise("memory"):
    expect_equal(
        kv_cache_bytes(30, 9, 3, 64, tokens=1, bytes_per_value=4),
        46_080,
        "bytes of SmolLM2's cache, one token, float32",
        cause="a key and a value in each of 30 layers, for each of 3 KV heads, of 64 numbers, 4 bytes a number",
    )
    expect_equal(
        kv_cache_bytes(30, 9, 3, 64, tokens=100, bytes_per_value=4),
        4_608_000,
        "SmolLM2, 100 tokens, float32",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: the other models of the table; the width left out; a batch of long sequences; an
    #   8-bit cache; no tokens.
    # Stated by: "For each layer, each KV head and each token it holds one key and one value of
    #   `head_dim` numbers" | "bytes_per_value=2" | "batch: number of sequences" | "1 for an 8-bit
    #   cache" | "tokens: length of each sequence, 0 or more"
    # Right because: query heads that share a KV head read the same keys and values, so those
    #   are stored once; layers, tokens and sequences share nothing, so everything multiplies.
    expect_equal(
        kv_cache_bytes(32, 32, 32, 128, tokens=1),
        512 * 1024,
        "Llama-2-7B, one token, float16",
        cause="here all 32 heads are KV heads; without bytes_per_value it is 2 bytes a number",
    )
    expect_equal(
        kv_cache_bytes(32, 32, 8, 128, tokens=1),
        128 * 1024,
        "Llama-3-8B, one token, float16",
        cause="with grouped-query attention, the KV heads are stored and the query heads are not",
    )
    expect_equal(
        kv_cache_bytes(32, 32, 8, 128, tokens=1, batch=16),
        2 * 2**20,
        "Llama-3-8B, 16 sequences of one token",
        cause="every sequence of the batch has keys and values of its own",
    )
    expect_equal(
        kv_cache_bytes(32, 32, 8, 128, tokens=8192, batch=16),
        16 * 2**30,
        "Llama-3-8B, 16 sequences of 8192",
        cause="everything multiplies; and 16 GiB are more than a number of 32 bits can count",
    )
    expect_equal(
        kv_cache_bytes(30, 9, 3, 64, tokens=7, batch=3, bytes_per_value=1),
        241_920,
        "an 8-bit cache",
    )
    expect_equal(kv_cache_bytes(30, 9, 3, 64, tokens=0), 0, "no tokens, no bytes")
    ### END HIDDEN TESTS

# %% [markdown]
# Now ask your function about the elephant. Llama-2-7B's weights take 14 GB in float16; the batch of 16 below is a
# quiet afternoon for a server.

# %% tags=["for-real"]
if scoreboard.ready("memory"):
    for name, shape in {
        "Llama-2-7B": (32, 32, 32, 128),
        "Llama-3-8B": (32, 32, 8, 128),
    }.items():
        one, busy = (
            kv_cache_bytes(*shape, tokens=1),
            kv_cache_bytes(*shape, tokens=4096, batch=16),
        )
        print(
            f"{name}: {one / 1024:.0f} KiB per token, {busy / 1e9:.1f} GB for 16 sequences of 4096 tokens"
        )
    one_sequence = kv_cache_bytes(layers=40, heads=40, kv_heads=40, head_dim=128, tokens=2048)
    print(
        f"LLaMA-13B: {one_sequence / 1e9:.2f} GB for one sequence of 2048 (vLLM's authors write: up to 1.7 GB)"
    )

# %% [markdown]
# ## 4 · Build it
#
# Four parts, in the order in which a token meets them: attention, positions, the cache, the loop.
#
# ### Exercise 3 · Attention that continues a sequence (4 points)
#
# You know causal attention as a lower triangle: query $i$ sees keys $0 \dots i$. That is the special case of an empty
# cache. Once a cache holds `length` positions, the keys start at position 0 and the queries start at position
# `length`: the triangle moves to the right. Two new tokens that follow three cached ones see this:
#
# ```
#               keys      0  1  2   3  4
#   query at position 3   ■  ■  ■   ■  ·
#   query at position 4   ■  ■  ■   ■  ■
# ```
#
# The queries are always the **last** positions of the keys, so the shapes tell you all that you need.
#
# With GQA there are more query heads than KV heads. Neighbouring query heads share: with 4 heads and 2 KV heads, query
# heads 0 and 1 use KV head 0, query heads 2 and 3 use KV head 1.
#
# <details><summary>Hint 1</summary>Let new = q.shape[2] and total = k.shape[2]. The query in row i stands at position
# total - new + i.</details>
# <details><summary>Hint 2</summary>torch.tril has an argument `diagonal`.</details>
# <details><summary>Hint 3</summary>k.repeat_interleave(heads // kv_heads, dim=1) gives each query head its keys. How does
# it differ from k.repeat?</details>


# %% nbgrader={"grade": false, "grade_id": "causal-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def causal_attention(q, k, v):
    """Causal attention of new positions to all positions so far.

    Args:
        q: [batch, heads, new, head_dim], the queries of the last `new` positions; new >= 1.
        k, v: [batch, kv_heads, total, head_dim], total >= new; heads is a multiple of
            kv_heads.

    Returns:
        [batch, heads, new, head_dim], in q's dtype: softmax(q kᵀ / sqrt(head_dim)) v over the
        keys that each query may see and no others, also where scores are very large or very
        low, as large and low as float32 allows.
    """
    ### BEGIN SOLUTION
    heads, new, head_dim = q.shape[1:]
    kv_heads, total = k.shape[1:3]
    k = k.repeat_interleave(heads // kv_heads, dim=1)
    v = v.repeat_interleave(heads // kv_heads, dim=1)
    scores = q @ k.transpose(2, 3) / head_dim**0.5
    visible = torch.ones(new, total, dtype=torch.bool, device=q.device).tril(
        diagonal=total - new
    )
    return scores.masked_fill(~visible, -torch.inf).softmax(dim=-1) @ v
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "causal-attention-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.models.llama import attend_causally
from fridge.testing import exercise, expect_close, expect_tensor, randn

with exercise("causal-attention"):
    # Queries of zero see all visible keys alike: the result is the mean of the visible values.
    values = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 4, 1)
    means = torch.tensor([1.0, 1.5, 2.0, 2.5]).reshape(1, 1, 4, 1)
    what = "four queries, empty cache: means of 1; 1, 2; 1, 2, 3; 1, 2, 3, 4"
    got = expect_tensor(
        causal_attention(torch.zeros(1, 1, 4, 1), values, values), what, means.shape
    )
    cause = "query i sees keys 0 to i, its own included; hidden keys have weight 0, and the others sum to 1"
    if torch.allclose(got.float(), means * torch.tensor([1, 2, 3, 4]).reshape(1, 1, 4, 1) / 4):
        cause = (
            "hide keys before the softmax: after it, the weights that are left don't sum to 1"
        )
    expect_close(got, means, what, cause)
    expect_close(
        causal_attention(torch.zeros(1, 1, 2, 1), values, values),
        means[:, :, 2:],
        "two queries after two cached positions: means of 1, 2, 3 and of 1, 2, 3, 4",
        cause="the mask's triangle must start after the cached positions",
    )
    q, k, v = randn(1, 2, 5, 8, seed=1), randn(1, 2, 5, 8, seed=2), randn(1, 2, 5, 8, seed=3)
    expected = attend_causally(q, k, v)
    expect_close(
        causal_attention(q[:, :1].clone(), k[:, :1].clone(), v[:, :1].clone()),
        expected[:, :1],
        "random numbers, one head, empty cache",
        cause="the scores are divided by sqrt(head_dim), once",
    )
    got = causal_attention(q.clone(), k.clone(), v.clone())
    expect_close(
        got,
        expected,
        "random numbers, two heads, empty cache",
        cause="each head has its own keys and values, and head_dim is the size of one head",
    )
    expect_tensor(
        got,
        "the dtype of what is returned",
        q.shape,
        q.dtype,
        cause="the model multiplies it by weights of q's dtype; compute in another one if you like, and return q's",
    )

    ### BEGIN HIDDEN TESTS
    # Looks at: a batch after cached positions; another head size; query heads that share KV
    #   heads; a single query, with many keys and with one; hundreds of keys; very large and
    #   very low scores, and scores of 0.
    # Stated by: "the queries of the last `new` positions" | "softmax(q kᵀ / sqrt(head_dim)) v" |
    #   "query heads 0 and 1 use KV head 0, query heads 2 and 3 use KV head 1" | "k, v: [batch,
    #   kv_heads, total, head_dim], total >= new" | "Causal attention of new positions to all
    #   positions so far" | "over the keys that each query may see and no others, also where scores
    #   are very large or very low, as large and low as float32 allows"
    # Right because: the queries are the last positions of the keys, so row i sees the keys up
    #   to total - new + i; minus infinity becomes a weight of exactly 0, whatever the other
    #   scores are.
    def agrees(q, k, v, what, cause=""):
        expected = attend_causally(q, k, v)
        expect_close(causal_attention(q.clone(), k.clone(), v.clone()), expected, what, cause)

    q, k, v = randn(2, 6, 3, 8, seed=4), randn(2, 2, 10, 8, seed=5), randn(2, 2, 10, 8, seed=6)
    agrees(
        q[:, :2],
        k,
        v,
        "batch 2, 2 heads, 2 KV heads, 3 queries after 7 cached positions",
        cause="each sequence of the batch has queries, keys and values of its own",
    )
    agrees(
        q[:, :2, :, :5],
        k[..., :5],
        v[..., :5],
        "the same with heads of 5 numbers",
        cause="the scores are divided by the square root of head_dim, which the shapes say",
    )
    agrees(
        q,
        k,
        v,
        "batch 2, 6 heads that share 2 KV heads, 3 queries after 7 cached positions",
        cause="query heads 0, 1, 2 use KV head 0; repeat_interleave, not repeat",
    )
    agrees(
        q[:, :, -1:],
        k,
        v,
        "one query after 9 cached positions",
        cause="a decode step sees everything",
    )
    expect_close(
        causal_attention(q[:, :, :1], k[:, :, :1], v[:, :, :1]),
        v[:, :, :1].repeat_interleave(3, dim=1),
        "one query, one key: the value itself",
    )
    agrees(
        randn(1, 1, 2, 8, seed=7),
        randn(1, 1, 600, 8, seed=8),
        randn(1, 1, 600, 8, seed=9),
        "two queries after 598 cached positions",
        cause="a query sees all positions so far, however many they are",
    )
    with_zeros = k.clone()
    with_zeros[:, :, 1] = 0
    agrees(
        q,
        with_zeros,
        v,
        "a key of zeros among others",
        cause="positions alone say what is hidden: a score of 0 is one like any other",
    )
    agrees(
        1000 * q,
        k,
        v,
        "large scores, one key takes all",
        cause="subtract the row's maximum before exp, or use softmax",
    )
    # Each query points away from its own key: the first one sees a single key, and that with a very low score.
    agrees(
        -1e30 * k[:, :, :3].repeat_interleave(3, dim=1),
        k[:, :, :3],
        v[:, :, :3],
        "very low scores, empty cache",
        cause="a hidden position gets the score minus infinity; a number that is only low can be the largest",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 4 · Where a token stands (3 points)
#
# Llama tells positions apart by **RoPE**, the rotary position embedding. It takes the numbers of a query or key in
# pairs and rotates pair $i$ by the angle
#
# $$ \text{position} \cdot \theta^{-2i/d}, \qquad i = 0 \dots d/2 - 1, \quad d = \text{head\_dim}. $$
#
# Rotated vectors meet in a dot product that depends on the *distance* of the two positions alone. Llama's checkpoints
# pair number $i$ with number $i + d/2$ (the first half of the vector with the second half), so with the angle $\alpha$
#
# $$ x'_i = x_i \cos\alpha - x_{i+d/2} \sin\alpha, \qquad x'_{i+d/2} = x_{i+d/2} \cos\alpha + x_i \sin\alpha. $$
#
# Here lies the commonest bug of hand-written caches. In a decode step the model sees one token, and a function that
# counts positions from 0 gives each new token position 0. The text stays fluent for a few words and then rots. The
# position is where the token stands in the **whole** sequence, so your function receives `start`.
#
# <details><summary>Hint 1</summary>Positions: torch.arange(start, start + new). Frequencies: theta ** (-2i / d), a vector
# of d / 2 numbers. Angles: the outer product, [new, d / 2].</details>
# <details><summary>Hint 2</summary>x.chunk(2, dim=-1) gives the two halves.</details>


# %% nbgrader={"grade": false, "grade_id": "rope", "locked": false, "schema_version": 3, "solution": true, "task": false}
def apply_rope(x, start, theta=10_000.0):
    """Rotate queries or keys by their positions in the whole sequence.

    Args:
        x: [batch, heads, new, head_dim], head_dim even, in float32 or float16.
        start: position of the first of the new tokens, 0 or more; the others follow it.
        theta: base of the frequencies.

    Returns:
        The rotated x, of the same shape and dtype. Its angles are those of float32 or better,
        whatever x's dtype is: far along a long text, half precision can't tell a position from
        the next. Their cosines and sines may be rounded to x's dtype.
    """
    ### BEGIN SOLUTION
    new, head_dim = x.shape[2:]
    positions = torch.arange(start, start + new, device=x.device, dtype=torch.float32)
    frequencies = theta ** (
        -torch.arange(0, head_dim, 2, device=x.device, dtype=torch.float32) / head_dim
    )
    angles = positions[:, None] * frequencies
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "rope-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
import math

import torch

from fridge.testing import exercise, expect_close, expect_tensor, randn

with exercise("rope"):
    east = torch.tensor([1.0, 0.0]).reshape(
        1, 1, 1, 2
    )  # one pair: RoPE turns it by `position` radians
    expect_close(apply_rope(east.clone(), 0), east, "position 0 turns nothing")
    turned = expect_tensor(apply_rope(east.clone(), 2), "[1, 0] at position 2", east.shape)
    expect_close(
        turned[..., :1],
        torch.tensor(math.cos(2)).reshape(1, 1, 1, 1),
        "the first number of [1, 0] at position 2, cos(2)",
        cause="the first new token stands at position `start`",
    )
    both = torch.tensor([[math.cos(2), math.sin(2)], [math.cos(3), math.sin(3)]])[None, None]
    expect_close(
        turned,
        both[:, :, :1],
        "[1, 0] at position 2",
        cause="the first number takes a minus and the second a plus, and both are made from the old numbers",
    )
    expect_close(
        apply_rope(torch.cat((east, east), dim=2), 2),
        both,
        "[1, 0] twice, at positions 2 and 3",
        cause="each token along dimension 2 stands one position further",
    )
    x = randn(1, 2, 6, 8, seed=1)
    alone = apply_rope(x[:, :, 4:].clone(), 4)
    all_six = expect_tensor(
        apply_rope(x.clone(), 0),
        "six positions",
        x.shape,
        x.dtype,
        cause="what is returned has x's dtype; compute in another one if you like",
    )
    expect_close(
        alone,
        all_six[:, :, 4:],
        "positions 4 and 5 alone, as they were as part of six",
        cause="a token's angles are (start + its place) * frequency, in every call the same",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: other head sizes, batches and numbers of heads; other starts; another theta; how
    #   exact the angles are; positions far along a long text, in float32 and in float16.
    # Stated by: "x: [batch, heads, new, head_dim], head_dim even" | "position of the first of the
    #   new tokens, 0 or more; the others follow it" | "theta: base of the frequencies" | "Its
    #   angles are those of float32 or better" | "whatever x's dtype is: far along a long text,
    #   half precision can't tell a position from the next"
    # Right because: when query and key are each turned by their own position, only the
    #   difference is left in their product, and it is right only if a token has the same
    #   position in every step, hence start.
    from fridge.models.llama import rope_frequencies, rope_table, rotate

    def agrees(x, start, what, cause="", atol=1e-5, **options):
        frequencies = rope_frequencies(x.shape[3], options.get("theta", 10_000.0))
        expected = rotate(
            x, *rope_table(torch.arange(start, start + x.shape[2]), frequencies, torch.float32)
        )
        expect_close(apply_rope(x.clone(), start, **options), expected, what, cause, atol)

    agrees(
        x,
        0,
        "six positions, head_dim 8",
        cause="number i is paired with number i + d/2, and its angle is position * theta ** (-2i/d)",
        atol=1e-2,
    )
    agrees(
        x,
        0,
        "six positions, head_dim 8, to five digits",
        cause="the angles are nearly right: compute them in float32",
    )
    agrees(
        x,
        0,
        "the same with another theta",
        theta=100.0,
        cause="theta is an argument, and may be another in each call",
    )
    agrees(
        randn(2, 3, 5, 16, seed=2),
        1,
        "batch 2, three heads, head_dim 16",
        cause="positions run along dimension 2, the same for each head and sequence",
    )
    agrees(
        randn(1, 1, 6, 128, seed=3),
        0,
        "head_dim 128",
        cause="all d/2 pairs turn, however many there are",
    )
    agrees(
        x,
        5000,
        "far along a long text",
        atol=2e-3,
        cause="each position has angles of its own: positions have no end",
    )
    what = "far along a long text, in float16"
    halves = expect_tensor(
        apply_rope(x.half(), 5000),
        what,
        x.shape,
        torch.float16,
        cause="what is returned has x's dtype",
    )
    cos, sin = rope_table(
        torch.arange(5000, 5006), rope_frequencies(8, 10_000.0), torch.float32
    )
    expect_close(
        halves,
        rotate(x.half().float(), cos, sin),
        what,
        cause="compute the angles in float32, also where x is float16",
        atol=0.03,
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 5 · The cache (8 points)
#
# The cache that everyone writes first keeps one tensor per layer and joins the new keys to it with `torch.cat`. It is
# right, and each step copies all that is there to make room for one token more.
#
# Yours reserves all the room at the start and writes new keys and values into their places, so a step moves the bytes
# of the new tokens and nothing else. What it promises:
#
# - `update(layer, k, v)` stores the new positions of one layer and returns everything that this layer holds.
# - `len(cache)` is the number of positions that **every** layer holds. In the middle of a forward pass, when layer 0
#   has its new keys and layer 1 hasn't, the length is still the old one. The model asks for it once, before layer 0.
# - `rewind(length)` forgets the positions from `length` on. (Unit 05 guesses several tokens ahead and takes back the
#   wrong ones with it.) It moves no data.
# - **An error changes nothing.** When the new positions don't fit, `update` raises `ValueError` and the cache is what it
#   was. The same for a `rewind` to a length that is negative or larger than the present one.
# - `nbytes` is the number of bytes reserved, from the first moment on.
#
# 4 points are for storing and 4 for rewinding and errors; each has its own test cell.
#
# <details><summary>Hint 1</summary>Two tensors of shape [layers, batch, kv_heads, capacity, head_dim], and one count of
# filled positions per layer.</details>
# <details><summary>Hint 2</summary>self.k[layer, :, :, start:end] = k writes in place. Slicing returns a view: no copy.
# </details>
# <details><summary>Hint 3</summary>Check first, write second, count last.</details>


# %% nbgrader={"grade": false, "grade_id": "kv-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
class KVCache:
    """Keys and values of a batch of sequences of equal length, in memory of their own that is
    reserved once.

    Args:
        layers, batch, kv_heads, head_dim: shape of what is stored.
        capacity: largest number of positions, at least 1.
        dtype, device: of the keys and values.

    Attributes:
        nbytes: bytes reserved, those of `capacity` keys and values in each layer, sequence and
            head; an int that never changes.
    """

    def __init__(
        self, layers, batch, kv_heads, capacity, head_dim, dtype=torch.float32, device="cpu"
    ):
        ### BEGIN SOLUTION
        shape = (layers, batch, kv_heads, capacity, head_dim)
        self.k = torch.zeros(shape, dtype=dtype, device=device)
        self.v = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths = [0] * layers
        self.capacity = capacity
        self.nbytes = self.k.nbytes + self.v.nbytes
        ### END SOLUTION

    def __len__(self):
        """Positions that every layer holds; when some are ahead of others, the fewest."""
        ### BEGIN SOLUTION
        return min(self.lengths)
        ### END SOLUTION

    def update(self, layer, k, v):
        """Store new positions of one layer.

        Args:
            layer: which one; layers may come in any order.
            k, v: [batch, kv_heads, new, head_dim], of the cache's dtype; new may be 0.

        Returns:
            All keys and all values of this layer, [batch, kv_heads, held, head_dim] each, the
            new ones last. They are views of the reserved memory, good until the next `update`
            or `rewind`: nothing that was held is copied.

        Raises:
            ValueError: the layer has no room for so many positions; nothing has changed.
        """
        ### BEGIN SOLUTION
        start = self.lengths[layer]
        end = start + k.shape[2]
        if end > self.capacity:
            raise ValueError(f"{end} positions don't fit into a capacity of {self.capacity}")
        self.k[layer, :, :, start:end] = k
        self.v[layer, :, :, start:end] = v
        self.lengths[layer] = end
        return self.k[layer, :, :, :end], self.v[layer, :, :, :end]
        ### END SOLUTION

    def rewind(self, length):
        """Forget the positions from `length` on, in every layer, also in one that is ahead of
        the others. Moves no data.

        Raises:
            ValueError: `length` is negative or larger than len(self); nothing has changed.
        """
        ### BEGIN SOLUTION
        if not 0 <= length <= len(self):
            raise ValueError(f"can't rewind to {length}: the cache holds {len(self)} positions")
        self.lengths = [length] * len(self.lengths)
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "kv-update-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    exercise,
    expect_close,
    expect_equal,
    expect_number,
    expect_parts,
    expect_tensor,
    expect_true,
    held_bytes,
    measured,
    randn,
)

with exercise("kv-update"):

    def updated(what, cache, layer, k, v):
        """All keys and all values of a layer."""
        return expect_parts(cache.update(layer, k, v), "keys, values", what)

    cache = KVCache(layers=2, batch=1, kv_heads=2, capacity=8, head_dim=4)
    expect_equal(len(cache), 0, "length of a new cache")
    k, v = randn(1, 2, 3, 4, seed=1), randn(1, 2, 3, 4, seed=2)
    for layer in (0, 1):
        what = f"keys of layer {layer} after a prefill of three positions"
        got_k, got_v = updated(what, cache, layer, k + layer, v + layer)
        got_k = expect_tensor(
            got_k,
            what,
            k.shape,
            cause="return what the layer holds, not the whole reserved room",
        )
        places = "each number keeps its place: batch, KV head, position, number"
        mixed = "these are the values' numbers" if torch.equal(got_k, v + layer) else places
        expect_close(got_k, k + layer, what, mixed)
        expect_close(
            got_v, v + layer, f"values of layer {layer} after a prefill of three positions"
        )
    expect_equal(
        len(cache),
        3,
        "length after three positions in both layers",
        cause="both layers hold the same three positions: they count once",
    )
    got_k, got_v = updated(
        "keys of layer 0 after a fourth one", cache, 0, k[:, :, :1], v[:, :, :1]
    )
    expect_close(
        got_k[:, :, :3],
        k,
        "the first three keys of layer 0, after a prefill of layer 1 and a fourth key of layer 0",
    )
    expect_close(got_k[:, :, 3:], k[:, :, :1], "the fourth key of layer 0")
    ### BEGIN HIDDEN TESTS
    # Looks at: chunks of several sizes, up to the last free place; several layers, sequences and
    #   heads; what is held, and the length, while one layer is ahead; a pass that begins with the
    #   last layer; nbytes from first to last, and what is really kept; what a step copies;
    #   float16; two caches side by side; a small Llama fed in steps.
    # Stated by: "capacity: largest number of positions, at least 1" | "All keys and all values
    #   of this layer, [batch, kv_heads, held, head_dim] each, the new ones last" | "when layer 0
    #   has its new keys and layer 1 hasn't, the length is still the old one" | "layers may come in
    #   any order" | "bytes reserved, those of `capacity` keys and values in each layer, sequence
    #   and head; an int that never changes" | "nothing that was held is copied" | "dtype, device:
    #   of the keys and values" | "in memory of their own that is reserved once" | "The model asks
    #   for it once, before layer 0"
    # Right because: a position never sees what comes after it, so its keys and values stay as
    #   they were first computed: written once and returned from their place, they are what a
    #   new computation would give.
    from fridge.testing import TINY, ConcatCache, tiny_llama

    expect_equal(
        len(cache),
        3,
        "length in the middle of a pass, when layer 1 still has three positions",
        cause="a position counts when every layer holds it",
    )
    cache.update(1, k[:, :, :1], v[:, :, :1])
    expect_equal(len(cache), 4, "length when layer 1 has its fourth too")
    expect_equal(
        len(KVCache(layers=2, batch=1, kv_heads=2, capacity=8, head_dim=4)),
        0,
        "length of a new cache, while another holds four positions",
        cause="each cache counts for itself: what another holds is none of its business",
    )

    def chunks_agree(chunks, capacity, what):
        """Feed chunks of positions to the learner's cache and to a concatenating one."""
        mine, oracle = KVCache(3, 2, 2, capacity, 4), ConcatCache()
        reserved = expect_number(mine.nbytes, f"{what}: nbytes")
        expect_equal(
            reserved,
            2 * 3 * 2 * 2 * capacity * 4 * 4,
            f"{what}: bytes reserved before anything is stored",
            cause="room for `capacity` keys and values, no more and no less, at once, 4 bytes a number",
        )
        for step, new in enumerate(chunks):
            for layer in range(3):
                k, v = (
                    randn(2, 2, new, 4, seed=10 * step + layer),
                    randn(2, 2, new, 4, seed=10 * step + layer + 5),
                )
                keys = f"{what}: keys of layer {layer} after chunk {step}"
                (got_k, got_v), (all_k, all_v) = (
                    updated(keys, mine, layer, k, v),
                    oracle.update(layer, k, v),
                )
                expect_close(
                    got_k,
                    all_k,
                    keys,
                    cause="new positions go behind the layer's own last one"
                    if step
                    else "each layer, sequence and head has keys of its own",
                )
                expect_close(
                    got_v, all_v, f"{what}: values of layer {layer} after chunk {step}"
                )
            expect_equal(len(mine), len(oracle), f"{what}: length after chunk {step}")
        expect_equal(
            mine.nbytes,
            reserved,
            f"{what}: bytes reserved in the end",
            cause="the room never grows",
        )

    chunks_agree([4, 3, 1, 2], 12, "chunks of 4, 3, 1 and 2")
    chunks_agree([1, 1, 1], 3, "one by one, up to the last free place")
    chunks_agree([5], 5, "all room in one chunk")

    ahead = KVCache(layers=2, batch=1, kv_heads=2, capacity=5, head_dim=4)
    ahead.update(0, k, v)
    what = "keys of layer 0 after two chunks, while layer 1 has none"
    got_k, got_v = updated(what, ahead, 0, v[:, :, :2], k[:, :, :2])
    expect_close(
        got_k,
        torch.cat((k, v[:, :, :2]), dim=2),
        what,
        cause="new positions go behind the layer's own last one, wherever the other layers are",
    )
    expect_close(
        got_v,
        torch.cat((v, k[:, :, :2]), dim=2),
        "values of layer 0 after two chunks, while layer 1 has none",
    )
    expect_equal(
        len(ahead),
        0,
        "length after two chunks in layer 0 and none in layer 1",
        cause="a position counts when every layer holds it",
    )
    ahead = KVCache(layers=2, batch=1, kv_heads=2, capacity=5, head_dim=4)
    ahead.update(1, k, v)
    expect_equal(
        len(ahead),
        0,
        "length after a chunk in layer 1 and none in layer 0",
        cause="a position counts when every layer holds it, whichever comes last",
    )

    half = KVCache(2, 1, 2, 6, 4, dtype=torch.float16)
    expect_equal(
        half.nbytes,
        2 * 2 * 2 * 6 * 4 * 2,
        "bytes reserved in float16",
        cause="dtype is an argument: 2 bytes a number",
    )
    got_k, got_v = updated("keys of a float16 cache", half, 1, k.half(), v.half())
    for got, stored, what in ((got_k, k, "keys"), (got_v, v, "values")):
        got = expect_tensor(got, f"{what} of a float16 cache", k.shape, torch.float16)
        expect_close(got, stored.half(), f"{what} stored in float16")

    one, other = (KVCache(1, 1, 2, 4, 4) for _ in range(2))
    one.update(0, k[:, :, :2], v[:, :, :2])
    expect_equal(
        len(other), 0, "length of a second cache", cause="caches must not share memory"
    )
    what = "keys of one cache after another was written"
    other_k, _ = updated("keys of a second cache", other, 0, -k[:, :, :2], v[:, :, :2])
    one_k, _ = updated(what, one, 0, k[:, :, 2:3], v[:, :, 2:3])
    expect_close(
        one_k,
        k,
        what,
        cause="caches must not share memory",
    )

    tiny = tiny_llama()
    tokens = torch.tensor([[5, 9, 2, 61, 33, 7, 7]])
    cache = KVCache(TINY.layers, 1, TINY.kv_heads, 7, TINY.head_dim)
    stepwise = [
        tiny(tokens[:, :3], cache),
        tiny(tokens[:, 3:5], cache),
        tiny(tokens[:, 5:6], cache),
        tiny(tokens[:, 6:], cache),
    ]
    expect_close(
        torch.cat(stepwise, dim=1),
        tiny(tokens),
        "logits of a small Llama in steps of 3, 2, 1, 1",
        atol=1e-4,
    )

    roomy = KVCache(layers=2, batch=1, kv_heads=2, capacity=600, head_dim=8)
    room = 2 * 2 * 2 * 600 * 8 * 4
    expect_true(
        room <= held_bytes(roomy) <= 1.2 * room,
        "bytes of all tensors that a new cache for 600 positions keeps",
        f"{room}, what nbytes says",
        held_bytes(roomy),
        cause="reserve the room at once, when the cache is made: keys and values for `capacity` positions",
    )
    for step in range(5):
        for layer in (0, 1):
            new = randn(1, 2, 110, 8, seed=step), randn(1, 2, 110, 8, seed=step + 9)
            roomy.update(layer, *new)
    expect_true(
        room <= held_bytes(roomy) <= 1.2 * room,
        "bytes of all tensors that it keeps with 550 positions in it",
        f"{room}, as before",
        held_bytes(roomy),
        cause="write new positions into the reserved room: torch.cat makes new tensors each time",
    )
    one_more = 2 * 8 * 4  # bytes of a position's keys in one layer
    _, work = measured(roomy.update, 1, randn(1, 2, 1, 8), randn(1, 2, 1, 8, seed=1))
    expect_true(
        work.largest <= 16 * one_more,
        "bytes of the largest tensor that an update of one position makes, when 550 are held",
        f"at most {16 * one_more}; the new keys are {one_more} bytes",
        work.largest,
        cause="return slices of the reserved room, which are views; .clone(), .contiguous() and torch.stack copy all",
    )
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "kv-state-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    exercise,
    expect_close,
    expect_equal,
    expect_number,
    expect_parts,
    expect_raises,
    expect_tensor,
    expect_true,
    measured,
    randn,
)

with exercise("kv-state"):

    def updated(what, cache, layer, k, v):
        """All keys and all values of a layer."""
        return expect_parts(cache.update(layer, k, v), "keys, values", what)

    cache = KVCache(layers=1, batch=1, kv_heads=1, capacity=4, head_dim=2)
    expect_equal(
        len(cache),
        0,
        "length of a new cache",
        cause="each cache counts for itself: what another holds is none of its business",
    )
    k, v = randn(1, 1, 5, 2, seed=1), randn(1, 1, 5, 2, seed=2)
    updated("three positions into four free places", cache, 0, k[:, :, :3], v[:, :, :3])
    expect_equal(len(cache), 3, "length after three positions in the only layer")
    cache.rewind(1)
    expect_equal(
        len(cache), 1, "length after rewind(1)", cause="the argument is the length to keep"
    )
    what = (
        "keys when a new one follows rewind(1): the one that was stored first, then the new one"
    )
    got_k, _ = updated(what, cache, 0, k[:, :, 3:4], v[:, :, 3:4])
    expect_close(got_k, torch.cat((k[:, :, :1], k[:, :, 3:4]), dim=2), what)
    expect_equal(len(cache), 2, "length when a new position follows rewind(1)")
    expect_raises(
        ValueError,
        lambda: cache.update(0, k[:, :, :3], v[:, :, :3]),
        "three more into two free places",
    )
    expect_equal(
        len(cache),
        2,
        "length after the error",
        cause="an error changes nothing: check before you write",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: rewinds to 0, to the present length, beyond it, below 0; what is held and
    #   stored after an error; a cache emptied and filled again; several layers; nbytes after a
    #   rewind; what a rewind moves; updates of no position; updates of more than fits; an
    #   interrupted pass, with one layer ahead.
    # Stated by: "`length` is negative or larger than len(self)" | "`update` raises `ValueError`
    #   and the cache is what it was" | "forgets the positions from `length` on" | "Forget the
    #   positions from `length` on, in every layer" | "an int that never changes" | "Moves no data"
    #   | "new may be 0" | "ValueError: the layer has no room for so many positions; nothing has
    #   changed" | "also in one that is ahead of the others"
    # Right because: the counts alone say what the cache holds: an error that comes before the
    #   first write leaves them true, and a lower count forgets without moving data, since new
    #   positions are written over what lies beyond it.
    what = "what is returned when no new position is stored"
    before_k, before_v = (
        expect_tensor(
            part,
            what,
            (1, 1, 2, 2),
            cause="all that the layer holds is returned, also when nothing is new",
        )
        for part in updated(what, cache, 0, k[:, :, :0], v[:, :, :0])
    )
    expect_raises(ValueError, lambda: cache.update(0, k, v), "more than the whole capacity")
    expect_raises(ValueError, lambda: cache.rewind(3), "a rewind forwards, from 2 to 3")
    expect_equal(
        len(cache), 2, "length after a rewind from 2 to 3", cause="an error changes nothing"
    )
    expect_raises(ValueError, lambda: cache.rewind(-1), "a rewind to a negative length")
    expect_equal(len(cache), 2, "length after three errors", cause="an error changes nothing")
    what = "keys stored after the errors"
    got_k, got_v = updated(what, cache, 0, k[:, :, 4:], v[:, :, 4:])
    expect_close(
        got_k,
        torch.cat((before_k, k[:, :, 4:]), dim=2),
        what,
        cause="an error changes nothing, not even the room behind the last position",
    )
    expect_close(
        got_v, torch.cat((before_v, v[:, :, 4:]), dim=2), "values stored after the errors"
    )

    cache.rewind(3)
    expect_equal(len(cache), 3, "length after a rewind to the present length")
    cache.rewind(0)
    expect_equal(len(cache), 0, "length after rewind(0)")
    what = "keys of a cache that was emptied and filled to its capacity"
    got_k, got_v = updated(what, cache, 0, v[:, :, :4], k[:, :, :4])
    expect_close(
        got_k,
        v[:, :, :4],
        what,
        cause="what was forgotten must not come back",
    )
    expect_close(
        got_v, k[:, :, :4], "values of a cache that was emptied and filled to its capacity"
    )
    expect_raises(
        ValueError,
        lambda: cache.update(0, k[:, :, :1], v[:, :, :1]),
        "one more into a full cache",
    )

    deep = KVCache(layers=3, batch=1, kv_heads=1, capacity=2, head_dim=2)
    for layer in range(3):
        what = f"two positions into the two free places of layer {layer}"
        updated(what, deep, layer, k[:, :, :2], v[:, :, :2])
    reserved = expect_number(deep.nbytes, "bytes reserved")
    deep.rewind(1)
    for layer in range(3):
        what = f"keys of layer {layer} of 3 after a rewind"
        got_k, got_v = updated(what, deep, layer, k[:, :, 4:], v[:, :, 4:])
        expect_close(
            got_k,
            k[:, :, [0, 4]],
            what,
            cause="every layer forgets",
        )
        expect_close(got_v, v[:, :, [0, 4]], f"values of layer {layer} of 3 after a rewind")
    for layer in range(3):
        expect_raises(
            ValueError,
            lambda full=layer: deep.update(full, k[:, :, :1], v[:, :, :1]),
            f"a full layer {layer} of 3",
        )
    expect_equal(len(deep), 2, "length of three full layers")
    expect_equal(
        deep.nbytes,
        reserved,
        "bytes reserved, before and after a rewind",
        cause="a rewind gives no room back",
    )

    # A pass that was interrupted has left layer 0 ahead of layer 1.
    torn = KVCache(layers=2, batch=1, kv_heads=1, capacity=4, head_dim=2)
    for layer in (0, 1, 0):
        what = f"two positions into layer {layer}, of a capacity of 4"
        updated(what, torn, layer, k[:, :, :2], v[:, :, :2])
    expect_raises(
        ValueError,
        lambda: torn.update(0, k[:, :, :1], v[:, :, :1]),
        "one more into layer 0, which is full",
        cause="the layer's own positions decide whether there is room",
    )
    expect_raises(
        ValueError,
        lambda: torn.rewind(3),
        "a rewind to 3 when layer 0 holds 4 positions and layer 1 holds 2",
        cause="the length is what every layer holds",
    )
    expect_equal(len(torn), 2, "length of an interrupted pass after two errors")
    torn.rewind(2)
    for layer in range(2):
        what = f"keys of layer {layer} after an interrupted pass was taken back"
        got_k, got_v = updated(what, torn, layer, k[:, :, 4:], v[:, :, 4:])
        expect_close(
            got_k,
            k[:, :, [0, 1, 4]],
            what,
            cause="rewind forgets the positions from `length` on in every layer, also in one that is ahead",
        )
        expect_close(
            got_v,
            v[:, :, [0, 1, 4]],
            f"values of layer {layer} after an interrupted pass was taken back",
        )
    expect_equal(
        len(torn),
        3,
        "length after an interrupted pass was taken back and one position was stored",
    )

    long = KVCache(layers=1, batch=1, kv_heads=1, capacity=500, head_dim=2)
    many = randn(1, 1, 500, 2, seed=3), randn(1, 1, 500, 2, seed=4)
    updated("500 positions into 500 free places", long, 0, *many)
    _, work = measured(long.rewind, 400)
    expect_true(
        work.largest <= 400,
        "bytes of the largest tensor that a rewind from 500 to 400 makes",
        "at most 400; the keys that stay are 3200 bytes",
        work.largest,
        cause="the counts alone say what is held: leave keys and values where they are",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 6 · The loop (4 points)
#
# Prefill once, then decode one token per call. The model moves the cache forward by itself: `model(tokens, cache)` reads
# `len(cache)`, gives the new tokens the positions that follow, and calls `cache.update` in each layer.
#
# The test gives you a *scripted model*. It knows the whole conversation, complains when it is fed the wrong token at a
# position, and counts every position that you ask for. Your target is the number from exercise 1.
#
# The cache may hold earlier turns of a conversation already; the prompt follows them.
#
# <details><summary>Hint 1</summary>model(torch.tensor([prompt]), cache)[0, -1] are the logits that choose the first token
# of the reply.</details>
# <details><summary>Hint 2</summary>Choose; stop if it is the stop token or the reply is complete; only then feed it.
# </details>


# %% nbgrader={"grade": false, "grade_id": "generate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    """Greedy decoding with a KV cache: the largest logit at the last position names the next
    token.

    Args:
        model: model(tokens, cache) returns logits [1, new, vocab_size] for tokens [1, new] and
            extends the cache. With last_only=True they are [1, 1, vocab_size], the last
            position's alone.
        prompt: a list of token ids, at least one; they follow what the cache holds. 0 is an
            id, too, in prompt and reply.
        max_new_tokens: largest length of the reply; for 0 the model isn't called.
        cache: a KV cache.
        stop_token: ends the reply when the model chooses it, and isn't part of it.

    Returns:
        The reply, a list of ints. The prompt takes one call, each further token one call with
        one position, and the last chosen token isn't fed to the model.
    """
    ### BEGIN SOLUTION
    reply = []
    feed = list(prompt)
    while len(reply) < max_new_tokens:
        logits = model(torch.tensor([feed]), cache)
        token = int(logits[0, -1].argmax())
        if token == stop_token:
            break
        reply.append(token)
        feed = [token]
    return reply
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "generate-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    ConcatCache,
    ScriptedModel,
    exercise,
    expect_equal,
    tiny_llama,
    token_ids,
)

with exercise("generate"):
    scripted = ScriptedModel(conversation=[11, 12, 13, 14, 15, 16, 17])
    expect_equal(
        generate(scripted, [11, 12, 13], 1, ConcatCache()),
        [14],
        "a reply of one token to [11, 12, 13], which the logits of the last position choose",
    )
    scripted = ScriptedModel(conversation=[11, 12, 13, 14, 15, 16, 17])
    what = "the reply to [11, 12, 13]"
    reply = token_ids(generate(scripted, [11, 12, 13], 4, ConcatCache()), what)
    goes_on = reply == (14, 14, 15, 16, 17)
    kept = "each call's reply begins empty; a list that is a default argument outlives the call"
    expect_equal(reply, [14, 15, 16, 17], what, cause=kept if goes_on else "")
    expect_equal(
        scripted.positions,
        3 + 4 - 1,
        "positions computed for a prompt of 3 and a reply of 4",
        cause="each position is computed once, and the last token is not fed back",
    )
    scripted = ScriptedModel(conversation=[11, 12, 13, 14, 15, 16, 17])
    expect_equal(
        generate(scripted, [11, 12, 13], 4, ConcatCache(), stop_token=16),
        [14, 15],
        "stop token 16",
        cause="the stop token ends the reply and isn't part of it",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: replies of one token and of none; a prompt of one token; a stop token that
    #   comes first, in the last place, or in the prompt; tokens with the id 0, in reply and
    #   prompt; a model that repeats itself; a long prompt with a long reply; logits that lie
    #   close together; what each call feeds; a cache that holds earlier turns, and what it holds
    #   afterwards; a small Llama.
    # Stated by: "largest length of the reply; for 0 the model isn't called" | "a list of token
    #   ids, at least one" | "ends the reply when the model chooses it, and isn't part of it" | "0
    #   is an id, too, in prompt and reply" | "Greedy decoding with a KV cache" | "The prompt takes
    #   one call, each further token one call with one position" | "the largest logit at the last
    #   position names the next token" | "the last chosen token isn't fed to the model" | "The
    #   cache may hold earlier turns of a conversation already; the prompt follows them" | "returns
    #   logits [1, new, vocab_size] for tokens [1, new] and extends the cache"
    # Right because: the logits of the last position choose a token, and only feeding it
    #   computes the next ones: so the prompt's call pays for the first token, and a token that
    #   nothing follows is never fed.
    expect_equal(
        scripted.positions,
        3 + 2,
        "positions when token 16 ends the reply",
        cause="a stop token is not fed back",
    )

    def ask(
        conversation, prompt, max_new_tokens, what, reply, calls, stop_token=None, earlier=()
    ):
        """The reply, and each call's positions, when the cache holds the tokens `earlier`."""
        scripted, cache = ScriptedModel(conversation), ConcatCache()
        if earlier:
            scripted(torch.tensor([earlier]), cache)
            scripted.calls.clear()
        expect_equal(generate(scripted, prompt, max_new_tokens, cache, stop_token), reply, what)
        expect_equal(
            [len(call.tokens) for call in scripted.calls],
            calls,
            f"{what}: positions in each call",
            cause="the prompt takes one call, each further token one call of one position",
        )
        expect_equal(
            len(cache),
            len(earlier) + sum(calls),
            f"{what}: positions that the cache holds afterwards",
            cause="hand the model the cache that you were given: the next turn goes on from it",
        )

    ask([11, 12, 13, 14, 15], [11, 12, 13, 14], 1, "a reply of one token", [15], [4])
    ask([11, 12, 13], [11, 12], 0, "a reply of no token", [], [])
    ask([11, 12, 13, 14], [11], 3, "a prompt of one token", [12, 13, 14], [1, 1, 1])
    # The conversation goes on behind the stop token, so that who doesn't stop there gives a reply that says so.
    ends = [11, 12, 2, 14, 15, 16, 17, 18]
    ask(ends, [11, 12], 5, "a stop token that comes first", [], [2], stop_token=2)
    ask(
        [11, 12, 13, 2],
        [11, 12],
        2,
        "a stop token in the last place",
        [13],
        [2, 1],
        stop_token=2,
    )
    ask(
        [11, 12, 12, 12, 12],
        [11, 12],
        3,
        "a model that repeats itself",
        [12, 12, 12],
        [2, 1, 1],
    )
    ask([11, 0, 13, 14], [11], 2, "a token with the id 0", [0, 13], [1, 1])
    ask([11, 12, 0, 14], [11], 3, "a stop token with the id 0", [12], [1, 1], stop_token=0)
    ask(
        [11, 2, 12, 13, 14],
        [11, 2, 12],
        2,
        "a stop token in the prompt",
        [13, 14],
        [3, 1],
        stop_token=2,
    )
    ask(
        [11, 2, 12, 13, 14, 15],
        [12, 13],
        2,
        "a second turn",
        [14, 15],
        [2, 1],
        stop_token=2,
        earlier=[11, 2],
    )

    ids = [37 * i % 63 + 1 for i in range(700)]
    ask(ids, ids[:600], 1, "a reply of one token to a prompt of 600", ids[600:601], [600])
    ask(
        ids,
        ids[:600],
        40,
        "a prompt of 600 tokens, a reply of 40",
        ids[600:640],
        [600] + [1] * 39,
    )
    close = ScriptedModel(ids, lead=0.001)
    expect_equal(
        generate(close, ids[:3], 1, ConcatCache()),
        ids[3:4],
        "a reply of one token, by a logit of 10 among logits of 9.999",
        cause="the largest logit names the next token, however close others are: compare them as they are",
    )

    tiny = tiny_llama(seed=3)
    turns = [5, 9, 2, 61]

    def greedy(tokens, new):
        """The reply, by a model without a cache."""
        tokens, end = list(tokens), len(tokens)
        for _ in range(new):
            tokens.append(int(tiny(torch.tensor([tokens]))[0, -1].argmax()))
        return tokens[end:]

    expected = greedy(turns, 6)
    expect_equal(
        generate(tiny, list(turns), 6, ConcatCache()),
        expected,
        "six tokens of a small Llama",
    )
    expect_equal(
        generate(tiny, [5, 0, 9, 0], 4, ConcatCache()),
        greedy([5, 0, 9, 0], 4),
        "four tokens of a small Llama after [5, 0, 9, 0]",
        cause="0 is an id like others: the whole prompt is fed",
    )
    cache = ConcatCache()
    tiny(torch.tensor([turns[:3]]), cache)
    expect_equal(
        generate(tiny, turns[3:], 6, cache),
        expected,
        "the same when the cache holds the first three tokens",
        cause="the cache may hold earlier turns; the prompt follows them",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 7 · A long prompt in chunks (2 points)
#
# Prefill of a long prompt makes large intermediate tensors: attention scores of prompt × prompt in each head, logits of
# prompt × 49 152. A server that has other users waiting can't afford that either. So prompts are fed in **chunks**. This
# works without any change to the model because your attention mask is right for queries that start anywhere.
#
# <details><summary>Hint</summary>range(0, len(prompt), chunk_size) gives the start of each chunk.</details>


# %% nbgrader={"grade": false, "grade_id": "chunked-prefill", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prefill_in_chunks(model, prompt, cache, chunk_size):
    """Feed a prompt in chunks of `chunk_size` tokens; the last chunk may be shorter.

    Args:
        model, cache: as for `generate`.
        prompt: a list of token ids, at least one; they follow what the cache holds.
        chunk_size: tokens per call, at least 1.

    Returns:
        [vocab_size]: the logits after the last token of the prompt.

    Raises:
        ValueError: `chunk_size` is below 1, or the prompt is empty; the model hasn't been
            called.
    """
    ### BEGIN SOLUTION
    if chunk_size < 1 or len(prompt) == 0:
        raise ValueError(f"can't feed {len(prompt)} tokens in chunks of {chunk_size}")
    for start in range(0, len(prompt), chunk_size):
        chunk = torch.tensor([prompt[start : start + chunk_size]])
        logits = model(chunk, cache)
    return logits[0, -1]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "chunked-prefill-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    ConcatCache,
    ScriptedModel,
    exercise,
    expect_close,
    expect_equal,
    expect_raises,
    tiny_llama,
)

with exercise("chunked-prefill"):
    scripted = ScriptedModel(conversation=[11, 12, 13, 14, 15, 16])
    logits = prefill_in_chunks(scripted, [11, 12, 13, 14, 15], ConcatCache(), chunk_size=2)
    expect_equal(
        [len(call.tokens) for call in scripted.calls],
        [2, 2, 1],
        "positions in each call, 5 tokens in chunks of 2",
        cause="full chunks of chunk_size tokens, and then one for the rest",
    )
    expected = ScriptedModel(conversation=[11, 12, 13, 14, 15, 16])(
        torch.tensor([[11, 12, 13, 14, 15]])
    )[0, -1]
    expect_close(
        logits,
        expected,
        "logits after token 15",
        cause="return the logits [vocab_size] that follow the prompt's last token",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: chunks that divide the prompt, and that don't; chunks of one token, of the
    #   whole prompt, of a thousand, and longer than the prompt; prompts of one token, and with
    #   the id 0; the logits of a small Llama; a cache that holds earlier turns; an empty
    #   prompt, and chunk sizes below 1.
    # Stated by: "Feed a prompt in chunks of `chunk_size` tokens; the last chunk may be shorter" |
    #   "chunk_size: tokens per call, at least 1" | "a list of token ids, at least one; they follow
    #   what the cache holds" | "[vocab_size]: the logits after the last token of the prompt" | "they follow what the cache holds" | "`chunk_size` is below 1, or the
    #   prompt is empty; the model hasn't been called"
    # Right because: keys and values depend only on what stands before them, and the cache
    #   hands every chunk all that came earlier, so cutting the prompt changes when a position
    #   is computed and not what comes out.
    prompt = [3, 1, 4, 1, 5, 9, 2, 6]
    tiny = tiny_llama()
    expected = tiny(torch.tensor([prompt]))[0, -1]
    for chunk_size, calls in ((3, [3, 3, 2]), (4, [4, 4]), (1, [1] * 8), (8, [8]), (100, [8])):
        scripted, cache = ScriptedModel(conversation=[*prompt, 7]), ConcatCache()
        prefill_in_chunks(scripted, list(prompt), cache, chunk_size)
        expect_equal(
            [len(call.tokens) for call in scripted.calls],
            calls,
            f"positions in each call, chunks of {chunk_size}",
            cause="full chunks, and one for the rest if there is one",
        )
        expect_equal(len(cache), 8, f"positions in the cache, chunks of {chunk_size}")
        logits = prefill_in_chunks(tiny, list(prompt), ConcatCache(), chunk_size)
        expect_close(
            logits,
            expected,
            f"logits of a small Llama, chunks of {chunk_size}",
            atol=1e-4,
            cause="return the logits [vocab_size] that follow the prompt's last token",
        )

    for length, chunk_size, calls in ((13, 4, [4, 4, 4, 1]), (1200, 1100, [1100, 100])):
        ids = [37 * i % 63 + 1 for i in range(length)]
        scripted = ScriptedModel(conversation=[*ids, 7])
        prefill_in_chunks(scripted, ids, ConcatCache(), chunk_size)
        expect_equal(
            [len(call.tokens) for call in scripted.calls],
            calls,
            f"positions in each call, {length} tokens in chunks of {chunk_size}",
            cause="each chunk but the last has chunk_size tokens, and the last has what is left",
        )
    for few in ([9], [0], [0, 3, 0, 1]):
        what = f"logits of a small Llama after {few}"
        logits = prefill_in_chunks(tiny, list(few), ConcatCache(), 3)
        expect_close(
            logits,
            tiny(torch.tensor([few]))[0, -1],
            what,
            atol=1e-4,
            cause="return the logits [vocab_size] after the last token; 0 is an id like others",
        )

    cache = ConcatCache()
    tiny(torch.tensor([prompt[:3]]), cache)
    logits = prefill_in_chunks(tiny, prompt[3:], cache, 2)
    expect_close(
        logits,
        expected,
        "logits when the cache holds the first three tokens",
        atol=1e-4,
        cause="the cache may hold earlier turns; the prompt follows them",
    )
    expect_equal(
        len(cache), 8, "positions in the cache, three from before and five in chunks of 2"
    )

    def refuses(prompt, chunk_size, what):
        scripted = ScriptedModel([1, 2, 3])
        expect_raises(
            ValueError,
            lambda: prefill_in_chunks(scripted, prompt, ConcatCache(), chunk_size),
            what,
        )
        expect_equal(
            len(scripted.calls),
            0,
            f"calls of the model for {what}",
            cause="check before you feed anything",
        )

    refuses([1, 2], 0, "chunks of 0 tokens")
    refuses([1, 2], -1, "chunks of -1 tokens")
    refuses([], 2, "an empty prompt")
    ### END HIDDEN TESTS

# %% [markdown]
# ## 5 · For real
#
# Put your parts into SmolLM2: your attention in all 30 layers, your RoPE on its queries and keys, your cache behind it,
# your loop around it. Then ask `transformers` for the same tokens.


# %% tags=["for-real"]
def new_cache(capacity):
    c = model.config
    return KVCache(
        c.layers, 1, c.kv_heads, capacity, c.head_dim, dtype=model.dtype, device=model.device
    )


if scoreboard.ready("causal-attention", "rope", "kv-update", "generate"):
    mine = model.with_parts(attention=causal_attention, rope=apply_rope)
    yours = generate(mine, chat, 40, new_cache(128), stop_token=tokenizer.eos_token_id)
    print(tokenizer.decode(yours))

# %% tags=["for-real"]
peer = models.load_transformers()

if scoreboard.ready("causal-attention", "rope", "kv-update", "generate"):
    inputs = torch.tensor([chat], device=peer.device)
    theirs = peer.generate(
        inputs, attention_mask=torch.ones_like(inputs), max_new_tokens=40, do_sample=False
    )
    theirs = [
        token for token in theirs[0, len(chat) :].tolist() if token != tokenizer.eos_token_id
    ]
    print(
        f"{sum(a == b for a, b in zip(yours, theirs))} of {max(len(yours), len(theirs))} tokens are the same"
    )

# %% [markdown]
# ### Time per token
#
# Four ways to get the next token, at contexts up to 1024: without a cache (measured above), with the concatenating
# cache `fridge.models.caches.ConcatCache`, with yours (your attention and RoPE in both), and with `transformers` and
# its `DynamicCache`. Each cache grows along one text, and at each context the median of five decode steps counts.

# %% tags=["for-real"]
from transformers import DynamicCache

from fridge.models.caches import ConcatCache


def decode_ms(step, cache, held):
    times = []
    for context in contexts:
        step(
            prose[:, held(cache) : context - 6], cache
        )  # grow to just below the context, then time six steps
        one = lambda: step(prose[:, held(cache) : held(cache) + 1], cache)
        times.append(1000 * measure.seconds(one, repeats=5))
    return times


def step_of_transformers(tokens, cache):
    with torch.no_grad():
        return peer(tokens, past_key_values=cache, logits_to_keep=1)


def step_of(model):
    return lambda tokens, cache: model(tokens, cache, last_only=True)


# %% tags=["for-real"]
if scoreboard.ready("causal-attention", "rope", "kv-update"):
    decode = {
        "transformers' DynamicCache": decode_ms(
            step_of_transformers, DynamicCache(), lambda c: c.get_seq_length()
        ),
        "concatenating cache": decode_ms(step_of(mine), ConcatCache(), len),
        "your cache": decode_ms(step_of(mine), new_cache(1024), len),
    }
    without, with_yours = no_cache_ms[3], decode["your cache"][3]
    ax = plots.axes(
        f"A token after 512 others: 512 positions in {without:.0f} ms without a cache,\n"
        f"1 position in {with_yours:.0f} ms with yours",
        "context (tokens)",
        "time per token (ms)",
    )
    plots.lines(ax, contexts, {"no cache": no_cache_ms, **decode})
    ax.set(xscale="log", yscale="log", xticks=contexts, xticklabels=contexts)
    plots.timed(ax)

# %% [markdown]
# *In words: time per token over the context, a curve without a cache and one for each of three caches. On an idle
# machine the first rises with the context, and the three with a cache lie close together and stay nearly flat.*

# %% tags=["for-real"]
if scoreboard.ready("causal-attention", "rope", "kv-update"):
    print(f"{'ms per token at context':28}" + "".join(f"{n:>8}" for n in contexts))
    for name, times in {"no cache": no_cache_ms, **decode}.items():
        print(f"{name:28}" + "".join(f"{ms:8.0f}" for ms in times))

# %% [markdown]
# Two things to see in this table, if the machine was idle.
#
# - The big step is from *no cache* to *any cache*. That is the work count of exercise 1 turned into time.
# - Concatenating or preallocating hardly matters here. SmolLM2's keys and values are 45 KiB per token; at 1024 tokens
#   a concatenating step copies 47 MB, while the step reads all the weights, 538 MB in float32. Copying begins to hurt
#   when the cache is as large as the weights, which is where a busy server lives: the 34 GB of your table above
#   against 14 GB of weights. Your cache is ready for that, and unit 04 builds on it.
#
# ### Memory
#
# Does your formula hold for the memory that the process really uses? Reserve a cache for 4096 tokens and look at the
# process's resident memory before and after. Then fill the concatenating cache and count its tensors. (Memory from
# `torch.empty` counts only once it is written to: if you reserve with that, the process hardly grows yet.)

# %% tags=["for-real"]
if scoreboard.ready("memory", "kv-update"):
    c = model.config
    shape = (c.layers, c.heads, c.kv_heads, c.head_dim)
    width = torch.finfo(model.dtype).bits // 8
    predicted = kv_cache_bytes(*shape, tokens=4096, bytes_per_value=width)
    big = []
    measured = measure.peak_memory(lambda: big.append(new_cache(4096)))
    print(
        f"4096 tokens: formula {predicted / 1e6:.1f} MB, cache.nbytes {big[0].nbytes / 1e6:.1f} MB, "
        f"memory of the process grew by {measured / 1e6:.1f} MB"
    )
    growing = ConcatCache()
    model(prose[:, :100], growing, last_only=True)
    print(
        f" 100 tokens: formula {kv_cache_bytes(*shape, tokens=100, bytes_per_value=width) / 1e6:.1f} MB, "
        f"ConcatCache holds {growing.nbytes / 1e6:.1f} MB, and yours would still hold {big[0].nbytes / 1e6:.1f} MB"
    )
    del big

# %% [markdown]
# The last line is the catch. Your cache takes the memory of 4096 tokens even for a conversation of 100. A server that
# reserves the maximum for everyone wastes most of its card: the authors of vLLM found that only 20 to 38 % of the KV
# memory in earlier systems held anything. Reserving in small pages instead is what unit 04 is about.
#
# ## 6 · What others report, what we measured
#
# | claim | source | here |
# |---|---|---|
# | 27 → 144 → 166 tokens/s on a laptop's CPU: none, concatenating, preallocated (124M parameters, 200 tokens) | Raschka, *LLMs from scratch*, ch. 4 | the table above; on an idle machine a large step, then a small one |
# | the advantage vanishes on a large GPU at that size | the same page | plausible: a GPU computes 200 positions as fast as one when it is idle; the weights' bytes decide |
# | KV memory of one LLaMA-13B sequence: up to 1.7 GB | vLLM's blog, 2023 | 1.68 GB by your formula |
# | 512 KiB a token (Llama-2-7B), 128 KiB (Llama-3-8B) | their configs | the same, to the byte |
#
# Fewer KV heads shrink the cache at the root: a token of Llama-3-8B costs a quarter of one of Llama-2-7B, in a larger model.
#
# ## 7 · What this unit doesn't claim
#
# - A cache makes decoding *cheaper*, not cheap: each step still reads every weight once. Units 02 (smaller weights) and
#   05 (several tokens per read) go on from there.
# - All sequences of your batch have the same length. Real ones don't; unit 04 repairs that.
# - Nothing is ever dropped. Sliding windows, eviction and 8-bit caches trade exactness for room, and aren't built here.
#
# Three things to read next:
#
# 1. Pope et al., *Efficiently Scaling Transformer Inference*, 2022 (arXiv 2211.05102), section 2: the cost model of
#    prefill and decode.
# 2. Shazeer, *Fast Transformer Decoding: One Write-Head is All You Need*, 2019 (arXiv 1911.02150): why the cache's
#    bytes decide the speed of decoding.
# 3. Ainslie et al., *GQA*, 2023 (arXiv 2305.13245): fewer KV heads, nearly the same quality.
#
# ## What stays
#
# What has passed doesn't change, so its keys and values are computed once and kept. The cache turns computing into memory,
# and memory is what the next unit has to manage.

# %% tags=["for-real"]
from fridge.notebook import recall

recall.ask("03-kv-cache")

# %% [markdown]
# ## Your score

# %% tags=["for-real"]
from fridge.notebook import scoreboard

scoreboard.show("03-kv-cache")
