"""Unit 02: quantized layers in a model, and the tools that people use for it."""
