"""How DARTS derives cells: hand cases of the specification, and a slow restatement of the authors' rule."""

import pytest
import torch
from torch import Tensor

from lightning_nas.spaces import DartsSpace
from lightning_nas.spaces.darts import PRIMITIVES

Pairs = list[tuple[str, int]]
OFFSETS = (0, 2, 5, 9)

# Specification of the test cases: (edge, operation): alpha; all other alphas are zero.
TABLE = {
    (0, "sep_conv_3x3"): 0.5,
    (1, "dil_conv_5x5"): 1.0,
    (2, "none"): 2.0,
    (2, "skip_connect"): 1.0,
    (3, "sep_conv_5x5"): 0.8,
    (4, "max_pool_3x3"): 0.5,
    (5, "avg_pool_3x3"): 0.3,
    (6, "avg_pool_3x3"): 0.3,
    (7, "sep_conv_3x3"): 1.2,
    (7, "sep_conv_5x5"): 1.1,
    (10, "none"): 3.0,
    (11, "dil_conv_3x3"): 0.6,
    (12, "skip_connect"): 0.7,
    (12, "sep_conv_3x3"): 0.7,
    (13, "skip_connect"): 0.7,
    (13, "dil_conv_3x3"): 0.7,
}


def table_probabilities() -> Tensor:
    alphas = torch.zeros(14, 8)
    for (edge, operation), alpha in TABLE.items():
        alphas[edge, PRIMITIVES.index(operation)] = alpha
    return alphas.softmax(1)


def derive(normal: Tensor, reduce: Tensor) -> tuple[Pairs, Pairs]:
    space = DartsSpace()
    genotype = space.genotype(space.discretize({"normal": normal, "reduce": reduce}))
    return genotype.normal, genotype.reduce


def restated(probabilities: Tensor) -> Pairs:
    """The authors' rule, one comparison at a time: strict ``>`` keeps the earlier of equal operations and inputs."""
    pairs: Pairs = []
    for node, offset in enumerate(OFFSETS):
        best: list[tuple[float, int, int]] = []  # strength, input, operation
        for j in range(node + 2):
            strength, operation = -1.0, 0
            for k in range(1, 8):
                if float(probabilities[offset + j, k]) > strength:
                    strength, operation = float(probabilities[offset + j, k]), k
            best.append((strength, j, operation))
        kept = sorted(best, key=lambda entry: (-entry[0], entry[1]))[:2]
        pairs += [(PRIMITIVES[operation], j) for _, j, operation in kept]
    return pairs


def test_ties_go_to_the_earlier_input_and_operation() -> None:
    even = torch.zeros(14, 8).softmax(1)
    expected = [("max_pool_3x3", 0), ("max_pool_3x3", 1)] * 4
    assert derive(even, even) == (expected, expected)


def test_table_by_hand() -> None:
    expected = [
        ("dil_conv_5x5", 1),
        ("sep_conv_3x3", 0),
        ("sep_conv_5x5", 1),
        ("max_pool_3x3", 2),
        ("sep_conv_3x3", 2),
        ("avg_pool_3x3", 0),
        ("dil_conv_3x3", 2),
        ("skip_connect", 3),
    ]
    flat = torch.zeros(14, 8).softmax(1)
    assert derive(table_probabilities(), flat)[0] == expected
    assert derive(flat, table_probabilities())[1] == expected


@pytest.mark.parametrize(
    ("node", "strengths"),
    [
        (1, [0.1688, 0.2412, 0.1906]),
        (2, [0.1617, 0.1617, 0.2694, 0.1250]),
        (3, [0.1250, 0.0369, 0.2065, 0.2008, 0.2008]),
    ],
)
def test_strengths_of_the_table(node: int, strengths: list[float]) -> None:
    rows = table_probabilities()[OFFSETS[node] : OFFSETS[node] + node + 2]
    assert rows[:, 1:].amax(1).tolist() == pytest.approx(strengths, abs=5e-5)


@pytest.mark.parametrize("levels", [3, 8, 1000], ids=["many ties", "some ties", "few ties"])
def test_like_the_restated_rule(levels: int) -> None:
    generator = torch.Generator().manual_seed(levels)
    for _ in range(150):
        alphas = torch.randint(levels, (2, 14, 8), generator=generator) / levels * 4
        normal, reduce = alphas.softmax(2)
        assert derive(normal, reduce) == (restated(normal), restated(reduce))


def test_none_may_stand_anywhere_or_be_missing() -> None:
    probabilities = table_probabilities()[:2]
    for operations in (PRIMITIVES[1:], (*PRIMITIVES[1:5], "none", *PRIMITIVES[5:])):
        space = DartsSpace(1, operations)
        columns = probabilities[:, [PRIMITIVES.index(operation) for operation in operations]]
        genotype = space.genotype(space.discretize({"normal": columns, "reduce": columns}))
        assert genotype.normal == [("dil_conv_5x5", 1), ("sep_conv_3x3", 0)]


def test_gradients_are_left_alone() -> None:
    alphas = torch.zeros(14, 8, requires_grad=True)
    weights = {"normal": alphas.softmax(1), "reduce": alphas.softmax(1)}
    DartsSpace().discretize(weights)
    assert weights["normal"].requires_grad
    assert alphas.grad is None
