"""What a search costs, as PNAS counts it."""

from lightning_nas.checks import check_at_least


def search_cost(models: int, examples: int, finalists: int = 0, finalist_examples: int = 0) -> int:
    """Return the examples that all children of a search have been trained on: ``M1 E1 + M2 E2`` of PNAS.

    Args:
        models: Number of children (M1).
        examples: Examples that each child sees, images times epochs (E1).
        finalists: Number of best children that are trained longer before one is chosen (M2).
        finalist_examples: Examples that each of them sees (E2).

    Example:
        >>> search_cost(1160, 45_000 * 20)  # PNASNet-5: 1.0 billion
        1044000000
    """
    sizes = {"models": models, "examples": examples, "finalists": finalists, "finalist_examples": finalist_examples}
    for name, value in sizes.items():
        check_at_least(name, value, 0)
    return models * examples + finalists * finalist_examples
