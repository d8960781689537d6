import pytest
import torch

from lightning_nas.predictors.scale import ScoreScale


@pytest.mark.parametrize("scale", ["auto", "raw"])
def test_accuracies_stay_as_they_are(scale: str) -> None:
    assert ScoreScale.of(torch.tensor([0.0, 0.5, 1.0]), "raw" if scale == "raw" else "auto") == ScoreScale(0.0, 1.0)


@pytest.mark.parametrize("scores", [[-3.0, 5.0, 1.0], [10.0, 84.892], [-0.1, 0.5]])
def test_other_scores_fill_the_middle_of_the_sigmoid(scores: list[float]) -> None:
    values = torch.tensor(scores, dtype=torch.float64)
    scale = ScoreScale.of(values)
    targets = scale.down(values)
    assert float(targets.min()) == pytest.approx(0.1)
    assert float(targets.max()) == pytest.approx(0.9)
    torch.testing.assert_close(scale.up(targets), values, rtol=0, atol=1e-5)


def test_a_range_can_be_asked_for() -> None:
    targets = ScoreScale.of(torch.tensor([0.5, 0.7]), "range").down(torch.tensor([0.5, 0.6, 0.7]))
    assert targets.tolist() == pytest.approx([0.1, 0.5, 0.9])


def test_equal_scores_are_in_the_middle() -> None:
    scale = ScoreScale.of(torch.tensor([7.0, 7.0]))
    assert scale.down(torch.tensor([7.0])).tolist() == [0.5]
    assert scale.up(torch.tensor([0.5])).tolist() == [7.0]


def test_raw_scores_outside_the_sigmoid_are_refused() -> None:
    with pytest.raises(ValueError, match=r'Expected scores in \[0, 1\] for scale="raw" but got 50.0 to 80.0'):
        ScoreScale.of(torch.tensor([50.0, 80.0]), "raw")
