"""The published recurrent cells for the Penn Treebank.

- DARTS (Liu, Simonyan, Yang 2018, arXiv 1806.09055): ``rnn/genotypes.py`` of github.com/quark0/darts. ``V1`` and ``V2``
  are those of the first and of the second version of the paper.
- ENAS (Pham et al. 2018, arXiv 1802.03268): ``scripts/ptb_final.sh`` of github.com/melodyguan/enas.
- NAS (Zoph & Le 2017, arXiv 1611.01578, appendix): the cell that TensorFlow calls ``NASCell``.
"""

from lightning_nas.spaces.darts_recurrent import DartsRecurrentSpace
from lightning_nas.spaces.enas_recurrent import EnasRecurrentSpace
from lightning_nas.spaces.nas_recurrent import NasRecurrentSpace

DARTS_RNN_V1 = DartsRecurrentSpace().from_genotype(
    [
        ("relu", 0),
        ("relu", 1),
        ("tanh", 2),
        ("relu", 3),
        ("relu", 4),
        ("identity", 1),
        ("relu", 5),
        ("relu", 1),
    ],
    {"name": "DARTS_RNN_V1", "source": "arXiv:1806.09055v1"},
)

DARTS_RNN_V2 = DartsRecurrentSpace().from_genotype(
    [
        ("sigmoid", 0),
        ("relu", 1),
        ("relu", 1),
        ("identity", 1),
        ("tanh", 2),
        ("sigmoid", 5),
        ("tanh", 3),
        ("relu", 5),
    ],
    {"name": "DARTS_RNN_V2", "source": "arXiv:1806.09055v2"},
)

ENAS_RNN = EnasRecurrentSpace().from_string(
    "0 0 0 1 1 2 1 2 0 2 0 5 1 1 0 6 1 8 1 8 1 8 1", {"name": "ENAS_RNN", "source": "arXiv:1802.03268"}
)

NAS_CELL = NasRecurrentSpace().from_string(
    """
    add sigmoid, add relu, add sigmoid, elem_mult relu, add tanh, add sigmoid, add tanh, add sigmoid,
    elem_mult tanh, add tanh, elem_mult tanh, add sigmoid, elem_mult identity, add tanh, elem_mult tanh,
    add tanh, 12 8
    """,
    {"name": "NAS_CELL", "source": "arXiv:1611.01578"},
)
