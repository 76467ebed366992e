"""GPUs that a kernel is compiled for without being there, and what one program of a kernel may have on each.

Source of the shared memory: CUDA C++ Programming Guide, section 5.1.3, table "Memory Information per Compute
Capability", row "Maximum amount of shared memory per thread block"; 255 registers a thread are in the same table.
"""

from dataclasses import dataclass

KB = 1024


@dataclass(frozen=True)
class Target:
    """One kind of GPU, by a name of `fridge.memory.cards`.

    Attributes:
        capability: the compute capability times ten: 80 for 8.0.
        shared: bytes of shared memory, the SRAM of unit 06, that one program may have.
    """

    card: str
    capability: int
    shared: int


TARGETS = {
    target.card: target
    for target in (
        Target("T4", 75, 64 * KB),
        Target("A100-80", 80, 163 * KB),
        Target("RTX 4090", 89, 99 * KB),
        Target("H100-80", 90, 227 * KB),
    )
}
