"""Units 02 and 07: quantized layers in a model, and the tools that people use for it."""
