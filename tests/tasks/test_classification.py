"""Classification of vectors, sequences and images of labels: loss by hand, batches, metrics, errors."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from lightning_nas.spaces import AuxiliaryLogits
from lightning_nas.tasks import Classification, Task

P = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], dtype=torch.float64)  # softmax of their logarithms
LABELS = torch.tensor([0, 1])
VECTORS = torch.zeros(2, 7)
PLAIN = -(math.log(0.5) + math.log(0.1)) / 2


def smoothed(share: float) -> float:
    """Return the mean of ``-(1 - share) log p(label) - share / 3 * sum(log p)``."""
    return (1 - share) * PLAIN - share / 3 * float(P.log().sum()) / 2


class Constant:
    """A network that returns the same logits and keeps what it was called with."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        self.inputs: tuple[Any, ...] = ()
        self.named: dict[str, Any] = {}

    def __call__(self, *inputs: Any, **named: Any) -> Tensor:
        self.inputs, self.named = inputs, named
        return self.logits


class TestLoss:
    def test_vectors(self) -> None:
        loss = Classification(3).loss(Constant(P.log()), (VECTORS, LABELS))
        assert float(loss) == pytest.approx(PLAIN, abs=1e-12)
        assert loss.shape == ()

    def test_sequences_take_the_mean_over_all_places(self) -> None:
        # [N=1, classes=3, T=2]: the two examples of above as two places of one sequence
        loss = Classification(3).loss(Constant(P.log().T[None]), (torch.zeros(1, 2), LABELS[None]))
        assert float(loss) == pytest.approx(PLAIN, abs=1e-12)

    def test_maps_of_labels(self) -> None:
        logits = P.log()[:, :, None, None].expand(2, 3, 4, 5)  # [N, classes, H, W]
        loss = Classification(3).loss(Constant(logits), (VECTORS, LABELS[:, None, None].expand(2, 4, 5)))
        assert float(loss) == pytest.approx(PLAIN, abs=1e-12)

    @pytest.mark.parametrize("share", [0.1, 0.6])
    def test_smoothing_where_gradients_are_computed(self, share: float) -> None:
        task = Classification(3, label_smoothing=share)
        assert float(task.loss(Constant(P.log()), (VECTORS, LABELS))) == pytest.approx(smoothed(share), abs=1e-12)
        for mode in (torch.no_grad(), torch.inference_mode()):
            with mode:
                assert float(task.loss(Constant(P.log()), (VECTORS, LABELS))) == pytest.approx(PLAIN, abs=1e-12)

    def test_the_gradient_is_softmax_minus_the_labels(self) -> None:
        logits = P.log().requires_grad_()
        (gradient,) = torch.autograd.grad(Classification(3).loss(Constant(logits), (VECTORS, LABELS)), logits)
        assert_close(gradient, (P - torch.eye(3, dtype=torch.float64)[LABELS]) / 2)


class TestBatches:
    def test_a_dictionary_by_name(self) -> None:
        network = Constant(P.log())
        mask = torch.ones(2, 7)
        batch = {"tokens": VECTORS, "label": LABELS, "mask": mask}
        evaluation = Classification(3, target="label").evaluate(network, batch)
        assert network.inputs == ()
        assert network.named.keys() == {"tokens", "mask"}
        assert network.named["tokens"] is VECTORS
        assert network.named["mask"] is mask
        assert evaluation.targets is LABELS
        assert float(evaluation.loss) == pytest.approx(PLAIN, abs=1e-12)

    def test_the_targets_are_called_target_by_default(self) -> None:
        evaluation = Classification(3).evaluate(Constant(P.log()), {"x": VECTORS, "target": LABELS})
        assert evaluation.targets is LABELS

    def test_several_inputs_in_a_tuple(self) -> None:
        network = Constant(P.log())
        more = torch.ones(2, 1)
        Classification(3).loss(network, (VECTORS, more, LABELS))
        assert [given is wanted for given, wanted in zip(network.inputs, (VECTORS, more), strict=True)] == [True, True]

    def test_predictions_are_logits_without_a_graph(self) -> None:
        evaluation = Classification(3).evaluate(Constant(P.log().requires_grad_()), (VECTORS, LABELS))
        assert evaluation.loss.requires_grad
        assert not evaluation.predictions.requires_grad
        assert torch.equal(evaluation.predictions, P.log())


class TestMetrics:
    def test_accuracy_over_several_batches_counts_examples(self) -> None:
        metric = Classification(3).metrics()["accuracy"]
        metric.update(P, torch.tensor([0, 2]))  # both right
        metric.update(P[:1], torch.tensor([2]))  # one wrong, of a class of its own
        assert float(metric.compute()) == pytest.approx(2 / 3)

    def test_accuracy_of_sequences_counts_places(self) -> None:
        metric = Classification(3).metrics()["accuracy"]
        metric.update(P.T[None], torch.tensor([[0, 1]]))  # the first right, the second wrong
        metric.update(P.T[None], torch.tensor([[0, 2]]))
        assert float(metric.compute()) == pytest.approx(3 / 4)

    def test_metrics_are_fresh(self) -> None:
        task = Classification(3)
        assert task.metrics()["accuracy"] is not task.metrics()["accuracy"]
        assert task.metrics().keys() == {"accuracy"}

    def test_objective_is_a_metric_of_validation(self) -> None:
        task: Task = Classification(3)
        assert task.objective == ("val/accuracy", "max")


class TestErrors:
    @pytest.mark.parametrize(
        ("logits", "labels", "got"),
        [
            (torch.zeros(2, 4), LABELS, r"\(4,\) for labels \(2,\)"),  # too many
            (torch.zeros(2, 2), LABELS, r"\(2,\) for labels \(2,\)"),  # too few
            (torch.zeros(2), LABELS, r"\(\) for labels \(2,\)"),  # no dimension of classes
            (torch.zeros(2, 5, 3), torch.zeros(2, 5).long(), r"\(5, 3\) for labels \(2, 5\)"),  # classes last
            (torch.zeros(2, 3, 5), LABELS, r"\(3, 5\) for labels \(2,\)"),  # one label for a sequence of logits
            (torch.zeros(2, 3), torch.zeros(2, 5).long(), r"\(3,\) for labels \(2, 5\)"),
        ],
    )
    def test_logits_that_do_not_fit(self, logits: Tensor, labels: Tensor, got: str) -> None:
        message = (
            rf"Expected a network with 3 outputs for Classification\(classes=3\) but got {got}; .*Classification\(n\)"
        )
        with pytest.raises(ValueError, match=message):
            Classification(3).loss(Constant(logits), (VECTORS, labels))

    def test_an_output_that_is_no_tensor(self) -> None:
        with pytest.raises(TypeError, match="returns a tensor for Classification but got AuxiliaryLogits; take the"):
            Classification(3).loss(lambda x: AuxiliaryLogits(P, P), (VECTORS, LABELS))

    def test_a_batch_without_targets(self) -> None:
        with pytest.raises(TypeError, match=r"targets as 'label', but got a dictionary of \['target', 'x'\]"):
            Classification(3, target="label").loss(Constant(P), {"x": VECTORS, "target": LABELS})

    @pytest.mark.parametrize("classes", [1, 0])
    def test_too_few_classes(self, classes: int) -> None:
        with pytest.raises(ValueError, match=f"`classes` to be at least 2 but got {classes}"):
            Classification(classes)

    @pytest.mark.parametrize("share", [-0.1, 1.0])
    def test_smoothing_out_of_range(self, share: float) -> None:
        with pytest.raises(ValueError, match=f"`label_smoothing` to be a share with 0 <= fraction < 1 but got {share}"):
            Classification(3, label_smoothing=share)


def test_padding_counts_neither_in_loss_nor_in_accuracy() -> None:
    logits = torch.tensor([[5.0, 0.0], [0.0, 5.0], [5.0, 0.0]])
    labels = torch.tensor([0, 1, -100])
    task = Classification(2)
    evaluation = task.evaluate(lambda x: x, (logits, labels))
    assert float(evaluation.loss) == pytest.approx(float(cross_entropy(logits[:2], labels[:2])))
    assert float(task.reward(evaluation)) == 1.0
