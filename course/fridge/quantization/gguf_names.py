"""Names of a Llama's tensors: in GGUF files of the architecture `llama`, and in Hugging Face's checkpoints.

`N` stands for a layer's number. Behind each name stands `.weight` or `.bias`. From llama.cpp's gguf-py (`constants.py`,
`tensor_mapping.py`) and transformers' Llama.
"""

NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "blk.N.attn_norm": "model.layers.N.input_layernorm",
    "blk.N.attn_q": "model.layers.N.self_attn.q_proj",
    "blk.N.attn_k": "model.layers.N.self_attn.k_proj",
    "blk.N.attn_v": "model.layers.N.self_attn.v_proj",
    "blk.N.attn_output": "model.layers.N.self_attn.o_proj",
    "blk.N.ffn_norm": "model.layers.N.post_attention_layernorm",
    "blk.N.ffn_gate": "model.layers.N.mlp.gate_proj",
    "blk.N.ffn_up": "model.layers.N.mlp.up_proj",
    "blk.N.ffn_down": "model.layers.N.mlp.down_proj",
}


def gguf_name(name: str) -> str:
    """The name in a GGUF file of a tensor that is called `name` in a checkpoint. Raises KeyError for an unknown one."""
    owner, _, own = name.rpartition(".")
    parts = owner.split(".")
    number = next((part for part in parts if part.isdigit()), "")
    known = {theirs: ours for ours, theirs in NAMES.items()}
    found = known[".".join("N" if part.isdigit() else part for part in parts)]
    return f"{found.replace('N', number)}.{own}"
