"""The last two numbers stand in the wrong order.

loses: kv-slots-test
"""

# %% nbgrader={"grade": false, "grade_id": "kv-slots", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kv_slots(prompt_tokens, output_tokens, generated, policy, max_tokens=2048, block_size=16):
    held, final = (prompt_tokens + generated, prompt_tokens + output_tokens)
    if policy == 'max':
        taken = max_tokens
    elif policy == 'pow2':
        taken = min(max_tokens, prompt_tokens + (1 << (output_tokens - 1).bit_length()))
    elif policy == 'oracle':
        taken = final
    elif policy == 'paged':
        taken = -(-held // block_size) * block_size
    else:
        raise ValueError(f'no policy {policy!r}')
    filled_in_the_end = min(taken, final)
    return (held, taken - filled_in_the_end, filled_in_the_end - held)
