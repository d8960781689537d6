import pytest
import torch

from lightning_nas.predictors import LstmPredictor, MlpPredictor, Predictor, Tokens
from lightning_nas.predictors.lstm import prefixes
from tests.predictors.cells import PNAS, one_block_cells, random_cells, tokens
from tests.references import pnas

KINDS = [MlpPredictor, LstmPredictor]


def predict(predictor: Predictor, batch: Tokens) -> torch.Tensor:
    with torch.no_grad():
        output: torch.Tensor = predictor(predictor.features(batch))
    return output


def mixed_cells() -> list[pnas.Cell]:
    return [*one_block_cells()[:20], *random_cells(20, 3), *random_cells(20, 5)]


@pytest.mark.parametrize(("kind", "count"), [(MlpPredictor, 50_301 + 1_400), (LstmPredictor, 80_400 + 101 + 1_400)])
def test_sizes_are_those_of_the_paper(kind: type[Predictor], count: int) -> None:
    assert sum(parameter.numel() for parameter in kind(PNAS).parameters()) == count


@pytest.mark.parametrize("kind", KINDS)
def test_an_untrained_predictor_expects_the_accuracy_of_one_block_cells(kind: type[Predictor]) -> None:
    outputs = predict(kind(PNAS, seeds=range(10)), tokens([*one_block_cells(), *random_cells(200, 5)]))
    assert outputs.shape == (10, 336)
    assert outputs.min() > 0.84
    assert outputs.max() < 0.88
    assert outputs.std(1).min() > 1e-4  # it does look at the cell


def test_mlp_is_the_plain_network() -> None:
    predictor = MlpPredictor(PNAS, seeds=[3, 4])
    cells = mixed_cells()
    outputs = predict(predictor, tokens(cells))
    for member in (0, 1):
        weights = {name: value[member].double() for name, value in predictor.state_dict().items()}
        plain = torch.cat([pnas.mlp(weights, cell, 6) for cell in cells])
        torch.testing.assert_close(outputs[member].double(), plain, rtol=0, atol=1e-6)


def test_lstm_is_that_of_torch() -> None:
    predictor = LstmPredictor(PNAS, seeds=[3, 4])
    predictor.gate_bias.data.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(0))
    cells = mixed_cells()
    outputs = predict(predictor, tokens(cells))
    for member in (0, 1):
        weights = {name: value[member] for name, value in predictor.state_dict().items()}
        lstm = torch.nn.LSTM(100, 100, batch_first=True)
        own = {"weight_ih_l0": weights["of_input"].T, "weight_hh_l0": weights["of_state"].T}
        lstm.load_state_dict({**own, "bias_ih_l0": weights["gate_bias"], "bias_hh_l0": torch.zeros(400)})
        for cell, output in zip(cells, outputs[member], strict=True):
            rows = [row for i1, i2, o1, o2 in cell for row in (i1, i2, 6 + o1, 6 + o2)]
            _, (hidden, _) = lstm(weights["embedding"][rows][None])
            plain = (hidden[0, 0] @ weights["output"] + weights["output_bias"]).sigmoid()
            torch.testing.assert_close(output, plain[0].detach(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_behind_the_end_does_not_count(kind: type[Predictor]) -> None:
    predictor = kind(PNAS)
    alone = tokens(one_block_cells())
    noise = torch.randint(6, (136, 4, 4), generator=torch.Generator().manual_seed(0))
    padded = Tokens(torch.cat([alone.ids, noise], 1), torch.arange(5).expand(136, 5) < 1)
    torch.testing.assert_close(predict(predictor, padded), predict(predictor, alone), rtol=0, atol=1e-7)


def test_mlp_takes_the_mean_over_blocks_and_lstm_does_not() -> None:
    cells = random_cells(50, 2)
    twice = [tuple(block for block in cell for _ in (0, 1)) for cell in cells]
    once, doubled = (predict(MlpPredictor(PNAS), tokens(c)) for c in (cells, twice))
    torch.testing.assert_close(once, doubled, rtol=0, atol=1e-6)
    once, doubled = (predict(LstmPredictor(PNAS), tokens(c)) for c in (cells, twice))
    assert (once - doubled).abs().max() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_is_the_same_whatever_the_others(kind: type[Predictor]) -> None:
    many, one = kind(PNAS, seeds=[5, 6, 7]), kind(PNAS, seeds=[6])
    for name, value in one.state_dict().items():
        assert torch.equal(many.state_dict()[name][1:2], value)
    assert not torch.equal(many.embedding[0], many.embedding[1])


@pytest.mark.parametrize("kind", KINDS)
def test_members_may_read_different_cells(kind: type[Predictor]) -> None:
    predictor = kind(PNAS, seeds=[1, 2])
    first, second = (predictor.features(tokens(random_cells(7, 3, seed))) for seed in (0, 1))
    with torch.no_grad():
        both = predictor(torch.stack([first, second]))
        torch.testing.assert_close(both[0], predictor(first)[0])
        torch.testing.assert_close(both[1], predictor(second)[1])


def test_sizes_must_be_positive() -> None:
    with pytest.raises(ValueError, match="Expected `hidden` to be a whole number of at least 1 but got 0"):
        MlpPredictor(PNAS, hidden=0)
    with pytest.raises(ValueError, match="Expected `members` to be a whole number of at least 1 but got 0"):
        MlpPredictor(PNAS, seeds=[])


def test_shared_prefixes_are_read_once() -> None:
    rows = torch.tensor([[0, 6, 1], [0, 6, 2], [0, 7, 2], [3, 7, 2], [3, 7, 2], [0, 6, 1]])
    steps, groups = prefixes(rows)
    assert [token.tolist() for _, token in steps] == [[0, 3, 0], [6, 7, 7, 6], [1, 2, 2, 2, 1]]
    assert [None if origin is None else origin.tolist() for origin, _ in steps] == [
        [0, 0, 0],
        [0, 0, 1, 2],
        [0, 0, 1, 2, 3],
    ]
    assert groups.tolist() == [0, 1, 2, 3, 3, 4]


def test_lstm_reads_neighbours_as_it_reads_each_alone() -> None:
    predictor = LstmPredictor(PNAS, seeds=[1, 2])
    parents = random_cells(5, 2)
    cells = [(*parent, block) for parent in parents for block in pnas.blocks(2, 8)[::7]]
    together = predict(predictor, tokens(cells))
    features = predictor.features(tokens(cells))
    with torch.no_grad():
        alone = predictor(features.expand(2, *features.shape))
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)
