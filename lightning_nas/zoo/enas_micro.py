"""The published cells of ENAS's micro space (Pham et al. 2018, arXiv 1802.03268).

Source: ``scripts/cifar10_micro_final.sh`` of github.com/melodyguan/enas.
"""

from lightning_nas.spaces.enas_micro import EnasMicroSpace

ENAS_MICRO = EnasMicroSpace().from_string(
    "0 2 0 0  0 4 0 1  0 4 1 1  1 0 0 1  0 2 1 1",
    "1 0 1 0  0 3 0 2  1 1 3 1  1 0 0 4  0 3 1 1",
    {"name": "ENAS_MICRO", "source": "arXiv:1802.03268"},
)
