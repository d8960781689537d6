"""The language model around the cells: ties, states, dropout."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from lightning_nas.architecture import Architecture
from lightning_nas.operations.recurrent import RecurrentLayer
from lightning_nas.spaces import (
    DartsRecurrentSpace,
    EnasRecurrentSpace,
    LanguageModel,
    LanguageModelOutput,
    LanguageScale,
    Mixture,
    NasRecurrentSpace,
    SearchSpace,
)
from tests.spaces.language_contract import DROPOUT, VOCABULARY, tiny, tokens

SPACES: list[SearchSpace] = [DartsRecurrentSpace(3), EnasRecurrentSpace(4), NasRecurrentSpace(2)]
RATES: dict[str, Any] = {"dropout": 0.5, "dropouth": 0.25, "dropoutx": 0.4, "dropouti": 0.2, "dropoute": 0.3}


class Copy(RecurrentLayer):
    """Puts out what it reads, plus the sum of all before; says which mask it got."""

    mask: Tensor | None = None

    def forward(self, inputs: Tensor, state: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        self.mask = mask
        outputs = inputs.cumsum(0) + state
        return outputs, outputs[-1]


def copying(*, count: int = 1, **given: Any) -> LanguageModel:
    torch.manual_seed(0)
    scale = LanguageScale(**tiny(**{"hidden": 200, "layers": count, **given}))
    return LanguageModel([Copy(scale.hidden) for _ in range(count)], scale)


def first_of(space: SearchSpace) -> Architecture:
    return Architecture(space.name, {decision.name: decision.choices[0] for decision in space.decisions})


def build(space: SearchSpace, **given: Any) -> nn.Module:
    torch.manual_seed(0)
    return space.build(first_of(space), **tiny(**given))


def run(network: nn.Module, *inputs: Any) -> LanguageModelOutput:
    output = network(*inputs)
    assert isinstance(output, LanguageModelOutput)
    return output


class TestTies:
    def test_the_word_table_is_the_decoder(self) -> None:
        network = copying()
        assert sorted(network.state_dict()) == ["decoder.bias", "embedding.weight"]
        output = run(network, tokens())
        weight, bias = network.embedding.weight, network.decoder["bias"]
        assert_close(output.logits, output.outputs @ weight.t() + bias)
        assert bias.count_nonzero() == 0

    def test_a_step_moves_both(self) -> None:
        """Pitfall A8: nothing else holds the decoder's weight, so nothing can undo a step of the word table."""
        network = copying().eval()
        with torch.no_grad():
            network.embedding.weight.mul_(2)
        output = run(network, tokens())
        assert_close(output.raw, network.embedding.weight[tokens()].cumsum(0))
        assert_close(output.logits, output.raw @ network.embedding.weight.t())
        gradient = torch.autograd.grad(run(network, tokens()).logits.sum(), [network.embedding.weight])
        assert gradient[0].shape == (VOCABULARY, 200)

    def test_untied(self) -> None:
        scale = LanguageScale(**tiny())
        network = LanguageModel([Copy(6)], scale, tied=False, bias=False)
        assert sorted(network.state_dict()) == ["decoder.weight", "embedding.weight"]
        output = run(network, tokens())
        assert_close(output.logits, output.raw @ network.decoder["weight"].t())

    def test_weights_are_uniform(self) -> None:
        weight = copying().embedding.weight
        assert 0.039 < weight.max() <= 0.04
        assert -0.04 <= weight.min() < -0.039
        assert weight.std().item() == pytest.approx(0.08 / 12**0.5, rel=0.05)

    @pytest.mark.parametrize("space", SPACES)
    def test_all_weights_of_all_spaces_are_uniform(self, space: SearchSpace) -> None:
        for name, parameter in build(space).named_parameters():
            assert parameter.abs().max() <= 0.04
            assert (parameter.count_nonzero() == 0) == (name == "decoder.bias")


class TestState:
    @pytest.mark.parametrize("space", SPACES)
    def test_parts_of_a_text_equal_the_whole(self, space: SearchSpace) -> None:
        network = build(space, layers=2).eval()
        whole = run(network, tokens(6))
        first = run(network, tokens(6)[:2])
        second = run(network, tokens(6)[2:], first.state)
        assert_close(torch.cat([first.logits, second.logits]), whole.logits)
        assert_close(second.state, whole.state)

    @pytest.mark.parametrize("space", SPACES)
    def test_none_is_zeros_and_the_returned_one_is_attached(self, space: SearchSpace) -> None:
        network = build(space).eval()
        output = run(network, tokens())
        (state,) = output.state
        parts = state if isinstance(state, tuple) else (state,)
        assert all(part.grad_fn is not None and part.shape == (3, 6) for part in parts)
        zeros = tuple(torch.zeros(3, 6) for _ in parts)
        given = (zeros if isinstance(state, tuple) else zeros[0],)
        assert_close(run(network, tokens(), given).logits, output.logits, rtol=0, atol=0)

    def test_supernets_carry_states(self) -> None:
        space = DartsRecurrentSpace(3)
        supernet = space.supernet(**tiny(), norm=False).eval()
        mixtures = {"cell": Mixture(torch.full((6, 5), 0.2))}
        whole = supernet(tokens(6), mixtures=mixtures)
        first = supernet(tokens(6)[:3], mixtures=mixtures)
        assert_close(supernet(tokens(6)[3:], first.state, mixtures).logits, whole.logits[3:])

    @pytest.mark.parametrize("state", [(torch.zeros(3, 5),), (torch.zeros(2, 6),), (torch.zeros(3, 6),) * 2, ()])
    def test_another_form_is_refused(self, state: Any) -> None:
        with pytest.raises(ValueError, match=r"Expected a state of the form \[\(3, 6\)\] but got"):
            build(DartsRecurrentSpace(3))(tokens(), state)

    @pytest.mark.parametrize("wrong", [torch.zeros(3, dtype=torch.long), torch.zeros(3, 2)])
    def test_other_tokens_are_refused(self, wrong: Tensor) -> None:
        with pytest.raises(ValueError, match=r"Expected whole numbers \[steps, texts\] but got torch"):
            copying()(wrong)


class TestDropout:
    @pytest.mark.parametrize("space", SPACES)
    def test_a_seed_replays_all_masks(self, space: SearchSpace) -> None:
        """Second-order DARTS runs several passes under one seed; the weights between them differ."""
        network = build(space, layers=2, **RATES)
        torch.manual_seed(1)
        first, after = run(network, tokens()).logits, torch.get_rng_state()
        torch.manual_seed(1)
        assert_close(run(network, tokens()).logits, first, rtol=0, atol=0)
        assert (run(network, tokens()).logits != first).any()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.01)
        torch.manual_seed(1)
        run(network, tokens())
        assert torch.equal(torch.get_rng_state(), after)  # as many draws, whatever the weights

    def test_masks_are_drawn_at_the_start(self) -> None:
        network = copying(**RATES)
        drawn: list[Tensor] = []
        network.embedding.register_forward_pre_hook(lambda *_: drawn.append(torch.get_rng_state()))
        torch.manual_seed(1)
        before = torch.get_rng_state()
        network(tokens())
        assert torch.equal(drawn[0], torch.get_rng_state())
        assert not torch.equal(before, drawn[0])

    @pytest.mark.parametrize("space", SPACES)
    def test_evaluation_drops_and_draws_nothing(self, space: SearchSpace) -> None:
        network, plain = build(space, **RATES).eval(), build(space).eval()
        before = torch.get_rng_state()
        output = run(network, tokens())
        assert torch.equal(torch.get_rng_state(), before)
        assert_close(output.logits, run(plain, tokens()).logits, rtol=0, atol=0)
        assert output.raw is output.outputs

    def test_words(self) -> None:
        """A dropped word is dropped wherever it stands; the others are scaled."""
        network = copying(dropoute=0.5)
        dropped = 0
        for seed in range(20):
            torch.manual_seed(seed)
            x = tokens(5, 4, seed)
            raw = run(network, x).raw
            words = torch.cat([raw[:1], raw.diff(dim=0)])
            kept = words.abs().sum(-1) > 1e-3
            dropped += int((~kept).sum())
            assert_close(words, network.embedding.weight[x] * 2 * kept[..., None], atol=1e-6, rtol=1e-4)
            for word in torch.unique(x):
                assert len(torch.unique(kept[x == word])) == 1
        assert 0.35 < dropped / (20 * 20) < 0.65

    @pytest.mark.parametrize("rate", ["dropouti", "dropoutx"])
    def test_embedded_words(self, rate: str) -> None:
        """One mask for all steps, another one for every text."""
        rates: dict[str, Any] = {rate: 0.25}
        network = copying(**rates)
        x = tokens()
        raw = run(network, x).raw
        ratio = torch.cat([raw[:1], raw.diff(dim=0)]) / network.embedding.weight[x]
        assert_close(ratio, ratio[:1].expand_as(ratio), atol=0.05, rtol=0)  # near zero the ratio is inexact
        assert (ratio[0, 0] - ratio[0, 1]).abs().max() > 1
        assert ratio[0].round().bool().float().mean().item() == pytest.approx(0.75, abs=0.06)

    def test_both_masks_of_the_first_layer(self) -> None:
        network = copying(dropouti=0.5, dropoutx=0.5)
        raw = run(network, tokens(1)).raw
        kept = raw != 0
        assert_close(raw, network.embedding.weight[tokens(1)] * 4 * kept)
        assert kept.float().mean().item() == pytest.approx(0.25, abs=0.06)

    def test_outputs(self) -> None:
        output = run(copying(dropout=0.75), tokens())
        kept = output.outputs != 0
        assert_close(output.outputs, output.raw * 4 * kept)
        assert torch.equal(kept, kept[:1].expand_as(kept))
        assert kept.float().mean().item() == pytest.approx(0.25, abs=0.06)

    def test_layers_get_masks_of_their_own(self) -> None:
        network = copying(count=2, dropouth=0.25)
        network(tokens())
        one, two = network.layers
        assert isinstance(one, Copy)
        assert isinstance(two, Copy)
        assert one.mask is not None
        assert two.mask is not None
        assert one.mask.shape == (3, 200)
        assert torch.unique(one.mask).tolist() == [0.0, pytest.approx(4 / 3)]
        assert not torch.equal(one.mask, two.mask)

    @pytest.mark.parametrize("name", DROPOUT)
    @pytest.mark.parametrize("rate", [-0.1, 1.0])
    def test_rates_are_shares(self, name: str, rate: float) -> None:
        with pytest.raises(ValueError, match=f"`{name}` to be a share with 0 <= fraction < 1 but got {rate}"):
            LanguageScale(**tiny(**{name: rate}))

    @pytest.mark.parametrize("name", ["vocabulary", "hidden", "layers"])
    def test_sizes_are_positive(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"`{name}` to be a whole number of at least 1 but got 0"):
            LanguageScale(**tiny(**{name: 0}))


class TestDefaults:
    def test_are_those_of_the_papers(self) -> None:
        darts, enas, nas = DartsRecurrentSpace(1), EnasRecurrentSpace(1), NasRecurrentSpace(2)

        def scale(network: nn.Module) -> LanguageScale:
            assert isinstance(network, LanguageModel)
            return network.scale

        with torch.device("meta"):
            assert scale(darts.build(first_of(darts))) == LanguageScale(10_000, 850, 1, 0.75, 0.25, 0.75, 0.2, 0.1)
            assert scale(darts.supernet()) == LanguageScale(10_000, 300, 1, 0.75, 0.25, 0.75, 0.2, 0.0)
            assert scale(enas.build(first_of(enas))) == LanguageScale(10_000, 748, 1, 0.76, 0.25, 0.75, 0.0, 0.21)
            assert scale(enas.supernet()) == LanguageScale(10_000, 720, 1, 0.75, 0.25, 0.75, 0.0, 0.25)
            assert scale(nas.build(first_of(nas))) == LanguageScale(10_000, 740, 2, 0.5, 0.25, 0.5, 0.0, 0.2)
