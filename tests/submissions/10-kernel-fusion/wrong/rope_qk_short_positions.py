"""Keeps positions in 16 bits: 40000 becomes negative.

loses: rope-qk-test
told: 16 bits end at 32767
"""

# %% nbgrader={"grade": false, "grade_id": "rope-qk", "locked": false, "schema_version": 3, "solution": true, "task": false}
def rope_qk(hbm, heads, kv_heads):
    """Turn the heads of Q and K in place.

    Args:
        hbm: holds "qkv" [tokens, (heads + 2 * kv_heads) * head_dim], float32 or float16;
            "positions" [tokens], whole numbers in int32; "inv_freq" [head_dim / 2], float32.
            SRAM has room for one head of one token, beside all positions and inv_freq.
        heads, kv_heads: of Q; of K, and as many of V.

    Computes in float32. Each value of Q and K is loaded once and stored once, each position
    and each frequency loaded once. V neither.
    """
    positions, inv_freq = hbm.load("positions").to(torch.int16), hbm.load("inv_freq")
    size = 2 * len(inv_freq)
    for token in range(hbm.shape("qkv")[0]):
        angles = positions[token].float() * inv_freq
        cos, sin = angles.cos(), angles.sin()
        for column in range(0, (heads + kv_heads) * size, size):
            a, b = hbm.load("qkv", column, column + size, row=token).float().chunk(2)
            hbm.store("qkv", column, torch.cat((a * cos - b * sin, b * cos + a * sin)), row=token)
