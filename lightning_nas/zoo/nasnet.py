"""Published cells of NASNet (arXiv 1707.07012), AmoebaNet (1802.01548) and PNAS (1712.00559).

They are the cells of the published networks. ``NASNet`` and ``AmoebaNet`` of ``lightning_nas.zoo.darts`` are what the
code of DARTS has under these names: the former puts out fewer states, the latter is another cell.
"""

from lightning_nas.operations.nasnet import AMOEBANET_OPERATIONS, NASNET_OPERATIONS
from lightning_nas.spaces.nasnet import NasnetSpace

SHORT = {
    "s3": "sep_conv_3x3",
    "s5": "sep_conv_5x5",
    "s7": "sep_conv_7x7",
    "id": "identity",
    "mp": "max_pool_3x3",
    "ap": "avg_pool_3x3",
    "b7": "bottleneck_1x7_7x1",
}


def pairs(text: str) -> list[tuple[str, int]]:
    """Read ``"s3,1 id,0"``: operation and input, two pairs a block."""
    split = (pair.split(",") for pair in text.split())
    return [(SHORT[operation], int(source)) for operation, source in split]


PNASNET_5 = NasnetSpace().from_genotype(
    pairs("s5,0 mp,0  s7,1 mp,1  s5,1 s3,1  s3,4 mp,1  s3,0 id,1"),
    provenance={"name": "PNASNET_5", "source": "arXiv:1712.00559"},
)
NASNET_A = NasnetSpace(operations=NASNET_OPERATIONS, cells="two", concat="chosen").from_genotype(
    pairs("s5,1 s3,0  s5,0 s3,0  ap,1 id,0  ap,0 ap,0  s3,1 id,1"),
    pairs("s5,1 s7,0  mp,1 s7,0  ap,1 s5,0  id,3 ap,2  s3,2 mp,1"),
    normal_concat=(0, 2, 3, 4, 5, 6),
    reduce_concat=(3, 4, 5, 6),
    provenance={"name": "NASNET_A", "source": "arXiv:1707.07012"},
)
AMOEBANET_A = NasnetSpace(operations=AMOEBANET_OPERATIONS, cells="two", concat="chosen").from_genotype(
    pairs("ap,1 mp,1  s3,0 id,0  id,1 ap,0  s3,1 s5,2  ap,5 s3,1"),
    pairs("s3,0 ap,1  mp,1 s7,2  mp,0 mp,1  s3,4 b7,1  ap,0 s7,1"),
    normal_concat=(0, 3, 4, 6),
    reduce_concat=(2, 3, 4, 5, 6),
    provenance={"name": "AMOEBANET_A", "source": "arXiv:1802.01548"},
)
