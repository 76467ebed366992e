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
# # 11 · The edge, and what to deploy where
#
# The chapter ends with a table: Ollama on a laptop, vLLM on a server, MLC LLM on a phone. Whoever reads it asks: why, and
# where does it stop being true? A phone, a browser tab and a small board are **the edge** (端侧): the user's own device. It has little memory, a battery, and
# nobody who watches it.
#
# By the end you can say with numbers what fits on such a device, keep a conversation in memory that never grows, plan a step's
# buffers as a compiler does, write a step that can leave Python, compute in whole numbers, and decide what belongs where. The
# last two exercises are the course's capstone: a file that meets a budget, and half a page that you write.
#
# | | |
# |---|---|
# | You need | bytes and the roofline (unit 01), 8-bit numbers (02), the cache and RoPE (03), formats of a file (08) |
# | Time | about three hours |
# | Runs on | a laptop with 2 GB of free memory; no GPU |
# | Points | 36, in ten exercises |

# %%

import math
import shlex

import torch
import torch.nn.functional as F

from fridge import models, pictures
from fridge.fusion import graphs
from fridge.memory import devices
from fridge.memory.cards import CARDS
from fridge.models import sinks
from fridge.models.llama import rope_table, rotate
from fridge.notebook import scoreboard
from fridge.quantization import formats
from fridge.serving import where
from fridge.workbench import measure, tables

# %% [markdown]
# ## 1 · The pain: what a device is short of
#
# A model's file, what it needs to run, and devices. The limits of WebAssembly and WebGPU are their specifications'; how much memory is free on a
# phone or in a tab is an assumption, and the table says so.

# %% tags=["for-real"]
model, tokenizer = models.load(), models.load_tokenizer()
kept_files = formats.kept()["speed"]
tables.show(
    ("format of SmolLM2-135M", "bytes of the file"),
    [(row["format"], f"{row['file_bytes']:,}") for row in kept_files],
    numbers=[1],
)
tables.show(
    ("device", "free memory", "a process can address", "whose number"),
    [
        (name, devices.gib(one["memory"]), devices.gib(one["address_space"]), one["source"])
        for name, one in devices.DEVICES.items()
    ],
    numbers=[1, 2],
)

# %% [markdown]
# SmolLM2 is small, and everything holds it. A model of 8 billion weights in 4 bits is a file of 4.5 GB or more: it doesn't go
# into a tab at all, however much memory the machine has, for WebAssembly counts addresses in 32 bits.
#
# ## 2 · The picture: what stays in a bounded memory

# %% tags=["for-real"]
pictures.sinks_and_window()

# %% [markdown]
# *In words: a row of boxes for a text of twelve tokens. The first two are dark, the sinks, and stay for ever. The last four are lighter, the window, which moves along. Those
# between are crossed out: they are forgotten. Below, the same six as they lie in memory, with places 0 to 5.*
#
# That is exercise 3. First the arithmetic.
#
# ## 3 · The prediction
# ### Exercise 1 · Does it fit? (4 points)
#
# To run, a model needs three things in memory:
#
# - its **file**, the weights;
# - its **KV cache**: for each token, in each layer and KV head, a key and a value of `head_dim` numbers;
# - what the **runtime** itself takes.
#
# A runtime that **maps** the file (mmap) doesn't copy it: what isn't in memory is read from storage when it is needed. So there are three
# verdicts:
#
# - `"fits"`: all three together are in memory;
# - `"slow"`: they aren't, but the device maps the file, and cache and runtime alone are. It runs, and reads parts of the weights from storage for each token;
# - `"no"`: anything else.
#
# Before all of these comes a limit that mapping doesn't lift. Whatever is mapped or not: where a process can address no more than so many bytes, all three together must not be more than that, or else the verdict is `"no"`. 32 bits, as in WebAssembly (wasm32), are 4 GiB.
#
# What is exactly as large as the room for it fits.
#
# A GPU in a browser has a limit of its own: WebGPU lets a shader see a buffer of no more than `maxStorageBufferBindingSize` bytes at a time, 128 MiB unless more is asked for. The
# embedding of a large model is larger: it is cut into **pieces of whole rows**.
#
# <details><summary>Hint 1</summary>A token takes 2 · layers · kv_heads · head_dim · kv_bytes: keys and values.</details>
# <details><summary>Hint 2</summary>For the longest text: what is left of the smaller of both limits, divided by a token's bytes, rounded down.</details>
# <details><summary>Hint 3</summary>How many whole rows does a piece have room for? limit // row_bytes.</details>


# %% nbgrader={"grade": false, "grade_id": "device-fit", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fit(model, device, tokens):
    """What a model needs on a device, and whether it runs there.

    Args:
        model: a dict with "file", bytes of the weights; "layers", "kv_heads", "head_dim"; and
            "kv_bytes", bytes of a number in the KV cache, a whole number.
        device: a dict with "memory", bytes that are free; "runtime", bytes that the runtime
            takes; "mapped", whether it maps the file; and "address_space", bytes that a
            process can address, or None where that is no limit.
        tokens: that the KV cache has room for, 0 or more.

    Returns:
        (need, verdict): bytes of file, KV cache and runtime together, a whole number; and
        "fits", "slow" or "no".
    """
    ### BEGIN SOLUTION
    a_token = 2 * model["layers"] * model["kv_heads"] * model["head_dim"] * model["kv_bytes"]
    own = device["runtime"] + tokens * a_token
    need = model["file"] + own
    if device["address_space"] is not None and need > device["address_space"]:
        return need, "no"
    if need <= device["memory"]:
        return need, "fits"
    return need, "slow" if device["mapped"] and own <= device["memory"] else "no"
    ### END SOLUTION


def longest(model, device):
    """The most tokens with which the verdict is "fits".

    Args:
        model, device: as for fit.

    Returns:
        A whole number.

    Raises:
        ValueError: it doesn't fit even with 0 tokens ("slow" isn't "fits").
    """
    ### BEGIN SOLUTION
    limits = [device["memory"], device["address_space"]]
    room = min(limit for limit in limits if limit is not None)
    room -= model["file"] + device["runtime"]
    if room < 0:
        raise ValueError("the file and the runtime alone don't fit")
    a_token = 2 * model["layers"] * model["kv_heads"] * model["head_dim"] * model["kv_bytes"]
    return room // a_token
    ### END SOLUTION


def pieces(rows, row_bytes, limit):
    """In how many pieces of whole rows a matrix is bound, as few as possible.

    Args:
        rows: of the matrix, 1 to 2**31; row_bytes: of each.
        limit: bytes of a piece, at most.

    Returns:
        A whole number.

    Raises:
        ValueError: a row is larger than the limit.
    """
    ### BEGIN SOLUTION
    if row_bytes > limit:
        raise ValueError(f"a row of {row_bytes} bytes is larger than {limit}")
    return -(-rows // (limit // row_bytes))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "device-fit-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal, expect_number, expect_parts

with exercise("device-fit"):
    SMALL = {"file": 1000, "layers": 2, "kv_heads": 3, "head_dim": 4, "kv_bytes": 2}
    BOARD = {"memory": 2000, "runtime": 40, "mapped": False, "address_space": None}

    def expect_fit(need, verdict, tokens, what, cause="", model=(), **device):
        given = SMALL | dict(model), BOARD | device
        got = expect_parts(fit(*given, tokens), "need, verdict", f"{what}: what fit returns")
        expect_equal(
            expect_number(got[0], f"{what}: need"), need, f"{what}: need, in bytes", cause
        )
        expect_equal(got[1], verdict, f"{what}: verdict", cause)

    expect_fit(
        1040 + 5 * 96,
        "fits",
        5,
        "a file of 1000 bytes, a runtime of 40, 5 tokens of 96",
        "a token takes 2 * 2 layers * 3 KV heads * 4 numbers * 2 bytes: keys and values",
    )
    expect_fit(
        1040 + 96 * 11, "no", 11, "the same, 11 tokens, 2000 bytes free", "2096 bytes are more"
    )
    expect_fit(
        1040 + 96 * 11,
        "slow",
        11,
        "11 tokens, 2000 bytes free, file mapped",
        "mapped, the file needn't be in memory as a whole: cache and runtime take 1096",
        mapped=True,
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: exactly as much as there is room for, and a byte less; a mapped file with a cache that doesn't fit; no tokens; an address space, mapped or
    #   not; other sizes of a number; large files and caches; the course's model.
    # Stated by: "What is exactly as large as the room for it fits" | "cache and runtime alone are" | "that the KV cache has room for, 0 or more" | "Whatever is
    #   mapped or not: where a process can address no more than so many bytes" | "a whole number" | "bytes of a number in the KV cache" | "bytes of file,
    #   KV cache and runtime together, a whole number"
    # Right because: what is mapped may be read again, what was computed may not; and an address that a process can't
    #   write down is none, whatever memory lies behind it.
    full = "what is exactly as large as the room for it fits"
    expect_fit(2000, "fits", 10, "exactly as much as is free", full)
    expect_fit(2000, "no", 10, "a byte less is free", memory=1999)
    own = "mapped, cache and runtime alone must be in memory"
    expect_fit(
        2000,
        "slow",
        10,
        "mapped, exactly the cache and the runtime",
        own,
        memory=1000,
        mapped=True,
    )
    expect_fit(
        2000,
        "no",
        10,
        "mapped, a byte less than cache and runtime",
        own,
        memory=999,
        mapped=True,
    )
    expect_fit(2000, "fits", 10, "mapped, and all of it is in memory", full, mapped=True)
    expect_fit(1040, "fits", 0, "no tokens", memory=1040)
    expect_fit(1040, "slow", 0, "no tokens, mapped", own, memory=40, mapped=True)
    space = "all three must be addressed, mapped or not"
    expect_fit(2000, "fits", 10, "exactly what can be addressed", full, address_space=2000)
    for mapped in (False, True):
        expect_fit(
            2000,
            "no",
            10,
            f"a byte more than can be addressed, mapped: {mapped}",
            space,
            address_space=1999,
            memory=10**9,
            mapped=mapped,
        )
    expect_fit(
        2000,
        "slow",
        10,
        "addressed, mapped, too little memory",
        own,
        address_space=2000,
        memory=1500,
        mapped=True,
    )
    expect_fit(1040 + 7 * 48, "fits", 7, "KV numbers of one byte", model={"kv_bytes": 1})
    expect_fit(
        1040 + 3 * 2 * 5 * 7 * 11 * 4,
        "no",
        3,
        "5 layers, 7 KV heads, 11 numbers of 4 bytes",
        model={"layers": 5, "kv_heads": 7, "head_dim": 11, "kv_bytes": 4},
    )
    exact = "whole numbers stay exact, where a float has 53 bits and an int32 ends at 2 GiB"
    expect_fit(
        2**53 + 41, "fits", 0, "2**53 + 1 bytes", exact, {"file": 2**53 + 1}, memory=2**60
    )
    large = {"file": 40 * 10**9, "layers": 80, "kv_heads": 8, "head_dim": 128, "kv_bytes": 2}
    expect_fit(
        40 * 10**9 + 40 + 8192 * 327_680,
        "fits",
        8192,
        "80 layers, 8192 tokens",
        exact,
        large,
        memory=48 * 10**9,
    )
    smol = {"file": 98_362_432, "layers": 30, "kv_heads": 3, "head_dim": 64, "kv_bytes": 2}
    tab = {"memory": 2**31, "runtime": 3 * 2**20, "address_space": 2**32}
    expect_fit(
        98_362_432 + 3 * 2**20 + 8192 * 23_040,
        "fits",
        8192,
        "SmolLM2 in a tab, 8192 tokens",
        model=smol,
        **tab,
    )
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "device-longest-test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal, expect_number, expect_raises

with exercise("device-longest"):
    TINY_FILE = {"file": 1000, "layers": 2, "kv_heads": 3, "head_dim": 4, "kv_bytes": 2}
    A_BOARD = {"memory": 2000, "runtime": 40, "mapped": False, "address_space": None}

    def expect_longest(tokens, what, cause="", model=(), **device):
        got = longest(TINY_FILE | dict(model), A_BOARD | device)
        got = expect_number(got, f"{what}: tokens")
        expect_equal(got, tokens, f"{what}: tokens", cause)

    expect_longest(
        10,
        "2060 bytes free, tokens of 96",
        "2060 - 1000 - 40 = 1020 bytes, and part of a token is none",
        memory=2060,
    )
    expect_longest(10, "2000 bytes free", "960 bytes are exactly 10 tokens")
    expect_longest(9, "a byte less", "part of a token is none: round down", memory=1999)
    ### BEGIN HIDDEN TESTS
    # Looks at: an address space smaller than memory, and larger; a mapped file; room for less than a token; not even for the file; numbers that no float holds.
    # Stated by: "where a process can address no more than so many bytes" | "The most tokens with which the verdict is "fits"" | "The most tokens" | "it doesn't
    #   fit even with 0 tokens" | "A whole number"
    # Right because: each token takes the same, so that the room divided by it, rounded down, is the answer.
    both = "the smaller of both limits counts"
    expect_longest(3, "an address space of 1330 bytes", both, address_space=1330)
    expect_longest(10, "an address space larger than memory", both, address_space=10**6)
    only = "with fewer bytes free the verdict is slow, and that isn't fits"
    expect_longest(10, "mapped", only, mapped=True)
    expect_longest(0, "room for the file and the runtime alone", memory=1040)
    expect_longest(0, "and for all of a token but a byte", memory=1040 + 95)
    for mapped in (False, True):
        expect_raises(
            ValueError,
            lambda mapped=mapped: longest(
                TINY_FILE, A_BOARD | {"memory": 1039, "mapped": mapped}
            ),
            f"a byte less than file and runtime, mapped: {mapped}",
            "it doesn't fit, even with 0 tokens",
        )
    expect_raises(
        ValueError,
        lambda: longest(TINY_FILE, A_BOARD | {"address_space": 1000}),
        "an address space of 1000 bytes",
        both,
    )
    expect_longest(
        2**54 + 1,
        "2**54 + 1 tokens",
        "a float has 53 bits: whole numbers stay exact with //",
        memory=1040 + 96 * (2**54 + 1),
    )
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "device-pieces-test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal, expect_number, expect_raises

with exercise("device-pieces"):

    def expect_pieces(rows, row_bytes, limit, count, what, cause=""):
        got = expect_number(pieces(rows, row_bytes, limit), f"{what}: pieces")
        expect_equal(got, count, f"{what}: pieces", cause)

    expect_pieces(10, 8, 40, 2, "10 rows of 8 bytes, pieces of at most 40", "5 rows a piece")
    expect_pieces(
        10,
        8,
        39,
        3,
        "10 rows of 8 bytes, pieces of at most 39",
        "4 whole rows a piece: a row isn't cut",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: one piece; a row a piece; a row as large as the limit, and larger; very many pieces; limits of all sizes; embeddings of real models.
    # Stated by: "as few as possible" | "rows: of the matrix, 1 to 2**31" | "bytes of a piece, at most" | "In how many pieces of whole rows" | "a row is larger than the limit" | "128 MiB unless
    #   more is asked for"
    # Right because: a shader looks up one row at a time, so that a row must be in one piece, and which one follows from a division.
    expect_pieces(10, 8, 80, 1, "all of it in one piece")
    expect_pieces(10, 8, 10**9, 1, "far more room than it needs")
    expect_pieces(10, 8, 79, 2, "a byte less than all of it")
    expect_pieces(10, 8, 8, 10, "a row as large as the limit", "a row a piece")
    expect_pieces(10, 8, 15, 10, "not quite two rows a piece", "a row isn't cut")
    expect_pieces(1, 8, 8, 1, "one row")
    expect_pieces(5000, 8, 8, 5000, "five thousand pieces")
    expect_pieces(10, 2**26, 2**28, 3, "a limit of 256 MiB", "the limit is what is given")
    expect_raises(ValueError, lambda: pieces(10, 8, 7), "a row larger than the limit")
    mib = 2**20
    for name, rows, row_bytes, limit, count in (
        ("SmolLM2, float32", 49_152, 576 * 4, 128 * mib, 1),
        ("Qwen2.5 0.5B, float16", 151_936, 896 * 2, 128 * mib, 3),
        ("Llama 3 8B, float16", 128_256, 4096 * 2, 128 * mib, 8),
        ("rows of 3 MiB", 86, 3 * mib, 128 * mib, 3),
        ("rows of 65 MiB", 5, 65 * mib, 128 * mib, 5),
    ):
        cause = "how many whole rows go into a piece, first"
        expect_pieces(rows, row_bytes, limit, count, f"the embedding: {name}", cause)
    ### END HIDDEN TESTS

# %% [markdown]
# Before you run the next cell, write down: how long a text can SmolLM2 remember in a browser tab, with keys and values in 16 bits, before WebAssembly's 4 GiB are full?

# %% tags=["for-real"]
if scoreboard.ready("device-fit", "device-longest", "device-pieces"):
    rows = []
    for file_name, one in devices.models_known(model.config).items():
        for device_name, limits in devices.DEVICES.items():
            need, verdict = fit(one, limits, 4096)
            most = f"{longest(one, limits):,}" if fit(one, limits, 0)[1] == "fits" else ""
            rows.append((file_name, device_name, devices.gib(need), verdict, most))
    tables.show(
        ("model", "device", "with 4096 tokens", "verdict", "tokens that fit"),
        rows,
        numbers=[2, 4],
    )
    for words, vocabulary, hidden in devices.EMBEDDINGS:
        cut = pieces(vocabulary, 2 * hidden, devices.WEBGPU_BINDING)
        print(f"the embedding of {words}, 16 bits, in WebGPU: {cut} bindings")

# %% [markdown]
# The sizes of the larger models' files are estimates: the parameters of unit 01's configs, at the bits of each format. What a real file has besides is the vocabulary and a header.
#
# ## 4 · Build it
#
# ### Exercise 2 · Shards (2 points)
#
# A browser fetches a model once and keeps it in its cache. It does so in files of limited size, **shards**: one that fails is fetched again alone, several come at once, and
# a cache may refuse one that is too large. A shard holds **whole tensors**, in the order of the model's file, so that each tensor can be used as soon as its shard is there. As few files as
# possible: each costs a request.
#
# <details><summary>Hint 1</summary>Put tensors into the open file for as long as they fit. Which one begins the next?</details>


# %% nbgrader={"grade": false, "grade_id": "shards", "locked": false, "schema_version": 3, "solution": true, "task": false}
def shards(tensors, limit):
    """Which tensors go into which file.

    Args:
        tensors: a list of (name, bytes), in the order of the model's file; bytes 0 or more.
            Large models have thousands.
        limit: bytes of a file, at most; a file may be exactly as large.

    Returns:
        A list of lists of names: the files, as few as possible, none of them empty; all
        tensors once, in the same order. No tensors, no files.

    Raises:
        ValueError: a tensor is larger than the limit.
    """
    ### BEGIN SOLUTION
    files, used = [], 0
    for name, size in tensors:
        if size > limit:
            raise ValueError(f"{name} has {size} bytes, and a file at most {limit}")
        if not files or used + size > limit:
            files.append([])
            used = 0
        files[-1].append(name)
        used += size
    return files
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "shards-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import random

from fridge.testing import exercise, expect_raises, expect_shards

with exercise("shards"):

    def expect_cut(sizes, limit, what, cause=""):
        tensors = [(f"t{place}", size) for place, size in enumerate(sizes)]
        expect_shards(shards(list(tensors), limit), tensors, limit, what, cause)

    expect_cut(
        [30, 30, 40, 50, 20],
        100,
        "tensors of 30, 30, 40, 50 and 20 bytes, files of at most 100",
        "30 + 30 + 40 is exactly 100, which fits",
    )
    expect_cut([60, 50, 40, 50], 100, "60, 50, 40 and 50 bytes, files of at most 100")
    ### BEGIN HIDDEN TESTS
    # Looks at: one file; a file for each tensor; a tensor as large as the limit; larger ones, at the beginning and at the end; tensors of no bytes; no tensors; many, of
    #   all sizes; very large ones.
    # Stated by: "as few as possible" | "Large models have thousands" | "none of them empty" | "a file may be exactly as large" | "a tensor is larger than the limit" | "bytes
    #   0 or more" | "No tensors, no files" | "all tensors once, in the same order"
    # Right because: a file that is filled as far as it goes never ends before another way to cut would, so that no way needs fewer files.
    expect_cut([1, 2, 3], 100, "all in one file")
    expect_cut([51, 51, 51], 100, "no two fit together")
    expect_cut(
        [100, 100, 1],
        100,
        "tensors as large as the limit",
        "a file may be exactly as large as the limit",
    )
    expect_cut([100], 100, "one tensor, as large as the limit")
    expect_cut([1, 99, 1, 99], 100, "pairs of exactly the limit")
    expect_cut(
        [0, 100, 0, 0, 100, 0],
        100,
        "tensors of no bytes between full files",
        "they take no room",
    )
    expect_cut([0, 0], 100, "tensors of no bytes")
    expect_cut([], 100, "no tensors", "no tensors, no files")
    for sizes in ([101], [1, 101], [101, 1], [50, 60, 101, 3]):
        tensors = [(f"t{place}", size) for place, size in enumerate(sizes)]
        expect_raises(
            ValueError,
            lambda tensors=tensors: shards(tensors, 100),
            f"sizes {sizes}, files of at most 100",
        )
    exact = (
        "sizes are whole numbers: a float32 loses bytes from 2**24 on, an int32 wraps at 2 GiB"
    )
    expect_cut([2**24, 1, 1, 1], 2**24 + 2, "2**24 bytes and three of 1", exact)
    expect_cut([10**9] * 3, 2 * 10**9, "three tensors of 10**9 bytes", exact)
    expect_cut([7] * 3000, 20, "three thousand tensors")
    numbers = random.Random(0)
    for _ in range(30):
        limit = numbers.randrange(20, 60)
        sizes = [numbers.randrange(1, 21) for _ in range(numbers.randrange(1, 40))]
        expect_cut(sizes, limit, f"tensors of {sizes} bytes, files of at most {limit}")
    ### END HIDDEN TESTS

# %% tags=["for-real"]
if scoreboard.ready("shards"):
    layers = [(name, 2 * weight.numel()) for name, weight in model.named_parameters()]
    for limit in (64 * 2**20, 32 * 2**20):
        try:
            print(f"files of at most {limit >> 20} MiB, 16 bits: {len(shards(layers, limit))}")
        except ValueError as refusal:
            print(f"files of at most {limit >> 20} MiB, 16 bits: {refusal}")

# %% [markdown]
# The largest tensor decides how small shards can be: it is the embedding, of course.
#
# ### Exercise 3 · A memory that never grows (5 points)
#
# On a phone a conversation must not end because memory does. So a cache keeps the last `window` tokens and forgets what is older: a **sliding window**. On its own that breaks the model, as
# you will measure: attention puts much of its weight on the very first tokens, whatever they are, and can't do without them. Xiao et al. (2023, *StreamingLLM*) call these **attention
# sinks** (注意力汇聚点), and keep the first few for ever beside the window.
#
# The cache of one layer, for one token at a time:
#
# - It holds the first `sinks` tokens of the text, and of the others the last `window`. A text of at most `sinks + window` tokens is held as a whole.
# - A token's **place** is its rank among those that are held, the oldest first: sinks have places 0, 1, …; behind them comes the oldest token of the window, and the newest has the last place. RoPE rotates
#   by this place, **not** by the position in the text: a distance that the model never saw in training doesn't come up, however long the text gets.
# - A place changes when the window moves along. So keys are kept **as they came, before RoPE**, and rotated when they are read.
# - The window is a **ring buffer**: the newest token is written over the oldest. Nothing is moved.
#
# Rotation is as in unit 03, and you may use its functions: `rotate(x, *rope_table(places, inv_freq, torch.float32))` for x `[…, new, head_dim]` and places `[new]`.
#
# 3 points are for what attention gives, 2 for the memory.
#
# <details><summary>Hint 1</summary>Token number t, from 0: if t &lt; sinks, it lies in slot t; else in slot sinks + (t - sinks) % window.</details>
# <details><summary>Hint 2</summary>Attention doesn't care in which order keys lie. You need the place of each slot, not the slots in order.</details>
# <details><summary>Hint 3</summary>When the ring is full and `oldest` is the slot in it that comes next, slot sinks + j has place sinks + (j - oldest) % window.</details>


# %% nbgrader={"grade": false, "grade_id": "sink-cache", "locked": false, "schema_version": 3, "solution": true, "task": false}
class SinkCache:
    """Keys and values of one layer: the first tokens of a text and the last ones.

    Holds, besides a few whole numbers (one for each of these tokens, say), keys and values of
    sinks + window tokens at most, in float32. add takes no new memory for a tensor that is
    larger than a token's key and value together, but for two calls, whichever, which may make
    buffers.

    Args:
        sinks: tokens at the beginning that are kept for ever, 0 or more.
        window: of the others, how many are kept, 1 or more.
    """

    def __init__(self, sinks, window):
        ### BEGIN SOLUTION
        self.sinks, self.window, self.seen = sinks, window, 0
        self.keys = self.values = None
        ### END SOLUTION

    def __len__(self):
        """Tokens that are held."""
        ### BEGIN SOLUTION
        return min(self.seen, self.sinks + self.window)
        ### END SOLUTION

    def add(self, k, v):
        """Store the next token's key and value, float32 [kv_heads, head_dim], not rotated.

        Nobody changes these tensors later.
        """
        ### BEGIN SOLUTION
        if self.keys is None:
            shape = (k.shape[0], self.sinks + self.window, k.shape[1])
            self.keys, self.values = torch.zeros(shape), torch.zeros(shape)
        slot = self.seen
        if slot >= self.sinks:
            slot = self.sinks + (slot - self.sinks) % self.window
        self.keys[:, slot], self.values[:, slot] = k, v
        self.seen += 1
        ### END SOLUTION

    def attend(self, q, inv_freq):
        """Attention of the newest token, which add has stored already.

        Args:
            q: its query, float32 [heads, head_dim], not rotated. Query head h reads KV head
                h // (heads // kv_heads).
            inv_freq: [head_dim / 2], radians for a step from one place to the next.

        Returns:
            float32 [heads, head_dim]: the mean of all values held, by the softmax of
            q · k / √head_dim, both rotated by their places.

        Raises:
            ValueError: nothing has been added.
        """
        ### BEGIN SOLUTION
        held = len(self)
        if not held:
            raise ValueError("nothing to attend to")
        places = torch.arange(held)
        if self.seen > held:
            oldest = (self.seen - self.sinks) % self.window
            ring = torch.arange(self.window)
            places[self.sinks :] = self.sinks + (ring - oldest) % self.window
        k = rotate(self.keys[:, :held], *rope_table(places, inv_freq, torch.float32))
        last = torch.tensor([held - 1])
        q = rotate(q[:, None], *rope_table(last, inv_freq, torch.float32))
        v = self.values[:, :held]
        return F.scaled_dot_product_attention(q[None], k[None], v[None], enable_gqa=True)[
            0, :, 0
        ]
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "sink-cache-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    exercise,
    expect_close,
    expect_equal,
    expect_raises,
    expect_tensor,
    randn,
    sink_attention,
)

with exercise("sink-cache"):

    def expect_stream(
        tokens,
        sinks,
        window,
        what,
        cause="",
        heads=2,
        kv_heads=1,
        size=4,
        seed=0,
        scale=1,
        every=1,
    ):
        """Attention of each token, or of some, against a list of all tokens, in float64."""
        k, v = (randn(tokens, kv_heads, size, seed=seed + i) for i in (1, 2))
        k, q = scale * k, scale * randn(tokens, heads, size, seed=seed + 3)
        inv_freq = torch.tensor([0.9 / 7**i for i in range(size // 2)])
        cache = SinkCache(sinks, window)
        for now in range(tokens):
            cache.add(k[now].clone(), v[now].clone())
            case = f"{what}: token {now}"
            expect_equal(
                len(cache),
                min(now + 1, sinks + window),
                f"{case}: tokens held",
                "the sinks and the window",
            )
            if now % every and now + 1 < tokens:
                continue
            got = expect_tensor(
                cache.attend(q[now].clone(), inv_freq), f"{case}: attention", (heads, size)
            )
            right = sink_attention(q[now], k[: now + 1], v[: now + 1], sinks, window, inv_freq)
            expect_close(
                got, right, f"{case}: attention", cause if now >= sinks + window else "", 1e-4
            )

    expect_stream(1, 1, 2, "one token")
    expect_stream(3, 1, 2, "1 sink, a window of 2, three tokens: all are held")
    expect_stream(
        5,
        1,
        2,
        "1 sink, a window of 2, five tokens",
        "held are the first and the last two; they have places 0, 1 and 2, and the query has place 2",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: no sinks; several; a window of one token; a window that turns around many times; a large one; several KV heads; a text exactly as long as what is held, and one more; wide heads; large scores; two caches; attend
    #   asked twice, and with other frequencies; attend before anything was added.
    # Stated by: "0 or more" | "It holds the first `sinks` tokens of the text" | "how many are kept, 1 or more" | "the newest token is
    #   written over the oldest" | "h // (heads // kv_heads)" | "A text of at most `sinks + window` tokens is held as a whole" | "q · k / √head_dim" | "The
    #   cache of one layer" | "how many are kept" | "the softmax of" | "Attention of the newest token, which add has stored already" | "nothing has been added"
    # Right because: attention is a sum over keys, so that their order in memory is free; only the distances that RoPE sees must be those
    #   of the places.
    turned = (
        "the ring has turned around: places go on from its oldest token, wherever that lies"
    )
    expect_stream(
        9,
        0,
        3,
        "no sinks, a window of 3",
        "without sinks the window's oldest token has place 0",
    )
    expect_stream(14, 4, 3, "4 sinks, a window of 3", turned)
    expect_stream(
        8, 2, 1, "2 sinks, a window of one token", "the newest is the only one of the window"
    )
    expect_stream(5, 0, 1, "no sinks, a window of one token", "it attends to itself alone")
    expect_stream(40, 2, 5, "2 sinks, a window of 5, forty tokens", turned)
    grouped = "two queries share each KV head, neighbours: h // (heads // kv_heads)"
    expect_stream(10, 1, 3, "6 heads, 3 KV heads", grouped, heads=6, kv_heads=3)
    expect_stream(4, 4, 3, "6 heads, 3 KV heads, all held", heads=6, kv_heads=3)
    expect_stream(8, 3, 5, "exactly as long as what is held")
    expect_stream(9, 3, 5, "one token more than is held", turned)
    expect_stream(12, 2, 4, "heads of 16 numbers", turned, size=16, seed=50)
    expect_stream(310, 4, 300, "4 sinks, a window of 300", turned, every=60)
    expect_stream(9, 1, 4, "scores above 89", "exp(89) is more than float32 holds", scale=8)
    inv_freq = torch.tensor([0.5, 0.1])
    one, other = SinkCache(1, 2), SinkCache(1, 2)
    expect_raises(
        ValueError,
        lambda: one.attend(randn(2, 4), inv_freq),
        "attend before anything was added",
    )
    for cache, seed in ((one, 1), (other, 9)):
        for now in range(4):
            cache.add(randn(1, 4, seed=seed + now), randn(1, 4, seed=seed + now + 40))
    for cache, seed, words in ((one, 1, "the first of two caches"), (other, 9, "the second")):
        k, v = (
            torch.stack([randn(1, 4, seed=seed + now + shift) for now in range(4)])
            for shift in (0, 40)
        )
        for turn in ("asked once", "asked again", "asked with other frequencies"):
            angles = 3 * inv_freq if "other" in turn else inv_freq
            right = sink_attention(randn(2, 4), k, v, 1, 2, angles)
            got = expect_tensor(
                cache.attend(randn(2, 4), angles), f"{words}, {turn}: attention", (2, 4)
            )
            expect_close(
                got,
                right,
                f"{words}, {turn}: attention",
                "each cache is its own, and attend changes nothing",
                1e-4,
            )
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "sink-cache-memory-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    exercise,
    expect_close,
    expect_tensor,
    expect_true,
    held_bytes,
    measured,
    randn,
    sink_attention,
)

with exercise("sink-cache-memory"):

    def expect_bounded(tokens, sinks, window, what, kv_heads=2, size=8):
        """What the cache holds at the end, and the largest tensor of each add."""
        a_token = 4 * kv_heads * size
        k, v = (randn(tokens, kv_heads, size, seed=i) for i in (1, 2))
        cache, largest = SinkCache(sinks, window), []
        for now in range(tokens):
            _, work = measured(cache.add, k[now].clone(), v[now].clone())
            largest.append(work.largest)
        most = 2 * a_token * (sinks + window) + 16 * (sinks + window) + 256
        inv_freq = torch.tensor([1.0, 0.3, 0.1, 0.03])
        got = expect_tensor(
            cache.attend(randn(4, size), inv_freq), f"{what}: attention", (4, size)
        )
        held = held_bytes(cache)
        expect_true(
            held <= most,
            f"{what}: bytes that are held",
            f"at most {most}",
            held,
            "what has left the window is forgotten",
        )
        third = sorted(largest)[-3]
        expect_true(
            third <= 2 * a_token,
            f"{what}: bytes of the largest tensor that add makes, two calls left out",
            f"at most {2 * a_token}, a token's key and value",
            third,
            "the newest is written over the oldest, and nothing is moved: torch.cat and roll copy everything",
        )
        right = sink_attention(randn(4, size), k, v, sinks, window, inv_freq)
        expect_close(
            got, right, f"{what}: attention", "what is held must be what attention needs", 1e-4
        )

    expect_bounded(12, 2, 4, "2 sinks, a window of 4, twelve tokens")
    ### BEGIN HIDDEN TESTS
    # Looks at: a long text; no sinks; many sinks; a short text.
    # Stated by: "keys and values of sinks + window tokens at most" | "0 or more" | "tokens at the beginning that are
    #   kept for ever" | "is held as a whole"
    # Right because: a ring needs as many slots as the window has tokens, and a write is one slot.
    expect_bounded(600, 4, 16, "4 sinks, a window of 16, six hundred tokens")
    expect_bounded(50, 0, 6, "no sinks, a window of 6")
    expect_bounded(60, 20, 3, "20 sinks, a window of 3")
    expect_bounded(5, 4, 8, "a text that is held as a whole")
    ### END HIDDEN TESTS

# %% [markdown]
# What does such a memory cost? In the next cell SmolLM2 reads prose of the library, with everything in memory, with a window of the last tokens alone, and with four sinks beside a window. Before you run
# it: which of the two bounded ones is nearer to the full one?

# %% tags=["for-real"]
if scoreboard.ready("sink-cache"):
    places = sinks.text_tokens(tokenizer, 1024)
    streamed = sinks.streamed(model, places[:40], lambda: SinkCache(4, 12))
    at_once = sinks.losses(model, places[:40], sinks=4, window=12)
    print(
        f"your cache, token by token, and all at once: {(streamed - at_once).abs().max():.0e} apart\n"
    )
    ways = {
        "everything": (0, len(places)),
        "a window of 128": (0, 128),
        "4 sinks and a window of 124": (4, 124),
    }
    lost = {name: sinks.losses(model, places, *way) for name, way in ways.items()}
    rows = [
        (
            name,
            *(
                f"{math.exp(float(part.mean())):.1f}"
                for part in (each[:127], each[127:511], each[511:])
            ),
        )
        for name, each in lost.items()
    ]
    tables.show(
        ("perplexity", "tokens 1 to 127", "128 to 511", "512 to 1023"), rows, numbers=[1, 2, 3]
    )
    pictures.perplexity_over_length(lost)

# %% [markdown]
# *In words: three lines over the text's length. They are one for as long as the window holds all of the text. Then the line of the window without sinks leaves the two
# others; the line with sinks stays close to that of the full cache.*
#
# Both bounded caches hold as many tokens. What the window without sinks has lost is the first token, and no word of it mattered. And what does the model with sinks know of the
# text that has left its window? **Nothing.** The perplexity stays because the next word mostly hangs on the last hundred. Ask it for the name in the first sentence, and it makes one up: a memory that never
# grows is no long memory.
#
# ### Exercise 4 · One arena for all buffers (4 points)
#
# A small device has no allocator that one would trust with every layer's results. Compilers for it (TVM's memory planner, TensorFlow Lite's) know the whole step beforehand, and so they plan: one block of
# memory, the **arena**, and in it an offset for each result. Two results may share bytes if they are never alive at the same time.
#
# The step is a list of operations in the order in which they run, as in unit 10: `{"name": "s", "of": ["a"]}` computes `s` from `a`. Names in "of" that no operation makes are inputs; they lie elsewhere.
#
# - A result is **alive** from the operation that makes it to the last one that reads it, both included: an operation reads its inputs while it writes its result, so these can't share bytes. What is an output
#   of the whole list is alive to the end. A result that nobody reads and that is no output is alive during its own operation.
# - Each offset is a multiple of `alignment`.
# - The arena ends where the last byte of any result is. It must be **at most a quarter larger than the lower bound**: the most bytes that are alive at one operation, each result's size rounded up to a multiple of `alignment`. (The
#   tests' cases allow for that: the planner described next keeps it there, whichever of two equal sizes it takes first. To find the smallest arena of all is NP-hard.)
#
# Results that come and go leave gaps. What is large goes in badly when the small ones are already there, so TensorFlow Lite's planner places the largest first, each at the lowest offset where it overlaps nothing
# that lives at the same time.
#
# <details><summary>Hint 1</summary>First a dict name -> (first, last), in numbers of operations. Two lives meet if first &lt;= other's last and other's first &lt;= last.</details>
# <details><summary>Hint 2</summary>For each result, the placed ones whose lives meet its own, by offset: go from 0 upwards past each that is in the way.</details>


# %% nbgrader={"grade": false, "grade_id": "arena", "locked": false, "schema_version": 3, "solution": true, "task": false}
def plan(ops, sizes, outputs, alignment):
    """Where in one arena each result lies.

    Args:
        ops: a list of dicts, "name" and "of", in the order in which they run, up to 2000, for
            which a plan takes seconds, not minutes; "of" may hold a name twice.
        sizes: a dict, name -> bytes of each result, 1 to 2**32; it may know inputs, too.
        outputs: names of results that are needed in the end.
        alignment: 1 or more.

    Returns:
        A dict, name -> offset, a whole number, for each operation's result and nothing else.
    """
    ### BEGIN SOLUTION
    names = [op["name"] for op in ops]
    first = {name: step for step, name in enumerate(names)}
    last = dict(first)
    for step, op in enumerate(ops):
        for part in op["of"]:
            if part in last:
                last[part] = step
    last |= {name: len(ops) for name in outputs}
    offsets = {}
    for name in sorted(names, key=lambda name: -sizes[name]):
        alive = [
            other
            for other in offsets
            if first[other] <= last[name] and first[name] <= last[other]
        ]
        place = 0
        for other in sorted(alive, key=offsets.get):
            if place + sizes[name] <= offsets[other]:
                break
            end = offsets[other] + sizes[other]
            place = max(place, -(-end // alignment) * alignment)
        offsets[name] = place
    return offsets
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "arena-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import arena_case, exercise, expect_arena

with exercise("arena"):

    def expect_valid(listed, outputs, alignment, what, cause=""):
        """No two that live at the same time share a byte, and all are aligned."""
        ops, sizes = arena_case(listed)
        got = plan(
            [dict(op, of=list(op["of"])) for op in ops], dict(sizes), list(outputs), alignment
        )
        expect_arena(got, ops, sizes, outputs, alignment, what, cause)

    expect_valid(
        "a 100 x; b 50 a; c 100 b",
        ["c"],
        1,
        "a chain a, b, c",
        "an operation reads its inputs while it writes its result",
    )
    expect_valid(
        "a 100 x; b 50 a; c 30 b; d 10 a c",
        ["d"],
        16,
        "a is read again at the end",
        "alive to the last one that reads it",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: outputs that are made early; results that nobody reads; an output that is read, too; a name twice; inputs with sizes; one operation; none; alignments; an operation that reads what was made long before; very large results; a hundred operations; 1500.
    # Stated by: "What is an output of the whole list is alive to the end" | "up to 2000" | "1 to 2**32" | "A result that nobody reads and that is no output is alive during its own operation" | "names of results
    #   that are needed in the end" | ""of" may hold a name twice" | "it may know inputs, too" | "for each operation's result and nothing else" | "a list of dicts" | "Each offset
    #   is a multiple of `alignment`" | "from the operation that makes it to the last one that reads it, both included" | "in the order in which they run"
    # Right because: two results get in each other's way only if there is an operation at which both are alive.
    early = "an output is alive to the end, whoever else has read it"
    expect_valid(
        "a 10 x; b 20 x; c 30 b; d 20 c", ["a", "d"], 1, "an output that is made first", early
    )
    expect_valid(
        "a 10 x; b 20 a; c 30 b; d 20 c", ["a", "d"], 4, "an output that is read, too", early
    )
    own = "while it is being written it is alive, and so is what its operation reads"
    expect_valid("a 50 x; b 20 a; c 30 a; d 5 c", ["d"], 1, "a result that nobody reads", own)
    expect_valid("a 10 x; b 10 a a; c 10 b b", ["c"], 1, "a name twice", own)
    expect_valid("b 10 x; c 10 b b; d 10 b c", ["d"], 1, "a name twice, and once more", own)
    exact = "bytes are whole numbers: a float32 loses some, from 2**24 on"
    expect_valid(f"a {2**24 + 1} x; b 3 a; c 5 b a", ["c"], 1, "2**24 + 1 bytes", exact)
    expect_valid("a 7 x", ["a"], 8, "one operation")
    expect_valid("", [], 8, "no operations")
    expect_valid("a 7 x", [], 8, "one that nobody needs")
    aligned = "each offset is a multiple of the alignment"
    for alignment in (1, 3, 16, 64, 100):
        listed = "a 33 x; b 17 a; c 65 a b; d 1 c; e 99 b d; f 12 e c"
        expect_valid(
            listed, ["f"], alignment, f"six operations, aligned to {alignment}", aligned
        )
    expect_valid(
        "a 64 x; b 10 a; c 90 b; d 70 c; e 64 d; f 30 a e",
        ["f"],
        1,
        "a is read by the last",
        "alive to the last one that reads it",
    )
    expect_valid(
        "; ".join(f"r{i} {10 + 7 * i % 40} r{i - 1} r{max(i - 4, 0)}" for i in range(1, 101)),
        ["r100", "r50"],
        8,
        "a hundred operations, each reads two",
    )
    deep = "; ".join(f"r{i} {8 + i % 5} r{i - 1}" for i in range(1, 1501))
    expect_valid(deep, ["r1500"], 1, "a chain of 1500")
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "arena-size-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import arena_case, exercise, expect_arena, random_arena

with exercise("arena-size"):

    def expect_small(ops, sizes, outputs, alignment, what, cause=""):
        got = plan(
            [dict(op, of=list(op["of"])) for op in ops], dict(sizes), list(outputs), alignment
        )
        expect_arena(got, ops, sizes, outputs, alignment, what, cause, most=1.25)

    expect_small(
        *arena_case("a 100 x; b 50 a; c 100 b; d 50 c"),
        ["d"],
        1,
        "a chain of 100, 50, 100 and 50 bytes",
        "when b is made, a isn't needed any more: c can lie where a was",
    )
    expect_small(
        *arena_case("a 10 x; b 100 x; c 10 b; d 110 c a"),
        ["d"],
        1,
        "small ones beside large ones",
        "the largest first, each at the lowest offset that is free",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: long chains; a result that lives through all of it; alignments; layers of a model; many operations by chance.
    # Stated by: "Two results may share bytes if they are never alive at the same time" | "at most a quarter larger than the lower bound" | "each result's size rounded up to a multiple of `alignment`" | "The step is a list of operations" | "The tests'
    #   cases allow for that"
    # Right because: at the operation where most is alive no plan can do with less, and the largest first leave few gaps that nothing fits into.
    gaps = "gaps are used again, and the largest have the first choice"
    chain = "; ".join(f"r{i} {(100, 40, 20)[i % 3]} r{i - 1}" for i in range(1, 40))
    expect_small(*arena_case(chain), ["r39"], 1, "a chain of 39", gaps)
    expect_small(
        *arena_case(f"keep 25 x; {chain}; end 10 keep r39"),
        ["end"],
        1,
        "a residual around a chain of 39",
        gaps,
    )
    expect_small(*arena_case(chain), ["r39"], 64, "a chain of 39, aligned to 64", gaps)
    none = "what is a multiple of the alignment already needs no bytes more"
    whole = arena_case("a 128 x; b 64 a; c 128 b")
    expect_small(*whole, ["c"], 64, "128, 64 and 128 bytes, aligned to 64", none)
    layer = (
        "n{i} 576 x{j}; q{i} 576 n{i}; k{i} 192 n{i}; v{i} 192 n{i}; m{i} 576 q{i} k{i} v{i}; o{i} 576 m{i}; y{i} 576 x{j} o{i}; "
        "p{i} 576 y{i}; g{i} 1536 p{i}; u{i} 1536 p{i}; s{i} 1536 g{i} u{i}; d{i} 576 s{i}; x{i} 576 y{i} d{i}"
    )
    layers = "; ".join(layer.format(i=i, j=i - 1) for i in range(1, 7))
    expect_small(*arena_case(layers), ["x6"], 64, "six layers of a model", gaps)
    for seed in (31, 42, 48, 50, 54, 65, 66, 123, 126, 136, 137, 144):
        ops, sizes, outputs = random_arena(seed)
        expect_small(
            ops,
            sizes,
            outputs,
            (1, 16)[seed % 2],
            f"{len(ops)} operations by chance, number {seed}",
            gaps,
        )
    ### END HIDDEN TESTS

# %% [markdown]
# What is saved on a whole model? The operations are those of unit 10, the sizes those of 32 tokens at once, as when SmolLM2 reads a prompt.

# %% tags=["for-real"]
if scoreboard.ready("arena"):
    ops, last_result = graphs.model_ops(model.config.layers)
    sizes = graphs.bytes_of(model.config, ops, rows=32)
    offsets = plan(ops, sizes, [last_result], 64)
    whole = sum(sizes[op["name"]] for op in ops)
    arena = max(offsets[name] + sizes[name] for name in offsets)
    print(
        f"{len(ops)} results: {whole / 1e6:.1f} MB one beside the other, an arena of {arena / 1e6:.2f} MB"
    )
    pictures.arena(ops[:24], offsets, sizes)

# %% [markdown]
# *In words: boxes over the operations of the first layer, from left to right. A box begins where its result is made and ends where it is read last; it is as high as its bytes, and lies at its
# offset. No two boxes overlap, and few gaps are left.*
#
# Compare with the weights: half a gigabyte in float32. The plan matters where memory counts in kilobytes, on a microcontroller, and for long prompts; on a phone with a chat of one token at a time it saves little.
#
# ### Exercise 5 · A step that can leave Python (4 points)
#
# On a phone there is no Python. `torch.export` runs your function once with *fake* tensors, which have shapes and no values, and writes down every operation: a program that ExecuTorch and others can compile. What a fake
# tensor can't answer can't be exported: `int(position)`, `if position > 0`, a slice `[:position]`. And what Python decided during that one run is in the program for ever.
#
# So a decode step needs **static shapes**: a cache of fixed length, written **by index**; a **mask made from the position**, which is a tensor. Write attention for one token:
#
# - rotate q and k by the position (as in unit 03; `rotate` and `rope_table` are at hand, and may be exported);
# - write k, rotated, and v into the buffers at the position, and return new buffers: what you are given stays as it is;
# - attend to the places up to the position, that one included. What lies behind it isn't zero: it may be any numbers up to 1e30, left by an earlier conversation.
#
# `exporting.program` of the course's library gives `torch.export` your function, and returns the program as plain data: a list of operations of **core ATen**, some two hundred to which all others are broken down. Devices take these, on real numbers:
# no complex ones, and none by chance. The tests compute with **that list**, at each position. 2 points are for the function, 2 for the program.
#
# <details><summary>Hint 1</summary>torch.arange(places) == position is True at one place. torch.where(mask, new, old) writes there, and index_copy(1, position, …) does, too.</details>
# <details><summary>Hint 2</summary>F.scaled_dot_product_attention takes attn_mask=seen, a truth value for each place, and enable_gqa=True.</details>
# <details><summary>Hint 3</summary>places is keys.shape[1]: shapes are known, values aren't.</details>


# %% nbgrader={"grade": false, "grade_id": "static-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fridge.fusion import exporting


def attend_step(q, k, v, keys, values, position, inv_freq):
    """Attention of one token, with buffers of fixed length.

    Args:
        q: float32 [heads, head_dim], k and v: [kv_heads, head_dim], not rotated. Query head h
            reads KV head h // (heads // kv_heads).
        keys, values: [kv_heads, places, head_dim]; keys are rotated already.
        position: int64 [1], of this token, 0 to places - 1.
        inv_freq: [head_dim / 2].

    Returns:
        (out, keys, values): out [heads, head_dim]; the buffers with this token's key and
        value at its position, all else as before. No shape hangs on the position.
    """
    ### BEGIN SOLUTION
    table = rope_table(position, inv_freq, torch.float32)
    q, k = rotate(q[:, None], *table), rotate(k[:, None], *table)
    places = torch.arange(keys.shape[1])
    here = (places == position)[:, None]
    keys, values = torch.where(here, k, keys), torch.where(here, v[:, None], values)
    seen = (places <= position)[None, None]
    out = F.scaled_dot_product_attention(
        q[None], keys[None], values[None], attn_mask=seen, enable_gqa=True
    )
    return out[0, :, 0], keys, values
    ### END SOLUTION


def exported(heads, kv_heads, head_dim, places):
    """The program of attend_step for these shapes, as exporting.program returns it."""
    return exporting.program(
        attend_step, exporting.attention_inputs(heads, kv_heads, head_dim, places)
    )


# %% nbgrader={"grade": true, "grade_id": "static-step-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    exercise,
    expect_close,
    expect_parts,
    expect_tensor,
    randn,
    step_attention,
)

with exercise("static-step"):

    def expect_step(
        position, places, what, cause="", heads=2, kv_heads=1, size=4, old=None, loud=0.0
    ):
        """One call, with buffers that hold something everywhere."""
        q, k, v = (
            randn(count, size, seed=i + position)
            for i, count in enumerate((heads, kv_heads, kv_heads))
        )
        keys, values = (randn(kv_heads, places, size, seed=9 + i) for i in (0, 1))
        if old is not None:
            values[:, position + 1 :] = old
        if loud:
            keys[:, position + 1 :] = loud * q[::heads, None]
        inv_freq = torch.tensor([0.8 / 5**i for i in range(size // 2)])
        given = [part.clone() for part in (q, k, v, keys, values)]
        got = expect_parts(
            attend_step(*given, torch.tensor([position]), inv_freq),
            "out, keys, values",
            f"{what}: what attend_step returns",
        )
        right = step_attention(q, k, v, keys, values, position, inv_freq)
        written = "at the position, all else as before"
        causes = {
            "keys": f"the rotated key {written}",
            "values": f"the value {written}",
            "out": cause,
        }
        parts = dict(zip(("out", "keys", "values"), zip(got, right, strict=True), strict=True))
        for name, why in causes.items():  # out follows from the buffers
            part = expect_tensor(parts[name][0], f"{what}: {name}", parts[name][1].shape)
            expect_close(part, parts[name][1], f"{what}: {name}", why, 1e-4)

    expect_step(
        2,
        5,
        "position 2 of 5 places",
        "places 0, 1 and 2 are seen; behind them lies something else",
    )
    expect_step(0, 5, "position 0", "the first token sees itself alone")
    ### BEGIN HIDDEN TESTS
    # Looks at: each position, the last one, too; a buffer of one place, and of many; grouped heads; wide heads; large numbers behind the position.
    # Stated by: "0 to places - 1" | "all else as before" | "h // (heads // kv_heads)" | "float32 [heads, head_dim]" | "it may be any numbers up to 1e30, left by an earlier conversation"
    # Right because: a place that isn't seen has a weight of exactly 0, so that what lies there can't matter.
    seen = "the places up to the position, that one included"
    for position in range(6):
        expect_step(position, 6, f"position {position} of 6 places", seen)
    expect_step(0, 1, "the only place")
    for position in (0, 3, 4):
        expect_step(
            position,
            5,
            f"6 heads, 3 KV heads, position {position}",
            "neighbours share a KV head",
            6,
            3,
        )
    expect_step(3, 7, "heads of 16 numbers", seen, size=16)
    left = "what lies behind the position isn't seen, whatever it is"
    expect_step(1, 4, "values of 1e30 behind the position", left, old=1e30)
    for loud in (300, 1e29):
        what = "keys behind the position that fit the query far better"
        expect_step(1, 4, f"{what}, {loud:g} times", left, loud=loud)
    expect_step(70, 80, "position 70 of 80 places", seen)
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "static-export-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import exercise, expect_close, expect_program, randn, step_attention

with exercise("static-export"):

    def expect_exported(heads, kv_heads, size, places, what):
        """The program, fed with its own buffers, at one position after another."""
        run = expect_program(exported(heads, kv_heads, size, places), what)
        inv_freq = torch.tensor([0.8 / 5**i for i in range(size // 2)])
        keys, values = (randn(kv_heads, places, size, seed=9 + i) for i in (0, 1))
        for position in [*range(places), 0, places - 1, places // 2]:
            q, k, v = (
                randn(n, size, seed=i + 3 * position)
                for i, n in enumerate((heads, kv_heads, kv_heads))
            )
            right = step_attention(q, k, v, keys, values, position, inv_freq)
            got = run(
                [q, k, v, keys, values, torch.tensor([position]), inv_freq],
                [part.shape for part in right],
            )
            for part, expected, name in zip(got, right, ("out", "keys", "values"), strict=True):
                case = f"{what}, position {position}: the program's {name}"
                expect_close(
                    part,
                    expected,
                    case,
                    "the program is the same at each position: it must compute with the position, not know it",
                    1e-4,
                )
            keys, values = got[1], got[2]

    expect_exported(2, 1, 4, 4, "2 heads of 4, 4 places")
    ### BEGIN HIDDEN TESTS
    # Looks at: another number of places; one place; grouped heads; other widths.
    # Stated by: "The program of attend_step for these shapes" | "0 to places - 1" | "h // (heads // kv_heads)" | "[head_dim / 2]"
    # Right because: nothing in the program is of one position; what a position changes are values, and these are computed.
    for shapes in ((6, 3, 4, 3), (1, 1, 2, 1), (3, 1, 16, 9)):
        heads, kv_heads, size, places = shapes
        expect_exported(
            *shapes, f"{heads} heads, {kv_heads} KV heads, {size} numbers, {places} places"
        )
    ### END HIDDEN TESTS

# %% tags=["for-real"]
if scoreboard.ready("static-step", "static-export"):
    step = exporting.StaticModel(model, 64, attend_step)
    program, spent = exporting.timed_export(step)
    prompt = tokenizer("The capital of France is", return_tensors="pt")["input_ids"][0]
    apart = exporting.apart(step, program, model, prompt)
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    print(
        f"torch.export: {len(nodes)} operations for a step of {model.config.layers} layers, written down in {spent:.0f} s"
    )
    print(
        f"largest difference of the logits from the model's own, over {len(prompt)} positions: {apart:.0e}"
    )

# %% [markdown]
# One program for every position: that is what ExecuTorch takes, and lowers to kernels. It was done once with this step, in an environment of its own (the instructor's folder has the program), for a processor (XNNPACK's kernels, which phones have, too). What came of it:

# %% tags=["for-real"]
if lowered := exporting.by_executorch():
    machine, versions = lowered["machine"], lowered["versions"]
    print(
        f"ExecuTorch {versions['executorch']}: lowered in {lowered['lowering_seconds']:.0f} s to a file of {lowered['program_bytes'] / 1e6:.0f} MB; "
        f"{lowered['same_tokens']} of {len(lowered['tokens'])} tokens are the model's own; "
        f"{lowered['per_processor_second']:.0f} a processor second, {machine['threads']} thread"
    )
    print(f"({machine['cpu']}, {machine['date']}, torch {versions['torch']})")

# %% [markdown]
# Not one line of Python runs in it. A buffer of fixed length costs something, too: attention always computes all its places, however short the conversation is.
#
# ### Exercise 6 · A product in whole numbers (2 points)
#
# Phones multiply bytes faster than floats: one instruction multiplies many pairs of 8-bit numbers and adds the products to sums of 32 bits. The weights are in 8 bits already, with a scale for each
# row (unit 02). The **activations** are rounded on the way, with a scale for each token:
#
# $$s = \frac{\max_j |x_j|}{127}, \qquad c_j = \mathrm{round}(x_j / s), \qquad y_i = s \cdot \text{scale}_i \cdot \sum_j c_j w_{ij}$$
#
# The sum is one of **whole numbers**, and exact. It doesn't fit into 8 bits, nor 16: three products of 127 · 127 are too much for those. Nor does float32 hold it: it counts to $2^{24}$ and then leaves numbers out. 32 bits hold it for as many columns as here.
#
# <details><summary>Hint 1</summary>codes.to(torch.int32) before anything is multiplied: in torch, int8 times int8 is int8.</details>
# <details><summary>Hint 2</summary>A token of zeros has s = 0, and 0 / 0 is NaN.</details>


# %% nbgrader={"grade": false, "grade_id": "int8-product", "locked": false, "schema_version": 3, "solution": true, "task": false}
def int8_product(x, weight, scale):
    """x times the transposed weight, with activations in 8 bits.

    Args:
        x: float32 [tokens, columns], finite. columns: up to 100,000.
        weight: int8 [rows, columns].
        scale: float32 [rows].

    Returns:
        float32 [tokens, rows], by the formula above; a token of zeros gives zeros. The sum is
        computed in whole numbers, and exact.
    """
    ### BEGIN SOLUTION
    s = x.abs().amax(dim=1, keepdim=True) / 127
    codes = torch.round(x / torch.where(s == 0, 1.0, s)).to(torch.int32)
    sums = codes @ weight.to(torch.int32).T
    return sums * s * scale
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "int8-product-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import exercise, expect_close, expect_tensor, randn, whole_codes

with exercise("int8-product"):

    def expect_product(codes, s, weight, what, cause="", scale=None):
        """x is codes * s, with s a power of two, so that rounding has no choice."""
        x = codes.float() * s
        scale = torch.ones(len(weight)) if scale is None else scale
        got = int8_product(x, weight.clone(), scale.clone())
        got = expect_tensor(got, f"{what}: y", (len(x), len(weight)), torch.float32)
        right = (codes.long() @ weight.long().T).double() * s * scale.double()
        tolerance = 1e-6 * float(right.abs().max()) + 1e-9
        expect_close(got, right, f"{what}: y", cause, tolerance)

    expect_product(
        torch.tensor([[127, -3, 0]]),
        0.5,
        torch.tensor([[1, 2, 3], [0, 5, 6]], dtype=torch.int8),
        "x [63.5, -1.5, 0]",
        "s is the largest size over 127: 0.5; the codes are 127, -3 and 0",
    )
    expect_product(
        torch.tensor([[127] * 8]),
        1.0,
        torch.full((1, 8), 127, dtype=torch.int8),
        "8 products of 127 * 127",
        "the sum, 129032, doesn't fit into 16 bits: make int32 of both before you multiply",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: tokens of very different size, and tiny ones; another weight; -128 among the weights; scales; sums that float32 can't hold; a token of zeros; one column, one row; values between two codes.
    # Stated by: "with a scale for each token" | "x times the transposed weight" | "int8 [rows, columns]" | "with a scale for each row" | "float32 hold it: it counts to" | "a token
    #   of zeros gives zeros" | "[tokens, columns]" | "\mathrm{round}(x_j / s)"
    # Right because: whole numbers add up the same in any order, and one multiplication by both scales at the end puts the size back.
    weight = whole_codes(5, 40, seed=1)
    codes = whole_codes(3, 40, seed=2)
    codes[:, 0] = torch.tensor([127, -127, 127])
    expect_product(codes, 0.25, weight, "3 tokens, 5 rows, 40 columns")
    expect_product(
        codes,
        torch.tensor([[2.0**-10], [1.0], [2.0**12]]),
        weight,
        "tokens of very different size",
        "each token has a scale of its own",
    )
    expect_product(codes, 0.25, whole_codes(5, 40, seed=9), "the same with another weight")
    expect_product(
        codes, 2.0**-30, weight, "a token of tiny numbers", "s is as small as they are"
    )
    expect_product(
        codes,
        0.25,
        weight,
        "a scale for each row",
        "row i times scale i",
        torch.tensor([1.0, 2.0, 0.5, 1e-3, 8.0]),
    )
    low = torch.full((2, 6), -128, dtype=torch.int8)
    expect_product(
        torch.tensor([[127, -127, 5, 0, 1, -1]]),
        1.0,
        low,
        "weights of -128",
        "an int8 goes down to -128",
    )
    expect_product(
        torch.tensor([[127]]),
        2.0,
        torch.tensor([[-7]], dtype=torch.int8),
        "one column, one row",
    )
    exact = (
        "the sum is exact in int32, and no float32 holds it: 2^24 + 1 is none of its numbers"
    )
    long = torch.full((1, 20_000), 127)
    up = torch.full((1, 20_000), 127, dtype=torch.int8)
    up[0, 10_000:] = -127
    up[0, 0] = 126
    expect_product(long, 1.0, up, "sums that grow and shrink again, 20,000 columns", exact)
    odd = torch.full((1, 3000), 127)
    odd[0, 1:] = 81
    odd_weight = torch.full((1, 3000), 97, dtype=torch.int8)
    odd_weight[0, 2000:] = -128
    expect_product(odd, 1.0, odd_weight, "sums above 2^24", exact)
    many = torch.full((1, 100_000), 127)
    expect_product(
        many,
        2.0**-7,
        torch.full((1, 100_000), 127, dtype=torch.int8),
        "100,000 columns, the largest sum",
    )
    zeros = torch.zeros(2, 7)
    zeros[1, 3] = 127
    expect_product(
        zeros,
        1.0,
        whole_codes(3, 7, seed=3),
        "a token of zeros beside another",
        "a token of zeros gives zeros, not NaN",
    )
    between = torch.tensor([[127.0, 2.75, -2.75, 0.25, -0.25, 63.4]])
    right = (
        torch.tensor([[127, 3, -3, 0, 0, 63]]).double() @ whole_codes(4, 6, seed=5).double().T
    )
    got = expect_tensor(
        int8_product(between, whole_codes(4, 6, seed=5), torch.ones(4)),
        "values between two codes: y",
        (1, 4),
    )
    expect_close(
        got,
        right,
        "values between two codes: y",
        "to the nearest: 2.75 becomes 3, -2.75 becomes -3",
        1e-3,
    )
    ### END HIDDEN TESTS

# %% tags=["for-real"]
if scoreboard.ready("int8-product"):
    linear = model.model.layers[0].mlp.down_proj.weight.detach().float().cpu()
    scale = linear.abs().amax(dim=1) / 127
    weight = torch.round(linear / scale[:, None]).to(torch.int8)
    x = torch.randn(8, linear.shape[1], generator=torch.Generator().manual_seed(0))
    exact, ours = x @ linear.T, int8_product(x, weight, scale)
    float_ms, ours_ms, library_ms = (
        1e3 * measure.seconds(way, repeats=20)
        for way in (
            lambda: x @ linear.T,
            lambda: int8_product(x, weight, scale),
            lambda: torch._int_mm(x.to(torch.int8), weight.T),
        )
    )
    print(
        f"a matrix of SmolLM2, 8 tokens: {float((ours - exact).norm() / exact.norm()):.2%} off in 8 bits"
    )
    print(
        f"float32 {float_ms:.2f} ms, your function {ours_ms:.2f} ms, torch's own int8 product {library_ms:.2f} ms"
    )

# %% [markdown]
# Your function is right and slow: torch's product of int32 matrices is a plain loop. The library's own is what the instruction gives, and whether that beats float32 depends on the processor. On a
# phone the same holds: without a kernel for it, fewer bits are fewer bytes and no faster arithmetic.
#
# ### Exercise 7 · Tokens a second, tokens a charge (2 points)
#
# Three numbers that decide what a device is good for.
#
# **Tokens per second.** A token takes as long as the slower of two things: reading `bytes_read` from memory at `bandwidth` bytes a second, and computing `flops` operations at `speed` operations a second (unit 01's roofline).
#
# **Tokens per charge.** A device that computes draws `watts` from a battery of `watt_hours` (1 Wh is 3600 joules, and a watt is a joule a second), until it is empty. It also gets hot: for the first `burst` seconds it runs at its full rate, after that at `throttled` times that rate, drawing
# as much as before.
#
# **Local or remote.** A reply of n tokens takes n / local_rate seconds on the device, and round_trip + n / remote_rate from a server. From which n on is the server faster?
#
# <details><summary>Hint 1</summary>Seconds until the battery is empty: 3600 · watt_hours / watts. Of these, min(seconds, burst) are at the full rate.</details>
# <details><summary>Hint 2</summary>A token more costs 1/local − 1/remote seconds more on the device. If that isn't positive, the server never catches up.</details>


# %% nbgrader={"grade": false, "grade_id": "rates", "locked": false, "schema_version": 3, "solution": true, "task": false}
def tokens_per_second(bytes_read, flops, bandwidth, speed):
    """The most tokens a second, by the roofline; all arguments above 0."""
    ### BEGIN SOLUTION
    return 1 / max(bytes_read / bandwidth, flops / speed)
    ### END SOLUTION


def tokens_per_charge(rate, watt_hours, watts, burst, throttled):
    """Tokens until the battery is empty.

    Args:
        rate: tokens a second, at full rate.
        watt_hours: of the battery; watts: that computing draws.
        burst: seconds at full rate, 0 or more, maybe more than the battery lasts.
        throttled: share of the rate after that, 0 to 1.

    Returns:
        A number; it needn't be whole.
    """
    ### BEGIN SOLUTION
    seconds = 3600 * watt_hours / watts
    full = min(seconds, burst)
    return rate * (full + throttled * (seconds - full))
    ### END SOLUTION


def crossing(local_rate, remote_rate, round_trip):
    """From how many tokens on a server answers faster than the device.

    Args:
        local_rate, remote_rate: tokens a second, above 0.
        round_trip: seconds, 0 or more.

    Returns:
        The smallest n, 1 or more, for which the server takes less time, not as much; None if
        there is none. Floats are exact enough: no test has a tie that they round away.
    """
    ### BEGIN SOLUTION
    gain = 1 / local_rate - 1 / remote_rate
    return math.floor(round_trip / gain) + 1 if gain > 0 else None
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "rates-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_close, expect_equal, expect_number

with exercise("rates"):
    import torch

    def expect_rate(got, right, what, cause=""):
        got = expect_number(got, f"{what}: tokens")
        expect_close(
            got,
            torch.tensor(right, dtype=torch.float64),
            f"{what}: tokens",
            cause,
            1e-6 * max(1.0, abs(right)),
        )

    def expect_crossing(local, remote, round_trip, right, what, cause=""):
        got = crossing(local, remote, round_trip)
        if right is not None and got is not None:
            got = expect_number(got, f"{what}: n")
        expect_equal(got, right, f"{what}: n", cause)

    expect_rate(
        tokens_per_second(100, 10, 1000, 1000),
        10.0,
        "100 bytes at 1000 a second, 10 operations at 1000",
        "reading takes 0.1 s",
    )
    expect_rate(
        tokens_per_charge(8, 1, 2, 600, 0.5),
        8 * 600 + 4 * 1200,
        "1 Wh at 2 W, 600 s of them at 8 tokens a second",
        "1800 s, of which 1200 at half the rate",
    )
    expect_crossing(
        2.0,
        4.0,
        1.0,
        5,
        "2 and 4 tokens a second, a round trip of 1 s",
        "4 tokens take 2 s on both: the server is faster from 5 on",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: arithmetic slower than reading; a battery that is empty before the device is hot; no burst; no throttling, and to 0; a server that is as fast, and slower; no round trip; crossings between two numbers, and far away.
    # Stated by: "as long as the slower of two things" | "maybe more than the battery lasts" | "0 or more" | "share of the rate after that, 0 to 1" | "for which the server takes less time, not as much" | "round_trip: seconds,
    #   0 or more" | "The smallest n, 1 or more"
    # Right because: two lines, one with a higher start and a lower slope, cross once at most.
    slower = "the slower of both counts, not their sum"
    expect_rate(
        tokens_per_second(100, 900, 1000, 1000),
        1 / 0.9,
        "900 operations at 1000 a second",
        slower,
    )
    expect_rate(
        tokens_per_second(98_362_432, 269e6, 40e9, 60e9),
        1 / (269e6 / 60e9),
        "SmolLM2 on a phone's core",
        slower,
    )
    expect_rate(
        tokens_per_second(98_362_432, 269e6, 8e9, 900e9),
        8e9 / 98_362_432,
        "SmolLM2 with slow memory",
        slower,
    )
    empty = "the battery is empty before the device is hot"
    expect_rate(
        tokens_per_charge(10, 1, 36, 600, 0.5),
        1000,
        "100 s of battery, a burst of 600 s",
        empty,
    )
    expect_rate(
        tokens_per_charge(10, 1, 36, 100, 0.5),
        1000,
        "100 s of battery, a burst of 100 s",
        empty,
    )
    expect_rate(
        tokens_per_charge(10, 15, 5, 0, 0.25),
        27_000,
        "no burst",
        "all of it at a quarter of the rate",
    )
    expect_rate(
        tokens_per_charge(10, 15, 5, 300, 1),
        108_000,
        "no throttling",
        "the same rate all the time",
    )
    expect_rate(tokens_per_charge(10, 15, 5, 300, 0), 3000, "throttled to nothing")
    expect_rate(
        tokens_per_charge(0.5, 12.7, 3.2, 90, 0.6),
        0.5 * (90 + 0.6 * (3600 * 12.7 / 3.2 - 90)),
        "12.7 Wh at 3.2 W",
    )
    expect_rate(tokens_per_charge(8, 1, 2, 0.5, 0.5), 7202, "a burst of half a second")
    less = "the server must take less time, not as much"
    expect_crossing(2.0, 4.0, 1.1, 5, "a round trip of 1.1 s", less)
    expect_crossing(2.0, 4.0, 1.25, 6, "a round trip of 1.25 s", less)
    expect_crossing(
        2.0, 4.0, 0.2, 1, "a round trip of 0.2 s", "a single token is faster there already"
    )
    expect_crossing(2.0, 4.0, 0.25, 2, "a round trip of 0.25 s", less)
    expect_crossing(2.0, 4.0, 0, 1, "no round trip", "n is 1 or more")
    never = "a server that isn't faster by the token never catches up"
    expect_crossing(4.0, 4.0, 0.5, None, "as fast", never)
    expect_crossing(4.0, 4.0, 0, None, "as fast, no round trip", never)
    expect_crossing(4.0, 2.0, 0.5, None, "a slower server", never)
    expect_crossing(8.0, 16.0, 64.0, 1025, "far away", less)
    expect_crossing(100.0, 100.5, 0.1003, 2017, "a server that is hardly faster")
    expect_crossing(100.0, 101.0, 1.0001, 10_102, "ten thousand tokens away")
    expect_crossing(10.0, 50.0, 0.3, 4, "10 and 50 tokens a second, 0.3 s", less)
    ### END HIDDEN TESTS

# %% [markdown]
# With measured rates: what the records of units 08 and 09 say of one machine, and a network's round trip that you choose. The machine in the record plays both parts: llama.cpp for one user is the device, the engine with
# 32 users at once is the server, which gives each of them a thirty-second part of its tokens.

# %% tags=["for-real"]
if scoreboard.ready("rates"):
    one_user, shared = where.rates()
    print(f"the device, {one_user['name']}: {one_user['rate']:.0f} tokens a second; ", end="")
    print(
        f"the server, {shared['name']}: {shared['rate']:.1f} for each of 32 users, {shared['alone']:.0f} for one alone"
    )
    card = CARDS["A100-80"]
    count = sum(weight.numel() for weight in model.parameters())
    shipped_bytes = next(
        one["memory"] for one in where.candidates() if one["name"] == where.SHIPPED
    )
    on_a_card = tokens_per_second(shipped_bytes, 2 * count, card.bandwidth, card.flops)
    for words, rate in (
        ("a busy server", shared["rate"]),
        ("a server with nobody else", shared["alone"]),
        (f"an A100, at most {on_a_card:,.0f} tokens a second", on_a_card),
    ):
        for round_trip in (0.02, 0.2):
            n = crossing(one_user["rate"], rate, round_trip)
            print(
                f"{words}, {1000 * round_trip:.0f} ms away: ",
                "never faster" if n is None else f"faster from {n} tokens on",
            )

# %% [markdown]
# A server is faster because it is a larger machine, not because it is a server. On the same machine the device wins, for it has no round trip and shares nothing. (llama.cpp's rate is for a second of its processor, the engine's for a second of the clock, on two cores.) The card's
# figure is the roofline's: an upper bound that nobody reaches with one user and so small a model.
#
# ### Exercise 8 · Choose (3 points)
#
# The chapter's table says what to deploy where. As a function it is three steps, and their order matters:
#
# 1. **Constraints.** A candidate that breaks one is out, however good it is otherwise.
# 2. **The Pareto set.** Of those that are left, a candidate is out if another one **dominates** it: is at least as good in quality, speed and memory, and better in one of them. More quality and more speed are better, less memory is.
# 3. **The rule**, written down before the numbers are seen: of the Pareto set, keep those whose quality is at least `enough` times the best quality in it. Take the **fastest** of these. If several are as fast: the least memory, and then the name that comes first in the alphabet.
#
# A candidate is a dict, and so is a scenario; what they hold says the docstring.
#
# <details><summary>Hint 1</summary>Write a function dominates(a, b) first. A candidate that is equal to another in all three isn't dominated by it: both stay.</details>
# <details><summary>Hint 2</summary>min(…, key=lambda one: (-speed, memory, name)) takes all three ties at once.</details>


# %% nbgrader={"grade": false, "grade_id": "choose", "locked": false, "schema_version": 3, "solution": true, "task": false}
def choose(scenario, candidates):
    """What to deploy.

    Args:
        scenario: a dict with
            "memory": bytes that there are; "users": at once; "private": True if nothing may
            leave the device; "first_token": seconds that may pass, at most; "licences": a
            list of those that are allowed; "enough": share of the best quality that is
            enough, 0 to 1.
        candidates: a list of dicts, in any order, with
            "name", no two alike;
            "memory": bytes that it needs; "users": that it can serve, at most;
            "local": True if it runs on the device; "first_token": seconds; "licence"; and
            "quality" and "speed", numbers above 0.

    Returns:
        (names, chosen): the names of the Pareto set, in alphabetical order, and the one that
        the rule takes; ([], None) if every candidate breaks a constraint. What is exactly at a
        limit keeps it.
    """
    ### BEGIN SOLUTION
    left = [
        one
        for one in candidates
        if one["memory"] <= scenario["memory"]
        and one["users"] >= scenario["users"]
        and (one["local"] or not scenario["private"])
        and one["first_token"] <= scenario["first_token"]
        and one["licence"] in scenario["licences"]
    ]

    def dominates(a, b):
        mine, theirs = ((one["quality"], one["speed"], -one["memory"]) for one in (a, b))
        return mine != theirs and all(x >= y for x, y in zip(mine, theirs, strict=True))

    front = [one for one in left if not any(dominates(other, one) for other in left)]
    if not front:
        return [], None
    best = max(one["quality"] for one in front)
    good = [one for one in front if one["quality"] >= scenario["enough"] * best]
    chosen = min(good, key=lambda one: (-one["speed"], one["memory"], one["name"]))
    return sorted(one["name"] for one in front), chosen["name"]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "choose-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
import random

from fridge.testing import exercise, expect_equal, expect_list, expect_parts

with exercise("choose"):
    ANY = {
        "memory": 100,
        "users": 1,
        "private": False,
        "first_token": 9,
        "licences": ["MIT", "Apache-2.0"],
        "enough": 0.5,
    }
    ONE = {
        "memory": 10,
        "users": 1,
        "local": True,
        "first_token": 1,
        "licence": "MIT",
        "quality": 8,
        "speed": 4,
    }

    def expect_choice(names, chosen, candidates, what, cause="", **scenario):
        given = [ONE | {"name": name} | dict(own) for name, own in candidates.items()]
        got = expect_parts(
            choose(ANY | scenario, [dict(one) for one in given]),
            "names, chosen",
            f"{what}: what choose returns",
        )
        expect_equal(
            expect_list(got[0], f"{what}: the Pareto set"),
            names,
            f"{what}: the Pareto set",
            cause,
        )
        expect_equal(got[1], chosen, f"{what}: the choice", cause)

    expect_choice(
        ["large", "small"],
        "small",
        {"large": {"quality": 9, "speed": 2, "memory": 50}, "small": {}, "slow": {"speed": 3}},
        "large, small, and slow, which small dominates",
        "of those with at least half of the best quality, the fastest",
    )
    expect_choice(
        ["large", "small"],
        "large",
        {"large": {"quality": 9, "speed": 2, "memory": 50}, "small": {}},
        "the same, with 0.95 of the best quality as enough",
        "8 is less than 0.95 * 9",
        enough=0.95,
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: each constraint, at its limit and beyond; candidates that are out and would dominate; equal ones, and nearly equal ones; ties in speed and in memory; quality exactly at the limit; no candidates, and none left; another order; dominated ones added; six scenarios.
    # Stated by: "What is exactly at a limit keeps it" | "A candidate that breaks one is out, however good it is otherwise" | "at least as good in quality, speed and memory, and better in one of them" | "the least memory, and then the name that comes first in the
    #   alphabet" | "is at least `enough` times the best quality" | "if every candidate breaks a constraint" | "in any order" | "is out if another one **dominates** it" | "The
    #   chapter's table says what to deploy where"
    # Right because: what breaks a constraint must not push out what keeps it, so that constraints come first; and the rule sees only what nobody beats.
    star = {"quality": 10, "speed": 9, "memory": 5}
    for broken, words in (
        ({"memory": 101}, "more memory than there is"),
        ({"users": 0}, "too few users"),
        ({"first_token": 9.5}, "a first token that comes too late"),
        ({"licence": "research only"}, "a licence that isn't allowed"),
    ):
        out = f"out, however good it is: {words}"
        expect_choice(
            ["plain"], "plain", {"star": star | broken, "plain": {"memory": 6}}, words, out
        )
    remote = {"star": star | {"local": False}, "plain": {}}
    expect_choice(
        ["plain"],
        "plain",
        remote,
        "a private scenario",
        "nothing may leave the device",
        private=True,
    )
    expect_choice(
        ["star"], "star", remote, "the same, not private", "remote is no fault by itself"
    )
    at = {"memory": 100, "users": 5, "first_token": 9}
    expect_choice(
        ["edge"],
        "edge",
        {"edge": at},
        "exactly at each limit",
        "what is exactly at a limit keeps it",
        users=5,
    )
    name = "a licence is allowed if it is in the list, and part of a name is another one"
    expect_choice(
        ["b"], "b", {"a": {"licence": "Apache", "quality": 9}, "b": {}}, "a licence", name
    )
    byte = "a byte less is less memory, and dominates"
    expect_choice(
        ["b"],
        "b",
        {"a": {"memory": 2**24 + 1}, "b": {"memory": 2**24}},
        "16777217 and 16777216 bytes",
        byte,
        memory=2**30,
    )
    expect_choice([], None, {}, "no candidates")
    expect_choice(
        [],
        None,
        {"a": {"users": 1}, "b": {"memory": 500}},
        "each breaks one",
        "out, however good it is",
        users=2,
    )
    same = "equal in all three: neither dominates, and the name decides"
    expect_choice(["a", "b", "c"], "a", {"c": {}, "a": {}, "b": {}}, "three equal ones", same)
    expect_choice(
        ["a"],
        "a",
        {"a": {}, "b": {"memory": 11}},
        "equal but for memory",
        "less memory dominates",
    )
    expect_choice(
        ["a"],
        "a",
        {"b": {"quality": 7}, "a": {}},
        "equal but for quality",
        "more quality dominates",
    )
    expect_choice(
        ["b"],
        "b",
        {"a": {"quality": 8}, "b": {"quality": 9}},
        "as fast and as small, one better",
        "the rule looks at the Pareto set alone: the name of what is dominated counts for nothing",
    )
    expect_choice(
        ["a", "b"],
        "a",
        {"a": {"quality": 9, "speed": 100.0, "memory": 50}, "b": {"speed": 99.8}},
        "hardly faster",
        "the fastest, by however little",
    )
    worse = {
        f"d{i}": {"quality": 5 + i / 100, "speed": 1, "memory": 1 + i / 10} for i in range(60)
    }
    expect_choice(
        ["best"],
        "best",
        worse | {"best": {"quality": 9, "speed": 9, "memory": 0.5}},
        "sixty that one dominates",
        "each is compared with all",
    )
    tie = "as fast: the least memory decides"
    expect_choice(
        ["a", "b"],
        "b",
        {"a": {"quality": 9, "memory": 50}, "b": {"quality": 8, "memory": 20}},
        "two that are as fast",
        tie,
    )
    expect_choice(
        ["a", "b"],
        "b",
        {"a": {"quality": 10, "speed": 1}, "b": {"quality": 5, "speed": 2}},
        "quality exactly half of the best",
        "at least enough times the best",
    )
    expect_choice(
        ["a", "b"],
        "a",
        {"a": {"quality": 10, "speed": 1}, "b": {"quality": 4.9, "speed": 2}},
        "quality less than half of the best",
        "at least enough times the best",
    )
    inside = "the best quality is that of the Pareto set, behind the constraints"
    expect_choice(
        ["b"],
        "b",
        {"a": {"quality": 100, "speed": 9, "users": 0}, "b": {"quality": 8}},
        "the best quality is out",
        inside,
    )
    gb = 10**9
    tools = {
        "Ollama on a laptop": {
            "memory": 6 * gb,
            "users": 2,
            "first_token": 0.8,
            "quality": 70,
            "speed": 20,
        },
        "vLLM on a server": {
            "memory": 60 * gb,
            "users": 200,
            "local": False,
            "first_token": 0.3,
            "licence": "Apache-2.0",
            "quality": 80,
            "speed": 60,
        },
        "MLC LLM on a phone": {
            "memory": 2 * gb,
            "users": 1,
            "first_token": 1.2,
            "licence": "Apache-2.0",
            "quality": 50,
            "speed": 12,
        },
        "wllama in a tab": {
            "memory": gb,
            "users": 1,
            "first_token": 2.0,
            "quality": 30,
            "speed": 6,
        },
        "a large model on a laptop": {
            "memory": 24 * gb,
            "users": 1,
            "first_token": 6,
            "quality": 78,
            "speed": 3,
        },
        "somebody's service": {
            "memory": 0,
            "users": 10**6,
            "local": False,
            "first_token": 0.9,
            "licence": "terms of use",
            "quality": 95,
            "speed": 50,
        },
    }
    open_ones, all_ones = ["MIT", "Apache-2.0"], ["MIT", "Apache-2.0", "terms of use"]
    scenarios = {
        "a lawyer's laptop, 8 GB": (
            {"memory": 8 * gb, "private": True, "enough": 0.9},
            "Ollama on a laptop",
        ),
        "a company's own server": (
            {"memory": 80 * gb, "users": 100, "enough": 0.9},
            "vLLM on a server",
        ),
        "a phone in an aeroplane": (
            {"memory": 3 * gb, "private": True, "enough": 0.9},
            "MLC LLM on a phone",
        ),
        "a web page that asks nobody": (
            {"memory": gb, "private": True, "first_token": 3, "enough": 0.9},
            "wllama in a tab",
        ),
        "a writer who has time": (
            {"memory": 32 * gb, "private": True, "enough": 0.95},
            "a large model on a laptop",
        ),
        "a start-up without machines": (
            {"memory": gb, "users": 1000, "licences": all_ones, "enough": 0.9},
            "somebody's service",
        ),
    }
    fronts = {
        "a lawyer's laptop, 8 GB": [
            "MLC LLM on a phone",
            "Ollama on a laptop",
            "wllama in a tab",
        ],
        "a company's own server": ["vLLM on a server"],
        "a phone in an aeroplane": ["MLC LLM on a phone", "wllama in a tab"],
        "a web page that asks nobody": ["wllama in a tab"],
        "a writer who has time": [
            "MLC LLM on a phone",
            "Ollama on a laptop",
            "a large model on a laptop",
            "wllama in a tab",
        ],
        "a start-up without machines": ["somebody's service"],
    }
    numbers = random.Random(1)
    for words, (own, right) in scenarios.items():
        own = {"licences": open_ones} | own
        expect_choice(
            fronts[words],
            right,
            tools,
            words,
            "constraints, then the Pareto set, then the rule",
            **own,
        )
        names = list(tools)
        numbers.shuffle(names)
        mixed = {name: tools[name] for name in names}
        expect_choice(
            fronts[words],
            right,
            mixed,
            f"{words}, in another order",
            "the order of the candidates doesn't matter",
            **own,
        )
        worse = {
            f"worse than {name}": one
            | {"quality": one["quality"] - 1, "memory": one["memory"] + 1}
            for name, one in tools.items()
        }
        expect_choice(
            fronts[words],
            right,
            worse | tools,
            f"{words}, with worse ones added",
            "what is dominated changes nothing",
            **own,
        )
    ### END HIDDEN TESTS

# %% [markdown]
# The figures in the hidden tests are made up for six scenarios. Here is the chapter's table with what this course has **measured** of each, and nothing where nothing was measured.

# %% tags=["for-real"]
tables.show(where.COLUMNS, where.rows(), below=where.machines(), numbers=[2, 3, 4])

# %% [markdown]
# And your function, on the formats of unit 08, which all ran on one machine: quality is the shipped model's perplexity over theirs, speed llama.cpp's, memory the file.

# %% tags=["for-real"]
if scoreboard.ready("choose"):
    formats_measured = where.candidates()
    for budget in (150e6, 104e6, 95e6):
        for enough in (0.99, 0.8):
            case = {
                "memory": budget,
                "users": 1,
                "private": True,
                "first_token": 9,
                "licences": ["Apache-2.0"],
                "enough": enough,
            }
            front, best = choose(case, formats_measured)
            print(
                f"at most {budget / 1e6:.0f} MB, {enough} of the best quality: {best}  (of {len(front)} that nobody beats)"
            )

# %% [markdown]
# One number in the rule, `enough`, turns the answer around. That is why it is written down before the numbers are seen.
#
# ### Exercise 9 · Capstone: a file that meets a budget (6 points)
#
# A device has room for a file of so many bytes, and you choose the format of each tensor: units 07 and 08 in one decision. Some tensors suffer from 4 bits, others hardly notice; some are large, others small. Rounding everything alike wastes bytes on those that don't need them.
#
# You are given the tensors in **groups** (all matrices of one kind, say): a group's tensors take the same format. Tensors in no group stay `F32`, as norms do in every GGUF. The formats are those of `mixed.KINDS`, Q4_0 to F32, and `mixed.tensor_bytes(kind, shape)` says what one takes.
#
# `loss(kinds)` tells how well the model does when the groups in the dict `kinds` are rounded to these formats, and all else is as it was: the mean loss for each token of a **calibration text**. It costs time, so you may call it 200 times at most.
#
# `mixed.file(metadata, tensors, kinds)` writes a GGUF file, as in unit 08, from a dict tensor name → format (what isn't in it is F32). The file begins with a header, and each tensor at a multiple of 32 bytes: what counts is the length of the whole file.
#
# **Graded**: the file has at most `budget` bytes and loads, with every tensor and one format for each group (3 points). And on a **hidden** text the perplexity is at most 1.5 times that of the tensors as they were (3 points).
#
# Formats that are good enough exist for each budget in the tests; one format for everything isn't.
#
# A way that works: everything in the smallest format; then, for as long as there are bytes, change that group to a larger format which wins the most loss for each byte. What a group loses is measured alone, once for each format.
#
# <details><summary>Hint 1</summary>damage[group, kind] = loss({group: kind}) - loss({}): as many calls as there are groups and formats, and one.</details>
# <details><summary>Hint 2</summary>len(mixed.file(…)) is exact. Or: the differences of tensor_bytes are, once the first file has been measured, because every tensor here has a multiple of 32 bytes.</details>
# <details><summary>Hint 3</summary>A step may go to any larger format, not to the next one alone: Q5_0 may win nothing where Q8_0 wins all. And a step that doesn't fit is skipped: a smaller one may.</details>


# %% nbgrader={"grade": false, "grade_id": "small-file", "locked": false, "schema_version": 3, "solution": true, "task": false}
from fridge.quantization import mixed


def small_file(metadata, tensors, groups, budget, loss):
    """A GGUF file within a budget, as good as can be.

    Args:
        metadata: bytes, handed on to mixed.file as they are.
        tensors: a dict, name -> float32 tensor.
        groups: a dict, group -> list of names, one or more; a tensor is in one group at most.
            28 groups at most.
        budget: bytes of the file, at most.
        loss: a function of a dict, group -> kind, that returns a number; see above.

    Returns:
        The file, as bytes.

    Raises:
        ValueError: even with the smallest kind for every group the file is too large.
    """

    ### BEGIN SOLUTION
    def written(kinds):
        by_name = {name: kind for group, kind in kinds.items() for name in groups[group]}
        return mixed.file(metadata, tensors, by_name)

    def group_bytes(group, kind):
        return sum(mixed.tensor_bytes(kind, tensors[name].shape) for name in groups[group])

    kinds = {
        group: min(mixed.KINDS, key=lambda kind: group_bytes(group, kind)) for group in groups
    }
    if len(written(kinds)) > budget:
        raise ValueError("even the smallest formats don't fit")
    damage = {(group, kind): loss({group: kind}) for group in groups for kind in mixed.KINDS}
    while True:
        room, steps = budget - len(written(kinds)), []
        for group, now in kinds.items():
            for kind in mixed.KINDS:
                more = group_bytes(group, kind) - group_bytes(group, now)
                gain = damage[group, now] - damage[group, kind]
                if gain > 0 and 0 < more <= room:
                    steps.append((gain / more, group, kind))
        if not steps:
            return written(kinds)
        _, group, kind = max(steps)
        kinds[group] = kind
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "small-file-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import StandIn, exercise, expect_raises, expect_small_file

with exercise("small-file"):

    def expect_budget(seed, bits, what, alone=False):
        """The file for so many bits a weight: its size, and what is in it."""
        model = StandIn(seed, alone)
        budget = model.budget(bits)

        def loss(kinds):  # a test may lend a function, and no method
            return model.loss(kinds)

        got = small_file(model.metadata, model.tensors(), model.groups(), budget, loss)
        expect_small_file(got, model, budget, what)
        return budget

    expect_budget(0, 6.0, "a small model, 6 bits a weight")
    ### BEGIN HIDDEN TESTS
    # Looks at: other budgets, and one so large that all may stay as it is; the size to the byte; each tensor a group of its own; exactly the smallest formats, and a byte less.
    # Stated by: "bytes of the file, at most" | "what counts is the length of the whole file" | "a tensor is in one group at most" | "even with the smallest kind for every group the file is too
    #   large"
    # Right because: what a file takes is known before it is written, so that a budget is kept by arithmetic, and never by luck.
    for seed, bits, words in (
        (611_209_473, 5.2, "5.2 bits a weight"),
        (230_518_006, 40.0, "as many bits as one likes"),
    ):
        expect_budget(seed, bits, f"another model, {words}")
    expect_budget(847_311_290, 6.0, "each tensor a group of its own", alone=True)
    tight = StandIn(502_774_918)
    least = tight.file_bytes("Q4_0")

    def loss(kinds):
        return tight.loss(kinds)

    got = small_file(tight.metadata, tight.tensors(), tight.groups(), least, loss)
    expect_small_file(got, tight, least, "exactly what the smallest formats take")
    expect_raises(
        ValueError,
        lambda: small_file(tight.metadata, tight.tensors(), tight.groups(), least - 1, loss),
        "a byte less than the smallest formats take",
    )
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "small-file-quality-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import StandIn, exercise, expect_close, expect_small_file, expect_true

with exercise("small-file-quality"):

    def expect_quality(seed, bits, what, alone=False):
        """Perplexity of the file on a text that nobody has seen, over the float tensors'."""
        model = StandIn(seed, alone)
        budget = model.budget(bits)

        def loss(kinds):  # a test may lend a function, and no method
            return model.loss(kinds)

        got = small_file(model.metadata, model.tensors(), model.groups(), budget, loss)
        times = model.times_as_perplexed(expect_small_file(got, model, budget, what))
        expect_true(
            times <= 1.5,
            f"{what}: perplexity, times that of the tensors as they were",
            "at most 1.5",
            round(times, 3),
            "the bytes go to the groups that lose most by rounding, for each byte that they take",
        )

    expect_quality(0, 6.0, "a small model, 6 bits a weight")
    ### BEGIN HIDDEN TESTS
    # Looks at: models with other tensors that suffer; tighter budgets; each tensor a group of its own.
    # Stated by: "Some tensors suffer from 4 bits, others hardly notice" | "Formats that are good enough exist for each budget in the tests" | "a tensor is in one group at most"
    # Right because: what rounding one group costs hangs little on the others, so that measuring each alone tells enough.
    for place, seed in enumerate((718_203_664, 390_155_827)):
        expect_quality(seed, 6.0, f"another model, {'AB'[place]}, 6 bits a weight")
    expect_quality(964_870_331, 6.5, "another model, C, 6.5 bits a weight")
    expect_quality(155_920_748, 6.0, "each tensor a group of its own", alone=True)
    ### END HIDDEN TESTS

# %% [markdown]
# The same function, on SmolLM2: the shipped file's tensors in three groups, the embedding, attention and MLP, and a budget of 90 MB. The shipped file has 98. Their 4-bit weights were rounded once already, to Q4_1; that is why Q4_1 costs nothing here, and
# Q4_0 as much as unit 08 said. The calibration text has 192 tokens. On half as many, attention in Q4_0 happens to look harmless, and the file comes out worse on other prose: what one measures on too little text, one gets.

# %% tags=["for-real"]
if scoreboard.ready("small-file", "small-file-quality"):
    shipped = mixed.shipped(model, tokenizer)
    if shipped is None:
        print("This model doesn't come as a GGUF file here.")
    else:
        mine = small_file(
            shipped.metadata, shipped.tensors, shipped.groups, 90_000_000, shipped.loss
        )
        print(f"{len(mine):,} bytes; {mixed.kinds_in(mine)}")
        ratio = shipped.times_as_perplexed(mine)
        print(f"perplexity on other prose: {ratio:.2f} times that of the shipped file")
        print(f"To see it run in a browser: fridge edge {shlex.quote(str(mixed.keep(mine)))}")
        shipped = mine = None

# %% [markdown]
# ### Exercise 10 · Capstone: a recommendation (4 points)
#
# A person grades this one. Choose **one** of these six, and write to whoever has to decide, on half a page, what to deploy:
#
# 1. A law firm's twelve laptops with 16 GB; no letter may leave the house.
# 2. A hospital's own server with one card of 24 GB; forty people ask at the same time.
# 3. A travel guide for phones, which must work in the mountains for a whole day.
# 4. A web page for schools, where nobody may install anything.
# 5. A small board of 8 GB in a museum, that talks with one visitor at a time.
# 6. A start-up's chat for a thousand people, with no machine of its own.
#
# An instructor grades it by this rubric, a point each:
#
# - **Constraints**: the scenario's hard limits are named, as numbers where they are numbers, and something is ruled out by them.
# - **Numbers of your own**: at least three figures that you computed or measured in this course's notebooks, with the cell or unit that each comes from, and the machine.
# - **A choice by a rule**: model, format, engine and device, and the rule by which they won over at least one alternative that would have worked, too.
# - **What you don't know**: what was not measured, what would change the choice, and the next measurement to make.

# %% [markdown] nbgrader={"grade": true, "grade_id": "recommendation", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# **Scenario 1, the law firm.** Hard limits: nothing leaves the laptop, which rules out every server but their own; one user at a time; 16 GB, of which I assume 12 are free (exercise 1's table); a first token within a few seconds.
#
# Numbers: a model of 8 billion weights at 4.5 bits is a file of about 4.5 GB (unit 01's count, exercise 1), and each token of its cache takes 2 · 32 · 8 · 128 · 2 = 131 072 bytes in 16 bits, so that the longest text which fits is the last column of exercise 1's table. A token
# takes at least file / bandwidth (exercise 7): with the bandwidth that unit 01's probe measured on my laptop, that is the most tokens a second I can promise. Four bits cost perplexity: 25 % for Q4_0 on SmolLM2 and far less for K-quants (unit 08's table, one small model on one machine).
#
# Choice: an 8B model with a licence that allows it, as a GGUF in Q4_K, run by Ollama (llama.cpp), on each laptop. Rule, written before: what breaks a limit is out; of what nobody beats, at least 90 % of the best quality; then the fastest. The alternative that would have worked: vLLM on a server of their own in the
# house. It serves more per watt, and costs a machine, its care and a network that must not fail.
#
# Not known: quality on German contracts; how long the laptops hold their speed when they are hot; batteries. If contracts are longer than the text that fits, the choice changes. Next I would measure first-token time for a contract of ten pages.
# ### END SOLUTION

# %% [markdown]
# ## 5 · For real
#
# Your cells above ran in the real model: exercise 3 on its prose, exercise 4 on its layers, exercise 5 as its whole step, exercise 9 on its file. Does llama.cpp take that file? Unit 08's peer says so where it is installed. Here is
# the last picture: what the formats of unit 08 cost and give on one machine, and which of them nobody beats.

# %% tags=["for-real"]
if scoreboard.ready("choose"):
    limits = {
        "memory": 10**9,
        "users": 1,
        "private": True,
        "first_token": 9,
        "licences": ["Apache-2.0"],
        "enough": 0.9,
    }
    on_the_front, best_of_all = choose(limits, where.candidates())
    pictures.pareto(where.candidates(), on_the_front, best_of_all)

# %% [markdown]
# *In words: a point for each format, bytes of the file to the right, quality upwards, the larger the faster. Those that nobody beats are filled, the others are empty; the chosen one has a ring.*
#
# ### Your file in a browser tab
#
# Once exercise 9 is right, its cell keeps your file in the course's cache folder, and prints a command: `fridge edge` and the file's path. On your own machine, open a terminal (JupyterLab: File, New, Terminal) and type it there; in a terminal of another kind it is
# `.venv/bin/fridge`.
#
# It prints an address; open it in a browser, press *Load* and *Write*. What runs there is **wllama**: llama.cpp, compiled to WebAssembly, which reads the bytes that you wrote, in a page without an installation, and no word leaves the machine. (Without a file
# the command offers the course's model. On Colab, Binder or a JupyterHub the address is another machine's and can't be opened: download the file, and choose it in the page on yours.) Where the browser lends a GPU and the internet is there, the page offers **WebLLM**, MLC's engine, as well: it can't read a GGUF, and fetches weights that were compiled for
# it.
#
# How fast is a tab? Before you run the next cell: it is the same file and the same C++ as llama.cpp's, on the same core. What does WebAssembly cost?

# %% tags=["for-real"]
from fridge.fusion import peers

record = peers.kept()
pictures.fused_engines(
    [row for row in record["rows"] if row["name"] in peers.OF_USE], peers.where(record)
)

# %% [markdown]
# *In words: a bar for each engine, tokens per processor second of one user on one thread: the course's in float32 and in 8 bits, OpenVINO, llama.cpp, and llama.cpp in a tab. Those with fewer bits than 32 are hatched. The tab's bar is the shortest.*
#
# A tab can do what every browser can: vector instructions of 128 bits, and none of those that multiply bytes (exercise 6). llama.cpp on the machine takes all that the processor has. (Counted is what the whole browser does, drawing the page, too.) A
# tab's program asks nobody to install anything: that is what its speed is traded for. On a GPU (WebLLM, or wllama with WebGPU) the sum is another one, and the course had none to measure.
#
# ## 6 · What others report, what we measured
#
# | claim | source | here |
# |---|---|---|
# | a window without the first tokens breaks a model, four sinks beside it keep the perplexity of the full cache | Xiao et al. 2023, section 3 | the curves of exercise 3, on a small model and a short text |
# | positions are given within the cache, not by the text | Xiao et al. 2023, section 3.2 | exercise 3 |
# | planning memory beforehand takes a model's intermediate results to a fraction | Pisarchyk and Lee 2020 (TensorFlow Lite) | exercise 4's print: true of the results, which are small beside the weights |
# | integer arithmetic makes inference faster on phones | Jacob et al. 2018 | your function is slower than float32: it takes a kernel |
# | Ollama on a laptop, vLLM on a server, MLC LLM on a phone | the chapter | the table of exercise 8: what was measured, and what wasn't |
# | llama.cpp runs in a browser | wllama's README | it does, with your file; without a GPU far slower than outside: the bars of section 5 |
#
# ## 7 · What this unit doesn't claim
#
# - **That a model with sinks remembers.** It keeps on speaking well; what has left the window is gone.
# - Anything measured on a phone, on a battery or on a GPU of a browser: the course had none. Those cells of the table are empty, and the energies in exercise 7 are given, not measured.
# - That the exported step runs on a phone. ExecuTorch ran it on a processor; no phone was there, and its file is in float32, far too large for one.
# - That perplexity is quality. It is what can be measured on a laptop in a minute. Whoever deploys tries their own questions.
#
# Three things to read next:
#
# 1. Xiao et al., *Efficient Streaming Language Models with Attention Sinks*, 2023 (arXiv 2309.17453).
# 2. Pisarchyk and Lee, *Efficient Memory Management for Deep Neural Net Inference*, 2020 (arXiv 2001.03288): the planners of TensorFlow Lite.
# 3. Jacob et al., *Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference*, 2018 (CVPR).
#
# ## What stays
#
# A device is a set of limits: addresses, memory, bytes a second, joules. Each is a division, and whoever does it first knows what can't work before anything is downloaded. What is left
# over is a choice, and that needs a rule that was written down before the numbers were seen.

# %% tags=["for-real"]
from fridge.notebook import recall

recall.ask("11-edge")

# %% [markdown]
# ## Your score

# %% tags=["for-real"]
scoreboard.show("11-edge")
