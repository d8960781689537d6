import pytest

from lightning_nas.strategies.search_cost import search_cost


@pytest.mark.parametrize(
    ("cost", "reported"),
    [
        (search_cost(1_160, 900_000), 1.044e9),
        (search_cost(20_000, 900_000, 250, 13_500_000), 21.375e9),  # NASNet-A, at least
        (search_cost(7_000, 5_120_000), 35.84e9),  # hierarchical evolution
        (search_cost(20_000, 1_125_000, 100, 27_000_000), 25.2e9),  # AmoebaNet-A
        (search_cost(27_000, 2_250_000, 100, 27_000_000), 63.45e9),  # AmoebaNet-B
    ],
)
def test_costs_of_the_paper(cost: int, reported: float) -> None:
    assert cost == reported


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="Expected `examples` to be at least 0 but got -1"):
        search_cost(1, -1)
