"""Asks the test's model for its conversation, its calls and its private names, by attribute and by raw messages."""

# %% nbgrader={"grade_id": "generate", "solution": true, "grade": false}
import torch
seen = []
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    number = object.__getattribute__(model, "_number")
    server = object.__getattribute__(model, "_server")
    for name in ("conversation", "calls", "positions", "vocab_size", "learner_may", "__class__", "__globals__", "__init__",
                 "__dict__", "__getattribute__", "__reduce__", "__subclasses__", "_kv", "__func__", "__code__", "__self__"):
        for method, arguments in ((name, ()), ("__getattr__", (name,)), ("__getattribute__", (name,)), ("__setattr__", (name, 1))):
            try:
                seen.append(("LEAKED", name, server.ask_test(number, method, arguments, {})))
            except Exception as error:
                seen.append(("refused", name, str(error)))
    seen.append(hasattr(model, "conversation"))
    return []

# %% after="generate-test"
print(len(seen), "answers", sorted({s[0] for s in seen if type(s) is tuple}), [s for s in seen if type(s) is bool])
