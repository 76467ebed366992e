"""NumPy in float64 and broadcasting over reshaped heads."""

# %% nbgrader={"grade": false, "grade_id": "fold", "locked": false, "schema_version": 3, "solution": true, "task": false}
import numpy as np


def fold(layer, scales, head_dim):
    arrays = {name: tensor.double().numpy().copy() for name, tensor in layer.items()}
    get = {key: np.asarray(value.double()) for key, value in scales.items()}
    for key, readers, norm in (
        ("qkv", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "input_layernorm.weight"),
        ("gate_up", ("mlp.gate_proj", "mlp.up_proj"), "post_attention_layernorm.weight"),
    ):
        s = get.get(key)
        if s is not None:
            arrays[norm] /= s
            for reader in readers:
                arrays[reader + ".weight"] *= s[np.newaxis]
    if "o" in get:
        o = arrays["self_attn.o_proj.weight"]
        s = get["o"].reshape(-1, 1, head_dim)
        arrays["self_attn.o_proj.weight"] = (o.reshape(o.shape[0], len(s), -1, head_dim) * s).reshape(o.shape)
    for key, source in (("o", "self_attn.v_proj"), ("down", "mlp.up_proj")):
        if key in get:
            arrays[source + ".weight"] /= get[key][:, np.newaxis]
            if source + ".bias" in arrays:
                arrays[source + ".bias"] /= get[key]
    if "down" in get:
        arrays["mlp.down_proj.weight"] *= get["down"]
    return {name: torch.from_numpy(arrays[name]).to(layer[name].dtype) for name in sorted(layer)}
