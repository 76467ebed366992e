"""Never stops before max_new_tokens.

loses: generate-test
told: stop token 16
"""

# %% nbgrader={"grade": false, "grade_id": "generate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generate(model, prompt, max_new_tokens, cache, stop_token=None):
    """Greedy decoding with a KV cache."""
    reply = []
    tokens = torch.tensor([prompt])
    while len(reply) < max_new_tokens:
        logits = model(tokens, cache)
        token = logits[0, -1].argmax().item()
        reply.append(token)
        tokens = torch.tensor([[token]])
    return reply
