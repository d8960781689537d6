"""Regression: losses by hand, shapes, batches, metrics, errors."""

from typing import Literal

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from lightning_nas.tasks import Regression

PREDICTIONS = torch.tensor([1.0, 2.0, 5.0, -1.0])
TARGETS = torch.tensor([1.5, 2.0, 2.0, 1.0])  # errors -0.5, 0, 3, -2
INPUTS = torch.zeros(4, 6)


def network(x: Tensor) -> Tensor:
    return PREDICTIONS


class TestLoss:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("mse", (0.25 + 9 + 4) / 4),
            ("mae", (0.5 + 3 + 2) / 4),
            ("huber", (0.5 * 0.25 + 2.5 + 1.5) / 4),  # e^2 / 2 below 1, |e| - 1/2 above
        ],
    )
    def test_by_hand(self, name: Literal["mse", "mae", "huber"], expected: float) -> None:
        assert float(Regression(name).loss(network, (INPUTS, TARGETS))) == pytest.approx(expected)

    def test_the_squared_error_is_the_default(self) -> None:
        assert float(Regression().loss(network, (INPUTS, TARGETS))) == pytest.approx(13.25 / 4)

    def test_a_column_of_predictions_is_compared_with_the_targets_one_by_one(self) -> None:
        evaluation = Regression().evaluate(lambda x: PREDICTIONS[:, None], (INPUTS, TARGETS))
        assert float(evaluation.loss) == pytest.approx(13.25 / 4)  # not the mean over all 16 pairs
        assert torch.equal(evaluation.predictions, PREDICTIONS)

    def test_columns_on_both_sides(self) -> None:
        loss = Regression().loss(lambda x: PREDICTIONS[:, None], (INPUTS, TARGETS[:, None]))
        assert float(loss) == pytest.approx(13.25 / 4)

    def test_several_targets_of_an_example(self) -> None:
        loss = Regression("mae").loss(lambda x: PREDICTIONS.view(2, 2), (INPUTS[:2], TARGETS.view(2, 2)))
        assert float(loss) == pytest.approx(5.5 / 4)

    @pytest.mark.parametrize("dtype", [torch.int64, torch.float64, torch.float16])
    def test_targets_of_another_type(self, dtype: torch.dtype) -> None:
        targets = torch.tensor([1, 3, 2, 0], dtype=dtype)  # errors 0, -1, 3, -1
        predictions = PREDICTIONS.clone().requires_grad_()
        evaluation = Regression().evaluate(lambda x: predictions, (INPUTS, targets))
        assert evaluation.loss.dtype == torch.float32
        assert float(evaluation.loss.detach()) == pytest.approx(11 / 4)
        (gradient,) = torch.autograd.grad(evaluation.loss, predictions)
        assert_close(gradient, torch.tensor([0.0, -0.5, 1.5, -0.5]))  # 2 e / 4

    def test_targets_are_not_rounded_to_the_precision_of_autocast(self) -> None:
        predictions = torch.tensor([256.0], dtype=torch.bfloat16)  # the next number is 258
        evaluation = Regression().evaluate(lambda x: predictions, (INPUTS, torch.tensor([257.0])))
        assert float(evaluation.loss) == pytest.approx(1.0)
        metric = Regression().metrics()["rmse"]
        metric.update(evaluation.predictions, evaluation.targets)
        assert float(metric.compute()) == pytest.approx(1.0)

    def test_double_precision_stays(self) -> None:
        evaluation = Regression().evaluate(lambda x: PREDICTIONS.double(), (INPUTS, TARGETS))
        assert evaluation.loss.dtype == torch.float64


class TestBatches:
    def test_a_dictionary_by_name(self) -> None:
        batch = {"size": PREDICTIONS, "age": 2 * PREDICTIONS, "price": TARGETS}
        evaluation = Regression("mae", target="price").evaluate(lambda age, size: age - size, batch)
        assert float(evaluation.loss) == pytest.approx(5.5 / 4)
        assert torch.equal(evaluation.targets, TARGETS)

    def test_several_inputs_in_a_tuple(self) -> None:
        batch = (2 * PREDICTIONS, PREDICTIONS, TARGETS)
        assert float(Regression("mae").loss(lambda first, second: first - second, batch)) == pytest.approx(5.5 / 4)

    def test_predictions_have_no_graph(self) -> None:
        weight = torch.ones((), requires_grad=True)
        evaluation = Regression().evaluate(lambda x: weight * PREDICTIONS, (INPUTS, TARGETS))
        assert evaluation.loss.requires_grad
        assert not evaluation.predictions.requires_grad


class TestMetrics:
    def test_over_several_batches_of_different_size(self) -> None:
        task = Regression("huber")  # the metrics are the same for every loss
        metrics = task.metrics()
        for part in (slice(0, 3), slice(3, 4)):
            evaluation = task.evaluate(lambda x: x, (PREDICTIONS[part], TARGETS[part]))
            for metric in metrics.values():
                metric.update(evaluation.predictions, evaluation.targets)
        assert float(metrics["rmse"].compute()) == pytest.approx((13.25 / 4) ** 0.5)
        assert float(metrics["mae"].compute()) == pytest.approx(5.5 / 4)

    def test_integer_targets_and_columns(self) -> None:
        task = Regression()
        evaluation = task.evaluate(lambda x: PREDICTIONS[:, None], (INPUTS, torch.tensor([1, 3, 2, 0])))
        metrics = task.metrics()
        for metric in metrics.values():
            metric.update(evaluation.predictions, evaluation.targets)
        assert float(metrics["rmse"].compute()) == pytest.approx((11 / 4) ** 0.5)
        assert float(metrics["mae"].compute()) == pytest.approx(5 / 4)

    def test_tensors_that_are_not_contiguous(self) -> None:
        task = Regression()
        evaluation = task.evaluate(lambda x: x.T, (PREDICTIONS.view(2, 2), TARGETS.view(2, 2).T))
        for name, expected in (("rmse", (13.25 / 4) ** 0.5), ("mae", 5.5 / 4)):
            metric = task.metrics()[name]
            metric.update(evaluation.predictions, evaluation.targets)
            assert float(metric.compute()) == pytest.approx(expected)

    def test_metrics_are_fresh(self) -> None:
        task = Regression()
        assert task.metrics().keys() == {"rmse", "mae"}
        assert task.metrics()["rmse"] is not task.metrics()["rmse"]

    def test_objective_is_a_metric_of_validation(self) -> None:
        assert Regression().objective == ("val/rmse", "min")


class TestErrors:
    @pytest.mark.parametrize(
        ("predictions", "targets"), [((4,), (4, 1)), ((4, 2), (4,)), ((1,), (4,)), ((4, 1, 1), (4,)), ((2, 1), (4,))]
    )
    def test_shapes_that_differ(self, predictions: tuple[int, ...], targets: tuple[int, ...]) -> None:
        def text(shape: tuple[int, ...]) -> str:
            return str(shape).replace("(", r"\(").replace(")", r"\)")

        message = f"predictions of the targets' shape {text(targets)} but got {text(predictions)}"
        with pytest.raises(ValueError, match=message):
            Regression().loss(lambda x: torch.zeros(predictions), (INPUTS, torch.zeros(targets)))

    def test_an_output_that_is_no_tensor(self) -> None:
        with pytest.raises(TypeError, match="returns a tensor for Regression but got dict; take the tensor"):
            Regression().loss(lambda x: {"mean": PREDICTIONS}, (INPUTS, TARGETS))

    def test_an_unknown_loss(self) -> None:
        with pytest.raises(ValueError, match=r"`loss` to be one of \['mse', 'mae', 'huber'\] but got 'rmse'"):
            Regression("rmse")  # type: ignore[arg-type]

    def test_a_batch_without_targets(self) -> None:
        with pytest.raises(TypeError, match=r"targets as 'target', but got a Tensor; name your targets"):
            Regression().loss(network, INPUTS)
