"""Is a folder a model that the course can load: in Hugging Face's layout, whole, readable, a Llama or a Qwen2?

What is wrong is said in a sentence, before transformers or safetensors raise one of their own errors about it. Headers
are read, weights aren't.
"""

import json
from pathlib import Path

MODEL_TYPES = ("llama", "qwen2")
CONFIG, INDEX = "config.json", "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
POINTER = b"version https://git-lfs"  # how the file begins that git leaves in the place of a large one
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_AGAIN = "Fetch it again."
_CONVERT = "from transformers import AutoModelForCausalLM as M; M.from_pretrained('FOLDER').save_pretrained('FOLDER')"


def fault(folder: Path) -> str | None:
    """What is wrong with a folder's config or weights, and what to do, in a sentence or two; None if nothing is."""
    try:
        return _config_fault(folder) or _weights_fault(folder)
    except OSError as error:
        return _unreadable(folder, error)


def tokenizer_fault(folder: Path) -> str | None:
    """What is wrong with a folder's tokenizer, as far as its files show; None if nothing is."""
    try:
        files = [folder / name for name in TOKENIZERS if (folder / name).is_file()]
        if not files:
            return f"it has no tokenizer ({' or '.join(TOKENIZERS[:2])}). Fetch it again, with all its files."
        return next((found for file in files if (found := _pointer_fault(file) or _json_fault(file))), None)
    except OSError as error:
        return _unreadable(folder, error)


def _config_fault(folder: Path) -> str | None:
    config = folder / CONFIG
    if not config.is_file():
        return f"it has no {CONFIG}, so it holds no model in Hugging Face's layout. Correct the path."
    if found := _pointer_fault(config) or _json_fault(config):
        return found
    said = json.loads(config.read_bytes())
    kind = said.get("model_type") if isinstance(said, dict) else None
    if kind not in MODEL_TYPES:
        what = f"is of the type {kind!r}" if kind else f"doesn't say its type in {CONFIG}"
        return f"it {what}, and the course runs {' and '.join(MODEL_TYPES)}. Choose HuggingFaceTB/SmolLM2-135M, say."
    return None


def _weights_fault(folder: Path) -> str | None:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return _other_weights(folder)
    if (folder / INDEX).is_file():
        if found := _pointer_fault(folder / INDEX) or _json_fault(folder / INDEX):
            return found
        named = set(json.loads((folder / INDEX).read_bytes()).get("weight_map", {}).values())
        if missing := sorted(named - {file.name for file in files}):
            return f"{len(missing)} of the {len(named)} files that {INDEX} names are missing: {missing[0]}. Fetch them."
    return next((found for file in files if (found := _pointer_fault(file) or _shard_fault(file))), None)


def _other_weights(folder: Path) -> str:
    if pickled := sorted(folder.glob("*.bin")):
        return (
            f"its weights are in {pickled[0].name}, a pickle, and the course reads safetensors alone, for a pickle can "
            f"run code. Choose a model that has them, or convert this one, if you trust it: "
            f'`python -c "{_CONVERT.replace("FOLDER", str(folder))}"`.'
        )
    if other := sorted(folder.glob("*.gguf")):
        return f"it holds {other[0].name}, and the course reads safetensors. Choose the same model in that form."
    return f"it has no weights (*.safetensors). {_AGAIN}"


def _pointer_fault(file: Path) -> str | None:
    with file.open("rb") as opened:
        if opened.read(len(POINTER)) != POINTER:
            return None
    return f"{file.name} is a pointer of Git LFS, not the file itself. Type `git lfs pull` in that folder."


def _json_fault(file: Path) -> str | None:
    if file.suffix != ".json":
        return None
    text = file.read_bytes()
    if text.startswith(BYTE_ORDER_MARK):
        return (
            f"{file.name} begins with a byte order mark, as editors on Windows write it. Save it as UTF-8 without one "
            f"(without BOM), or fetch it again."
        )
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"{file.name} is broken off or no JSON ({error}). {_AGAIN}"
    return None


def _shard_fault(file: Path) -> str | None:
    from safetensors import SafetensorError, safe_open  # `fridge.notebook.facts` must import where it isn't installed

    try:
        with safe_open(file, framework="np"):  # its header fits the file's length, or it doesn't open
            return None
    except SafetensorError as error:
        return f"{file.name} ({file.stat().st_size:,} bytes) is broken off or no safetensors file: {error}. {_AGAIN}"


def _unreadable(folder: Path, error: OSError) -> str:
    return f"{error.filename or folder} can't be read ({error.strerror}). Mend its permissions, or choose another."
