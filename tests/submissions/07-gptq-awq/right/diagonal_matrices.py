"""Products with diagonal matrices, and a matrix that says which row of v feeds which column of o."""

# %% nbgrader={"grade": false, "grade_id": "fold", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fold(layer, scales, head_dim):
    a, m = "self_attn.", "mlp."
    hidden = layer["input_layernorm.weight"].shape[0]
    rows_v, hidden_o = layer[a + "v_proj.weight"].shape[0], layer[a + "o_proj.weight"].shape[1]
    inner = layer[m + "up_proj.weight"].shape[0]
    sizes = {"qkv": hidden, "o": rows_v, "gate_up": hidden, "down": inner}
    qkv, o, gate_up, down = (scales.get(key, torch.ones(size)).double() for key, size in sizes.items())
    group = hidden_o // rows_v
    feeds = torch.zeros(rows_v, hidden_o, dtype=torch.float64)
    for column in range(hidden_o):
        head, place = divmod(column, head_dim)
        feeds[head // group * head_dim + place, column] = 1
    left = {a + "v_proj": 1 / o, m + "up_proj": 1 / down}
    right = {a + "q_proj": qkv, a + "k_proj": qkv, a + "v_proj": qkv, a + "o_proj": o @ feeds}
    right |= {m + "gate_proj": gate_up, m + "up_proj": gate_up, m + "down_proj": down}
    result = {}
    for name, tensor in layer.items():
        part, kind = name.rsplit(".", 1)
        value = tensor.double()
        if part in left:
            value = left[part].diag() @ value
        if part in right and kind == "weight":
            value = value @ right[part].diag()
        if part == "input_layernorm":
            value = value / qkv
        if part == "post_attention_layernorm":
            value = value / gate_up
        result[name] = value.to(tensor.dtype)
    return result
