"""Calls objects of the test by numbers that it was never given."""

# %% nbgrader={"grade_id": "generate", "solution": true, "grade": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    for number in range(1000, 2000):
        model._server.ask_test(number, "__call__", (), {})

# %% nbgrader={"grade_id": "chunked-prefill", "solution": true, "grade": false}
def prefill_in_chunks(model, prompt, cache, chunk_size):
    model._server.ask_test(True, "__call__", (), {})

# %% nbgrader={"grade_id": "work", "solution": true, "grade": false}
def positions_processed(prompt_tokens, new_tokens):
    from autograder.isolation.learner import TestObject
    import gc
    from autograder.isolation.learner import Server
    server = next(thing for thing in gc.get_objects() if type(thing) is Server)
    server.ask_test(0, "__call__", (), {})

# %% nbgrader={"grade_id": "memory", "solution": true, "grade": false}
def kv_cache_bytes(*a, **k):
    import gc
    from autograder.isolation.learner import Server
    server = next(thing for thing in gc.get_objects() if type(thing) is Server)
    server.ask_test(-1, "__call__", (), {})
