"""A copy that is changed in place, head by head."""

# %% nbgrader={"grade": false, "grade_id": "fold", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fold(layer, scales, head_dim):
    new = {name: tensor.clone() for name, tensor in layer.items()}
    if "qkv" in scales:
        s = scales["qkv"]
        new["input_layernorm.weight"].div_(s)
        for letter in ["q", "k", "v"]:
            new[f"self_attn.{letter}_proj.weight"].mul_(s)
    if "gate_up" in scales:
        s = scales["gate_up"]
        new["post_attention_layernorm.weight"].div_(s)
        for word in ["gate", "up"]:
            new[f"mlp.{word}_proj.weight"].mul_(s)
    if "down" in scales:
        s = scales["down"]
        new["mlp.down_proj.weight"].mul_(s)
        new["mlp.up_proj.weight"].div_(s.unsqueeze(-1))
        if new.get("mlp.up_proj.bias") is not None:
            new["mlp.up_proj.bias"].div_(s)
    if "o" in scales:
        s = scales["o"]
        v, o = new["self_attn.v_proj.weight"], new["self_attn.o_proj.weight"]
        q_heads, kv_heads = o.shape[1] // head_dim, v.shape[0] // head_dim
        for kv in range(kv_heads):
            mine = s[kv * head_dim : (kv + 1) * head_dim]
            v[kv * head_dim : (kv + 1) * head_dim].div_(mine[:, None])
            if "self_attn.v_proj.bias" in new:
                new["self_attn.v_proj.bias"][kv * head_dim : (kv + 1) * head_dim].div_(mine)
            per = q_heads // kv_heads
            for q in range(kv * per, (kv + 1) * per):
                o[:, q * head_dim : (q + 1) * head_dim].mul_(mine)
    return new
