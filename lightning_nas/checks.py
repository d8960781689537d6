"""Checks of constructor arguments, made at once and in one wording."""

from collections.abc import Sequence


def check_at_least(name: str, value: float | None, least: float, why: str = "") -> None:
    """Raise ValueError when ``value`` is below ``least``, or NaN; None passes.

    Args:
        name: The argument's name.
        value: What was given.
        least: The lowest value allowed.
        why: The reason, if it is not plain.
    """
    if value is not None and not value >= least:
        reason = f" ({why})" if why else ""
        raise ValueError(f"Expected `{name}` to be at least {least}{reason} but got {value}.")


def check_scale(**scale: int) -> None:
    """Raise ValueError unless all sizes of a network are positive whole numbers."""
    for name, value in scale.items():
        if type(value) is not int or value < 1:
            raise ValueError(f"Expected `{name}` to be a whole number of at least 1 but got {value!r}.")


def check_positive(name: str, value: float | None) -> None:
    """Raise ValueError when ``value`` is not above zero; None passes.

    Args:
        name: The argument's name.
        value: What was given.
    """
    if value is not None and not value > 0:
        raise ValueError(f"Expected `{name}` to be above 0 but got {value}.")


def check_fraction(name: str, value: float, *, zero_allowed: bool = False) -> None:
    """Raise ValueError when ``value`` is not between 0 and 1.

    Args:
        name: The argument's name.
        value: What was given.
        zero_allowed: Whether 0 itself passes; 1 never does.
    """
    if not (0 < value < 1 or (zero_allowed and value == 0)):
        bounds = "0 <= fraction < 1" if zero_allowed else "0 < fraction < 1"
        raise ValueError(f"Expected `{name}` to be a share with {bounds} but got {value}.")


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Raise ValueError when ``value`` is none of ``choices``."""
    if value not in choices:
        raise ValueError(f"Expected `{name}` to be one of {list(choices)} but got {value!r}.")


def check_mean_std(mean: Sequence[float], std: Sequence[float]) -> None:
    """Raise ValueError when the numbers cannot normalise images."""
    if len(mean) != len(std) or any(value <= 0 for value in std):
        raise ValueError(
            f"Expected `mean` and `std` of equal length and `std` above 0 but got {list(mean)} and {list(std)}."
        )
