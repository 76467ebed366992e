"""Everyone's length is the longest.

loses: paged-attention-test
"""

# %% nbgrader={"grade": false, "grade_id": "paged-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}
def paged_attention(q, k_blocks, v_blocks, block_tables, lengths, query_lengths):
    outs = []
    queries = q.split(query_lengths)
    for own, table, length in zip(queries, block_tables, [max(lengths)] * len(lengths), strict=True):
        k = k_blocks[table].flatten(0, 1)[:length].transpose(0, 1)
        v = v_blocks[table].flatten(0, 1)[:length].transpose(0, 1)
        new = own.shape[0]
        length = k.shape[1]
        visible = torch.ones(new, length, dtype=torch.bool, device=q.device).tril(length - new)
        out = torch.nn.functional.scaled_dot_product_attention(own.transpose(0, 1)[None], k[None], v[None], attn_mask=None if new == 1 else visible, enable_gqa=True)
        outs.append(out[0].transpose(0, 1))
    return torch.cat(outs)
