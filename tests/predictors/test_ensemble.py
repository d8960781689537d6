from typing import Any, Literal

import pytest
import torch

from lightning_nas.predictors import Encoding, Fitting, MlpPredictor, PredictorEnsemble, spearman
from lightning_nas.predictors.ensemble import all_but_a_fold
from lightning_nas.seeding import derive_seed
from tests.predictors.cells import PNAS, accuracies, one_block_cells, random_cells, tokens

Kind = Literal["mlp", "lstm"]
KINDS: tuple[Kind, Kind] = ("mlp", "lstm")
SHORT = Fitting(epochs=5)
ONE = one_block_cells()


def small(kind: Kind = "mlp", members: int = 5, fitting: Fitting = SHORT) -> PredictorEnsemble:
    return PredictorEnsemble(PNAS, kind, members=members, fitting=fitting, embedding=8, hidden=8)


def weights(ensemble: PredictorEnsemble) -> dict[str, torch.Tensor]:
    assert ensemble.predictor is not None
    return ensemble.predictor.state_dict()


def test_each_member_misses_another_fold() -> None:
    parts = all_but_a_fold(136, 5, seed=0)
    assert [len(part) for part in parts] == [108, 109, 109, 109, 109]
    missing = [set(range(136)) - set(part.tolist()) for part in parts]
    assert sorted(index for fold in missing for index in fold) == list(range(136))
    assert all(len(set(part.tolist())) == len(part) for part in parts)
    assert missing[0] != set(range(28))  # folds are random


@pytest.mark.parametrize(("n", "sizes"), [(1, [1] * 5), (2, [1, 1, 2, 2, 2]), (3, [2, 2, 2, 3, 3])])
def test_few_scores_leave_no_member_without_any(n: int, sizes: list[int]) -> None:
    assert [len(part) for part in all_but_a_fold(n, 5, seed=0)] == sizes


def test_one_member_sees_everything() -> None:
    assert sorted(all_but_a_fold(7, 1, seed=0)[0].tolist()) == list(range(7))


@pytest.mark.parametrize("kind", KINDS)
def test_the_fit_of_one_block_cells_is_close(kind: Kind) -> None:
    fitting = Fitting(epochs=300 if kind == "mlp" else 60)
    ensemble = PredictorEnsemble(PNAS, kind, fitting=fitting)
    losses = ensemble.fit(tokens(ONE), accuracies(ONE))
    assert losses.shape == (5,)
    assert losses.max() < 0.01


def test_losses_are_those_of_the_kept_weights() -> None:
    ensemble = small(fitting=Fitting(epochs=40, learning_rate=0.3))  # jumps about: the last weights are not the best
    losses = ensemble.fit(tokens(ONE), accuracies(ONE), seed=3)
    members = ensemble.predict(tokens(ONE)).members
    for member, part in enumerate(all_but_a_fold(136, 5, seed=3)):
        error = (members[member, part] - accuracies(ONE)[part]).abs().mean()
        assert float(losses[member]) == pytest.approx(float(error), abs=1e-6)


def test_the_loss_is_the_absolute_error() -> None:
    same = Encoding((2,), (0,)).tokens([[[1]]] * 5)
    ensemble = PredictorEnsemble(Encoding((2,), (0,)), members=1)
    ensemble.fit(same, torch.tensor([0.2, 0.2, 0.9, 0.2, 0.9]))
    assert ensemble.predict(same[:1]).mean.item() == pytest.approx(0.2, abs=0.02)  # the median; the mean is 0.48


@pytest.mark.parametrize("kind", KINDS)
def test_all_members_at_once_are_what_each_is_alone(kind: Kind) -> None:
    cells = [*ONE, *random_cells(164, 2)]
    ensemble = small(kind, fitting=Fitting(epochs=3))
    ensemble.fit(tokens(cells), accuracies(cells), seed=9)
    start = accuracies(cells).double().mean().logit()
    seeds = [derive_seed(9, "predictor", member) for member in range(5)]
    for member, part in enumerate(all_but_a_fold(300, 5, seed=9)):
        kinds = type(ensemble.predictor)
        assert issubclass(kinds, torch.nn.Module)
        alone = kinds(PNAS, embedding=8, hidden=8, seeds=seeds[member : member + 1], bias=float(start))
        Fitting(epochs=3).fit(alone, tokens(cells)[part], accuracies(cells)[part], [torch.arange(240)], [seeds[member]])
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(weights(ensemble)[name][member], value[0], rtol=0, atol=2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_depends_on_data_and_seed_only(kind: Kind) -> None:
    fresh, used = small(kind), small(kind)
    used.fit(tokens(random_cells(50, 3)), torch.rand(50, generator=torch.Generator().manual_seed(1)) * 100, seed=8)
    torch.rand(3)
    state = torch.get_rng_state()
    used.fit(tokens(ONE), accuracies(ONE), seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    fresh.fit(tokens(ONE), accuracies(ONE), seed=2)
    assert all(torch.equal(value, weights(fresh)[name]) for name, value in weights(used).items())
    fresh.fit(tokens(ONE), accuracies(ONE), seed=3)
    assert not torch.equal(weights(fresh)["output"], weights(used)["output"])


def test_members_differ_and_disagree_where_they_know_less() -> None:
    ensemble = PredictorEnsemble(PNAS, fitting=Fitting(epochs=100))
    ensemble.fit(tokens(ONE), accuracies(ONE))
    known, unknown = (ensemble.predict(tokens(cells)) for cells in (ONE, random_cells(136, 5)))
    assert torch.equal(known.mean, known.members.mean(0))
    assert torch.equal(known.deviation, known.members.std(0, correction=0))
    assert known.deviation.min() > 0
    assert unknown.deviation.mean() > 1.4 * known.deviation.mean()


def test_the_deviation_of_one_member_is_zero() -> None:
    ensemble = small(members=1)
    ensemble.fit(tokens(ONE), accuracies(ONE))
    assert ensemble.predict(tokens(ONE)).deviation.tolist() == [0.0] * 136


def test_a_predictor_of_one_block_cells_ranks_larger_ones() -> None:
    ensemble = PredictorEnsemble(PNAS)
    ensemble.fit(tokens(ONE), accuracies(ONE))
    larger = random_cells(300, 2)
    assert spearman(ensemble.predict(tokens(larger)).mean, accuracies(larger)) > 0.3


def test_predictions_are_on_the_scale_of_the_scores() -> None:
    ensemble = PredictorEnsemble(PNAS, fitting=Fitting(epochs=200))
    ensemble.fit(tokens(ONE), 1000 * accuracies(ONE) - 400)
    torch.testing.assert_close(
        ensemble.predict(tokens(ONE)).mean, (1000 * accuracies(ONE) - 400).double(), rtol=0, atol=30
    )


def test_ranks_make_any_increasing_scale_the_same() -> None:
    first, second = (PredictorEnsemble(PNAS, scale="rank", fitting=SHORT) for _ in (0, 1))
    first.fit(tokens(ONE), accuracies(ONE))
    second.fit(tokens(ONE), (20 * accuracies(ONE)).exp() - 5)
    assert torch.equal(first.predict(tokens(ONE)).members, second.predict(tokens(ONE)).members)
    assert 20 < first.predict(tokens(ONE)).mean.mean() < 115  # ranks 0 to 135


def test_untrained_members_predict_the_start() -> None:
    ensemble = PredictorEnsemble(PNAS, fitting=Fitting(epochs=0))
    ensemble.fit(tokens(ONE), accuracies(ONE), start=0.7)
    assert ensemble.predict(tokens(ONE)).mean.mean().item() == pytest.approx(0.7, abs=0.03)
    ensemble.fit(tokens(ONE), accuracies(ONE))
    assert ensemble.predict(tokens(ONE)).mean.mean().item() == pytest.approx(float(accuracies(ONE).mean()), abs=0.03)


def test_a_learning_rate_of_the_search_counts() -> None:
    slow, given = small(fitting=Fitting(epochs=5, learning_rate=0.002)), small()
    slow.fit(tokens(ONE), accuracies(ONE))
    given.fit(tokens(ONE), accuracies(ONE), learning_rate=0.002)
    assert torch.equal(weights(slow)["output"], weights(given)["output"])
    given.fit(tokens(ONE), accuracies(ONE))
    assert not torch.equal(weights(slow)["output"], weights(given)["output"])


def test_large_batches_are_scored_in_chunks_and_none_at_all_too() -> None:
    ensemble = small()
    ensemble.fit(tokens(ONE), accuracies(ONE))
    many = random_cells(30, 2) * 300
    outputs = ensemble.predict(tokens(many)).members
    assert outputs.shape == (5, 9000)
    torch.testing.assert_close(outputs[:, 8970:], outputs[:, :30])
    assert ensemble.predict(tokens(many)[:0]).members.shape == (5, 0)


def test_fitting_inside_hooks_of_a_trainer() -> None:
    plain, inside = small(), small()
    plain.fit(tokens(ONE), accuracies(ONE))
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        inside.fit(tokens(ONE), accuracies(ONE))
        outputs = inside.predict(tokens(ONE)).members
    assert torch.equal(outputs, plain.predict(tokens(ONE)).members)


def test_predicting_before_fitting_is_refused() -> None:
    with pytest.raises(RuntimeError, match="Expected a fitted ensemble but got one that has not seen any score"):
        small().predict(tokens(ONE))


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="Expected `members` to be at least 1 but got 0"):
        small(members=0)
    with pytest.raises(ValueError, match=r"Expected `scale` to be one of .* but got 'log'"):
        PredictorEnsemble(PNAS, scale="log")  # type: ignore[arg-type]  # what is tested
    with pytest.raises(ValueError, match=r"Expected `kind` to be one of \['mlp', 'lstm'\] but got 'gru'"):
        PredictorEnsemble(PNAS, "gru")  # type: ignore[arg-type]  # what is tested
    with pytest.raises(ValueError, match="Expected `scores` to be at least 1 but got 0"):
        small().fit(tokens(ONE)[:0], torch.zeros(0))
    with pytest.raises(ValueError, match="Expected `hidden` to be a whole number of at least 1 but got 0"):
        PredictorEnsemble(PNAS, hidden=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": -1}, "Expected `epochs` to be at least 0"),
        ({"full_batch": -1}, "Expected `full_batch` to be at least 0"),
        ({"batch_size": 0}, "Expected `batch_size` to be at least 1"),
        ({"learning_rate": 0.0}, "Expected `learning_rate` to be above 0"),
    ],
)
def test_wrong_settings_of_the_fit(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fitting(**settings)


def test_the_default_is_the_ensemble_of_five_mlps_of_the_paper() -> None:
    ensemble = PredictorEnsemble(PNAS)
    ensemble.fitting = Fitting(epochs=0)
    ensemble.fit(tokens(ONE), accuracies(ONE))
    assert type(ensemble.predictor) is MlpPredictor
    assert weights(ensemble)["embedding"].shape == (5, 14, 100)
    assert weights(ensemble)["second"].shape == (5, 100, 100)
    assert Fitting() == Fitting(epochs=300, full_batch=256, batch_size=64, learning_rate=0.01)
