"""The grid has four blocks at most: a row of more columns isn't finished.

loses: swiglu-triton-test
told: however many
"""

# %% nbgrader={"grade": false, "grade_id": "swiglu-triton", "locked": false, "schema_version": 3, "solution": true, "task": false}
@triton.jit
def swiglu_kernel(gate_up, y, inner, BLOCK: tl.constexpr):
    """One program: BLOCK columns (program_id 1) of one token (program_id 0).

    Args:
        gate_up: pointer to [tokens, 2 * inner]; y: to [tokens, inner].
        inner: columns of y; BLOCK needn't divide it.
    """
    token = tl.program_id(0)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = columns < inner
    gate = tl.load(gate_up + token * 2 * inner + columns, mask=mask).to(tl.float32)
    up = tl.load(gate_up + token * 2 * inner + inner + columns, mask=mask).to(tl.float32)
    tl.store(y + token * inner + columns, gate * tl.sigmoid(gate) * up, mask=mask)


def triton_swiglu(gate_up, block=64):
    """silu(gate) * up in one launch of the kernel, which computes everything.

    Args:
        gate_up: [tokens, 2 * inner], float32 or float16.
        block: columns for a program, a power of two.

    Returns:
        [tokens, inner], in gate_up's dtype.
    """
    gate_up = gate_up.to(DEVICE).contiguous()
    tokens, inner = gate_up.shape[0], gate_up.shape[1] // 2
    y = torch.zeros((tokens, inner), dtype=gate_up.dtype, device=gate_up.device)
    swiglu_kernel[(tokens, min(4, triton.cdiv(inner, block)))](gate_up, y, inner, BLOCK=block)
    return y
