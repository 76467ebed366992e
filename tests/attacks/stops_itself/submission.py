"""Stops its own process with SIGSTOP, and never answers."""

# %% nbgrader={"grade_id": "work", "solution": true, "grade": false}
import os, signal
def positions_processed(prompt_tokens, new_tokens):
    os.kill(os.getpid(), signal.SIGSTOP)
