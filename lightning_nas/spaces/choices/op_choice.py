"""A choice among modules."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from lightning_nas.architecture import Value
from lightning_nas.spaces.choices.base import Choice


class OpChoice(Choice):
    """One of several modules.

    Args:
        candidates: The modules by name. They get the same inputs and return tensors of the same shape. They may hold
            choices themselves.
        key: Choices of equal key share one decision; see ``Choice``.

    Raises:
        ValueError: If there is no candidate, or a name cannot name a module.
        TypeError: If a candidate is no module.

    Example:
        >>> OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()}, key="activation").values
        ('relu', 'tanh')
    """

    kind = "operation"
    container = "candidates"

    def __init__(self, candidates: Mapping[str, nn.Module], key: str | None = None) -> None:
        super().__init__(key)
        if not candidates:
            raise ValueError("Expected at least one module in `candidates` but got none")
        for name, module in candidates.items():
            if not isinstance(module, nn.Module):
                raise TypeError(f"Expected candidate {name!r} to be an nn.Module but got {type(module).__name__}")
            if not name or "." in name or hasattr(nn.ModuleDict(), name):
                raise ValueError(f"Expected a candidate's name without a dot, and no method's name, but got {name!r}")
        self.candidates = nn.ModuleDict(candidates)

    @property
    def values(self) -> tuple[Value, ...]:
        """Names of the candidates."""
        return tuple(self.candidates)

    def leads_to(self, branch: str) -> tuple[Value, ...]:
        """Return the candidate's own name."""
        return (branch,)

    def replacement(self, chosen: Sequence[Value]) -> nn.Module:
        """Return the chosen module itself."""
        return self.candidates[str(chosen[0])]

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Return the weighted sum of the candidates' outputs."""
        weights, active = self._row(0)
        outputs: dict[int, object] = {}
        for k in active:
            name = str(self.values[k])
            shared = (*inputs, *named.values()) if len(active) > 1 else ()
            with self._observed(name), self._unchanged(name, shared):
                outputs[k] = self.candidates[name](*inputs, **named)
        return self._mix(weights, outputs)
