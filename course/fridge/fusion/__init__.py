"""Unit 10: a layer as a list of operations, a model with merged layers, and what fused engines do on this machine."""
