"""The numbers by which a GGUF file names kinds of values and of tensors.

From ggml's specification of the format (github.com/ggml-org/ggml, docs/gguf.md) and its enum `ggml_type`.
"""

# Kinds of values in the metadata.
UINT8, INT8, UINT16, INT16, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64 = range(13)

# Kinds of tensors, those of this course: number in the file -> name.
TENSOR_KINDS = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    6: "Q5_0",
    7: "Q5_1",
    8: "Q8_0",
    10: "Q2_K",
    11: "Q3_K",
    12: "Q4_K",
    13: "Q5_K",
    14: "Q6_K",
}
