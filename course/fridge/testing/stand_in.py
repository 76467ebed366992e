"""A model so small that a capstone is graded on it: some of its matrices suffer from four bits, others hardly notice.

It is a Llama with random weights that reads texts of its own making, so that its perplexity is as low as can be. In
some groups a few columns are loud, and read inputs that are all but silent: they change nothing, and take a block's
scale away from its neighbours, as outliers of real models do.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fridge.models.caches import ConcatCache
from fridge.models.llama import Llama, LlamaConfig
from fridge.quantization import mixed
from fridge.quantization.gguf_names import gguf_name
from fridge.testing.expect import InWords, wrong
from fridge.testing.given import expect_number

MOST_CALLS = 200  # of loss
CONFIG = LlamaConfig(
    vocab_size=96, hidden_size=64, intermediate_size=96, layers=2, heads=4, kv_heads=2, head_dim=16, rope_theta=100.0
)
READ_NORMS = ("attn_q", "attn_k", "attn_v"), ("ffn_gate", "ffn_up")  # of each one kind suffers
LOUD, SILENT = 40.0, 1e-3


class StandIn:
    """The model, its texts, and what a file of it is worth.

    Args:
        seed: of weights and texts, and of which groups suffer.
        alone: each matrix is a group of its own; else all of one kind are.

    Attributes:
        metadata: for `mixed.file`.
        learner_may: what a learner's code may use of it when the test runs in another process.
    """

    learner_may = ("loss",)

    def __init__(self, seed: int, alone: bool = False):
        numbers = torch.Generator().manual_seed(seed)
        self.metadata = mixed.metadata_of({"general.architecture": "llama", "general.name": "a stand-in"})
        self._alone, self._calls = alone, 0
        with torch.random.fork_rng(devices=[]):
            self._model = Llama(CONFIG).eval().requires_grad_(False)
        self._own = {gguf_name(name): weight for name, weight in self._model.named_parameters()}
        suffer = [kinds[int(torch.randint(len(kinds), (), generator=numbers))] for kinds in READ_NORMS]
        for name, weight in self._own.items():
            self._fill(name, weight, suffer, numbers)
        self._calibration, self._hidden = (self._text(numbers) for _ in range(2))

    def tensors(self) -> dict[str, Tensor]:
        """Name -> float32, copies."""
        return {name: weight.detach().clone() for name, weight in self._own.items()}

    def groups(self) -> dict[str, list[str]]:
        """Group -> names of matrices."""
        matrices = [name for name, weight in self._own.items() if weight.dim() == 2]
        if self._alone:
            return {name: [name] for name in matrices}
        kinds = dict.fromkeys(_kind(name) for name in matrices)
        return {kind: [name for name in matrices if _kind(name) == kind] for kind in kinds}

    def file_bytes(self, kind: str) -> int:
        """Bytes of a file with all matrices in one format."""
        kinds = {name: kind for name, weight in self._own.items() if weight.dim() == 2}
        return len(mixed.file(self.metadata, self.tensors(), kinds))

    def budget(self, bits: float) -> int:
        """Bytes of a file whose matrices have so many bits a weight on average."""
        least, most = self.file_bytes("Q4_0"), self.file_bytes("F32")
        return least + int((most - least) * (bits - 4.5) / (32 - 4.5))

    def loss(self, kinds: Any) -> float:
        """The mean loss on the calibration text, with these groups rounded to these kinds."""
        self._calls += 1
        if self._calls > MOST_CALLS:
            raise wrong("calls of loss", f"at most {MOST_CALLS}", InWords("more"))
        groups = self.groups()
        if not issubclass(type(kinds), dict):
            raise wrong("what loss is given", "a dict, group -> kind", kinds)
        values = {}
        for group, kind in dict.items(kinds):
            if type(group) is not str or group not in groups or type(kind) is not str or kind not in mixed.KINDS:
                raise wrong("what loss is given", "groups, and kinds of mixed.KINDS", kinds)
            values |= {name: mixed.rounded(kind, self._own[name].detach()) for name in groups[group]}
        return self._lost(values, self._calibration)

    def times_as_perplexed(self, values: Mapping[str, Tensor]) -> float:
        """Perplexity of these tensors on a text that nobody has seen, as a multiple of the model's own."""
        return math.exp(self._lost(values, self._hidden) - self._lost({}, self._hidden))

    def expect_metadata(self, raw: bytes, what: str) -> None:
        """The file's entries are those that were handed on. Raises Wrong if not."""
        if raw[16 : 16 + len(self.metadata)] != self.metadata:
            said = f"the {len(self.metadata)} bytes that were given"
            raise wrong(f"{what}: metadata in the file", said, InWords("others"), "handed on to mixed.file as they are")

    def expect_whole(self, found: Mapping[str, tuple[str, Tensor]], what: str) -> None:
        """All tensors, of the right shapes; a group's in one kind, norms in F32. Raises Wrong if not."""
        if sorted(found) != sorted(self._own):
            raise wrong(f"{what}: tensors in the file", f"all {len(self._own)}", InWords(f"{len(found)}, or others"))
        for name, (kind, values) in found.items():
            if values.shape != self._own[name].shape:
                raise wrong(f"{what}: the shape of {name!r}", list(self._own[name].shape), list(values.shape))
            if values.dim() == 1 and kind != "F32":
                raise wrong(f"{what}: the format of {name!r}", "F32", kind, "it is in no group, and stays F32")
        for group, names in self.groups().items():
            kinds = sorted({found[name][0] for name in names})
            if len(kinds) > 1:
                raise wrong(f"{what}: formats in the group {group!r}", "one", kinds, "a group's tensors take one")
        for name, (kind, values) in found.items():
            right = mixed.rounded(kind, self._own[name].detach())
            if not torch.allclose(values, right, rtol=1e-3, atol=1e-6):
                raise wrong(
                    f"{what}: the values of {name!r}, {kind}", "the tensor's, rounded by mixed.file", InWords("others")
                )

    def _fill(self, name: str, weight: Tensor, suffer: list[str], numbers: torch.Generator) -> None:
        values = torch.randn(weight.shape, generator=numbers)
        if weight.dim() == 1:
            values = 1.0 + 0.1 * values
            if name != "output_norm.weight":
                values[[5, 37]] = SILENT
            else:
                values *= 0.42
        elif name != "token_embd.weight":
            values *= 1.6 * weight.shape[1] ** -0.5
        if _kind(name) in suffer:
            values[:, [5, 37]] *= LOUD
        weight.copy_(values)

    def _text(self, numbers: torch.Generator) -> Tensor:
        # [24, 25] tokens, each drawn from the model's own law.
        tokens, cache = torch.randint(CONFIG.vocab_size, (24, 1), generator=numbers), ConcatCache()
        for _ in range(24):
            law = self._model(tokens[:, -1:], cache)[:, 0].softmax(-1)
            tokens = torch.cat((tokens, torch.multinomial(law, 1, generator=numbers)), dim=1)
        return tokens

    def _lost(self, values: Mapping[str, Tensor], tokens: Tensor) -> float:
        kept = {name: self._own[name].detach().clone() for name in values}
        for name, value in values.items():
            self._own[name].copy_(value)
        logits = self._model(tokens)[:, :-1]
        for name, value in kept.items():
            self._own[name].copy_(value)
        return float(F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()))


def expect_small_file(got: Any, model: StandIn, budget: int, what: str) -> dict[str, Tensor]:
    """The tensors of a learner's file, by name.

    Raises:
        Wrong: no bytes, too many, no file that loads, or not the model's tensors.
    """
    if type(got) is not bytes:
        raise wrong(f"{what}: what small_file returns", "bytes", got)
    size = expect_number(len(got), f"{what}: bytes of the file")
    if size > budget:
        cause = "what counts is the whole file, with its header, and each tensor from a multiple of 32 bytes on"
        raise wrong(f"{what}: bytes of the file", f"at most {budget}", size, cause)
    try:
        found = mixed.read(got)
    except (ValueError, UnicodeDecodeError) as error:
        raise wrong(f"{what}: the file loads", "a GGUF file", InWords(str(error))) from None
    model.expect_metadata(got, what)
    model.expect_whole(found, what)
    return {name: values for name, (_, values) in found.items()}


def _kind(name: str) -> str:
    return name.split(".")[-2]
