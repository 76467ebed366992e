"""Sends arrays where the grader compares words: an output's kind and name, a method's name. They have no truth value."""

# %% after="memory-test"
import numpy as np
from autograder.isolation.learner import Server

two = np.array([1.0, 2.0])
run_cell = Server._run_cell
def odd(server, source):
    said = run_cell(server, source)
    odd_ones = [{"output_type": two}, {"output_type": "stream", "name": two, "text": "x"}, {"output_type": "error", "ename": two}]
    return said | {"outputs": [*odd_ones, *said["outputs"]]}
Server._run_cell = odd

# %% nbgrader={"grade_id": "generate", "solution": true, "grade": false}
import torch
refused = []
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    number = object.__getattribute__(model, "_number")
    server = object.__getattribute__(model, "_server")
    for name in (two, [two], torch.ones(2), None):
        try:
            refused.append(("LEAKED", server.ask_test(number, "__getattr__", (name,), {})))
        except AttributeError as error:
            refused.append(str(error))
    return []

# %% after="generate-test"
print("refused:", len(refused) > 3, refused[:1])
