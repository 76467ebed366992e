"""Goes back to the old dtype after each scale, so float16 overflows between the two of up; breaks "each tensor …", whose value float16 can hold.

loses: fold-test
"""

# %% nbgrader={"grade": false, "grade_id": "fold", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fold(layer, scales, head_dim):
    new = dict(layer)

    def columns(name, s):
        new[name] = (new[name] * s).to(new[name].dtype)

    def rows(name, s):
        new[name + ".weight"] = new[name + ".weight"] / s[:, None]
        if name + ".bias" in new:
            new[name + ".bias"] = new[name + ".bias"] / s

    if "qkv" in scales:
        new["input_layernorm.weight"] = new["input_layernorm.weight"] / scales["qkv"]
        for one in "qkv":
            columns(f"self_attn.{one}_proj.weight", scales["qkv"])
    if "gate_up" in scales:
        new["post_attention_layernorm.weight"] = new["post_attention_layernorm.weight"] / scales["gate_up"]
        columns("mlp.gate_proj.weight", scales["gate_up"])
        columns("mlp.up_proj.weight", scales["gate_up"])
    if "down" in scales:
        rows("mlp.up_proj", scales["down"])
        columns("mlp.down_proj.weight", scales["down"])
    if "o" in scales:
        s = scales["o"]
        rows("self_attn.v_proj", s)
        shared_by = new["self_attn.o_proj.weight"].shape[1] // len(s)
        columns("self_attn.o_proj.weight", s.reshape(-1, head_dim).repeat_interleave(shared_by, dim=0).flatten())
    return {name: tensor.to(layer[name].dtype) for name, tensor in new.items()}
