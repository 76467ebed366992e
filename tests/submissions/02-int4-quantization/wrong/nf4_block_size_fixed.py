"""Blocks of 64, whatever the argument says.

loses: nf4-test, linear-4bit-test
told: block_size is an argument
misleads: code_book is an argument
"""

# %% nbgrader={"grade": false, "grade_id": "nf4", "locked": false, "schema_version": 3, "solution": true, "task": false}
def nf4_code_book():
    positive = torch.special.ndtri(torch.linspace(0.9677083, 0.5, 9, dtype=torch.float64)[:-1])
    negative = -torch.special.ndtri(torch.linspace(0.9677083, 0.5, 8, dtype=torch.float64)[:-1])
    levels = torch.cat((negative, torch.zeros(1), positive)).sort().values
    return (levels / levels.max()).float()


def quantize_nf4(weight, code_book, block_size=64):
    block_size = 64
    if not weight.isfinite().all():
        raise ValueError("the weight has numbers that are NaN or infinite")
    numbers = weight.flatten()
    blocks = torch.nn.functional.pad(numbers, (0, -len(numbers) % block_size))
    blocks = blocks.reshape(-1, block_size)
    absmax = blocks.abs().amax(dim=1)
    scaled = blocks * torch.where(absmax > 0, 1 / absmax, 0.0)[:, None]
    midpoints = (code_book[:-1] + code_book[1:]) / 2
    codes = torch.zeros_like(scaled, dtype=torch.uint8)
    for midpoint in midpoints:
        codes += scaled > midpoint
    return codes.flatten()[: len(numbers)], absmax


def dequantize_nf4(codes, absmax, code_book, block_size, shape):
    levels = code_book.index_select(0, codes.int())
    levels = torch.nn.functional.pad(levels, (0, -len(levels) % block_size))
    numbers = (levels.reshape(-1, block_size) * absmax[:, None]).flatten()
    return numbers[: len(codes)].reshape(shape)
