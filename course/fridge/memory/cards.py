"""Facts about the graphics cards of the course: memory, bandwidth, tensor-core arithmetic, with their sources.

The label on the box says "GB" and means, more or less, GiB (2**30 bytes). `memory` is what the driver shows: the total
of `nvidia-smi` in MiB, a little less than the label where error correction (T4) or the driver keeps a part.
Bandwidth and arithmetic are the makers' peaks, which no program reaches.
"""

from dataclasses import dataclass

MIB, GIB = 2**20, 2**30


@dataclass(frozen=True)
class Card:
    """One kind of card.

    Attributes:
        label: gigabytes, as the maker writes them.
        memory: bytes that the driver shows.
        bandwidth: bytes per second between memory and chip.
        flops: float16 operations per second of the tensor cores that sum in float32, without the doubling for
            sparse matrices that data sheets like to print.
        source: where the numbers stand.
    """

    name: str
    label: int
    memory: int
    bandwidth: float
    flops: float
    source: str


CARDS = {
    card.name: card
    for card in (
        Card("T4", 16, 15_360 * MIB, 320e9, 65e12, "NVIDIA T4 data sheet"),
        Card("RTX 3090", 24, 24_576 * MIB, 936e9, 71e12, "NVIDIA Ampere GA102 whitepaper, appendix A"),
        Card("RTX 4090", 24, 24_564 * MIB, 1008e9, 165.2e12, "NVIDIA Ada GPU architecture whitepaper, appendix A"),
        Card("A100-40", 40, 40_960 * MIB, 1555e9, 312e12, "NVIDIA A100 data sheet, SXM"),
        Card("A100-80", 80, 81_920 * MIB, 2039e9, 312e12, "NVIDIA A100 data sheet, SXM"),
        Card("H100-80", 80, 81_559 * MIB, 3350e9, 989.4e12, "NVIDIA H100 whitepaper and data sheet, SXM"),
        Card("H200-141", 141, 143_771 * MIB, 4800e9, 989.4e12, "NVIDIA H200 data sheet, SXM"),
    )
}

PCIE_3_X16 = 15.75e9  # bytes per second between the host's memory and a T4, the bus's peak (PCI-SIG, 8 GT/s, 16 lanes)
PCIE_4_X16 = 31.5e9  # the same for an RTX 3090 or 4090
