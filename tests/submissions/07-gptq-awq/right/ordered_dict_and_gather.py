"""An OrderedDict like a state_dict; the columns of o look their scales up by index."""

# %% nbgrader={"grade": false, "grade_id": "fold", "locked": false, "schema_version": 3, "solution": true, "task": false}
from collections import OrderedDict


def fold(layer, scales, head_dim):
    def s(key, like, dim):
        return scales.get(key, torch.ones(like.shape[dim]))

    q, k, v, o = (layer[f"self_attn.{x}_proj.weight"] for x in "qkvo")
    gate, up, down = (layer[f"mlp.{x}_proj.weight"] for x in ("gate", "up", "down"))
    qkv, of_v = s("qkv", q, 1), s("o", v, 0)
    gate_up, of_up = s("gate_up", gate, 1), s("down", up, 0)
    column = torch.arange(o.shape[1])
    head = column // head_dim
    kv_head = torch.div(head * len(of_v), o.shape[1], rounding_mode="floor")
    new = OrderedDict(layer)
    new["input_layernorm.weight"] = layer["input_layernorm.weight"] / qkv
    new["self_attn.q_proj.weight"] = q * qkv
    new["self_attn.k_proj.weight"] = k * qkv
    new["self_attn.v_proj.weight"] = v * qkv / of_v[:, None]
    new["self_attn.o_proj.weight"] = o * of_v[kv_head * head_dim + column % head_dim]
    new["post_attention_layernorm.weight"] = layer["post_attention_layernorm.weight"] / gate_up
    new["mlp.gate_proj.weight"] = gate * gate_up
    new["mlp.up_proj.weight"] = up * gate_up / of_up[:, None]
    new["mlp.down_proj.weight"] = down * of_up
    for name, by in (("self_attn.v_proj.bias", of_v), ("mlp.up_proj.bias", of_up)):
        if name in layer:
            new[name] = layer[name] / by
    for name in new:
        new[name] = new[name].to(layer[name].dtype)
    return new
