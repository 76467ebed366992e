"""Takes x for a matrix.

loses: linear-4bit-test
"""

# %% nbgrader={"grade": false, "grade_id": "linear-4bit", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Linear4bit(torch.nn.Module):

    def __init__(self, weight, bias=None, block_size=64, double_quant=False):
        super().__init__()
        self.shape, self.block_size, self.double_quant = weight.shape, block_size, double_quant
        self.register_buffer("code_book", nf4_code_book().to(weight.device))
        codes, absmax = quantize_nf4(weight.detach().float(), self.code_book, block_size)
        self.register_buffer("packed", pack_4bit(codes))
        kept = double_quantize(absmax) if double_quant else (absmax,)
        self.statistics = len(kept)
        for index, part in enumerate(kept):
            self.register_buffer(f"statistics{index}", part)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        buffers = [self.packed, *kept, *([] if bias is None else [self.bias])]
        self.nbytes = sum(buffer.nbytes for buffer in buffers)

    def forward(self, x):
        statistics = [getattr(self, f"statistics{index}") for index in range(self.statistics)]
        absmax = double_dequantize(*statistics) if self.double_quant else statistics[0]
        codes = unpack_4bit(self.packed, self.shape.numel())
        weight = dequantize_nf4(codes, absmax, self.code_book, self.block_size, self.shape)
        y = x.reshape(-1, self.shape[1]) @ weight.T
        return y if self.bias is None else y + self.bias
