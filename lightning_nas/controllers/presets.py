"""The settings of the controllers of ENAS (Pham et al. 2018, arXiv 1802.03268)."""

from typing import Any, Literal, get_args

from lightning_nas.architecture import Decision
from lightning_nas.checks import check_choice
from lightning_nas.controllers.forms import form_of, micro_program, recurrent_program
from lightning_nas.spaces.base import SearchSpace

Preset = Literal["official", "paper"]


def enas_settings(space: SearchSpace, preset: Preset = "official") -> dict[str, Any]:
    """Return arguments of ``LstmController`` for a space, by the form of its decisions.

    Args:
        space: A space; for one of another form than those of ENAS the defaults are the ``"official"`` settings.
        preset: The values of the ``"official"`` code, or those that the ``"paper"`` states.
    """
    check_choice("preset", preset, get_args(Preset))
    form = form_of(space.decisions)
    if preset == "paper":
        paper: dict[str, Any] = {"hidden": 100, "temperature": 5.0, "tanh_constant": 2.5}
        return {**paper, "program": recurrent_program(space, locality=False)} if form == "recurrent" else paper
    match form:
        case "micro":
            return _official_micro(space)
        case "recurrent":
            return {"hidden": 100, "temperature": 5.0, "tanh_constant": 2.5, "entropy": "sampled"}
        case "macro":
            return {"hidden": 64, "tanh_constant": 1.5, "entropy": "sampled", "skip_prior": "official"}
    return {}


def _official_micro(space: SearchSpace) -> dict[str, Any]:
    operations = next(decision for decision in space.decisions if decision.kind == "operation")
    return {
        "program": micro_program(space, _by_operation(operations, separable=0.25, other=-0.25)),
        "hidden": 64,
        "tanh_constant": 1.1,
        "operation_tanh_constant": 0.44,
        "operation_bias": _by_operation(operations, separable=10.0, other=0.0),
    }


def _by_operation(decision: Decision, *, separable: float, other: float) -> tuple[float, ...]:
    """Return a number per operation: the official code prefers separable convolutions."""
    return tuple(separable if str(choice).startswith("sep_conv") else other for choice in decision.choices)
