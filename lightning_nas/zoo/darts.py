"""Published cells in DARTS notation.

Sources: DARTS (arXiv 1806.09055; V1 and V2 are the cells of the two versions of the paper, both second order), NASNet
(1707.07012), AmoebaNet (1802.01548), P-DARTS (1904.12760), PC-DARTS (1907.05737).
"""

from lightning_nas.spaces.darts import PRIMITIVES, DartsSpace

SHORT = {
    "s3": "sep_conv_3x3",
    "s5": "sep_conv_5x5",
    "s7": "sep_conv_7x7",
    "d3": "dil_conv_3x3",
    "d5": "dil_conv_5x5",
    "sk": "skip_connect",
    "mp": "max_pool_3x3",
    "ap": "avg_pool_3x3",
    "c7": "conv_7x1_1x7",
}

darts = DartsSpace()
# Cells of five nodes that put out what no node reads, with two operations that DARTS does not search.
nasnet = DartsSpace(5, (*PRIMITIVES, "sep_conv_7x7", "conv_7x1_1x7"), concat="loose_ends", distinct_inputs=False)


def pairs(text: str) -> list[tuple[str, int]]:
    """Read ``"s3,1 sk,0"``: operation and input, two pairs a node."""
    split = (pair.split(",") for pair in text.split())
    return [(SHORT[operation], int(source)) for operation, source in split]


DARTS_V1 = darts.from_genotype(
    pairs("s3,1 s3,0  sk,0 s3,1  sk,0 s3,1  s3,0 sk,2"),
    pairs("mp,0 mp,1  sk,2 mp,0  mp,0 sk,2  sk,2 ap,0"),
    {"name": "DARTS_V1", "source": "arXiv:1806.09055v1"},
)
DARTS_V2 = darts.from_genotype(
    pairs("s3,0 s3,1  s3,0 s3,1  s3,1 sk,0  sk,0 d3,2"),
    pairs("mp,0 mp,1  sk,2 mp,1  mp,0 sk,2  sk,2 mp,1"),
    {"name": "DARTS_V2", "source": "arXiv:1806.09055v2"},
)
PDARTS = darts.from_genotype(
    pairs("sk,0 d3,1  sk,0 s3,1  s3,1 s3,3  s3,0 d5,4"),
    pairs("ap,0 s5,1  s3,0 d5,2  mp,0 d3,1  d3,1 d5,3"),
    {"name": "PDARTS", "source": "arXiv:1904.12760"},
)
PC_DARTS = darts.from_genotype(
    pairs("s3,1 sk,0  s3,0 d3,1  s5,0 s3,1  ap,0 d3,1"),
    pairs("s5,1 mp,0  s5,1 s5,2  s3,0 s3,3  s3,1 s3,2"),
    {"name": "PC_DARTS", "source": "arXiv:1907.05737"},
)
PC_DARTS_IMAGE = darts.from_genotype(
    pairs("sk,1 s3,0  s3,0 sk,1  s3,1 s3,3  s3,1 d5,4"),
    pairs("s3,0 sk,1  d5,2 mp,1  s3,2 s3,1  s5,0 s3,3"),
    {"name": "PC_DARTS_IMAGE", "source": "arXiv:1907.05737"},
)
NASNet = nasnet.from_genotype(
    pairs("s5,1 s3,0  s5,0 s3,0  ap,1 sk,0  ap,0 ap,0  s3,1 sk,1"),
    pairs("s5,1 s7,0  mp,1 s7,0  ap,1 s5,0  sk,3 ap,2  s3,2 mp,1"),
    {"name": "NASNet", "source": "arXiv:1707.07012"},
)
AmoebaNet = nasnet.from_genotype(
    pairs("ap,0 mp,1  s3,0 s5,2  s3,0 ap,3  s3,1 sk,1  sk,0 ap,1"),
    pairs("ap,0 s3,1  mp,0 s7,2  s7,0 ap,1  mp,0 mp,1  c7,0 s3,5"),
    {"name": "AmoebaNet", "source": "arXiv:1802.01548"},
)
