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
# # 00 · Start here
#
# How do you put an elephant into a fridge? (把大象装进冰箱) The elephant is a language model, the fridge is the memory
# of your graphics card, and in the units behind this one you build every trick that makes it fit, and then makes it fast.
#
# The question is the title of a chapter in Chinese, which asks how a model of 140 GB runs on a card of 24. The units
# call it *the chapter*, check its figures, and give its main terms in Chinese, too, in brackets, for whoever reads it.
#
# This notebook takes ten minutes. Your machine is checked, you see the elephant, you solve one small exercise to learn
# how checking works, a real model speaks to you, and you measure the problem that half of this course is about.
#
# | | |
# |---|---|
# | You need | Python |
# | Time | ten minutes |
# | Runs on | a laptop with 2 GB of free memory; no GPU |
# | Points | 1, in one exercise |
#
# Run a cell with Shift+Enter: the cursor moves on to the next one. Start here, and go on to the end.

# %%
import torch

from fridge import models, pictures
from fridge.memory import cards, model_configs
from fridge.notebook import environment, progress
from fridge.workbench import measure

# %% [markdown]
# ## 1 · Is this machine ready?
#
# The cell looks at what the course needs. Each line has a sentence for you: `✓` is fine, `!` works and has something
# to know, `✗` will fail, and the line says what to do.

# %% tags=["for-real"]
environment.show()

# %% [markdown]
# ## 2 · The elephant
#
# A *weight* is a number that a model has learned, and Llama-2-70B has 70 billion of them, nearly. A *T4* is the card that
# Colab lends you at no cost. The cell counts the weights by building the model without memory, which takes some seconds,
# and draws all three to scale.

# %% tags=["for-real"]
weights, _ = model_configs.counted_by_transformers("Llama-2-70B")
print(f"Llama-2-70B has {weights:,} weights")
pictures.elephants_and_fridge(
    {
        "Llama-2-70B, 16 bits a weight": weights * 16 / 8e9,
        "4 bits a weight": weights * 4 / 8e9,
    },
    "memory of a T4",
    cards.CARDS["T4"].memory / 1e9,
)

# %% [markdown]
# *In words: an elephant in a box of 138 GB, which is the model as it is published, with 16 bits a weight; the same
# elephant in a box of 34.5 GB, with 4 bits a weight; and a fridge of 16.1 GB. The areas of the boxes and of the fridge are
# to scale.*
#
# Fewer bits make the elephant smaller (units 01 and 02), and still not small enough for this fridge. And that is the
# elephant asleep: to answer you it needs more room for every word of the conversation (units 03 and 04), and it reads
# all of itself for every word that it says (units 05 and 06).
#
# ### Exercise 1 · Will it fit? (1 point)
#
# This one is small on purpose. It shows you how all the others work: a cell to fill in, and under it a cell that
# tests it. The test says one of three things. See them all:
#
# 1. Run both cells below as they are. The test says `○`: not attempted yet.
# 2. Replace the two lines below the docstring by `return parameters * bits`, and run both cells again. The test says `✗`:
#    wrong, with what was expected, what it got, and the likely cause.
# 3. Repair it. The test says `✓`: the tests that you see pass.
#
# A *gigabyte* (GB) is $10^9$ bytes here and everywhere in this course, and a byte has 8 bits. Weights lie packed:
# two of 4 bits share one.
#
# <details><summary>Hint 1</summary>How many bits are all weights together? How many bytes is that?</details>
# <details><summary>Hint 2</summary>Two models that you can do in your head: a billion weights of 8 bits take 1 GB, and of
# 4 bits half of it.</details>


# %% nbgrader={"grade": false, "grade_id": "weight-gigabytes", "locked": false, "schema_version": 3, "solution": true, "task": false}
def weight_gigabytes(parameters, bits):
    """Memory that a model's weights take.

    Args:
        parameters: how many weights there are, 0 or more; 70e9 for a 70B model.
        bits: bits of each; not always a whole number, as unit 01 shows.

    Returns:
        Gigabytes of 10**9 bytes, a number that need not be whole.
    """
    ### BEGIN SOLUTION
    return parameters * bits / 8 / 1e9
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "weight-gigabytes-test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import as_tensor, exercise, expect_close

with exercise("weight-gigabytes"):

    def agrees(got, expected, what, cause=""):
        expected = torch.tensor(expected, dtype=torch.float64)
        expect_close(as_tensor(got), expected, what, cause, atol=1e-4)

    agrees(
        weight_gigabytes(70e9, 16),
        140.0,
        "gigabytes of 70 billion weights of 16 bits",
        cause="a byte has 8 bits, and a gigabyte has 10**9 bytes",
    )
    agrees(
        weight_gigabytes(8_000_000_000, 8),
        8.0,
        "gigabytes of 8 billion weights of 8 bits",
        cause="`bits` says how many a weight has, here 8 and not 16",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: other models; fewer than 8 bits a weight; bits that aren't a whole number; models
    #   below a gigabyte; a model without weights.
    # Stated by: "70e9 for a 70B model" | "Weights lie packed: two of 4 bits share one" | "bits
    #   of each; not always a whole number" | "a number that need not be whole" | "how many
    #   weights there are, 0 or more"
    # Right because: weights don't begin at whole bytes: all bits are added up and divided
    #   once, so two weights of 4 bits share a byte and nothing is lost to rounding.
    agrees(weight_gigabytes(13e9, 16), 26.0, "gigabytes of 13 billion weights of 16 bits")
    agrees(
        weight_gigabytes(70e9, 4),
        35.0,
        "gigabytes of 70 billion weights of 4 bits",
        cause="70 billion times 4 bits: two weights of 4 bits share a byte, so none has whole bytes "
        "of its own",
    )
    agrees(
        weight_gigabytes(135_000_000, 32),
        0.54,
        "gigabytes of 135 million weights of 32 bits",
        cause="a little more than half of 10**9 bytes: the result is a fraction, not rounded and "
        "not cut to a whole number",
    )
    agrees(
        weight_gigabytes(70e9, 4.5),
        39.375,
        "gigabytes of 70 billion weights of 4.5 bits",
        cause="bits need not be a whole number",
    )
    agrees(
        weight_gigabytes(70e9, 4.15625),
        36.3671875,
        "gigabytes of 70 billion weights of 4.15625 bits",
        cause="bits need not be a whole number, and all their decimals count",
    )
    nothing = torch.zeros((), dtype=torch.float64)
    expect_close(as_tensor(weight_gigabytes(0, 16)), nothing, "gigabytes of no weights")
    ### END HIDDEN TESTS

# %% [markdown]
# You saw these tests. At grading there are more of them, hidden from you, with other numbers for the same function, and
# they decide about the points. You don't see their numbers, but the test names the kinds of cases that they look at.
# An exercise counts as a whole: its points or none.
#
# One rule holds in all units: **what a function is given stays as it was**. A list or a tensor belongs to whoever calls
# you, who may go on using it; where you want to work in place, work on a copy. The tests look at that, too.
#
# Stuck? Each exercise has hints, in order; click them open one at a time. And your AI assistant finds rules for tutoring
# you in the file `AGENTS.md`, which ask it not to solve the exercises for you.
#
# ## 3 · A first prompt
#
# SmolLM2 has 135 million weights, one for about 500 of the elephant's, and runs on your processor. It is the
# model of all units. Loading it takes a few seconds.

# %% tags=["for-real"]
model = models.load()
tokenizer = models.load_tokenizer()
own = sum(weight.numel() for weight in model.parameters())
print(f"{models.name()}: {own:,} weights, {model.dtype} on {model.device}")

# %% [markdown]
# A model reads and writes *tokens*, which are words or pieces of words, each with a number. It does one thing: it reads
# all tokens so far and says which one comes next. To get an answer, ask again and again:


# %% tags=["for-real"]
def answer(conversation, longest):
    tokens = tokenizer.apply_chat_template(
        conversation, add_generation_prompt=True, return_dict=False
    )
    reply, read = [], []
    while len(reply) < longest and (not reply or reply[-1] != tokenizer.eos_token_id):
        read.append(len(tokens + reply))  # tokens that the model reads for the next one
        logits = model(torch.tensor([tokens + reply]), last_only=True)
        reply.append(int(logits.argmax()))
    return read, tokenizer.decode(reply, skip_special_tokens=True)


question = {
    "role": "user",
    "content": "Can an elephant fit into a fridge? Answer in one sentence.",
}
read, reply = answer([question], longest=32)
print(f"{read[0]} tokens read first. SmolLM2 says: {reply}")

# %% [markdown]
# Fluent, and not to be trusted: it is a very small model. Change the question and run the cell again.
#
# ## 4 · The pain: a conversation that grows
#
# Now talk with it for five turns. Every answer has 12 tokens, no more. What will the fifth answer cost, compared with
# the first? **Write a number down** before you run the cell. Then look at the clock.

# %% tags=["for-real"]
questions = [
    "What does an elephant eat?",
    "How much does it weigh?",
    "Could it live in a kitchen?",
    "How would I keep it cool?",
    "So how do I put it into a fridge?",
]
conversation, work, seconds = [], [], []
for line in questions:
    conversation.append({"role": "user", "content": line})
    with measure.Stopwatch() as watch:
        read, reply = answer(conversation, longest=12)
    seconds.append(watch.seconds)
    work.append(sum(read))
    conversation.append({"role": "assistant", "content": reply})
    print(f"{work[-1]:5} tokens read, {seconds[-1]:4.1f} s  {line}  {reply} …")

# %% tags=["for-real"]
pictures.answers_by_turn(work, seconds)

# %% [markdown]
# *In words: five bars, one for each turn, with the tokens read written below. The tokens grow from turn to turn, while
# the answers have the same length; on an idle machine the bars grow with them. A bar that steps out of line had to
# share the processor with another program: then believe the count.*
#
# The answers did not get longer. The conversation before them did, and for every single token the model reads all of it
# again, from the first word. Nothing of what it computed a moment ago is kept. In unit 03 you write the memory that it
# lacks, the *KV cache* (KV 缓存): then each token is read once.
#
# ## 5 · Where you go from here
#
# The [map of the course](../README.md) shows the units, how long they take, and where they run. They build on each other;
# 01 is the next.
#
# Your points of all units, as last run and saved, are shown by the next cell, or by `fridge progress` in a terminal. Save
# (Ctrl+S, or ⌘S) before you run it.

# %% tags=["for-real"]
progress.show()

# %% [markdown]
# ## What stays
#
# A model says one token at a time, and reads everything again for each. Its memory must hold the weights and, as the
# conversation grows, much more.

# %% tags=["for-real"]
from fridge.notebook import recall

recall.ask("00-start-here")

# %% [markdown]
# ## Your score

# %% tags=["for-real"]
from fridge.notebook import scoreboard

scoreboard.show("00-start-here")
