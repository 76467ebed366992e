"""Goes on calling the model after it has refused, for ever."""

# %% nbgrader={"grade_id": "generate", "solution": true, "grade": false}
import torch
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    while True:
        try:
            model(torch.tensor([[63]]), cache)
        except Exception:
            pass
