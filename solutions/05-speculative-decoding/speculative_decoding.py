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
# # 05 · Speculative decoding
#
# To write one token, the model reads all of its weights. To check eight tokens that somebody else has written, it reads
# them once as well. So let somebody else write: guess a few tokens ahead, cheaply, and let the large model check all the
# guesses in one call. What it would not have written is thrown away. This is *speculative decoding*, or speculative
# sampling (投机采样).
#
# By the end you have the check, the sampling rule that changes nothing in the distribution, two drafters (one without
# any model), the repair of two caches, and the loop. It writes, token for token, what SmolLM2 writes without it, and
# you measure where it is faster, where it isn't, and why.
#
# | | |
# |---|---|
# | You need | PyTorch, a KV cache and greedy decoding (unit 03), conditional probability |
# | Time | about 100 minutes |
# | Runs on | a laptop with 2 GB of free memory; no GPU |
# | Points | 30, in seven exercises |

# %%
import torch

from fridge import models, pictures
from fridge.memory import probe
from fridge.models.caches import RewindableCache
from fridge.notebook import scoreboard
from fridge.speculation import early_exit, measuring
from fridge.workbench import plots, tables

# %% tags=["for-real"]
model = models.load()
tokenizer = models.load_tokenizer()
prompts = {kind: measuring.prompt(tokenizer, kind) for kind in measuring.PROMPTS}
print(f"{models.name()} on {model.device}, and four prompts:")
tables.facts({kind: f"{len(tokens)} tokens" for kind, tokens in prompts.items()})

# %% [markdown]
# ## 1 · The pain: all the weights, for one token
#
# With a KV cache (unit 03), a decode step computes one position. It still reads every weight: 538 MB in float32 for
# SmolLM2, 14 GB for a 7B model in float16. The arithmetic units wait for the memory.
#
# How much more would a call cost that computes several new positions at once? Measure it.

# %% tags=["for-real"]
counts = [1, 2, 3, 5, 9, 17]
call_seconds = measuring.costs(model, prompts["quotation"], counts)
megabytes = probe.weights_read(model) / 1e6  # of a call
for count, cost in zip(counts, call_seconds):
    print(
        f"{count:3} new positions: {1000 * cost:5.0f} ms a call; for each position "
        f"{1000 * cost / count:4.0f} ms and {megabytes / count:4.0f} MB of weights"
    )
longer = call_seconds[-1] / call_seconds[0]
print(f"{counts[-1]} positions take {longer:.1f} times as long as one, and read as much")

# %% [markdown]
# The weights are read once a call, however many positions it has. So a call with several positions costs less than as
# many calls, the more so the longer a step waits for the weights. That gap is what this unit lives on. On a GPU the gap
# is wide: there the call of nine positions costs nearly the same as the call of one, because the waiting arithmetic
# units do the rest.
#
# The trouble is that token 2 can't be computed before token 1 is known. Unless you guess.
#
# ## 2 · The picture: guess, check, keep
#
# A *drafter* guesses the next $k$ tokens, the *draft*. The large model, the *target*, gets the last token and the
# draft in one call and says, for each place, which token it would have written there.

# %% tags=["for-real"]
pictures.one_round()

# %% [markdown]
# *In words: on the left, three calls of the large model append "sat", "on" and "my", one at a time. On the right, a
# drafter guesses "sat on the mat". One call of the large model checks all four guesses: it agrees with "sat" and "on",
# and would have written "my" in the third place. The first two guesses and "my" are kept, the rest is dropped.*
#
# Look at the third place. The call that refuses a guess also says what belongs there. So every call gives **at least
# one token**, as before, and with luck $k + 1$: when all guesses are right, the last row of logits is a free token, the
# *bonus token*.
#
# ## 3 · The prediction
#
# ### Exercise 1 · Tokens per call (4 points)
#
# Say that each guess is right with probability $a$, the *acceptance rate*, independently of the others, and that the
# drafter always makes $k$ guesses. A guess counts only if all before it were right.
#
# 1. How many tokens does one call of the target give on average?
# 2. Time is what counts. Take one decode step of the target as the unit. One guess costs $c$ (`draft_cost`), and the
#    call that checks costs $v$ (`verify_cost`): 1 on an ideal GPU, more on your machine. How much faster is this than
#    one token per step?
# 3. Which $k$ is best, if $v = 1$? $k = 0$ means: don't speculate.
#
# 2 points are for the first question, 2 for the others together.
#
# <details><summary>Hint 1</summary>The first token is certain. The second one comes if the first guess was right, the
# third one if two were. Sum the probabilities.</details>
# <details><summary>Hint 2</summary>A geometric sum. Its closed form (1 - a^(k+1)) / (1 - a) has a hole: where?</details>
# <details><summary>Hint 3</summary>A round costs k guesses and one check. Plain decoding would have needed one unit for
# each token.</details>


# %% nbgrader={"grade": false, "grade_id": "tokens-per-call", "locked": false, "schema_version": 3, "solution": true, "task": false}
def expected_tokens(acceptance, k):
    """Average number of tokens that one call of the target gives.

    Args:
        acceptance: probability that a guess is right, 0 to 1, both included.
        k: guesses in each round, 0 or more.

    Returns:
        A number from 1 to k + 1.
    """
    ### BEGIN SOLUTION
    return sum(acceptance**guess for guess in range(k + 1))
    ### END SOLUTION


def speedup(acceptance, k, draft_cost, verify_cost=1.0):
    """Tokens per unit of time, where plain decoding gives one.

    Args:
        acceptance, k: as above.
        draft_cost: cost of one guess, in decode steps of the target.
        verify_cost: cost of the target's call that checks, in the same unit; each round has
            one, also without guesses.

    Returns:
        A number; below 1, speculation loses.
    """
    ### BEGIN SOLUTION
    return expected_tokens(acceptance, k) / (k * draft_cost + verify_cost)
    ### END SOLUTION


def best_draft_length(acceptance, draft_cost, longest=16):
    """The k from 0 to `longest`, both included, with the largest speed-up at verify_cost = 1.

    Returns:
        An int; the smallest of them if several are equally good.
    """
    ### BEGIN SOLUTION
    return max(range(longest + 1), key=lambda k: speedup(acceptance, k, draft_cost))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "tokens-per-call-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import as_tensor, exercise, expect_close

with exercise("tokens-per-call"):

    def agrees(got, expected, what, cause=""):
        expect_close(as_tensor(got), torch.tensor(expected, dtype=torch.float64), what, cause)

    agrees(
        expected_tokens(0.5, 2),
        1 + 0.5 + 0.25,
        "tokens per call, acceptance 0.5, two guesses",
        cause="one token is certain; the second needs one right guess, the third needs two",
    )
    agrees(expected_tokens(0.0, 4), 1.0, "tokens per call when no guess is ever right")
    ### BEGIN HIDDEN TESTS
    # Looks at: other acceptance rates and numbers of guesses; rates of 0 and 1, and close to 1;
    #   no guesses, and many.
    # Stated by: "A guess counts only if all before it were right" | "0 to 1, both included" | "k:
    #   guesses in each round, 0 or more"
    # Right because: place i of a draft counts only if all i guesses up to it were right, which
    #   happens with probability a^i; and an average number of tokens is the sum of the
    #   probabilities of each.
    agrees(expected_tokens(0.8, 5), 3.68928, "tokens per call, acceptance 0.8, five guesses")
    expect_close(
        as_tensor([expected_tokens(0.8, k) for k in range(4)]),
        torch.tensor([1, 1.8, 2.44, 2.952], dtype=torch.float64),
        "tokens per call, acceptance 0.8, none to three guesses",
    )
    agrees(
        expected_tokens(1.0, 4),
        5.0,
        "tokens per call when every guess is right",
        cause="the closed form divides by 1 - a; at a = 1 the sum is k + 1",
    )
    agrees(expected_tokens(1, 0), 1.0, "acceptance 1 without guesses")
    agrees(expected_tokens(0, 0), 1.0, "acceptance 0 without guesses")
    agrees(expected_tokens(0.25, 1), 1.25, "acceptance 0.25, one guess")
    agrees(expected_tokens(0.9, 40), (1 - 0.9**41) / 0.1, "acceptance 0.9, forty guesses")
    agrees(expected_tokens(0.999, 3), 3.994003999, "acceptance 0.999, three guesses")
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "draft-length-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import as_tensor, exercise, expect_close, expect_equal

with exercise("draft-length"):

    def agrees(got, expected, what, cause=""):
        expect_close(as_tensor(got), torch.tensor(expected, dtype=torch.float64), what, cause)

    agrees(
        speedup(0.5, 2, draft_cost=0.25),
        1.75 / 1.5,
        "speed-up, acceptance 0.5, two guesses that cost a quarter each",
        cause="expected_tokens(0.5, 2) is 1.75, and a round costs 2 guesses of 0.25 and one check of 1",
    )
    expect_equal(
        best_draft_length(0.5, draft_cost=0.3),
        1,
        "the best number of guesses when they are right half of the time and cost 0.3: a second costs more than it brings",
    )
    expect_equal(
        best_draft_length(0.5, draft_cost=0.6),
        0,
        "the best k when guesses are right half of the time and cost 0.6",
        cause="when every guess loses, don't guess: k = 0 is allowed",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: a check that costs more than a step; no guesses; guesses that are free, too dear,
    #   never right or always right; drafters good and bad, cheap and dear; the limit; the limit
    #   left out; draft lengths that are equally good.
    # Stated by: "cost of the target's call that checks, in the same unit" | "each round has one,
    #   also without guesses" | "Tokens per unit of time, where plain decoding gives one" | "with
    #   the largest speed-up at verify_cost = 1" | "The k from 0 to `longest`, both included" |
    #   "longest=16" | "the smallest of them if several are equally good"
    # Right because: each further guess costs the same and is worth less, a^k tokens at most, so
    #   that from some length on it costs more than it can bring; that length is 0 where even
    #   the first guess does.
    agrees(speedup(0.8, 5, 0.05), 3.68928 / 1.25, "speed-up, acceptance 0.8, c = 0.05, k = 5")
    agrees(
        speedup(0.8, 5, 0.05, verify_cost=1.5),
        3.68928 / 1.75,
        "the same when the check costs 1.5 steps",
        cause="a round has one check, and verify_cost is what it costs",
    )
    agrees(speedup(0.9, 0, 0.3), 1.0, "speed-up without guesses")
    agrees(
        speedup(0.9, 0, 0.3, 1.25),
        0.8,
        "no guesses, a call that costs 1.25",
        cause="each round has a check, also without guesses",
    )
    agrees(speedup(0.0, 3, 0.1), 1 / 1.3, "guesses that are never right", cause="it loses")
    agrees(speedup(1.0, 3, 0.0), 4.0, "guesses that cost nothing and are always right")
    agrees(speedup(0.3, 1, 0.5), 1.3 / 1.5, "guesses that cost more than they bring")

    def best(acceptance, cost, longest, expected, what, cause=""):
        words = f"the best k, {what}: a = {acceptance}, c = {cost}, up to {longest}"
        expect_equal(best_draft_length(acceptance, cost, longest), expected, words, cause)

    best(0.8, 0.05, 16, 8, "a good cheap drafter")
    best(0.6, 0.02, 16, 6, "a cheaper one that is less good")
    best(0.9, 0.1, 16, 10, "a good drafter of a tenth of the target's cost")
    best(0.5, 0.3, 16, 1, "an expensive one")
    best(0.8, 0.05, 4, 4, "no more than 4 allowed", "`longest` is allowed itself")
    best(1.0, 0.01, 20, 20, "always right", "`longest` is the only limit")
    best(0.3, 0.4, 16, 0, "when a guess costs more than it brings")
    best(0.0, 0.0, 16, 0, "all k equally good", "of equally good ones the smallest")
    best(0.9, 0.0, 0, 0, "no guesses allowed")
    expect_equal(best_draft_length(1.0, 0.1), 16, "the best k when `longest` is left out")
    ### END HIDDEN TESTS

# %% [markdown]
# Your functions, as curves: a point for each acceptance rate, the best $k$ at each.

# %% tags=["for-real"]
if scoreboard.ready("tokens-per-call", "draft-length"):
    rates = [i / 20 for i in range(20)]
    by_cost = {
        f"a guess costs {c:g}": [speedup(a, best_draft_length(a, c), c) for a in rates]
        for c in (0, 0.05, 0.2, 0.5)
    }
    ax = plots.axes(
        "A guess must be right more often than it costs, or nothing is won",
        "acceptance rate",
        "best speed-up",
    )
    plots.lines(ax, rates, by_cost)

# %% [markdown]
# *In words: four curves of the best possible speed-up over the acceptance rate. Each is flat at 1 until the acceptance
# rate passes the cost of a guess, then rises, at first slowly. High speed-ups need acceptance above 0.8.*
#
# That flat part is a theorem of the paper's: with $v = 1$ there is a $k$ that wins exactly when $a > c$. Keep it in
# mind for section 5.
#
# ## 4 · Build it
#
# First the check (exercises 2 to 4), then two drafters (5 and 6), then the loop (7).
#
# ### Exercise 2 · The greedy check (3 points)
#
# Greedy decoding takes the largest logit, however close the next one is. The target got the last token of the text and
# then the draft, so row 0 of its logits chooses the token for draft place 0, row 1 the token for place 1, and row $k$
# the token behind the draft.
#
# Keep the draft's tokens as long as they are the target's own choice. At the first one that isn't, put the target's
# choice in its place and stop: the rows behind it have seen a text that never was.
#
# A *stop token* ends the text wherever the target chooses it, with a guess or against one. It is kept, and nothing
# follows it. One that was only guessed ends nothing.
#
# <details><summary>Hint 1</summary>logits.argmax(dim=-1) are the k + 1 tokens that the target would write.</details>
# <details><summary>Hint 2</summary>Every token that you return is one of them. How many of them do you return?
# </details>


# %% nbgrader={"grade": false, "grade_id": "verify-greedy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verify_greedy(draft, logits, stop_token=None):
    """The tokens that a round of greedy speculation adds to the text.

    Args:
        draft: k guessed token ids, a list; k may be 0, and so may an id.
        logits: [k + 1, vocab_size], float32 or float64; row i is the target's for the place of
            draft[i], the last row for the one behind.
        stop_token: if it is among the tokens, it is the last one.

    Returns:
        A list of 1 to k + 1 ints: the drafts before the first that isn't the target's choice,
        and then the target's choice for the place behind them.
    """
    ### BEGIN SOLUTION
    tokens = []
    for place, choice in enumerate(logits.argmax(dim=-1).tolist()):
        tokens.append(choice)
        if choice == stop_token or place == len(draft) or choice != draft[place]:
            break
    return tokens
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "verify-greedy-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import exercise, expect_equal, randn, token_ids

with exercise("verify-greedy"):

    def rows(*choices):
        """Logits whose largest values stand at these tokens, 32 tokens in all."""
        logits = randn(len(choices), 32, seed=sum(choices))
        logits[torch.arange(len(choices)), torch.tensor(choices)] = 9.0
        return logits

    def checks(draft, choices, expected, what, cause="", **stop):
        got = verify_greedy(list(draft), rows(*choices), **stop)
        expect_equal(token_ids(got, "what verify_greedy returns"), expected, what, cause)

    checks(
        [5],
        [5, 9],
        [5, 9],
        "the draft [5] when the target chooses 5 in row 0 and 9 in row 1",
        cause="row i checks guess i, and the row behind the last right guess gives one more token",
    )
    checks(
        [5, 6, 7],
        [5, 6, 8, 9],
        [5, 6, 8],
        "the draft [5, 6, 7] when the target chooses 5, 6, 8, 9",
        cause="the third guess is wrong; the target's own token takes its place, and nothing follows",
    )
    checks(
        [5, 6, 7],
        [5, 6, 7, 9],
        [5, 6, 7, 9],
        "the draft [5, 6, 7] when the target chooses 5, 6, 7, 9",
        cause="when all guesses are right, the last row gives one more token",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: a wrong guess at the beginning, in the middle and at the end; right guesses in
    #   wrong places; no guesses, and many; the stop token in every kind of place; a stop token
    #   that was only guessed; the token 0; logits of another dtype; a guess that nearly has the
    #   largest logit.
    # Stated by: "At the first one that isn't, put the target's choice in its place and stop" |
    #   "row i is the target's for the place of draft[i], the last row for the one behind" | "A
    #   list of 1 to k + 1 ints" | "if it is among the tokens, it is the last one" | "One that was
    #   only guessed ends nothing" | "k may be 0, and so may an id" | "[k + 1, vocab_size], float32
    #   or float64" | "the largest logit, however close the next one is"
    # Right because: up to its first disagreement the target has read the very text that plain
    #   decoding would have written, so that each token you keep is its own choice; the rows
    #   behind have read a text that never was.
    checks(
        [5, 6, 7],
        [4, 6, 7, 9],
        [4],
        "a draft whose first guess alone is wrong",
        cause="the first guess is checked as well, and what follows a wrong one doesn't count",
    )
    checks([5, 6, 7], [5, 4, 7, 9], [5, 4], "a draft whose second guess alone is wrong")
    checks([5, 6, 7], [1, 2, 3, 4], [1], "a draft that is wrong throughout")
    checks([5, 6, 7], [6, 7, 9, 9], [6], "a draft that is one place late")
    checks([], [9], [9], "an empty draft", cause="then this is plain decoding: one token")
    checks([3], [3, 3], [3, 3], "a draft of one right guess")
    checks([3], [4, 3], [4], "a draft of one wrong guess")
    checks([0, 0], [0, 0, 0], [0, 0, 0], "tokens with the id 0")
    checks([7, 7, 7], [7, 7, 8, 7], [7, 7, 8], "a draft that repeats itself")

    last = "the stop token is the last token, and it is returned"

    def stops(draft, choices, expected, what, stop_token=2, cause=last):
        checks(draft, choices, expected, what, cause, stop_token=stop_token)

    stops([5, 2, 7], [5, 2, 7, 9], [5, 2], "the stop token 2 in the middle of a right draft")
    stops([5, 2, 7], [5, 2, 6, 9], [5, 2], "the stop token 2 before a wrong guess")
    stops([5, 2, 7, 2], [5, 2, 7, 2, 9], [5, 2], "the stop token 2 twice in a right draft")
    stops([2, 5], [2, 5, 9], [2], "the stop token first")
    stops([5, 6], [5, 6, 2], [5, 6, 2], "the stop token as the bonus token")
    stops([5, 6], [5, 2, 9], [5, 2], "the stop token in place of a wrong guess")
    guessed = "the target's choices stop the text, and not the guesses"
    stops([5, 2], [5, 6, 2], [5, 6], "a stop token that was only guessed", cause=guessed)
    stops([5, 6], [5, 6, 2], [5, 6, 2], "token 2 where 0 stops", 0, "another token stops")
    stops([5, 0, 6], [5, 0, 6, 9], [5, 0], "a stop token with the id 0", stop_token=0)
    stops([], [2], [2], "the stop token after an empty draft")
    got = verify_greedy([5, 6], rows(5, 7, 9).double())
    expect_equal(token_ids(got, "what verify_greedy returns"), [5, 7], "logits in float64")
    close = rows(5, 7, 9)
    close[0, 6] = 8.99999
    expect_equal(
        token_ids(verify_greedy([6, 7], close), "what verify_greedy returns"),
        [5],
        "a guess whose logit is 8.99999 where the largest is 9",
        cause="the largest logit decides, however close the next one is",
    )
    closer = rows(5, 7, 9).double()
    closer[0, 6], closer[1, 8] = 9 + 1e-9, 9 - 1e-9
    expect_equal(
        token_ids(verify_greedy([6, 7], closer), "what verify_greedy returns"),
        [6, 7, 9],
        "logits in float64, two of a row 0.000000001 apart",
        cause="compare them as they are: in float32 they would be equal",
    )
    long = [(3 * i + 1) % 32 for i in range(20)]
    checks(long, [*long, 8], [*long, 8], "a draft of twenty right guesses")
    checks(long, [*long[:19], 0, 8], [*long[:19], 0], "twenty guesses, the last one wrong")
    ### END HIDDEN TESTS

# %% [markdown]
# Now *sampling*. The target gives probabilities $p$, and text is drawn from them. Checking "is it the same token?"
# would be wrong twice: two honest draws often differ, and a draft that survives such a check is no fair draw.
#
# What we want is stronger: **each token has exactly the distribution $p$**, as if there were no drafter at all, however
# bad the drafter is.
#
# ### Exercise 3 · Accept, or draw from what is missing (4 points)
#
# The drafter draws a token $x$ from *its* probabilities $q$.
#
# - Where $q(x) \le p(x)$, it has not drawn $x$ too often: accept.
# - Where $q(x) > p(x)$, it draws $x$ too often. Accept with probability $p(x)/q(x)$. Both lines in one: accept with
#   probability $\min(1, p(x)/q(x))$. What survives of token $x$ is $q(x) \cdot \min(1, p(x)/q(x)) = \min(p(x), q(x))$.
# - What is missing up to $p(x)$ is $\max(0, p(x) - q(x))$. So after a refusal, draw from that, made to sum to 1. It is
#   called the *residual* distribution.
#
# Write both functions for whole vectors of probabilities. Mind the zeros. Targets that keep the top 50 tokens, or decode
# at temperature 0, have a probability of 0 for nearly all tokens.
#
# <details><summary>Hint 1</summary>torch.minimum, or clamp(max=1). What is 0 / 0? What is 0.1 / 0?</details>
# <details><summary>Hint 2</summary>(p - q).clamp(min=0). When is its sum 0? What do you return then?</details>


# %% nbgrader={"grade": false, "grade_id": "acceptance", "locked": false, "schema_version": 3, "solution": true, "task": false}
def acceptance_probability(p, q):
    """The probability to accept each token, if it is the one that was drafted.

    Args:
        p, q: [vocab_size], probabilities of the target and of the drafter.

    Returns:
        [vocab_size], min(1, p / q). Where q is 0 the token is never drafted, and any number
        from 0 to 1 will do.
    """
    ### BEGIN SOLUTION
    return torch.where(q > p, p / q.clamp(min=torch.finfo(q.dtype).tiny), 1.0)
    ### END SOLUTION


def residual(p, q):
    """The probabilities to draw from after a refusal: max(0, p - q), made to sum to 1.

    Args:
        p, q: as above.

    Returns:
        [vocab_size], summing to 1; p itself if nothing is missing (p = q).
    """
    ### BEGIN SOLUTION
    missing = (p - q).clamp(min=0)
    return missing / missing.sum() if missing.sum() > 0 else p
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "acceptance-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import as_tensor, exercise, expect_close, expect_tensor, expect_true

with exercise("acceptance"):
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.25, 0.3, 0.45])
    expect_close(
        as_tensor(acceptance_probability(p.clone(), q.clone())),
        torch.tensor([1.0, 1.0, 0.2 / 0.45]),
        "p = [0.5, 0.3, 0.2], q = [0.25, 0.3, 0.45]",
        cause="a number for each token: p / q where q is larger than p, and 1 elsewhere",
    )

    ### BEGIN HIDDEN TESTS
    # Looks at: zeros in p, in q and in both; p = q; nothing in common; temperature 0; a token
    #   that the target hardly has; one that is rare in both; one token, and a thousand.
    # Stated by: "Where q is 0 the token is never drafted, and any number from 0 to 1 will do" |
    #   "Where $q(x) \le p(x)$, it has not drawn $x$ too often: accept" | "Accept with probability
    #   $p(x)/q(x)$" | "decode at temperature 0, have a probability of 0 for nearly all tokens" |
    #   "accept with probability $\min(1, p(x)/q(x))$" | "[vocab_size], min(1, p / q)" |
    #   "[vocab_size], probabilities of the target and of the drafter"
    # Right because: of all the times that x is drafted, q(x) · min(1, p/q) = min(p(x), q(x))
    #   survive: never more than the target would give it, and as many as can be.
    def accepts(p, q, expected, what, cause="", atol=1e-5):
        p, q = torch.tensor(p), torch.tensor(q)
        got = as_tensor(acceptance_probability(p.clone(), q.clone()))
        got = expect_tensor(got, f"{what}: the form", p.shape)
        bounded = bool(((got >= 0) & (got <= 1)).all())
        expect_true(
            bounded,
            what,
            "numbers from 0 to 1",
            got,
            "0 / 0 is NaN and 0.1 / 0 is infinite: mind where q is 0",
        )
        expected = torch.tensor(expected)
        expect_close(torch.where(q > 0, got, expected), expected, what, cause, atol)

    accepts([0.1, 0.9], [0.8, 0.2], [0.125, 1.0], "two tokens")
    accepts([0.0, 0.4, 0.6], [0.5, 0.5, 0.0], [0.0, 0.8, 1.0], "zeros in p and in q")
    accepts([0.0, 1.0, 0.0], [0.0, 0.25, 0.75], [1.0, 1.0, 0.0], "a token that neither has")
    accepts([0.2, 0.3, 0.5], [0.2, 0.3, 0.5], [1.0, 1.0, 1.0], "p = q: accept everything")
    accepts([0.0, 1.0], [1.0, 0.0], [0.0, 1.0], "nothing in common", "accept nothing")
    accepts([0.0, 1.0], [0.0, 1.0], [0.0, 1.0], "temperature 0, the same token")
    accepts([1.0], [1.0], [1.0], "one token alone")
    accepts([1e-6, 1 - 1e-6], [0.5, 0.5], [2e-6, 1.0], "a token that the target hardly has")
    accepts(
        [2e-6, 1 - 2e-6],
        [5e-6, 1 - 5e-6],
        [0.4, 1.0],
        "a token that is rare in both, p = 0.000002 and q = 0.000005",
        cause="p / q, however small q is: a floor under q, or a number added to it, changes that",
        atol=1e-3,
    )
    many = torch.linspace(1, 2, 1000)
    accepts(
        (many / many.sum()).tolist(),
        (many.flip(0) / many.sum()).tolist(),
        (many / many.flip(0)).clamp(max=1).tolist(),
        "a thousand tokens",
    )
    ### END HIDDEN TESTS

# %% nbgrader={"grade": true, "grade_id": "residual-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import as_tensor, exercise, expect_close

with exercise("residual"):
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.2, 0.6])
    expect_close(
        as_tensor(residual(p.clone(), q.clone())),
        torch.tensor([0.75, 0.25, 0.0]),
        "p = [0.5, 0.3, 0.2], q = [0.2, 0.2, 0.6]",
        cause="max(0, p - q) is [0.3, 0.1, 0], and its sum is 0.4",
    )

    ### BEGIN HIDDEN TESTS
    # Looks at: other vectors of two and three tokens; zeros in p and in q; nothing in common;
    #   temperature 0; p = q; p nearly q; one token alone, three alike, and a thousand.
    # Stated by: "The probabilities to draw from after a refusal" | "What is missing up to $p(x)$
    #   is $\max(0, p(x) - q(x))$" | "max(0, p - q), made to sum to 1" | "decode at temperature 0,
    #   have a probability of 0 for nearly all tokens" | "p itself if nothing is missing (p = q)" |
    #   "draw from that, made to sum to 1" | "[vocab_size], summing to 1"
    # Right because: the accepted drafts give each token min(p, q) of its share; what is left of
    #   p is max(0, p - q), and drafts are refused exactly as often as the sum of that.
    def remains(p, q, expected, what, cause=""):
        got = as_tensor(residual(torch.tensor(p), torch.tensor(q)))
        expect_close(got, torch.tensor(expected), what, cause)

    remains([0.1, 0.9], [0.8, 0.2], [0.0, 1.0], "two tokens")
    remains([0.4, 0.1, 0.5], [0.1, 0.6, 0.3], [0.6, 0.0, 0.4], "three tokens")
    remains([0.0, 0.4, 0.6], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0], "zeros in p and in q")
    nothing_common = "nothing in common: the whole of p is missing"
    remains([0.3, 0.7, 0.0], [0.0, 0.0, 1.0], [0.3, 0.7, 0.0], nothing_common)
    remains([0.0, 1.0, 0.0], [0.2, 0.3, 0.5], [0.0, 1.0, 0.0], "temperature 0")
    same = "when p = q nothing is missing, and 0 / 0 is NaN: return p"
    remains([0.2, 0.3, 0.5], [0.2, 0.3, 0.5], [0.2, 0.3, 0.5], "p = q", same)
    remains([0.0, 1.0], [0.0, 1.0], [0.0, 1.0], "p = q at temperature 0", same)
    remains([1.0], [1.0], [1.0], "one token alone", same)
    near = "a small rest is scaled up like a large one"
    remains([0.5, 0.25, 0.25], [0.4995, 0.25, 0.2505], [1.0, 0.0, 0.0], "p nearly q", near)
    third, exact = 1 / 3, "three thirds sum to 1, and three times 0.33 doesn't"
    alike = "of three tokens as much is missing"
    remains([0.2, 0.2, 0.2, 0.4], [0.0, 0.0, 0.0, 1.0], [third] * 3 + [0.0], alike, exact)
    many = torch.linspace(1, 2, 1000)
    missing = (many - many.flip(0)).clamp(min=0)
    remains(
        (many / many.sum()).tolist(),
        (many.flip(0) / many.sum()).tolist(),
        (missing / missing.sum()).tolist(),
        "a thousand tokens",
    )
    ### END HIDDEN TESTS

# %% [markdown]
# Look at a target and a rather bad drafter.

# %% tags=["for-real"]
names = ["cat", "dog", "cow"]
target_row, draft_row = [0.6, 0.3, 0.1], [0.1, 0.3, 0.6]
pictures.overlap(target_row, draft_row, names)

# %% [markdown]
# *In words: for each of three tokens a bar. Blue is what is drafted and accepted, the smaller of p and q. The hatched
# part above "cow" is drafted too often and rejected. The red part above "cat" is the residual, which fills the bar up
# to the target's line.*
#
# The hatched area is as large as the red one: as often as a draft is refused, something is missing elsewhere. The blue
# area, $\sum_x \min(p(x), q(x))$, is the probability that a draft is accepted.
#
# ### Exercise 4 · One step of sampling (5 points)
#
# Put it together for $k$ drafts. Go through them in order. Accept each with its probability; at the first refusal, draw
# from the residual **of that place** and stop. If all were accepted, draw the bonus token from the target's last row.
#
# Your function needs random numbers. Draw them as you like (`torch.rand`, `torch.multinomial`), in any order. The test
# looks at statistics alone: it calls your function some thousand times on languages of three to five tokens, and
# compares how often each text comes out with the exact probability (a chi-square test; right code fails it less than
# once in 10 000 runs). It also looks at how often drafts are accepted: a function that ignores the draft and draws
# from the target has the right distribution, and is of no use.
#
# Two tests in one random number don't work: use a fresh one for each draft. And don't set a seed inside.
#
# The exercise builds on your two functions of exercise 3; get those right first.
#
# <details><summary>Hint 1</summary>torch.rand(()) &lt; probability is True with that probability.</details>
# <details><summary>Hint 2</summary>int(torch.multinomial(probabilities, 1)) draws a token.</details>
# <details><summary>Hint 3</summary>Where does the function return? Once inside the loop, once behind it.</details>


# %% nbgrader={"grade": false, "grade_id": "sampling-step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sampling_step(target_probs, draft_probs, draft_tokens):
    """The tokens that a round of speculative sampling adds to the text; each has the target's
    distribution.

    Args:
        target_probs: [k + 1, vocab_size]; row i is the target's for the place of
            draft_tokens[i], the last row for the place behind the draft.
        draft_probs: [k, vocab_size]; row i is what draft_tokens[i] was drawn from.
        draft_tokens: k token ids, a list; k may be 0.

    Returns:
        A list of 1 to k + 1 ints: the accepted drafts and one more token. Drafts are accepted
        in order, each with probability min(1, p / q); the one more comes from the residual of
        the first refused draft's place, or, if none was refused, from the target's last row.
    """
    ### BEGIN SOLUTION
    tokens = []
    for p, q, token in zip(target_probs, draft_probs, draft_tokens):
        if torch.rand(()) >= acceptance_probability(p, q)[token]:
            return [*tokens, int(torch.multinomial(residual(p, q), 1))]
        tokens.append(token)
    return [*tokens, int(torch.multinomial(target_probs[-1], 1))]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "sampling-step-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    TokenTable,
    accepted_law,
    builds_on,
    exercise,
    expect_distribution,
    random_table,
    speculated,
)

with exercise("sampling-step"):
    builds_on("acceptance", "residual")
    torch.manual_seed(5)  # the drafts come from a generator of their own

    def follows(target, draft, k, runs, seed, what, cause=""):
        """Texts as the target would write them, and as many drafts accepted as should be."""
        texts, accepted = speculated(sampling_step, target, draft, k, runs, seed)
        counts = accepted_law(target, draft, k)
        why = (
            "accepted are all returned tokens but the last: each by a fresh random number, with probability "
            "min(1, p / q) of its own place and token"
        )
        expect_distribution(accepted, counts, f"{what}: the number of accepted drafts", why)
        expect_distribution(texts, target.law(k + 1), f"{what}: the text", cause)

    low_target = TokenTable(3, lambda text: [0.2, 0.3, 0.5] if text else [0.6, 0.3, 0.1])
    low_draft = TokenTable(3, lambda text: [0.1, 0.3, 0.6])
    follows(
        low_target,
        low_draft,
        1,
        1500,
        1,
        "one draft, the pair of the figure",
        cause="after a refusal draw from the residual; after a full acceptance from the last row",
    )

    ### BEGIN HIDDEN TESTS
    # Looks at: two and three drafts; drafters that know little or much, and the target itself;
    #   only the top two tokens left; nothing in common; temperature 0, of the target, the
    #   drafter or both; no draft, and six; how often drafts are accepted.
    # Stated by: "at the first refusal, draw from the residual **of that place** and stop" | "each
    #   has the target's distribution" | "each with probability min(1, p / q)" | "the one more
    #   comes from the residual of the first refused draft's place" | "if none was refused, from
    #   the target's last row" | "draft_tokens: k token ids, a list; k may be 0" | "It also looks
    #   at how often drafts are accepted"
    # Right because: accepted or drawn anew, each token follows p given the text before it, and
    #   so the whole text does; the drafter decides only how soon a round ends.
    follows(
        random_table(3, seed=1, sharpness=1.5),
        random_table(3, seed=2, sharpness=1.5),
        2,
        2000,
        2,
        "two drafts, a drafter that knows little",
        cause="stop at the first refusal, and draw from the residual of that place, max(0, p - q) made to sum to 1",
    )
    mild = random_table(4, seed=3)
    near = TokenTable(4, lambda text: (0.7 * mild.after(text)[1] + 0.075).tolist())
    own = (
        "after a refusal draw from the residual of the refused place, by a fresh random number"
    )
    follows(mild, near, 3, 1500, 3, "three drafts, a good drafter", own)

    def top_two(text):
        row = torch.tensor(random_table(5, seed=4).after(text)[1])
        return torch.where(row >= row.topk(2).values[-1], row, 0.0).tolist()

    top_target, wide_draft = TokenTable(5, top_two), random_table(5, seed=5)
    follows(top_target, wide_draft, 2, 1200, 4, "a target that keeps its top two tokens", own)
    follows(wide_draft, top_target, 2, 1200, 5, "a drafter that keeps its top two tokens", own)
    first, last = TokenTable(3, lambda _: [0.5, 0.5, 0]), TokenTable(3, lambda _: [0, 0, 1.0])
    follows(first, last, 2, 200, 6, "a target and a drafter that have nothing in common")
    itself = "the target as its own drafter"
    follows(mild, mild, 2, 300, 7, itself, cause="where p = q every draft is accepted")
    greedy = TokenTable(4, lambda text: [float(i == (sum(text) + 2) % 4) for i in range(4)])
    follows(greedy, near, 3, 100, 8, "a target at temperature 0")
    follows(greedy, greedy, 3, 20, 9, "target and drafter at temperature 0, the same")
    other = TokenTable(4, lambda text: [float(i == (2 * len(text)) % 4) for i in range(4)])
    follows(other, greedy, 3, 20, 10, "target and drafter at temperature 0, not the same")
    follows(mild, greedy, 2, 300, 12, "a drafter at temperature 0, and a target that isn't")
    turns = TokenTable(2, lambda text: [float(i == len(text) % 2) for i in range(2)])
    slips = TokenTable(2, lambda text: [float(i == (len(text) in (1, 3))) for i in range(2)])
    follows(turns, slips, 6, 20, 13, "six drafts, the last of them wrong")
    texts, _ = speculated(sampling_step, mild, near, 0, 500, 11)
    why = "without a draft it is a plain draw from the target's only row"
    expect_distribution(texts, mild.law(1), "no draft: the token", why)
    ### END HIDDEN TESTS

# %% [markdown]
# See for yourself what a small change of the rule does. The tempting shortcut draws from the target after a refusal:
# "the target is always right". Compare both rules on the pair of the figure, with 5000 drafts each.

# %% tags=["for-real"]
if scoreboard.ready("sampling-step"):
    p, q = torch.tensor(target_row), torch.tensor(draft_row)
    drafts = torch.multinomial(q, 5000, replacement=True).tolist()
    right, wrong = torch.zeros(3), torch.zeros(3)
    for draft in drafts:
        right[sampling_step(torch.stack((p, p)), q[None], [draft])[0]] += 1 / 5000
        accepted = torch.rand(()) < acceptance_probability(p, q)[draft]
        wrong[draft if accepted else int(torch.multinomial(p, 1))] += 1 / 5000
    rules = {"target": target_row, "your step": right.tolist(), "shortcut": wrong.tolist()}
    pictures.shares(rules, names, "Drawing from the target after a refusal isn't the target")

# %% [markdown]
# *In words: three tokens, three bars each. Your step's bars are as high as the target's. The shortcut gives too little
# "cat" and too much "dog" and "cow".*
#
# The shortcut counts a token twice: once for the drafts of it that were accepted, and once more in the new draw.
#
# ### Exercise 5 · A drafter without a model (3 points)
#
# Who guesses? The cheapest drafter is the text itself. Code repeats names, answers quote questions, summaries copy
# phrases. So take the last few tokens, the *n-gram*, look for the last time that they stood in the text, and guess that
# what followed then follows now. This is called *prompt lookup* or n-gram speculation. A guess costs nothing.
#
# A longer n-gram is rarer and a better witness. Try the longest first, then shorter ones. Example with `longest=2`:
#
# ```
# text   7 8 9 1 7 8 5 2 7 8        the last two tokens are 7 8
#                ‾‾‾     ‾‾‾        they stood here last, and 5 2 7 8 followed
# ```
#
# With $k = 3$ the draft is `[5, 2, 7]`.
#
# <details><summary>Hint 1</summary>An n-gram that starts at `start` ends before start + n. The text's own end is the
# n-gram that you look for, so start + n must be smaller than len(text).</details>
# <details><summary>Hint 2</summary>Two loops: n downwards, start downwards. Return at the first hit.</details>


# %% nbgrader={"grade": false, "grade_id": "ngram-drafter", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ngram_draft(text, k, longest=3):
    """Guess the next tokens from what followed the same tokens earlier in the text.

    Args:
        text: token ids so far, a list; it may be empty. 0 is an id, too.
        k: largest number of guesses, 0 or more.
        longest: the n-gram's largest length, 1 or more. The longest n-gram that occurs earlier
            decides, and of its occurrences the last one before the text's end (they may
            overlap).

    Returns:
        A list of at most k ints, the tokens that followed there; fewer if the text ends; empty
        if no n-gram of length 1 or more occurs earlier.
    """
    ### BEGIN SOLUTION
    text = list(text)
    for n in range(min(longest, len(text) - 1), 0, -1):
        for start in range(len(text) - n - 1, -1, -1):
            if text[start : start + n] == text[-n:]:
                return text[start + n : start + n + k]
    return []
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "ngram-drafter-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
from fridge.testing import exercise, expect_equal, token_ids

with exercise("ngram-drafter"):

    def drafts(text, k, expected, what, cause="", **longest):
        got = token_ids(ngram_draft(list(text), k, **longest), "what ngram_draft returns")
        expect_equal(got, expected, f"{what}: {text}, k = {k}", cause)

    earlier = "at most k of what followed the earlier 1, an n-gram of one token; the end is no earlier occurrence"
    drafts([1, 2, 3, 1], 1, [2], earlier, longest=1)
    drafts(
        [7, 8, 9, 1, 7, 8, 5, 2, 7, 8],
        3,
        [5, 2, 7],
        "the example above",
        cause="of several occurrences the last one before the end",
        longest=2,
    )
    drafts([1, 2, 3], 4, [], "a text in which nothing repeats", cause="no guess: an empty list")
    ### BEGIN HIDDEN TESTS
    # Looks at: n-grams of several lengths that compete; texts in which only a shorter one
    #   occurs earlier; occurrences that overlap the end; fewer tokens that followed than may be
    #   guessed; few guesses, down to none; empty, very short and long texts; the token 0; ids of
    #   several digits; other values of longest; longest left out.
    # Stated by: "The longest n-gram that occurs earlier decides, and of its occurrences the last
    #   one before the text's end" | "Try the longest first, then shorter ones" | "before the
    #   text's end (they may overlap)" | "the tokens that followed there; fewer if the text ends" |
    #   "largest number of guesses, 0 or more" | "token ids so far, a list; it may be empty" | "0
    #   is an id, too" | "look for the last time that they stood in the text" | "longest: the
    #   n-gram's largest length" | "longest=3"
    # Right because: the longer the match, the fewer other texts it could have come from, and
    #   the later it stands, the more it is about the same thing; a wrong guess costs time and
    #   no correctness, for the target checks it.
    drafts(
        [1, 2, 3, 4, 9, 2, 3, 5, 8, 3, 6, 1, 2, 3],
        2,
        [4, 9],
        "three tokens that occurred once, two of them twice, one of them three times",
        cause="the longest n-gram decides, not the latest occurrence",
    )
    shorter = "fall back to shorter n-grams"
    drafts([1, 2, 3, 4, 9, 2, 3], 2, [4, 9], "two tokens, where three never occurred", shorter)
    drafts([5, 1, 6, 2, 5], 2, [1, 6], "one token alone", shorter)
    drafts([1, 2, 9, 1, 2, 8, 3, 2], 2, [8, 3], "one token that occurred twice")
    drafts([1, 2, 3, 4, 1, 2, 3], 1, [4], "one guess allowed")
    drafts([1, 2, 3, 4, 1, 2, 3], 0, [], "no guess allowed")
    drafts([1, 2, 3, 1, 2], 5, [3, 1, 2], "fewer tokens followed than are allowed")
    drafts([6, 1, 6], 3, [1, 6], "n-grams longer than the text", shorter, longest=10)
    before = "the earlier n-gram may stand just before"
    drafts([7, 7], 3, [7], "the same token twice", before, longest=1)
    drafts([7, 7], 3, [7], "no other token than the same one twice", shorter)
    overlap = "an occurrence and the end may overlap"
    drafts([7, 7, 7], 3, [7], "an occurrence that overlaps the end", overlap, longest=2)
    drafts([4, 7, 7, 7, 7], 2, [7], "the latest overlapping occurrence", overlap, longest=3)
    drafts(
        [1, 5, 6, 7, 1, 8, 1],
        3,
        [8, 1],
        "k tokens followed the first occurrence, fewer the last",
        cause="the last occurrence decides, also where fewer than k tokens follow it",
    )
    drafts(
        [1, 2, 5, 1, 2, 6, 1, 3, 4, 1],
        2,
        [3, 4],
        "a token that 2 followed twice, and then 3 once",
        cause="guess what followed last, not what followed most often",
    )
    zero = "0 is an id, too"
    drafts([0, 5, 0], 2, [5, 0], "a token with the id 0", zero)
    drafts([0, 4, 0], 2, [4, 0], "an n-gram of the token 0 alone", zero, longest=1)
    drafts([9, 0, 0, 0], 2, [0], "three tokens with the id 0", zero)
    digits = "tokens are compared, and not their digits: 11 2 isn't 1 2"
    drafts([11, 2, 9, 2, 8, 1, 2], 2, [8, 1], "ids of several digits", digits)
    nothing = token_ids(ngram_draft([], 3), "what ngram_draft returns")
    expect_equal(nothing, [], "the draft for an empty text")
    drafts([3], 3, [], "a text of one token", "the end itself is no earlier occurrence")
    long = [*range(1000, 2500), 1000, 1001]
    got = token_ids(ngram_draft(list(long), 3), "what ngram_draft returns")
    expect_equal(
        got,
        [1002, 1003, 1004],
        "1502 tokens that end as they began",
        cause="an n-gram may have occurred anywhere in the text, however far back",
    )
    drafts([1, 2, 3, 9, 1, 2, 3, 4, 2, 3], 1, [4], "longest = 2", longest=2)
    drafts([1, 2, 3, 9, 8, 2, 3, 4, 1, 2, 3], 1, [9], "longest = 3", longest=3)
    drafts([2, 3, 4, 8, 3, 5, 2, 3], 1, [5], "longest = 1", longest=1)
    drafts([1, 2, 3, 4, 5, 0, 2, 3, 4, 6, 1, 2, 3, 4], 1, [5], "longest = 4", longest=4)
    drafts([1, 2, 3, 4, 5, 0, 2, 3, 4, 6, 1, 2, 3, 4], 1, [6], "longest left out")
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 6 · A drafter with a cache (5 points)
#
# The classical drafter is a small language model. It has a KV cache of its own, and that cache needs **repair** after
# each round. Say the text is 11 12 13 and the small model drafts four tokens, 14 15 16 17. Its cache then holds
#
# ```
# text     11 12 13
# cache    11 12 13 14 15 16          17 was chosen, and never fed
# ```
#
# - The target accepts 14 and says 90 instead of 15. The text is 11 12 13 14 90. The cache has two entries for tokens
#   that aren't in the text: **rewind** it to 4, then feed 90.
# - The target accepts all four and adds 18. The text is 11 12 13 14 15 16 17 18. Nothing in the cache is wrong, but **two**
#   tokens are missing: 17 and 18. Who feeds 18 alone puts it at the wrong position, and the drafts get worse round by
#   round, silently: the text stays right, only the acceptance drops. This is the bug to know.
#
# Write a class that repairs its cache at the beginning of each `propose`. A cache has `len(cache)` and
# `cache.rewind(length)`, and the model calls `cache.update` by itself, as in unit 03.
#
# <details><summary>Hint 1</summary>Compare len(self.cache) with len(text). How many entries are certainly right? At
# least one token must be fed, or there are no logits.</details>
# <details><summary>Hint 2</summary>The accepted drafts stand in the text, followed by one token of the target's. So the
# cache is right up to len(text) - 1, or to its own end if it is shorter.</details>
# <details><summary>Hint 3</summary>Rewind to that length, feed text[that length:] in one call.</details>


# %% nbgrader={"grade": false, "grade_id": "model-drafter", "locked": false, "schema_version": 3, "solution": true, "task": false}
class ModelDrafter:
    """Greedy guesses of a small model.

    Args:
        model: model(tokens, cache) returns logits [1, new, vocab_size] for tokens [1, new] and
            extends the cache.
        cache: an empty KV cache with `len()` and `rewind(length)`, which no one else uses.
    """

    def __init__(self, model, cache):
        ### BEGIN SOLUTION
        self.model, self.cache = model, cache
        ### END SOLUTION

    def propose(self, text, k):
        """The k tokens that the model would write behind the text.

        Takes k calls of the model: the first feeds all tokens of the text that the cache
        lacks, each further one feeds the guess just made. The last guess isn't fed. What the
        cache holds of the text isn't computed again, but for its last token where the cache
        lacks none: without one there would be no logits.

        Args:
            text: all token ids so far, a list, at least one; 0 is an id, too. From call to
                call it grows by some of the last guesses, from the first one on (perhaps none,
                perhaps all), and then by one other token; after a call without guesses it
                grows by any number of tokens. Or it is the same once more.
            k: number of guesses; for 0 the model isn't called, and what isn't in the text
                leaves the cache all the same.

        Returns:
            A list of k ints.
        """
        ### BEGIN SOLUTION
        right = min(len(self.cache), len(text) - 1)
        self.cache.rewind(right)
        feed, draft = list(text[right:]), []
        while len(draft) < k:
            logits = self.model(torch.tensor([feed]), self.cache)
            draft.append(int(logits[0, -1].argmax()))
            feed = draft[-1:]
        return draft
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "model-drafter-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    RewindableCache,
    ScriptedSpeaker,
    exercise,
    expect_equal,
    tiny_llama,
    token_ids,
)

with exercise("model-drafter"):
    conversation = list(range(11, 41))

    def sizes(call):
        return call[0], len(call[1])

    class Rounds:
        """A drafter at work: what it proposes for each text, and what its model was fed."""

        def __init__(self, instead=None):
            self.small, self.cache = ScriptedSpeaker(conversation, instead), RewindableCache()
            self.drafter = ModelDrafter(self.small, self.cache)

        def propose(self, text, k, calls, what, cause=""):
            """`calls`: for each call, the positions that the cache holds and what is fed."""
            self.small.calls.clear()
            got = token_ids(self.drafter.propose(list(text), k), "what propose returns")
            guesses = []
            while len(guesses) < k:
                guesses.append(self.small.next_token([*text, *guesses]))
            fed = [(len(call.held), call.fed) for call in self.small.calls]
            if fed and calls and fed[0][0] > calls[0][0]:
                rewind = "the cache holds more than the text without its last token: rewind it"
                cause = cause or rewind
            elif fed[:1] == calls[:1] and list(map(sizes, fed)) == list(map(sizes, calls)):
                cause = "a guess is the choice of the last row of logits, and the next call feeds it"
            expect_equal(
                fed, calls, f"{what}: (positions held, tokens fed) of each call", cause
            )
            everything = [*text, *guesses]
            held = [call.held for call in self.small.calls]
            truth = [everything[: len(tokens)] for tokens in held]
            expect_equal(held, truth, f"{what}: the text in the cache at each call", cause)
            expect_equal(got, guesses, f"{what}: the guesses")

    refused = Rounds(instead={4: 50})
    nonsense = refused.small.next_token([11, 12, 13, 14, 50])
    refused.propose(
        [11, 12, 13],
        4,
        [(0, [11, 12, 13]), (3, [14]), (4, [50]), (5, [nonsense])],
        "the first round",
        cause="the text in one call, then each guess but the last",
    )
    refused.propose(
        [11, 12, 13, 14, 15],
        1,
        [(4, [15])],
        "the round after the second guess was refused",
        cause="keep what the cache holds of the text, and rewind the guesses that aren't in it",
    )
    full = Rounds()
    another = "the first round of a second drafter, with an empty cache of its own"
    full.propose([11, 12, 13], 2, [(0, [11, 12, 13]), (3, [14])], another)
    full.propose(
        [11, 12, 13, 14, 15, 16],
        2,
        [(4, [15, 16]), (6, [17])],
        "the round after both guesses were accepted",
        cause="the 4 positions held are right and stay; the last guess, never fed, and the token behind it are missing",
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: rounds after which all, some or none of the guesses stand in the text; no
    #   guesses wanted; the round after that; the same text again; a text of one token; many
    #   guesses; the token 0, guessed and fed; two drafters at once; a small Llama.
    # Stated by: "some of the last guesses, from the first one on (perhaps none, perhaps all), and
    #   then by one other token" | "for 0 the model isn't called, and what isn't in the text leaves
    #   the cache all the same" | "after a call without guesses it grows by any number of tokens" |
    #   "Or it is the same once more" | "all token ids so far, a list, at least one" | "Takes k
    #   calls of the model" | "0 is an id, too" | "an empty KV cache with `len()` and
    #   `rewind(length)`, which no one else uses" | "The k tokens that the model would write behind
    #   the text"
    # Right because: the cache is right exactly as far as it holds the text's own tokens:
    #   rewinding to there removes what was refused, and feeding all the rest leaves no hole
    #   where the last guess was never fed.
    full.propose(conversation[:9], 3, [(7, [18, 19]), (9, [20]), (10, [21])], "full again")
    full.propose(conversation[:10], 1, [(9, [20])], "the round after no guess was accepted")
    full.propose(conversation[:11], 1, [(10, [21])], "after the one guess was refused")
    full.propose(conversation[:13], 1, [(11, [22, 23])], "after the one guess was accepted")
    full.propose(
        conversation[:14], 0, [], "no guesses", cause="for k = 0 the model isn't called"
    )
    full.propose(
        conversation[:17],
        2,
        [(13, conversation[13:17]), (17, [28])],
        "after a round in which nobody asked for guesses",
        cause="feed all tokens that the cache lacks, however many, in one call",
    )
    full.propose(conversation[:17], 2, [(16, [27]), (17, [28])], "the same text once more")
    idle = Rounds(instead={4: 50})
    calls = [(0, [11, 12, 13]), (3, [14]), (4, [50]), (5, [nonsense])]
    idle.propose([11, 12, 13], 4, calls, "four guesses, the second of them wrong")
    idle.propose(conversation[:5], 0, [], "no guesses after a refused one")
    idle.propose(
        conversation[:8],
        1,
        [(4, conversation[4:8])],
        "the round after no guesses were wanted behind a refused one",
        cause="a call without guesses repairs the cache as well: the text may then grow by any number of tokens",
    )

    first = Rounds(instead={3: 60})
    odd = [60]
    while len(odd) < 4:
        odd.append(first.small.next_token([11, 12, 13, *odd]))
    first.propose(
        [11, 12, 13],
        5,
        [(0, [11, 12, 13]), *[(3 + i, [odd[i]]) for i in range(4)]],
        "five guesses, wrong from the first on",
    )
    first.propose(conversation[:4], 2, [(3, [14]), (4, [15])], "after the first was refused")
    first.propose(conversation[:5], 1, [(4, [15])], "after the first was refused again")

    single = Rounds()
    single.propose([11], 1, [(0, [11])], "a text of one token")
    single.propose([11, 12, 13], 1, [(1, [12, 13])], "a text of one token, accepted")
    long = Rounds(instead={20: 1})
    calls = [(0, conversation[:2]), *[(2 + i, [13 + i]) for i in range(18)]]
    long.propose(conversation[:2], 19, calls, "nineteen guesses")
    long.propose(conversation[:21], 1, [(20, [31])], "after the last of nineteen was refused")
    zero, too = Rounds(instead={3: 0}), "0 is an id, too"
    behind = zero.small.next_token([11, 12, 13, 0])
    calls = [(0, [11, 12, 13]), (3, [0]), (4, [behind])]
    zero.propose([11, 12, 13], 3, calls, "three guesses, the first with the id 0", too)
    zero.propose([11, 12, 13, 0, 0], 1, [(4, [0])], "a text that ends with the id 0", too)
    one, two = Rounds(), Rounds(instead={3: 9})
    one.propose([11, 12, 13], 2, [(0, [11, 12, 13]), (3, [14])], "one of two drafters")
    two.propose([11, 12, 13], 1, [(0, [11, 12, 13])], "two drafters share nothing")
    one.propose(conversation[:5], 1, [(4, [15])], "the first of the two again")

    tiny, cache = tiny_llama(seed=3), RewindableCache()
    drafter, text = ModelDrafter(tiny, cache), [5, 9, 2, 61]
    for accepted, own in ((3, 7), (0, 12), (1, 30), (2, 2), (3, 40)):
        draft = []
        while len(draft) < 3:
            draft.append(int(tiny(torch.tensor([[*text, *draft]]))[0, -1].argmax()))
        got = token_ids(drafter.propose(list(text), 3), "what propose returns")
        expect_equal(got, draft, f"three guesses of a small Llama behind {len(text)} tokens")
        text += [*draft[:accepted], own]
    ### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 7 · The loop (6 points)
#
# Now the target's side. Each round: ask the drafter, feed the last token and the draft in one call, check, and rewind
# the target's cache, because it now holds every guess, the wrong ones too.
#
# The drafter is a function `propose(text, k)`, so your n-gram drafter and your `ModelDrafter(...).propose` both fit.
# The check is a function `verify(draft, logits, stop_token)` like the one in exercise 2; the test brings its own.
#
# Don't ask for guesses that can't be used: with three tokens still to write, a round needs two guesses at most.
#
# After the last round the cache holds the text but not its last chosen token, as in unit 03, so that a next turn can go
# on from it. The stop token counts as chosen, and isn't part of the reply.
#
# <details><summary>Hint 1</summary>verify([], logits[0, -1:], stop_token) checks an empty draft: it gives the first
# token after the prompt.</details>
# <details><summary>Hint 2</summary>Before the call the cache holds all but the last token of the text. After it, it must
# hold all but the last token of the longer text.</details>
# <details><summary>Hint 3</summary>The cache may have held something before the prompt. Note len(cache) at the start.
# </details>


# %% nbgrader={"grade": false, "grade_id": "speculative-loop", "locked": false, "schema_version": 3, "solution": true, "task": false}
def speculative_generate(
    model, prompt, max_new_tokens, cache, propose, k, verify, stop_token=None
):
    """Greedy decoding with guesses: the same reply as without, in fewer calls.

    Args:
        model: model(tokens, cache) returns logits [1, new, vocab_size] for tokens [1, new] and
            extends the cache.
        prompt: token ids, at least one; they follow what the cache holds. 0 is an id, too.
        max_new_tokens: largest length of the reply; for 0 the model isn't called, and the
            cache stays as it is.
        cache: a KV cache with `len()` and `rewind(length)`.
        propose: propose(text, k) returns at most k guesses, perhaps none; text is the list
            prompt + reply so far.
        k: guesses in a round, at most; a round with r tokens still to write asks for r - 1 at
            most.
        verify: verify(draft, logits, stop_token) returns the tokens to append, as
            `verify_greedy` does; logits [len(draft) + 1, vocab_size].
        stop_token: ends the reply when the model chooses it, and isn't part of it.

    Returns:
        The reply, a list of ints. The prompt takes one call, and each round one: the last
        token and the guesses. In the end the cache holds what it held, the prompt and all
        chosen tokens but the last.
    """
    ### BEGIN SOLUTION
    if max_new_tokens == 0:
        return []
    earlier, text = len(cache), list(prompt)
    logits = model(torch.tensor([text]), cache)
    chosen = verify([], logits[0, -1:], stop_token)
    while True:
        text += chosen
        reply = text[len(prompt) :]
        if chosen[-1] == stop_token:
            return reply[:-1]
        if len(reply) == max_new_tokens:
            return reply
        useful = min(k, max_new_tokens - len(reply) - 1)
        draft = list(propose(list(text), useful)) if useful else []
        logits = model(torch.tensor([[text[-1], *draft]]), cache)
        chosen = verify(draft, logits[0], stop_token)
        cache.rewind(earlier + len(text) + len(chosen) - 1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "speculative-loop-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
import torch

from fridge.testing import (
    RewindableCache,
    ScriptedSpeaker,
    agreed,
    exercise,
    expect_equal,
    expect_number,
    expect_true,
    tiny_llama,
    token_ids,
)

with exercise("speculative-loop"):

    def ask(
        what,
        conversation,
        prompt,
        max_new_tokens,
        right,
        k,
        reply,
        calls,
        stop_token=None,
        earlier=(),
        wrong=63,
        cause="",
    ):
        """A reply with `right` right guesses a round, and what the target is fed for it."""
        target, cache, asked = ScriptedSpeaker([*earlier, *conversation]), RewindableCache(), []
        if earlier:
            target(torch.tensor([earlier]), cache)
            target.calls.clear()

        def propose(text, k):
            text = list(token_ids(text, "the text that propose is given"))
            k = int(expect_number(k, "the number of guesses asked for"))
            asked.append((text, k))
            guesses = conversation[len(text) : len(text) + right]
            return [*guesses, *([] if wrong is None else [wrong] * k)][:k]

        got = speculative_generate(
            target, list(prompt), max_new_tokens, cache, propose, k, agreed, stop_token
        )
        fed = [(len(call.held), call.fed) for call in target.calls]
        order = (
            "the prompt in one call; then a call a round, with the last token and the useful guesses, behind a cache "
            "rewound to all but the text's last token"
            + ("; nothing after the stop token" if stop_token is not None else "")
        )
        none = "for a reply of 0 tokens the model isn't called"
        for text, _ in asked:
            expect_equal(
                text[: len(prompt)],
                prompt,
                f"{what}: how the text given to the drafter begins",
                cause="it is given the whole text, the prompt and the reply so far",
            )
        expect_equal(
            fed,
            calls,
            f"{what}: (positions held, tokens fed) of each call",
            cause=cause or (order if max_new_tokens else none),
        )
        truth = [*earlier, *conversation]
        expect_equal(
            [call.held for call in target.calls],
            [truth[: len(call.held)] for call in target.calls],
            f"{what}: the text in the cache at each call",
            cause="refused guesses must leave the cache",
        )
        expect_equal(token_ids(got, "what speculative_generate returns"), reply, what)
        for text, count in asked:
            expect_equal(
                text, conversation[: len(text)], f"{what}: the text given to the drafter"
            )
            useful = min(k, len(prompt) + max_new_tokens - len(text) - 1)
            expect_true(
                count <= useful,
                f"{what}: guesses asked for with {len(text) - len(prompt)} tokens written",
                f"{useful} at most",
                count,
                cause="ask for k guesses at most, and for one less than there are tokens still to write",
            )
        held = len(truth[: len(earlier) + len(prompt)]) + len(reply)
        held -= 1 if reply and len(reply) == max_new_tokens else 0
        expect_equal(
            len(cache),
            held if max_new_tokens else len(earlier),
            f"{what}: positions in the cache at the end",
            cause="all but the last chosen token, the stop token included",
        )

    words = list(range(11, 41))
    ask(
        "a reply of 7 tokens, two right guesses of four",
        words,
        words[:3],
        7,
        2,
        4,
        words[3:10],
        [(0, [11, 12, 13]), (3, [14, 15, 16, 63, 63]), (6, [17, 18, 19])],
    )
    ask(
        "a reply of 3 tokens, no guess right",
        words,
        words[:2],
        3,
        0,
        2,
        words[2:5],
        [(0, [11, 12]), (2, [13, 63]), (3, [14])],
    )
    ### BEGIN HIDDEN TESTS
    # Looks at: all guesses right, some or none; replies of no, one and two tokens; no guesses,
    #   or fewer than asked for; what the drafter is given; how many guesses it is asked for; the
    #   stop token in every kind of place, in the prompt too; one that was only guessed; the
    #   token 0; a second turn; what the cache holds in the end; a small Llama.
    # Stated by: "The prompt takes one call, and each round one: the last token and the guesses" |
    #   "largest length of the reply; for 0 the model isn't called" | "returns at most k guesses,
    #   perhaps none" | "text is the list prompt + reply so far" | "a round with r tokens still to
    #   write asks for r - 1 at most" | "ends the reply when the model chooses it, and isn't part
    #   of it" | "ends the reply when the model chooses it" | "0 is an id, too" | "they follow what
    #   the cache holds" | "In the end the cache holds what it held, the prompt and all chosen
    #   tokens but the last" | "the same reply as without, in fewer calls"
    # Right because: each token that is appended is the target's own choice behind the text so
    #   far, and after the rewind its cache holds just this text: a round begins where plain
    #   decoding would, and guesses change only the number of calls.
    ask(
        "all guesses right",
        words,
        words[:3],
        9,
        99,
        3,
        words[3:12],
        [(0, [11, 12, 13]), (3, [14, 15, 16, 17]), (7, [18, 19, 20, 21])],
    )
    ask("a reply of no token", words, words[:3], 0, 2, 4, [], [])
    ask("a reply of one token", words, words[:3], 1, 2, 4, [14], [(0, [11, 12, 13])])
    ask(
        "a reply of two tokens",
        words,
        words[:3],
        2,
        2,
        4,
        [14, 15],
        [(0, [11, 12, 13]), (3, [14])],
    )
    ask(
        "no guesses allowed",
        words,
        words[:1],
        3,
        2,
        0,
        words[1:4],
        [(0, [11]), (1, [12]), (2, [13])],
    )
    fewer = "propose may return fewer guesses than it was asked for, or none: go on with those that came"
    ask(
        "fewer guesses than were asked for",
        words,
        words[:3],
        5,
        1,
        4,
        words[3:8],
        [(0, [11, 12, 13]), (3, [14, 15]), (5, [16, 17])],
        wrong=None,
        cause=fewer,
    )
    ask(
        "no guess, though some were asked for",
        words,
        words[:3],
        4,
        0,
        4,
        words[3:7],
        [(0, [11, 12, 13]), (3, [14]), (4, [15]), (5, [16])],
        wrong=None,
        cause=fewer,
    )
    ask(
        "one right guess of three, round after round",
        words,
        words[:2],
        8,
        1,
        3,
        words[2:10],
        [
            (0, [11, 12]),
            (2, [13, 14, 63, 63]),
            (4, [15, 16, 63, 63]),
            (6, [17, 18, 63]),
            (8, [19]),
        ],
    )
    stop = 2
    ends = [11, 12, 13, 14, stop, 15, 16, 17, 18, 19, 20]
    ask(
        "a stop token inside a right draft",
        ends,
        ends[:2],
        8,
        99,
        4,
        [13, 14],
        [(0, [11, 12]), (2, [13, 14, stop, 15, 16])],
        stop_token=stop,
    )
    ask(
        "a stop token as the bonus token",
        ends,
        ends[:2],
        8,
        1,
        1,
        [13, 14],
        [(0, [11, 12]), (2, [13, 14])],
        stop_token=stop,
    )
    ask(
        "a stop token in place of a wrong guess",
        ends,
        ends[:2],
        8,
        1,
        3,
        [13, 14],
        [(0, [11, 12]), (2, [13, 14, 63, 63])],
        stop_token=stop,
    )
    ask(
        "a stop token that comes first",
        ends,
        ends[:4],
        8,
        2,
        3,
        [],
        [(0, [11, 12, 13, 14])],
        stop_token=stop,
    )
    ask(
        "a stop token in the prompt",
        ends,
        ends[:6],
        3,
        99,
        4,
        [16, 17, 18],
        [(0, ends[:6]), (6, [16, 17])],
        stop_token=stop,
    )
    ask(
        "a stop token that was only guessed",
        words,
        words[:2],
        4,
        1,
        2,
        words[2:6],
        [(0, [11, 12]), (2, [13, 14, 63]), (4, [15])],
        stop_token=63,
        cause="the model's choices end the reply, and not the guesses",
    )
    zero = [11, 12, 13, 0, 14, 15, 16]
    ask(
        "a stop token with the id 0",
        zero,
        zero[:1],
        5,
        99,
        3,
        [12, 13],
        [(0, [11]), (1, [12, 13, 0, 14])],
        stop_token=0,
    )
    zero = [0, 12, 0, 0, 13, 14, 15]
    ask(
        "tokens with the id 0 that don't stop, in the prompt, guessed and fed",
        zero,
        zero[:1],
        5,
        1,
        1,
        [12, 0, 0, 13, 14],
        [(0, [0]), (1, [12, 0]), (3, [0, 13])],
    )
    ask(
        "a second turn, behind five positions in the cache",
        words,
        words[:3],
        7,
        2,
        4,
        words[3:10],
        [(5, [11, 12, 13]), (8, [14, 15, 16, 63, 63]), (11, [17, 18, 19])],
        earlier=[1, 2, 3, 4, 5],
    )

    def without_guesses(text, k):
        return []

    def doubling(text, k):
        return [int(text[-1])] * int(k)

    tiny, text = tiny_llama(seed=3), [5, 9, 2, 61]
    expected = list(text)
    for _ in range(12):
        expected.append(int(tiny(torch.tensor([expected]))[0, -1].argmax()))

    def oracle(text, k):
        return expected[len(text) : len(text) + int(k)]

    def short(text, k):
        return oracle(text, min(int(k), 1))

    drafters = {"no guesses": without_guesses, "bad ones": doubling, "the best": oracle}
    drafters["fewer guesses than allowed"] = short
    for name, propose in drafters.items():
        reply = speculative_generate(
            tiny, list(text), 12, RewindableCache(), propose, 3, agreed
        )
        what = f"twelve tokens of a small Llama with {name}"
        never = "guesses change the number of calls, and never the reply"
        expect_equal(token_ids(reply, what), expected[4:], what, never)
    ### END HIDDEN TESTS

# %% [markdown]
# ## 5 · For real
#
# SmolLM2 is the target. Four kinds of prompts: *code* (add type hints to a function), a *quotation* (repeat a passage),
# a *story*, and a *chat* question. First one of them with your n-gram drafter; the meter stands between your loop and
# the model and counts.


# %% tags=["for-real"]
def timed(kind, propose, k, new_tokens=64):
    meter, held = measuring.Meter(model, propose), RewindableCache()
    reply = speculative_generate(
        meter, prompts[kind], new_tokens, held, meter.propose, k, verify_greedy, eos
    )
    return meter.result(reply, held)


eos = tokenizer.eos_token_id
if scoreboard.ready("verify-greedy", "ngram-drafter", "speculative-loop"):
    first_run = timed("quotation", ngram_draft, 8)
    print(tokenizer.decode(first_run.reply))
    print(f"\n{len(first_run.reply)} tokens in {len(first_run.kept)} calls behind the prompt's")
    print("accepted of drafted, call by call:", end=" ")
    print(*[f"{kept}/{drafted}" for kept, drafted in zip(first_run.kept, first_run.drafted)])

# %% [markdown]
# ### Token for token?
#
# Plain decoding is your own loop with a drafter that never guesses. In exact arithmetic, the replies are the same. In
# floating point there is a catch: a call with nine positions is another matrix product than a call with one, its sums
# run in another order, and the logits differ in the sixth digit or so. Where the two best tokens are closer than that,
# a *near-tie*, either may win. So count them: a difference is excused if it begins at a place where the two largest
# logits are closer than 0.001, and nowhere else.

# %% tags=["for-real"]
if scoreboard.ready("verify-greedy", "ngram-drafter", "speculative-loop"):
    plain = {kind: timed(kind, measuring.nothing, 0) for kind in prompts}
    ngram = {kind: timed(kind, ngram_draft, 8) for kind in prompts}
    for kind in prompts:
        print(f"{kind:10} {measuring.verdict(plain[kind], ngram[kind])}")

# %% [markdown]
# ### A drafter cut out of the target
#
# No small sister of SmolLM2-135M exists: it *is* the small one. A model can draft for itself, though: leave it after its
# first layers and go straight to the last norm and the output matrix. This is called *early exit*, or
# self-speculation. A guess then costs the share of layers, and the output matrix, which is a fifth of this model.
#
# Does an early layer know the next token? One pass over a reply tells, for all exits at once. What a guess costs is
# counted, in weights, and measured, in decode steps of the whole model, so that you can hold the one against the other.

# %% tags=["for-real"]
if scoreboard.ready("verify-greedy", "ngram-drafter", "speculative-loop"):
    texts = {kind: [*prompts[kind], *plain[kind].reply[:32]] for kind in prompts}
    exits = [2, 6, 10, 14, 18, 22, 26, 28]
    shares = [
        early_exit.agreement(model, texts[kind], len(prompts[kind]), exits) for kind in prompts
    ]
    agreement = [sum(of_exit) / len(of_exit) for of_exit in zip(*shares)]
    parts = [early_exit.early_exit(model, layers) for layers in exits]
    exit_reads = [probe.weights_read(part) / probe.weights_read(model) for part in parts]
    exit_cost = [
        measuring.costs(part, texts["chat"], [1], 3)[0] / call_seconds[0] for part in parts
    ]

# %% tags=["for-real"]
if scoreboard.ready("verify-greedy", "ngram-drafter", "speculative-loop"):
    pays = [n for n, right, reads in zip(exits, agreement, exit_reads) if right > reads]
    ax = plots.axes(
        f"Exits that are right more often than they read weights: {pays or 'none'}",
        f"layers before the exit (of {model.config.layers})",
        "share of the whole model's",
    )
    curves = {"right guesses": agreement, "weights read": exit_reads, "time": exit_cost}
    plots.lines(ax, exits, curves)
    plots.timed(ax)

# %% [markdown]
# *In words: three curves over the exit's layer. The share of right guesses stays low for two thirds of the layers and
# rises late. The share of the weights that a guess reads rises in a straight line from about a quarter. The time of a
# guess, in decode steps of the whole model, goes along with it as far as the machine has nothing else to do.*
#
# By exercise 1, drafting pays only where a guess is right more often than it costs. An untrained early exit of this
# model is a bad drafter: its middle layers were never asked to speak, and work in a form that only the last layers turn
# into words. Papers that draft this way train the model for it (LayerSkip), or train extra heads (Medusa, EAGLE). Run
# it all the same, with your `ModelDrafter`, and hold the prediction against what comes out.

# %% tags=["for-real"]
exit_layers, exit_k = 22, 2
if scoreboard.ready("model-drafter", "verify-greedy", "ngram-drafter", "speculative-loop"):
    early = {}
    for kind in prompts:
        part = early_exit.early_exit(model, exit_layers)
        drafter = ModelDrafter(part, RewindableCache())
        early[kind] = timed(kind, drafter.propose, exit_k, 24)
        print(f"{kind:10} {measuring.verdict(plain[kind].first(24), early[kind])}")

# %% [markdown]
# ### Predicted and measured
#
# The table below puts your `expected_tokens` to the test. *Acceptance* is the share of right guesses among those that
# were compared. *Predicted* tokens per call are your formula with that rate, averaged over the lengths of the drafts
# that were really made. For the predicted speed-up they are divided by what the rounds should cost: the calls from
# section 1, and the guesses. *Measured* is the time per token behind the prompt, against plain decoding. In between
# stands a count that no clock disturbs: how often all *weights* were read for each token, which is once in plain
# decoding.


# %% tags=["for-real"]
def call_cost(positions):
    """Decode steps that a call costs: on straight lines between the costs of section 1."""
    for low, high, a, b in zip(counts, counts[1:], call_seconds, call_seconds[1:]):
        if positions <= high:
            return (a + (b - a) * (positions - low) / (high - low)) / call_seconds[0]


def row(name, kind, run, guess_cost, guess_reads):
    tokens = [expected_tokens(run.acceptance, drafted) for drafted in run.drafted]
    price = [call_cost(drafted + 1) + drafted * guess_cost for drafted in run.drafted]
    each, base = run.seconds / (len(run.reply) - 1), plain[kind]
    predicted, measured = (
        sum(tokens) / sum(price),
        base.seconds / (len(base.reply) - 1) / each,
    )
    print(
        f"{name:10}{kind:11}{run.acceptance:10.2f}{sum(tokens) / len(tokens):11.2f}{run.tokens_per_call:10.2f}"
        f"{run.readings(guess_reads):10.2f}{predicted:12.2f}{measured:10.2f}"
    )
    return f"{name}, {kind}", predicted, measured


if scoreboard.ready(
    "tokens-per-call", "model-drafter", "verify-greedy", "ngram-drafter", "speculative-loop"
):
    print(f"{'':33}   tokens per call    weights           speed-up")
    print(f"{'drafter':10}{'prompt':11}{'acceptance':>10}  predicted  measured", end="")
    print("   a token   predicted  measured")
    rows = [row("n-gram", kind, ngram[kind], 0.0, 0.0) for kind in prompts]
    at = exits.index(exit_layers)
    own = exit_cost[at], exit_reads[at]
    rows += [row(f"{exit_layers} layers", kind, early[kind], *own) for kind in prompts]

# %% tags=["for-real"]
if scoreboard.ready(
    "tokens-per-call", "model-drafter", "verify-greedy", "ngram-drafter", "speculative-loop"
):
    best = max(rows, key=lambda each: each[2])
    won = sum(measured > 1 for _, _, measured in rows)
    pictures.speedups(rows, f"{won} of {len(rows)} cases win; the best is {best[0]}")

# %% [markdown]
# *In words: a bar for each drafter and kind of prompt, as long as the measured speed-up, with a diamond at the predicted
# one. A dashed line marks 1, where nothing is won.*
#
# How to read it:
#
# - **What is being written decides.** A quotation and an edited function stand in the prompt already, so the n-gram
#   drafter is right most of the time. A story or an answer to a question isn't in the prompt; the few guesses that are
#   made are short phrases that come again. There is little to win there, and something to lose: a wrong draft of eight
#   tokens makes a call dearer and gives one token all the same. Real servers shorten the drafts while they fail.
# - **The guesses of an n-gram cost nothing, and checking them isn't free.** The tokens per call are what could be won if
#   a call with nine positions cost as much as a call with one. What it costs here, section 1 says: on an idle CPU more
#   than one, and the speed-up is smaller by that factor.
# - **Acceptance isn't independent.** The formula wants each guess to be right with the same probability. Real drafts
#   come in runs: inside a quotation all are right, then one ends, and all are wrong. With one average rate the formula
#   can be off in both directions.
# - **The early exit reads more weights for each token than plain decoding does**, for it is right less often than it
#   costs. Exercise 1 says what comes of that. (Its measured time also has its own reading of the prompt in it, which the
#   prediction leaves out.)
# - **A clock sees everything that runs on the machine.** Acceptance, tokens per call and weights a token are counts, and
#   come out the same again. A line says so where something else was seen to use the processors: run the cells again
#   before you believe a speed-up then.
#
# ## 6 · What others report, what we measured
#
# | claim | source | here |
# |---|---|---|
# | 2 to 3 times faster, the same output | Leviathan et al. 2023, T5-XXL (11 billion parameters) with a small T5 as drafter | the table above: tokens per call say where it can be reached |
# | 2 to 2.5 times faster | Chen et al. 2023, Chinchilla (70 billion parameters), a 4-billion drafter | the same |
# | Llama 70B: 25.3 → 48.4 tokens/s, a 7B drafter, both 4-bit | gpt-fast's README (A100) | no such pair fits here |
# | outputs of assisted and plain decoding can differ | transformers, issue 39421: "it is expected" | near-ties, counted above |
#
# Why the papers reach it on all kinds of text, and not only where a text repeats itself:
#
# - Their drafter is a **trained** small model, a tenth to a hundredth of the target's size: $c$ is small *and* $a$ is
#   high. A target of 135 million parameters has no sister of a tenth of its size that can speak.
# - Their check is nearly free. A large model on a GPU or TPU with one user waits for memory: $v \approx 1$. On two CPU
#   cores, arithmetic is scarce as well.
# - With many users at once (unit 04), a GPU has no idle arithmetic left, and $v$ grows there too. Servers
#   switch speculation off under load.
#
# ## 7 · What this unit doesn't claim
#
# - No trained drafter. A small model, distilled from SmolLM2 on text that SmolLM2 wrote, should do better on stories
#   and chats than either drafter here. How much better is open: it wants some minutes on a GPU, and hasn't been measured.
# - The sampling step is proven on tables of a few tokens, and the timing is greedy. With temperature, the acceptance
#   depends on how close the two distributions are, not on one largest logit.
# - One chain of guesses. Trees of guesses (SpecInfer, Medusa, EAGLE) check several continuations in one call.
# - One sequence at a time. In a batch, each sequence accepts a different number of tokens, and the paged cache of
#   unit 04 is what makes that bearable.
#
# Three things to read next:
#
# 1. Leviathan, Kalman, Matias, *Fast Inference from Transformers via Speculative Decoding*, 2023 (arXiv 2211.17192):
#    sections 2 and 3 are your exercises 1, 3 and 4.
# 2. Chen et al., *Accelerating Large Language Model Decoding with Speculative Sampling*, 2023 (arXiv 2302.01318): the same
#    rule, found independently, with a proof on one page.
# 3. Elhoushi et al., *LayerSkip*, 2024 (arXiv 2404.16710): what it takes to make early layers draft well.

# %% [markdown]
# ## What stays
#
# Checking a guess costs less than making a token, and a check that keeps only what the target would have written changes
# nothing in the text. Whether it is worth it depends on how often guesses are right and on what guessing and checking
# cost.

# %% tags=["for-real"]
from fridge.notebook import recall

recall.ask("05-speculative-decoding")

# %% [markdown]
# ## Your score

# %% tags=["for-real"]
from fridge.notebook import scoreboard

scoreboard.show("05-speculative-decoding")
