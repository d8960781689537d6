"""The settings of the controllers of ENAS (Pham et al. 2018, arXiv 1802.03268) and NAS (Zoph & Le 2017, 1611.01578)."""

from typing import Any, Literal, get_args

from lightning_nas.architecture import Decision
from lightning_nas.checks import check_at_least, check_choice
from lightning_nas.controllers.forms import form_of, micro_program, nas_program, program_of, recurrent_program
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


def nas_settings(space: SearchSpace, *, anchor_first: bool = True) -> dict[str, Any]:
    """Return arguments of ``LstmController`` for NAS (Zoph & Le 2017, arXiv 1611.01578, sections 3.3 and 4.1).

    The paper has no tanh constant, no temperature, and no penalty of skips. It says nothing of biases; those of
    ``torch.nn`` are taken.

    Args:
        space: ``NasConvSpace``, or any other; those get ``program_of``.
        anchor_first: Whether a layer's skips are decided before its numbers, as the paper's figure 4 shows it.

    Example:
        >>> from lightning_nas.controllers import LstmController
        >>> from lightning_nas.spaces import NasConvSpace
        >>> space = NasConvSpace(layers=6)
        >>> controller = LstmController(space, **nas_settings(space))
        >>> deeper = LstmController(NasConvSpace(layers=8), **nas_settings(NasConvSpace(layers=8)))
        >>> deeper.load_state_dict(controller.state_dict())
        <All keys matched successfully>
    """
    layered = form_of(space.decisions) == "layers"
    return {
        "program": nas_program(space, anchor_first=anchor_first) if layered else program_of(space),
        "hidden": 35,
        "layers": 2,
        "biases": True,
        "temperature": None,
        "tanh_constant": None,
        "skip_target": None,
        "entropy": "full",
        "init_range": 0.08,
    }


def depth_after(samples: int, *, first: int = 6, step: int = 2, every: int = 1600) -> int:
    """Return the number of layers of the next network after so many have been sampled.

    The defaults are NAS's on CIFAR-10: 12,800 networks, the last 1,600 of them of 20 layers (arXiv 1611.01578, section
    4.1).

    Args:
        samples: How many have been sampled.
        first: Layers of the first network.
        step: How many layers more.
        every: After how many networks.

    Example:
        >>> depth_after(0), depth_after(1599), depth_after(1600), depth_after(12799)
        (6, 6, 8, 20)
    """
    check_at_least("samples", samples, 0)
    check_at_least("every", every, 1)
    return first + step * (samples // every)
