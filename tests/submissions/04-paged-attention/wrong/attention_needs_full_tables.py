"""Takes the number of blocks for the length.

loses: paged-attention-test
"""

# %% nbgrader={"grade": false, "grade_id": "paged-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def paged_attention(q, k_blocks, v_blocks, block_tables, lengths, query_lengths):
    outs = []
    queries = q.split(query_lengths)
    for own, table, length in zip(queries, block_tables, lengths, strict=True):
        length = min(length, len(table) * k_blocks.shape[1])
        length = max(length, (len(table) - 1) * k_blocks.shape[1] + 1)
        k = k_blocks[table].flatten(0, 1)[:length].transpose(0, 1)
        v = v_blocks[table].flatten(0, 1)[:length].transpose(0, 1)
        new = own.shape[0]
        visible = torch.ones(new, k.shape[1], dtype=torch.bool, device=q.device).tril(length - new)
        out = torch.nn.functional.scaled_dot_product_attention(own.transpose(0, 1)[None], k[None], v[None], attn_mask=None if new == 1 else visible, enable_gqa=True)
        outs.append(out[0].transpose(0, 1))
    return torch.cat(outs)
