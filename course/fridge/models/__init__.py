"""The model that the notebooks run, and a Llama to read: `models.load()`, `models.llama`, `models.caches`."""

from fridge.models.loading import (
    ModelUnavailable,
    default_device,
    default_dtype,
    folder,
    gguf,
    install,
    load,
    load_tokenizer,
    load_transformers,
    name,
)

__all__ = [
    "ModelUnavailable",
    "default_device",
    "default_dtype",
    "folder",
    "gguf",
    "install",
    "load",
    "load_tokenizer",
    "load_transformers",
    "name",
]
