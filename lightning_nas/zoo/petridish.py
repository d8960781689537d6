"""The published cells of Petridish for CIFAR-10 (Hu et al. 2019, arXiv 1905.13360).

Source: the released network of github.com/microsoft/petridishnn, which began with three normal cells a stage. Which of
the cells grew first is not known, and makes no difference to the network.
"""

from dataclasses import replace
from functools import reduce

from lightning_nas.spaces.petridish import PetridishSpace

# 0 is the output of the cell before the last, 1 that of the last; the nodes have 2, 3 and 4
GROWTHS = (
    ("normal", [(1, "dil_conv_3x3"), (1, "avg_pool_3x3"), (1, "identity")]),
    ("normal", [(2, "sep_conv_3x3"), (1, "sep_conv_3x3"), (2, "dil_conv_3x3")]),
    ("reduce", [(1, "avg_pool_3x3"), (1, "sep_conv_5x5"), (0, "sep_conv_3x3")]),
    ("reduce", [(2, "dil_conv_5x5"), (1, "identity"), (1, "max_pool_3x3")]),
    ("reduce", [(0, "identity"), (1, "sep_conv_3x3"), (1, "identity")]),
)

SPACE = PetridishSpace()
SEED = replace(SPACE.seed(), provenance={"name": "PETRIDISH_CELL", "source": "arXiv:1905.13360"})
PETRIDISH_CELL = reduce(lambda grown, growth: SPACE.grow(grown, *growth), GROWTHS, SEED)
