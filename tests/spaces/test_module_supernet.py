"""The supernet of a user's model: mixtures reach the choices, and stay out of everything else."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from lightning_nas.spaces import InputChoice, Mixture, ModuleSpace, OpChoice, RepeatChoice
from lightning_nas.spaces.module_supernet import ModuleSupernet


class Model(nn.Module):
    """Two inputs, nested choices, and one key in two places."""

    def __init__(self, width: int = 3, recompute: bool = False) -> None:
        super().__init__()
        self.stem = nn.Linear(2, width)
        nested = nn.Sequential(nn.Linear(width, width), self.activation())
        self.body = OpChoice({"same": nn.Identity(), "nested": nested}, key="body")
        self.repeat = RepeatChoice(
            lambda: nn.Sequential(nn.Linear(width, width), self.activation()), (0, 2), key="depth"
        )
        self.skip = InputChoice(3, 2, key="skip")
        self.recompute = recompute

    @staticmethod
    def activation() -> OpChoice:
        return OpChoice({"relu": nn.ReLU(), "tanh": nn.Tanh()}, key="activation")

    def forward(self, x: Tensor, shift: Tensor | float = 0.0) -> Tensor:
        stem = self.stem(x) + shift
        body = checkpoint(self.body, stem, use_reentrant=False) if self.recompute else self.body(stem)
        repeated = checkpoint(self.repeat, body, use_reentrant=False) if self.recompute else self.repeat(body)
        output: Tensor = self.skip([stem, body, repeated])
        return output


SPACE = ModuleSpace(Model)
X = torch.tensor([[0.5, -1.0], [2.0, 0.25]])


def supernet(**scale: Any) -> ModuleSupernet:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return SPACE.supernet(**scale)


def soft(network: nn.Module | None = None) -> tuple[dict[str, Mixture], list[Tensor]]:
    """Return mixtures of random alphas, and the alphas."""
    generator = torch.Generator().manual_seed(1)
    shapes = {group.name: (len(group.rows), len(group.candidates)) for group in SPACE.groups}
    alphas = {name: torch.randn(shape, generator=generator, requires_grad=True) for name, shape in shapes.items()}
    return {name: Mixture(alpha.softmax(1)) for name, alpha in alphas.items()}, list(alphas.values())


class TestForward:
    def test_by_hand(self) -> None:
        network = supernet()
        mixtures = {
            "body": Mixture(torch.tensor([[0.25, 0.75]])),
            "activation": Mixture(torch.tensor([[0.5, 0.5]])),
            "depth": Mixture(torch.tensor([[0.4, 0.6]])),
            "skip": Mixture(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])),
        }

        def activation(x: Tensor) -> Tensor:
            return (x.relu() + x.tanh()) / 2

        model: Any = network.model
        stem = model.stem(X)
        body = 0.25 * stem + 0.75 * activation(model.body.candidates["nested"][0](stem))
        first = activation(model.repeat.blocks[0][0](body))
        repeated = 0.4 * body + 0.6 * activation(model.repeat.blocks[1][0](first))
        assert_close(network(X, mixtures), stem + (body + repeated) / 2)

    def test_ways_to_call_it(self) -> None:
        network, (mixtures, _) = supernet(), soft()
        expected = network(X, 1.0, mixtures)
        assert not torch.equal(expected, network(X, mixtures))
        assert torch.equal(network(X, 1.0, mixtures=mixtures), expected)
        assert torch.equal(network(X, mixtures=mixtures, shift=1.0), expected)
        assert torch.equal(network(x=X, mixtures=mixtures, shift=1.0), expected)

    def test_mixtures_of_earlier_calls_do_not_stay(self) -> None:
        network, (mixtures, _) = supernet(), soft()
        expected = network(X, mixtures)
        network(X, SPACE.mixtures(SPACE.sample(torch.Generator().manual_seed(0))))
        assert torch.equal(network(X, mixtures), expected)

    def test_parameter_names_are_the_models(self) -> None:
        network = supernet()
        assert list(network.state_dict()) == [f"model.{name}" for name in Model().state_dict()]

    def test_each_choice_has_an_empty_entry_in_the_state(self) -> None:
        """So that the state of a decided model does not load into one that still has it; and tensors for tools."""
        entries = {name: value for name, value in Model().state_dict().items() if name.endswith("_extra_state")}
        assert {name: value.shape for name, value in entries.items()} == {
            f"{place}._extra_state": torch.Size([0])
            for place in (
                "body",
                "body.candidates.nested.1",
                "repeat",
                "repeat.blocks.0.1",
                "repeat.blocks.1.1",
                "skip",
            )
        }

    def test_scale(self) -> None:
        network = supernet(width=5)
        assert network.scale == {"width": 5}
        assert network(X, soft()[0]).shape == (2, 5)


class TestRefused:
    def test_no_mixtures(self) -> None:
        with pytest.raises(TypeError, match="Expected `mixtures` by name after the inputs but got Tensor"):
            supernet()(X)
        with pytest.raises(TypeError, match="Expected `mixtures` by name after the inputs but got NoneType"):
            supernet()(x=X)

    def test_a_choice_without_mixture(self) -> None:
        mixtures, _ = soft()
        del mixtures["depth"]
        with pytest.raises(ValueError, match=r"Expected a mixture for every choice but got none for \['depth'\]"):
            supernet()(X, mixtures)

    def test_a_mixture_of_another_shape(self) -> None:
        mixtures = {**soft()[0], "skip": Mixture(torch.zeros(1, 3))}
        with pytest.raises(ValueError, match=r"of shape \(2, 3\) for choice 'skip' but got \(1, 3\)"):
            supernet()(X, mixtures)


class TestCopies:
    @pytest.mark.parametrize("how", ["deepcopy", "pickle"])
    def test_copies_are_independent(self, how: str) -> None:
        """Also after a forward pass, whose mixtures are part of an autograd graph."""
        network, (mixtures, _) = supernet(), soft()
        expected = network(X, mixtures)
        other = copy.deepcopy(network) if how == "deepcopy" else pickle.loads(pickle.dumps(network))
        assert torch.equal(other(X, mixtures), expected)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        assert not other(X, mixtures).any()
        assert torch.equal(network(X, mixtures), expected)

    def test_state_dict_makes_another_supernet_equal(self) -> None:
        network, other, (mixtures, _) = supernet(), supernet(), soft()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(2)
        other.load_state_dict(network.state_dict())
        assert torch.equal(other(X, mixtures), network(X, mixtures))

    def test_built_models_are_copies_of_a_copy_too(self) -> None:
        network = copy.deepcopy(supernet())
        architecture = SPACE.sample(torch.Generator().manual_seed(3))
        built = SPACE.build(architecture, weights_from=network)
        assert_close(built(X), network(X, SPACE.mixtures(architecture)))


def gradients(network: nn.Module) -> list[Tensor | None]:
    mixtures, alphas = soft()
    network(X, mixtures).square().sum().backward()
    return [tensor.grad for tensor in (*network.parameters(), *alphas)]


class TestAutograd:
    def test_every_parameter_and_alpha_gets_a_gradient(self) -> None:
        assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients(supernet()))

    def test_activation_checkpointing_gives_the_same_gradients(self) -> None:
        """It computes the candidates once more in the backward pass: with the same mixtures."""
        assert_close(gradients(supernet(recompute=True)), gradients(supernet()))

    @pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's tracer looks at it
    def test_compiled_supernet_computes_the_same(self) -> None:
        network, (mixtures, _) = supernet(), soft()
        compiled = torch.compile(network, backend="eager", fullgraph=True)
        for architecture in (None, SPACE.sample(torch.Generator().manual_seed(0))):
            given = mixtures if architecture is None else SPACE.mixtures(architecture)
            assert_close(compiled(X, given), network(X, given))
