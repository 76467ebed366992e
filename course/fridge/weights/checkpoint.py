"""Weights from a folder in Hugging Face's layout into a model whose parameters are named alike, or a sentence that says
which of them don't fit."""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

NOT_WEIGHTS = "rotary_emb.inv_freq"  # old Llama checkpoints carry their RoPE frequencies in every layer


def load_into(model: nn.Module, folder: Path) -> None:
    """Put the tensors of the folder's safetensors files in the place of the model's parameters, without a copy.

    Of tied parameters only the first name is filled; the caller ties the others again.

    Raises:
        ValueError: a tensor is missing, unknown or of another shape.
    """
    own = dict(model.named_parameters())
    tied = model.state_dict().keys() - own.keys()
    tensors: dict[str, Tensor] = {}
    for file in sorted(Path(folder).glob("*.safetensors")):
        tensors.update(load_file(file))
    tensors = {name: t for name, t in tensors.items() if name not in tied and not name.endswith(NOT_WEIGHTS)}
    misshapen = [
        f"{name} is {list(tensors[name].shape)} and not {list(own[name].shape)}"
        for name in sorted(own.keys() & tensors.keys())
        if tensors[name].shape != own[name].shape
    ]
    _refuse("missing", sorted(own.keys() - tensors.keys()), folder)
    _refuse("unknown", sorted(tensors.keys() - own.keys()), folder)
    _refuse("of another shape", misshapen, folder)
    model.load_state_dict(tensors, assign=True, strict=False)  # strict would ask for the tied names


def _refuse(what: str, names: list[str], folder: Path) -> None:
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise ValueError(
            f"the safetensors files in {folder} don't fit its config.json; {what}: {', '.join(names[:3])}{more}. "
            "Fetch the model again, or choose another with FRIDGE_MODEL."
        )
