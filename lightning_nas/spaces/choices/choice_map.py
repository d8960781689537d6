"""Which choices a module holds, and what depends on what."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_nas.architecture import Decision, Value
from lightning_nas.spaces.choices.base import Choice
from lightning_nas.spaces.decision_group import DecisionGroup
from lightning_nas.spaces.mixture import Mixture

Conditions = Mapping[str, tuple[Value, ...]]  # by key: what must be chosen there
Observer = Callable[[str, tuple[Value, ...]], AbstractContextManager[None]]  # of a key, and values chosen there


@dataclass(frozen=True)
class Place:
    """A choice, where it stands in the model, and when it is computed.

    Args:
        path: Name of the module, as ``nn.Module.get_submodule`` takes it.
        key: Name of its decision.
        choice: The module.
        conditions: What must be chosen elsewhere for this choice to be computed.
        parent: Key of the choice that it is nested in, if any.
    """

    path: str
    key: str
    choice: Choice
    conditions: Conditions
    parent: str | None


class ChoiceMap:
    """All choices of a module, found by walking through it.

    Args:
        module: A module that holds choices anywhere among its children.

    Raises:
        ValueError: If there is no choice, one is hidden in a plain list or dictionary, or choices of equal key differ.
    """

    def __init__(self, module: nn.Module) -> None:
        self.places = tuple(_walk(module))
        _check_registered(module, {place.choice for place in self.places})
        if not self.places:
            raise ValueError(
                f"Expected {type(module).__name__} to hold an OpChoice, InputChoice or RepeatChoice but found none; "
                "modules in a plain list or dictionary are not found, use nn.ModuleList or nn.ModuleDict"
            )
        self.choices: dict[str, Choice] = {}
        for place in self.places:
            place.choice.name = place.key
            first = self.choices.setdefault(place.key, place.choice)
            if first is not place.choice:
                _check_alike(place, first)
        if reserved := [key for key in self.choices if hasattr(nn.ParameterDict(), key)]:
            raise ValueError(
                f"Expected keys that are no method's name but got {reserved}; give the choice another `key`"
            )
        names = [decision.name for decision in self.decisions]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"Expected keys that make different decisions but got {sorted(repeated)} twice")

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """One decision per key, or one per slot where several candidates are chosen: ``key/0``, ``key/1``, ..."""
        return tuple(
            Decision(name, choice.values, choice.kind)
            for key, choice in self.choices.items()
            for name in slot_names(key, choice)
        )

    @cached_property
    def groups(self) -> tuple[DecisionGroup, ...]:
        """One group per key, with a row per slot."""
        return tuple(
            DecisionGroup(key, slot_names(key, choice), tuple(map(str, choice.values)))
            for key, choice in self.choices.items()
        )

    def chosen(self, values: Mapping[str, Value]) -> dict[str, tuple[Value, ...]]:
        """Return what an architecture chooses, by key.

        Raises:
            ValueError: If it chooses one input twice.
        """
        chosen = {key: tuple(values[name] for name in slot_names(key, c)) for key, c in self.choices.items()}
        for key, several in chosen.items():
            if len(set(several)) < len(several):
                raise ValueError(f"Expected different inputs for choice {key!r} but got {several}")
        return chosen

    def computed(self, values: Mapping[str, Value]) -> list[Place]:
        """Return the choices that an architecture computes: those not nested in something that it leaves out."""
        chosen = self.chosen(values)
        return [
            place
            for place in self.places
            if all(set(needed) & set(chosen[key]) for key, needed in place.conditions.items())
        ]

    def mixtures(self, values: Mapping[str, Value]) -> dict[str, Mixture]:
        """Return weight one for everything that an architecture chooses."""
        mixtures = {}
        for key, chosen in self.chosen(values).items():
            possible = self.choices[key].values
            columns = [possible.index(value) for value in chosen]
            weights = torch.nn.functional.one_hot(torch.tensor(columns), len(possible)).float()
            mixtures[key] = Mixture(weights, tuple((column,) for column in columns))
        return mixtures

    def discretize(self, weights: Mapping[str, Tensor]) -> dict[str, Value]:
        """Return the strongest candidate of every slot; no candidate is chosen twice; ties go to the earlier one."""
        values: dict[str, Value] = {}
        for key, choice in self.choices.items():
            table = weights[key].detach().cpu()
            if not torch.isfinite(table).all():
                raise ValueError(f"Expected finite weights for choice {key!r} but got NaN or infinity")
            columns = _strongest(table)
            ordered = columns if choice.ordered else sorted(columns)
            values |= zip(slot_names(key, choice), (choice.values[k] for k in ordered), strict=True)
        return values

    def conditions(self, path: str) -> dict[str, tuple[Value, ...]]:
        """Return what must be chosen for a module or a parameter, by its name in the model, to be computed."""
        return _conditions(path, _around(path, self.places))

    @contextmanager
    def observed(self, observer: Observer) -> Iterator[None]:
        """Let a context be entered for every branch that is computed: that of its key, and the values it stands for."""
        try:
            for place in self.places:
                place.choice.observer = partial(_observe, place, observer)
            yield
        finally:
            for place in self.places:
                place.choice.observer = None

    def set_mixtures(self, mixtures: Mapping[str, Mixture]) -> None:
        """Give every choice the mixture of its key; those without one get none, and weigh all candidates equally.

        Raises:
            ValueError: If a mixture is not of its choice's shape.
        """
        for place in self.places:
            mixture, expected = mixtures.get(place.key), (place.choice.slots, len(place.choice.values))
            if mixture is not None and mixture.weights.shape != expected:
                got = tuple(mixture.weights.shape)
                raise ValueError(f"Expected a mixture of shape {expected} for choice {place.key!r} but got {got}")
            place.choice.mixture = mixture


def slot_names(key: str, choice: Choice) -> tuple[str, ...]:
    """Return the names of the decisions of a choice."""
    return (key,) if choice.slots == 1 else tuple(f"{key}/{slot}" for slot in range(choice.slots))


def _walk(module: nn.Module) -> Iterator[Place]:
    """Yield every place of every choice, outer ones first; a module that stands in two places is one choice."""
    found: dict[str, Place] = {}
    defaults: dict[Choice, str] = {}
    for path, choice in module.named_modules(remove_duplicate=False):
        if not isinstance(choice, Choice):
            continue
        around = _around(path, found.values())
        key = choice.key or defaults.setdefault(choice, _default_key(path, around))
        found[path] = Place(path, key, choice, _conditions(path, around), around[-1].key if around else None)
        yield found[path]
    if clash := set(defaults.values()) & {place.choice.key for place in found.values()}:
        raise ValueError(f"Expected `key` to differ from the names of other choices but got {sorted(clash)} twice")


def merge_conditions(
    conditions: Mapping[str, tuple[Value, ...]], key: str, values: tuple[Value, ...]
) -> dict[str, tuple[Value, ...]]:
    """Return the conditions, and that one of ``values`` is chosen for ``key``."""
    return {**conditions, key: tuple(value for value in conditions.get(key, values) if value in values)}


def _around(path: str, places: Iterable[Place]) -> list[Place]:
    """Return the places of the choices that hold what is at ``path``, the outermost first."""
    return [place for place in places if path.startswith(place.path + "." if place.path else "")]


def _conditions(path: str, around: Sequence[Place]) -> dict[str, tuple[Value, ...]]:
    conditions: dict[str, tuple[Value, ...]] = {}
    for outer in around:
        container, _, below = _below(path, outer).partition(".")
        if container == outer.choice.container:  # anything else on a choice is there whenever the choice is
            conditions = merge_conditions(conditions, outer.key, outer.choice.leads_to(below.partition(".")[0]))
    return conditions


def _default_key(path: str, around: Sequence[Place]) -> str:
    """Return ``blocks/a/activation`` for ``blocks.candidates.a.activation``, if ``blocks`` is a choice."""
    for outer in reversed(around):
        below = _below(path, outer)
        path = path.removesuffix(below) + below.removeprefix(f"{outer.choice.container}.")
    return path.replace(".", "/") or "choice"


def _below(path: str, outer: Place) -> str:
    return path[len(outer.path) + 1 :] if outer.path else path


def _observe(place: Place, observer: Observer, branch: str) -> AbstractContextManager[None]:
    return observer(place.key, place.choice.leads_to(branch))


def _check_registered(module: nn.Module, registered: set[Choice]) -> None:
    """Refuse choices that torch does not see: they would stay undecided, and keep their weights untrained."""
    for path, child in module.named_modules():
        for name, value in vars(child).items():
            if isinstance(value, list | tuple | set | dict) and not registered.issuperset(_held(value)):
                raise ValueError(
                    "Expected choices in nn.ModuleList or nn.ModuleDict but got one in a plain "
                    f"{type(value).__name__}, `{f'{path}.{name}'.lstrip('.')}` of {type(module).__name__}"
                )


def _held(value: Any, levels: int = 3) -> Iterator[Choice]:
    """Yield the choices in a plain list, tuple, set or dictionary, and in such ones inside of it."""
    if type(value) in (list, tuple, set, dict) and levels:  # not what Lightning keeps as hyperparameters
        for item in value.values() if isinstance(value, dict) else value:
            yield from _held(item, levels - 1)
    elif isinstance(value, nn.Module):
        yield from (module for module in value.modules() if isinstance(module, Choice))


def _check_alike(place: Place, first: Choice) -> None:
    def form(choice: Choice) -> tuple[object, ...]:
        return type(choice).__name__, choice.values, choice.slots, choice.ordered

    if form(place.choice) != form(first):
        raise ValueError(
            f"Expected choices of key {place.key!r} to be alike but got {form(first)} and, at {place.path!r}, "
            f"{form(place.choice)}"
        )


def _strongest(table: Tensor) -> list[int]:
    """Return one column per row, all different: the strongest entry decides first, then the strongest of what is left.

    >>> _strongest(torch.tensor([[0.6, 0.4, 0.0], [0.9, 0.1, 0.0]]))
    [1, 0]
    """
    rows, columns = table.shape
    chosen: dict[int, int] = {}
    for index in table.flatten().sort(descending=True, stable=True).indices.tolist():
        row, column = divmod(index, columns)
        if row not in chosen and column not in chosen.values():
            chosen[row] = column
    return [chosen[row] for row in range(rows)]
