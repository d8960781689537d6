"""The published convolutional network of Zoph & Le (2017, arXiv 1611.01578, figure 7): variant v1, 15 layers.

Heights, widths and numbers of filters are those of the figure. The skips are those of a public re-implementation; with
them the network has 4,201,630 parameters, the paper's 4.2M. Only the last layer is read by none.
"""

from lightning_nas.spaces.nas_conv import NasConvSpace

NAS_V1 = NasConvSpace().from_string(
    """
    3 3 36 |
    3 3 48 | 1
    3 3 36 | 1 1
    5 5 36 | 1 1 1
    3 7 48 | 0 0 1 1
    7 7 48 | 0 1 1 1 1
    7 7 48 | 0 1 1 1 1 1
    7 3 36 | 1 0 0 0 0 1 1
    7 1 36 | 1 0 0 0 1 1 0 1
    7 7 36 | 1 0 1 1 1 1 1 1 1
    5 7 36 | 1 1 0 0 1 1 1 1 1 1
    7 7 48 | 1 1 1 1 0 1 0 0 0 0 1
    7 5 48 | 1 0 1 0 0 1 1 1 1 1 1 1
    7 5 48 | 0 0 1 0 0 0 1 0 0 0 0 1 1
    7 5 48 | 0 0 0 0 0 1 1 0 0 0 1 1 1 1
    """,
    {"name": "NAS_V1", "source": "arXiv:1611.01578"},
)
