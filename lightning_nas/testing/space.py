"""The contract of a search space, as tests."""

import json
import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas.architecture import Architecture
from lightning_nas.spaces.base import SearchSpace
from lightning_nas.spaces.mixture import Mixture
from lightning_nas.spaces.registry import SPACES, get_space

Gradients = list[tuple[tuple[int, ...], float]]


class SpaceContract(ABC):
    """What every search space keeps to. Inherit it in a pytest file to test a space of your own.

    Networks are compared in float64 to ten digits, so keep ``scale`` and ``example`` small.

    Example:
        >>> from lightning_nas.spaces import DartsSpace
        >>> class TestMySpace(SpaceContract):
        ...     def space(self):
        ...         return DartsSpace(nodes=2)
        ...
        ...     def scale(self):
        ...         return {"channels": 4, "layers": 3, "classes": 10}
        ...
        ...     def example(self):
        ...         return torch.randn(2, 3, 8, 8)
    """

    has_supernet = True  # False for a space without one: what needs it is skipped
    named_candidates = True  # False where candidates are no modules of their name: depths, inputs
    dense_mixtures = True  # False where the wiring follows from what is active: only single paths mean anything

    @abstractmethod
    def space(self) -> SearchSpace:
        """Return the space under test."""

    @abstractmethod
    def scale(self) -> dict[str, Any]:
        """Return a small size of network, as ``build`` and ``supernet`` take it."""

    @abstractmethod
    def example(self) -> Tensor:
        """Return a small batch."""

    def output_shape(self) -> tuple[int, ...]:
        """Return the shape of a network's output for ``example``."""
        return (len(self.example()), self.scale()["classes"])

    def other_example(self) -> Tensor:
        """Return a batch of other statistics; it must be overridden where inputs are whole numbers."""
        return 2 * self.example() - 1

    def result(self, output: Any) -> Tensor:
        """Return the tensor that networks are compared by; to be overridden where they return something else."""
        assert isinstance(output, Tensor)
        return output

    def equivalent(self, architecture: Architecture) -> Architecture:
        """Return another way to write ``architecture``; by default only its provenance and metrics differ."""
        return replace(architecture, provenance={"written": "otherwise"}, metrics={"val/accuracy": 0.5})

    def samples(self, count: int = 4, seed: int = 0) -> list[Architecture]:
        """Return architectures of the space."""
        space, generator = self.space(), torch.Generator().manual_seed(seed)
        return [space.sample(generator) for _ in range(count)]

    def test_sampling_is_reproducible_and_valid(self) -> None:
        """Equal seeds draw equal architectures, other seeds others; all are members."""
        drawn = self.samples(20)
        assert drawn == self.samples(20)
        assert drawn != self.samples(20, seed=1)
        for architecture in drawn:
            self.space().validate(architecture)

    def test_architectures_survive_json_and_pickle(self) -> None:
        """A file, or another process, gets the same architecture."""
        for architecture in self.samples():
            assert Architecture.from_dict(json.loads(json.dumps(architecture.to_dict()))) == architecture
            assert pickle.loads(pickle.dumps(architecture)) == architecture

    def test_name_makes_the_space_again(self) -> None:
        """``get_space`` understands the name, if it is registered."""
        space = self.space()
        if space.name.partition("?")[0] not in SPACES:
            pytest.skip(f"{space.name!r} is not registered in lightning_nas.spaces.SPACES")
        again = get_space(space.name)
        assert (again.name, again.decisions, again.groups) == (space.name, space.decisions, space.groups)

    def test_decisions_and_groups_are_a_fixed_value(self) -> None:
        """Two instances agree on everything that an architecture or a checkpoint refers to; names are unique."""
        one, other = self.space(), self.space()
        assert (one.decisions, one.groups) == (other.decisions, other.groups)
        for names in ([d.name for d in one.decisions], [g.name for g in one.groups]):
            assert len(set(names)) == len(names)

    def test_mutation_changes_one_decision(self) -> None:
        """A mutant is a member and differs in exactly one decision; equal seeds give equal mutants."""
        space, generator = self.space(), torch.Generator().manual_seed(0)
        for architecture in self.samples(20):
            state = generator.get_state()
            mutant = space.mutate(architecture, generator)
            space.validate(mutant)
            assert sum(mutant.values[name] != value for name, value in architecture.values.items()) == 1
            assert space.mutate(architecture, torch.Generator().set_state(state)) == mutant

    def test_canonical_form(self) -> None:
        """It is a member, its own canonical form, without measurements, and does not depend on the way of writing."""
        space = self.space()
        for architecture in self.samples(20):
            canonical, other = space.canonical(architecture), self.equivalent(architecture)
            space.validate(canonical)
            assert space.canonical(canonical) == canonical
            assert space.canonical(other) == canonical
            assert not space.canonical(other).provenance
            assert not space.canonical(other).metrics

    def test_validate_refuses_another_space(self) -> None:
        """The message names both spaces."""
        other = replace(self.samples(1)[0], space="another space")
        self._refused(other, self.space().name, "another space")

    def test_validate_refuses_an_unknown_decision(self) -> None:
        """The message names the decision."""
        self._refused(self._changed({"no such decision": 1}), "no such decision")

    def test_validate_refuses_a_missing_decision(self) -> None:
        """The message names the decision."""
        for decision in self.space().decisions:
            architecture = self.samples(1)[0]
            values = {name: value for name, value in architecture.values.items() if name != decision.name}
            self._refused(replace(architecture, values=values), decision.name, "None")

    def test_validate_refuses_a_foreign_value(self) -> None:
        """The message names the decision and the value."""
        for decision in self.space().decisions:
            self._refused(self._changed({decision.name: "no such choice"}), decision.name, "no such choice")

    def test_network_gives_an_output_and_trains(self) -> None:
        """The output has its shape, and a gradient reaches exactly the parameters that the output depends on."""
        for architecture in self.samples(2):
            network = self._seeded(lambda a=architecture: self.space().build(a, **self.scale()))
            output = self.result(network(self.example()))
            assert output.shape == self.output_shape()
            torch.autograd.backward(output.square().sum())
            reached = {name for name, p in network.named_parameters() if p.grad is not None and p.grad.isfinite().all()}
            assert reached == self._used(network)

    @pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
    def test_inherited_network_computes_what_the_supernet_does(self, training: bool) -> None:
        """With a supernet's weights, a network's output is the supernet's, BatchNorm statistics included."""
        space, supernet, x = self.space(), self._trained_supernet(), self._input()
        for architecture in self.samples():
            network = space.build(architecture, weights_from=supernet).train(training)
            expected = self.result(supernet.train(training)(x, mixtures=space.mixtures(architecture)))
            assert expected.std() > 0
            assert_close(self.result(network(x)), expected, rtol=1e-10, atol=1e-12)

    def test_inherited_weights_are_copies(self) -> None:
        """Training the network does not change the supernet."""
        supernet = self._trained_supernet()
        before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
        network = self.space().build(self.samples(1)[0], weights_from=supernet)
        with torch.no_grad():
            for tensor in (*network.parameters(), *network.buffers()):
                tensor.add_(1)
        assert_close(supernet.state_dict(), before, rtol=0, atol=0)

    def test_inactive_candidates_get_no_gradient(self) -> None:
        """The supernet's gradients are those of the network, and no others."""
        space, x = self.space(), self._input()
        for architecture in self.samples():
            supernet = self._trained_supernet()
            network = space.build(architecture, weights_from=supernet)
            for output in (supernet(x, mixtures=space.mixtures(architecture)), network(x)):
                torch.autograd.backward(self.result(output).square().sum())
            found, expected = _gradients(supernet), _gradients(network)
            assert [shape for shape, _ in found] == [shape for shape, _ in expected]
            assert_close([norm for _, norm in found], [norm for _, norm in expected], rtol=1e-8, atol=1e-12)

    def test_sharp_mixture_is_the_architecture(self) -> None:
        """A softmax with nearly all weight on an architecture's operations computes it, or the space refuses mixing."""
        space, supernet, x = self.space(), self._trained_supernet(), self._input()
        if not self.dense_mixtures:
            with pytest.raises(ValueError, match="Expected"):
                space.check_mixable(supernet)
            return
        for architecture in self.samples():
            sharp = {name: Mixture(table.softmax(1)) for name, table in self._logits(architecture).items()}
            mixed, expected = (supernet(x, mixtures=given) for given in (sharp, space.mixtures(architecture)))
            assert_close(self.result(mixed), self.result(expected), rtol=1e-5, atol=1e-10)

    def test_discretize_inverts_mixtures(self) -> None:
        """The weights of an architecture stand for that architecture."""
        space = self.space()
        for architecture in self._searchable(20):
            weights = {name: mixture.weights for name, mixture in space.mixtures(architecture).items()}
            assert space.canonical(space.discretize(weights)) == space.canonical(architecture)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_discretize_refuses_what_is_not_finite(self, value: float) -> None:
        """A diverged search gives an error, not an architecture."""
        for group in self._groups():
            weights = {name: mixture.weights for name, mixture in self._uniform().items()}
            weights[group][0, -1] = value
            with pytest.raises(ValueError, match="NaN"):
                self.space().discretize(weights)

    def test_mixtures_have_the_shape_of_the_groups(self) -> None:
        """There is one mixture a group, one row a place, one column a candidate."""
        shapes = {group.name: (len(group.rows), len(group.candidates)) for group in self.space().groups}
        for architecture in self._searchable(4):
            mixtures = self.space().mixtures(architecture)
            assert {name: tuple(mixture.weights.shape) for name, mixture in mixtures.items()} == shapes

    def test_state_dict_names_the_candidates(self) -> None:
        """A tensor's name says to which candidate it belongs; what names none is part of every network."""
        if not self.named_candidates:
            pytest.skip("named_candidates is False")
        candidates = {candidate for group in self.space().groups for candidate in group.candidates}
        supernet = self._trained_supernet()
        sizes = {name: p.numel() for name, p in supernet.named_parameters()}
        shared = sum(size for name, size in sizes.items() if candidates.isdisjoint(name.split(".")))
        assert shared < sum(sizes.values())
        for architecture in self.samples():
            network = self.space().build(architecture, weights_from=supernet)
            assert shared <= sum(p.numel() for p in network.parameters())

    def test_graph_is_in_topological_order(self) -> None:
        """Node names are unique, and every edge leads from an earlier node to a later one."""
        for architecture in self.samples():
            graphs = self.space().graph(architecture)
            assert len({graph.name for graph in graphs}) == len(graphs) > 0
            for graph in graphs:
                place = {node: index for index, node in enumerate(graph.nodes)}
                assert len(place) == len(graph.nodes)
                assert all(place[source] < place[target] for source, target, _ in graph.edges)

    def _changed(self, values: Mapping[str, Any]) -> Architecture:
        architecture = self.samples(1)[0]
        return replace(architecture, values={**architecture.values, **values})

    def _refused(self, architecture: Architecture, *words: str) -> None:
        with pytest.raises(ValueError, match="Expected") as error:
            self.space().validate(architecture)
        assert all(word in str(error.value) for word in words)

    @staticmethod
    def _seeded(make: Any) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network: nn.Module = make()
        return network

    def _used(self, network: nn.Module) -> set[str]:
        return {name for name, p in network.named_parameters() if self._spoils(network, p)}

    @torch.no_grad()
    def _spoils(self, network: nn.Module, parameter: nn.Parameter) -> bool:
        before = parameter.clone()
        parameter.fill_(torch.nan)
        output = self.result(network.eval()(self.example()))
        parameter.copy_(before)
        return not bool(output.isfinite().all())

    def _groups(self) -> Iterator[str]:
        self._needs_supernet()
        return (group.name for group in self.space().groups)

    def _searchable(self, count: int) -> list[Architecture]:
        self._needs_supernet()
        return self.samples(count)

    def _needs_supernet(self) -> None:
        if not self.has_supernet:
            pytest.skip("a space without supernet")

    def _input(self) -> Tensor:
        return self._precise(self.example())

    @staticmethod
    def _precise(example: Tensor) -> Tensor:
        return example.double() if example.is_floating_point() else example

    def _uniform(self) -> dict[str, Mixture]:
        groups = self.space().groups
        return {g.name: Mixture(torch.full((len(g.rows), len(g.candidates)), 1 / len(g.candidates))) for g in groups}

    def _trained_supernet(self) -> nn.Module:
        """Return a float64 supernet whose BatchNorm statistics have moved, each candidate's in its own way."""
        self._needs_supernet()
        supernet = self._seeded(lambda: self.space().supernet(**self.scale())).double()
        supernet(self._input(), mixtures=self._uniform())
        for architecture in self.samples(3, seed=1):
            supernet(self._precise(self.other_example()), mixtures=self.space().mixtures(architecture))
        return supernet

    def _logits(self, architecture: Architecture) -> dict[str, Tensor]:
        candidates = {group.name: group.candidates for group in self.space().groups}
        mixtures = self.space().mixtures(architecture)
        return {name: self._sharp(mixture, candidates[name]) for name, mixture in mixtures.items()}

    @staticmethod
    def _sharp(mixture: Mixture, candidates: tuple[str, ...]) -> Tensor:
        logits = torch.full(mixture.weights.shape, -50.0, dtype=torch.float64)
        for row in range(len(logits)):
            active = mixture.row(row)[1]
            if len(active) != 1 and (active or "none" not in candidates):
                pytest.skip('no softmax is this architecture: it needs one operation on every place, or "none"')
            logits[row, active[0] if active else candidates.index("none")] = 50.0
        return logits


def _gradients(network: nn.Module) -> Gradients:
    """Return shape and norm of every gradient, in a fixed order."""
    given = [p.grad for p in network.parameters() if p.grad is not None]
    return sorted((tuple(gradient.shape), float(gradient.norm())) for gradient in given)
