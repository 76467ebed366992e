"""Units 02, 07 and 08: quantized layers in a model, GGUF files, and the tools that people use for it."""
