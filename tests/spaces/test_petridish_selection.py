"""A weak learner finds the operation that reduces the loss, where by construction only one can."""

import pytest
import torch
from torch import Tensor, nn

from lightning_nas.operations.weak_learner import Term, select_terms
from lightning_nas.spaces import PetridishNetwork, PetridishSpace
from lightning_nas.spaces.petridish_plan import Mode

PLANTED: Term = (1, "sep_conv_5x5")
FAR = 3  # pixels: too far for two 3x3 convolutions or a pooling, and odd, where dilated convolutions have no weights


def independent_pixels(network: PetridishNetwork) -> PetridishNetwork:
    """Let the stem see one pixel, so that noise stays noise: what is far away cannot be told from what is near."""
    with torch.no_grad():
        kernel = network.get_parameter("stem.0.weight")
        around = torch.ones(3, 3)
        around[1, 1] = 0
        kernel[..., around.bool()] = 0
    return network


def searched(mode: Mode, seed: int, steps: int) -> tuple[Term, ...]:
    """Return what is selected where the first cell lacks its second input's pixel three further down and right."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        space = PetridishSpace(mode, cells=1)
        network = independent_pixels(space.hallucinate(space.seed(), [space.all_places[0]], filters=4))
        seen: dict[str, Tensor] = {}
        cell, prepared = network.get_submodule("cells.0"), network.get_submodule("cells.0.preprocess.1")
        prepared.register_forward_hook(lambda _, args, output: seen.update(read=output.detach().relu()))
        cell.register_forward_hook(lambda _, args, output: seen.update(output=output))
        learned = [p for name, p in network.named_parameters() if "learners" in name]
        groups = [{"params": learned, "lr": 0.1}, {"params": list(network.alphas), "lr": 0.02}]
        optimizer = torch.optim.SGD(groups, momentum=0.9)
        for _ in range(steps):
            network(torch.randn(16, 3, 12, 12))
            lacking = torch.roll(seen["read"] - seen["read"].mean((0, 2, 3), keepdim=True), (FAR, FAR), (2, 3))
            target = seen["output"].detach() + lacking
            loss = nn.functional.mse_loss(seen["output"], target) * 4 / 2 + 0.03 * network.penalty()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    return tuple(network.candidates[0][k] for k in select_terms(network.alphas[0]))


@pytest.mark.parametrize("mode", ["cell", "macro"])
def test_planted_operation_is_found(mode: Mode) -> None:
    """In 9 of 10 seeds at least, as the first of 14; before the training it is not among the three selected."""
    assert PLANTED not in searched(mode, 0, steps=0)
    found = [searched(mode, seed, steps=40)[:1] == (PLANTED,) for seed in range(10)]
    assert sum(found) >= 9
