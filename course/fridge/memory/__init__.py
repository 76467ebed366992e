"""Unit 01: what models and cards hold, what this machine can do, and whether the one fits the other."""
