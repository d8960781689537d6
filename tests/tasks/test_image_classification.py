"""Image classification: loss by hand, metrics, errors."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from lightning_nas.spaces import AuxiliaryLogits
from lightning_nas.tasks import ImageClassification

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 1.0]], dtype=torch.float64)
AUXILIARY = torch.tensor([[0.0, 1.0, 0.0], [3.0, 0.0, 0.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 1])
BATCH = (torch.zeros(2, 3, 4, 4), LABELS)


def by_hand(logits: Tensor, smoothing: float) -> Tensor:
    """Return the mean of ``-sum(target * log p)`` with targets ``(1 - smoothing) * onehot + smoothing / classes``."""
    targets = torch.full_like(logits, smoothing / 3)
    targets[[0, 1], LABELS] += 1 - smoothing
    log_p = logits - logits.exp().sum(1, keepdim=True).log()
    return -(targets * log_p).sum(1).mean()


def network(images: Tensor) -> Tensor:
    return LOGITS


def with_auxiliary(images: Tensor) -> AuxiliaryLogits:
    return AuxiliaryLogits(LOGITS, AUXILIARY)


class TestLoss:
    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_by_hand(self, smoothing: float) -> None:
        task = ImageClassification(3, label_smoothing=smoothing)
        assert_close(task.loss(network, BATCH), by_hand(LOGITS, smoothing))

    def test_smoothing_only_where_gradients_are_computed(self) -> None:
        task = ImageClassification(3, label_smoothing=0.1)
        with torch.no_grad():
            assert_close(task.loss(network, BATCH), by_hand(LOGITS, 0.0))
        with torch.inference_mode():
            assert_close(task.loss(network, BATCH), by_hand(LOGITS, 0.0))

    @pytest.mark.parametrize("weight", [0.4, 1.0])
    def test_auxiliary_classifier(self, weight: float) -> None:
        task = ImageClassification(3, label_smoothing=0.1, auxiliary_weight=weight)
        expected = by_hand(LOGITS, 0.1) + weight * by_hand(AUXILIARY, 0.1)
        assert_close(task.loss(with_auxiliary, BATCH), expected)

    def test_defaults_are_the_papers(self) -> None:
        task = ImageClassification()
        assert (task.classes, task.label_smoothing, task.auxiliary_weight) == (10, 0.0, 0.4)


class TestEvaluate:
    def test_returns_what_metrics_compare(self) -> None:
        images = torch.zeros(2, 3, 4, 4)
        weight = torch.ones(3, requires_grad=True)
        task = ImageClassification(3)
        evaluation = task.evaluate(lambda given: LOGITS * weight if given is images else None, (images, LABELS))
        assert torch.equal(evaluation.predictions, LOGITS)
        assert torch.equal(evaluation.targets, LABELS)
        assert evaluation.loss.requires_grad
        assert not evaluation.predictions.requires_grad

    def test_auxiliary_logits_are_no_prediction(self) -> None:
        assert torch.equal(ImageClassification(3).evaluate(with_auxiliary, BATCH).predictions, LOGITS)

    def test_accuracy_is_over_all_examples(self) -> None:
        metric = ImageClassification(3).metrics()["accuracy"]
        metric.update(torch.eye(3)[[0, 0, 0]], torch.tensor([0, 0, 0]))  # three right
        metric.update(torch.eye(3)[[1]], torch.tensor([2]))  # one wrong, of a class of its own
        assert float(metric.compute()) == pytest.approx(0.75)

    def test_metrics_are_fresh(self) -> None:
        task = ImageClassification(3)
        assert task.metrics()["accuracy"] is not task.metrics()["accuracy"]

    def test_objective(self) -> None:
        assert ImageClassification(3).objective == ("val/accuracy", "max")


class TestBatches:
    def test_a_dictionary_by_name(self) -> None:
        batch = {"images": BATCH[0], "digit": LABELS}
        evaluation = ImageClassification(3, target="digit").evaluate(network, batch)
        assert evaluation.targets is LABELS
        assert_close(evaluation.loss, by_hand(LOGITS, 0.0))

    def test_several_inputs_in_a_tuple_and_an_auxiliary_classifier(self) -> None:
        task = ImageClassification(3, auxiliary_weight=0.5)
        loss = task.loss(lambda left, right: with_auxiliary(left + right), (BATCH[0], BATCH[0], LABELS))
        assert_close(loss, by_hand(LOGITS, 0.0) + 0.5 * by_hand(AUXILIARY, 0.0))


class TestErrors:
    @pytest.mark.parametrize("classes", [2, 10])
    def test_another_number_of_outputs(self, classes: int) -> None:
        message = rf"{classes} outputs for ImageClassification\(classes={classes}\) but got \(3,\)"
        with pytest.raises(ValueError, match=message):
            ImageClassification(classes).loss(network, BATCH)

    def test_outputs_of_another_shape(self) -> None:
        with pytest.raises(ValueError, match=r"but got \(3, 4, 4\)"):
            ImageClassification(3).loss(lambda images: torch.zeros(2, 3, 4, 4), BATCH)

    def test_an_auxiliary_classifier_of_another_number_of_outputs(self) -> None:
        with pytest.raises(ValueError, match=r"but got \(4,\)"):
            ImageClassification(3).loss(lambda images: AuxiliaryLogits(LOGITS, torch.zeros(2, 4)), BATCH)

    def test_an_output_that_is_no_tensor(self) -> None:
        with pytest.raises(TypeError, match="returns a tensor for ImageClassification but got tuple"):
            ImageClassification(3).loss(lambda images: (LOGITS, AUXILIARY), BATCH)

    def test_too_few_classes(self) -> None:
        with pytest.raises(ValueError, match="`classes` to be at least 2 but got 1"):
            ImageClassification(1)

    @pytest.mark.parametrize("smoothing", [-0.1, 1.0])
    def test_smoothing_out_of_range(self, smoothing: float) -> None:
        with pytest.raises(
            ValueError, match=rf"`label_smoothing` to be a share with 0 <= fraction < 1 but got {smoothing}"
        ):
            ImageClassification(3, label_smoothing=smoothing)
