"""Unit 06: Triton, on a GPU or interpreted, and attention measured against PyTorch's."""
