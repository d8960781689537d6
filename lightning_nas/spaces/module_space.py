"""Any model of the user's as a search space."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_nas.architecture import Architecture, Decision, Value
from lightning_nas.modes import evaluating
from lightning_nas.seeding import fixed_seed
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.choices.apply import replace_choices
from lightning_nas.spaces.choices.base import Choice
from lightning_nas.spaces.choices.choice_map import ChoiceMap, slot_names
from lightning_nas.spaces.decision_group import DecisionGroup
from lightning_nas.spaces.graph import CellGraph
from lightning_nas.spaces.inputs import Example, as_inputs, example_named
from lightning_nas.spaces.lazy import check_initialised
from lightning_nas.spaces.mixture import Mixture
from lightning_nas.spaces.module_supernet import ModuleSupernet


class ModuleSpace(SearchSpace):
    """The architectures of a model that holds ``OpChoice``, ``InputChoice`` and ``RepeatChoice`` modules.

    The decisions are found by walking through one model. A decision has the ``key`` of its choices, or the place of its
    choice in the model: ``"blocks/0/activation"``.

    Args:
        factory: Makes a new model each time, always with the same choices: a class of yours, say. Its arguments, each
            with a default, are the ``scale`` of ``build`` and ``supernet``. Models may share frozen parameters only.
        name: Name of the space in architecture files; by default ``"module:"`` and the class of the model, or the name
            of the factory if that class is not of your own, such as ``nn.Sequential``.
        example: An input of the model: a tensor, a tuple of positional or a dictionary of named ones; or the shape of
            one input, such as ``(3, 32, 32)``. With it methods check at once that candidates can be mixed, and can
            count multiply-adds: those of the first input, if it is a batch along the first dimension.

    Raises:
        ValueError: If the model has no choices, or choices of equal key differ.
        TypeError: If ``factory`` does not make a module, or needs arguments.

    Example:
        >>> from lightning_nas.spaces import OpChoice
        >>> def model(width=8):
        ...     activation = OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()}, key="activation")
        ...     return nn.Sequential(nn.Linear(4, width), activation, nn.Linear(width, 1))
        >>> space = ModuleSpace(model)
        >>> space.decisions
        (Decision(name='activation', choices=('relu', 'tanh'), kind='operation'),)
        >>> space.build(Architecture("module:model", {"activation": "tanh"}), width=16)
        Sequential(
          (0): Linear(in_features=4, out_features=16, bias=True)
          (1): Tanh()
          (2): Linear(in_features=16, out_features=1, bias=True)
        )
    """

    def __init__(
        self,
        factory: Callable[..., nn.Module],
        name: str | None = None,
        example: Example | None = None,
    ) -> None:
        self.factory = factory
        self.example = None if example is None else as_inputs(example)
        with fixed_seed(0):  # building a model must not disturb the random numbers of the user
            model = self._make({})
        self._name = f"module:{_name_of(factory, model)}" if name is None else name
        self._choices = ChoiceMap(model)
        self._parameters = set(model.parameters())

    @property
    def name(self) -> str:
        """The name that was given."""
        return self._name

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """One decision per key; one per slot for an ``InputChoice`` of several tensors."""
        return self._choices.decisions

    @property
    def groups(self) -> tuple[DecisionGroup, ...]:
        """One group per key, with a row per slot."""
        return self._choices.groups

    @property
    def distinct(self) -> tuple[tuple[str, ...], ...]:
        """The slots of every ``InputChoice`` of several tensors."""
        choices = self._choices.choices.items()
        return tuple(slot_names(key, choice) for key, choice in choices if choice.slots > 1)

    @property
    def size(self) -> int:
        """Number of architectures; decisions inside of what is not chosen count, too."""
        choices = self._choices.choices.values()
        return math.prod((math.perm if c.ordered else math.comb)(len(c.values), c.slots) for c in choices)

    def sample(self, generator: torch.Generator) -> Architecture:
        """Draw an architecture; each is equally likely."""
        shapes = {group.name: (len(group.rows), len(group.candidates)) for group in self.groups}
        return self.discretize({name: torch.rand(shape, generator=generator) for name, shape in shapes.items()})

    def validate(self, architecture: Architecture) -> None:
        """Raise a ``ValueError`` that names the reason unless ``architecture`` belongs to this space."""
        super().validate(architecture)
        self._choices.chosen(architecture.values)  # raises if an input is chosen twice

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the architecture with summed inputs in order, and the first values where nothing is computed."""
        self.validate(architecture)
        chosen = self._choices.chosen(architecture.values)
        computed = {place.key for place in self._choices.computed(architecture.values)}
        values: dict[str, Value] = {}
        for key, choice in self._choices.choices.items():
            kept = chosen[key] if key in computed else choice.values[: choice.slots]
            ordered = kept if choice.ordered else sorted(kept)
            values |= zip(slot_names(key, choice), ordered, strict=True)
        return Architecture(self.name, values)

    def build(
        self,
        architecture: Architecture,
        *,
        auxiliary: bool = False,
        weights_from: nn.Module | None = None,
        **scale: Any,
    ) -> nn.Module:
        """Build the model with what was chosen in the place of each choice; no choice is left in it.

        Args:
            architecture: A member of this space.
            auxiliary: Without effect.
            weights_from: A supernet of this space; the model gets its scale and its weights.
            scale: Arguments of the factory; with ``weights_from`` they are those of the supernet.
        """
        self.validate(architecture)
        supernet = None if weights_from is None else self._own_supernet(weights_from)
        if supernet is not None:
            if scale not in ({}, supernet.scale):
                raise ValueError(f"Expected the scale {supernet.scale} of `weights_from` but got {scale}")
            scale = supernet.scale
        model = self._make(scale)
        choices = self._same_choices(model, scale)
        if supernet is not None:
            _inherit(model, supernet.model)
        return replace_choices(model, choices, architecture.values)

    def _own_supernet(self, supernet: nn.Module) -> ModuleSupernet:
        if not isinstance(supernet, ModuleSupernet):
            got = type(supernet).__name__
            raise TypeError(f"Expected `weights_from` to be a supernet of a ModuleSpace but got a {got}")
        if supernet.choices.decisions != self.decisions:
            names = [decision.name for decision in supernet.choices.decisions]
            raise ValueError(
                f"Expected `weights_from` to be a supernet of {self.name!r} but got one that decides {names}"
            )
        check_initialised(supernet)
        return supernet

    def supernet(self, **scale: Any) -> ModuleSupernet:
        """Build the model with all its choices; ``scale`` are arguments of the factory."""
        model = self._make(scale)
        return ModuleSupernet(model, self._same_choices(model, scale), scale)

    def _make(self, scale: Mapping[str, Any]) -> nn.Module:
        try:
            inspect.signature(self.factory).bind(**scale)
        except TypeError as error:
            given = f"with {dict(scale)}" if scale else "without arguments"
            raise TypeError(
                f"Expected `factory` to be called {given} but got: {error}; give its arguments defaults, or use "
                "functools.partial"
            ) from error
        model = self.factory(**scale)
        if not isinstance(model, nn.Module):
            raise TypeError(f"Expected `factory` to make an nn.Module but got {type(model).__name__}")
        return model

    def _same_choices(self, model: nn.Module, scale: Mapping[str, Any]) -> ChoiceMap:
        choices = ChoiceMap(model)
        if set(choices.choices.values()) & set(self._choices.choices.values()):
            raise ValueError("Expected `factory` to make a new model each time but got the same choices again")
        trained = (name for name, p in model.named_parameters() if p.requires_grad and p in self._parameters)
        if shared := list(trained):
            raise ValueError(
                f"Expected `factory` to make new weights each time but got {shared} again; freeze what models share, "
                "by requires_grad_(False)"
            )
        if choices.decisions != self.decisions:
            own, other = set(self.decisions), set(choices.decisions)
            different = sorted({decision.name for decision in own ^ other}) or "another order"
            raise ValueError(
                f"Expected the model of {self.name!r} to have the same choices for every scale but got, for "
                f"{dict(scale)}, other ones: {different}; give choices of what is repeated one `key`"
            )
        return choices

    def check_mixable(self, supernet: nn.Module) -> None:
        """Raise a ``ValueError`` that names the choice whose candidates cannot be mixed; it takes an ``example``.

        Lazy layers get their shapes, and random weights.
        """
        if self.example is None:
            return
        shapes = {group.name: (len(group.rows), len(group.candidates)) for group in self.groups}
        uniform = {name: Mixture(torch.full(shape, 1 / shape[1])) for name, shape in shapes.items()}
        with evaluating(supernet), torch.no_grad(), example_named(f"the `example` of {self.name!r}", self.example):
            supernet(*self.example.positional, mixtures=uniform, **self.example.named)

    def discretize(self, weights: Mapping[str, Tensor]) -> Architecture:
        """Keep the strongest candidate of every slot; ties go to the earlier candidate."""
        return Architecture(self.name, self._choices.discretize(weights))

    def mixtures(self, architecture: Architecture) -> dict[str, Mixture]:
        """Return weight one for everything that is chosen."""
        self.validate(architecture)
        return self._choices.mixtures(architecture.values)

    def graph(self, architecture: Architecture) -> tuple[CellGraph, ...]:
        """Return one tree: the choices that are computed, and those nested in them."""
        self.validate(architecture)
        chosen = self._choices.chosen(architecture.values)
        root = f"{self.name} (model)" if self.name in chosen else self.name
        edges: dict[str, tuple[str, str, str]] = {}
        for place in self._choices.computed(architecture.values):
            label = ", ".join(map(str, chosen[place.key]))
            edges.setdefault(place.key, (place.parent or root, place.key, label))
        return (CellGraph(root, (root, *edges), tuple(edges.values())),)


def _inherit(model: nn.Module, other: nn.Module) -> None:
    """Give the model the weights of another one of its kind, in their precision, on their device, and as frozen."""
    model.load_state_dict(other.state_dict())
    pairs = zip((*model.parameters(), *model.buffers()), (*other.parameters(), *other.buffers()), strict=True)
    for own, theirs in pairs:
        own.data = theirs.detach().clone()
        own.requires_grad_(theirs.requires_grad)


def _name_of(factory: Callable[..., nn.Module], model: nn.Module) -> str:
    own = not type(model).__module__.startswith("torch.") and not isinstance(model, Choice)
    made: Any = type(model) if own else getattr(factory, "func", factory)
    name: str = getattr(made, "__name__", type(factory).__name__)
    return "model" if name == "<lambda>" else name
