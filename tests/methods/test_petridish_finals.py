"""Finals of Petridish: what has grown is widened, its cells are repeated, and all of it is trained from scratch."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from lightning_nas._lightning import pl
from lightning_nas.architecture import Architecture
from lightning_nas.costs import count_parameters
from lightning_nas.methods import PetridishModule, RetrainModule
from lightning_nas.operations.drop_path import DropPath
from lightning_nas.spaces import AuxiliaryLogits, PetridishNetwork, PetridishSpace
from tests.methods.test_child_search_contract import WholeImages
from tests.references import petridish as reference

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
]

SCALE: dict[str, Any] = {"filters": 6, "repeat": 2, "classes": 5}
FIRST = ((0, "sep_conv_3x3"), (1, "avg_pool_3x3"))
SECOND = ((0, "identity"), (1, "dil_conv_5x5"), (2, "sep_conv_5x5"))
HALVING = ((0, "max_pool_3x3"), (1, "dil_conv_3x3"))
GROWN = {
    "cell": [("normal", FIRST), ("reduce", HALVING), ("normal", SECOND)],
    # the middle layer of three, and the second of those that reduce
    "macro": [("layer2", FIRST), ("layer3", HALVING), ("layer2", SECOND)],
}
NODES = (FIRST, SECOND)
# whether a cell reduces, and its nodes, spelled out: every normal layer twice, every layer that reduces once
CELLS: dict[str, list[tuple[bool, Any]]] = {
    "cell": [(False, NODES)] * 2
    + [(True, (HALVING,))]
    + [(False, NODES)] * 2
    + [(True, (HALVING,))]
    + [(False, NODES)] * 2,
    "macro": [(False, ())] * 2 + [(True, ())] + [(False, NODES)] * 2 + [(True, (HALVING,))] + [(False, ())] * 2,
}
BOTH = pytest.mark.parametrize("mode", ["cell", "macro"])


def grown(mode: Any) -> Architecture:
    space = PetridishSpace(mode, cells=1)
    architecture = space.seed()
    for place, terms in GROWN[mode]:
        architecture = space.grow(architecture, place, terms)
    return architecture


def final(mode: str, **options: Any) -> tuple[RetrainModule, PetridishNetwork]:
    module = RetrainModule(None, grown(mode), **{"scale": SCALE, "auxiliary": False, **options})
    assert isinstance(module.network, PetridishNetwork)
    return module, module.network


def images(size: int = 8) -> Tensor:
    return torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def opened(network: PetridishNetwork) -> PetridishNetwork:
    """Return the network in float64 with gates that let something through."""
    for name, parameter in network.double().named_parameters():
        if name.endswith("gate"):
            parameter.fill_(0.5)
    return network


@BOTH
def test_connections_are_relative(mode: str) -> None:
    """Every copy of a cell reads the two cells right before it, which may be copies, and nodes of its own."""
    network = opened(final(mode)[1])
    expected = reference.run(images().double(), network.state_dict(), CELLS[mode], 6, training=True)
    assert expected.std() > 1e-3
    assert_close(network(images().double()), expected, rtol=1e-10, atol=1e-10)


@BOTH
def test_copies_read_copies(mode: str) -> None:
    network = opened(final(mode)[1])
    read: list[Any] = []
    put_out: list[Any] = []

    def note(_: object, inputs: tuple[Any, ...], output: Any) -> None:
        read.append(inputs)
        put_out.append(output)

    for cell in network.cells:
        cell.register_forward_hook(note)
    network(images().double())
    assert len(put_out) == len(CELLS[mode]) == 8
    for k in range(2, 8):
        assert read[k][0] is put_out[k - 2]
        assert read[k][1] is put_out[k - 1]


@BOTH
def test_copies_have_weights_of_their_own(mode: str) -> None:
    network = final(mode)[1]
    first, second = (dict(network.cells[k].named_parameters()) for k in (3, 4))
    shared = first.keys() & second.keys()
    assert {"seed.operations.1_sep_conv_3x3.1.weight", "nodes.3.gate"} <= shared
    assert not {id(first[name]) for name in shared} & {id(second[name]) for name in shared}


@BOTH
def test_the_auxiliary_classifier_reads_the_last_cell_before_the_second_reduction(mode: str) -> None:
    module, network = final(mode, scale={**SCALE, "image_size": 16}, auxiliary=True)
    opened(network)
    output = network(images(16).double())
    assert isinstance(output, AuxiliaryLogits)
    torch.autograd.backward(output.auxiliary.square().sum())
    reached = [any(p.grad is not None for p in cell.parameters()) for cell in network.cells]
    assert reached == [True] * 5 + [False] * 3

    labels = torch.arange(4)
    loss = cross_entropy(output.logits, labels) + 0.4 * cross_entropy(output.auxiliary, labels)
    assert_close(module.task.evaluate(network, (images(16).double(), labels)).training_loss, loss)
    assert count_parameters(network) == count_parameters(final(mode)[1])  # the auxiliary classifier does not count


@BOTH
@pytest.mark.parametrize(("epoch", "probability"), [(0, 0.0), (300, 0.2), (599, 0.4 * 599 / 600)])
def test_drop_path_grows_with_epochs_and_depth(mode: str, epoch: int, probability: float) -> None:
    module, network = final(mode, drop_path=0.4)
    trainer = pl.Trainer(accelerator="cpu", max_epochs=600, logger=False, enable_checkpointing=False)
    module.trainer = trainer
    trainer.strategy.connect(module)
    progress: Any = trainer.fit_loop.epoch_progress.current  # Lightning annotates too narrow a type
    progress.completed = epoch
    module.on_train_batch_start(None, 0)
    for k, cell in enumerate(network.cells):
        dropped = [one for one in cell.modules() if isinstance(one, DropPath)]
        assert dropped
        effective = [one.probability * one.scale for one in dropped]
        assert effective == pytest.approx([probability * (k + 1) / 8] * len(dropped))


def gradients(module: RetrainModule) -> dict[str, Tensor]:
    module.zero_grad()
    loss = module.task.evaluate(module.network, (images(), torch.arange(4))).training_loss
    torch.autograd.backward(loss)
    return {name: p.grad for name, p in module.network.named_parameters() if p.grad is not None}


@BOTH
def test_what_has_grown_is_opened_by_its_gate(mode: str) -> None:
    """At first the network is its seed: only gates of nodes get a gradient. After one step all of it learns."""
    module, network = final(mode)
    space = PetridishSpace(cast("Any", mode), cells=1)
    seed = space.build(space.seed(), **SCALE)
    seed.load_state_dict({name: network.state_dict()[name] for name in seed.state_dict()})
    assert torch.equal(network.eval()(images()), seed.eval()(images()))

    network.train()
    at_first = gradients(module)
    assert at_first.keys() == dict(network.named_parameters()).keys()  # none is unused: processes need no search for it
    only_in_nodes = at_first.keys() - dict(seed.named_parameters()).keys()
    gates = {name for name in only_in_nodes if name.endswith("gate")}
    assert len(gates) == sum(len(nodes) for _, nodes in CELLS[mode])
    assert all(at_first[name] != 0 for name in gates)
    assert not any(at_first[name].any() for name in only_in_nodes - gates)

    torch.optim.SGD(network.parameters(), lr=0.1).step()
    then = gradients(module)
    assert all(then[name].any() for name in only_in_nodes)


@BOTH
def test_a_found_model_is_trained_from_its_file(mode: str, tmp_path: Path) -> None:
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=3, default_root_dir=tmp_path, enable_checkpointing=False, **quiet
    )
    epochs: dict[str, Any] = {"seed_epochs": 1, "hallucination_epochs": 1, "child_epochs": 1}
    space = f"petridish?mode={mode}&cells=1"
    search = PetridishModule(space, scale={"filters": 4}, input_shape=(3, 8, 8), **epochs)
    trainer.fit(search, datamodule=WholeImages(4))
    child = search.candidates()["child 2"]
    child.save(tmp_path / "child.json")

    module = RetrainModule(None, tmp_path / "child.json", scale={"filters": 6, "repeat": 2}, auxiliary=False, seed=1)
    assert module.architecture == child
    network = module.network
    assert isinstance(network, PetridishNetwork)
    assert (network.scale.repeat, network.classifier.in_features, len(network.cells)) == (2, 24, 8)
    again = pl.Trainer(accelerator="cpu", max_epochs=2, default_root_dir=tmp_path, enable_checkpointing=False, **quiet)
    again.fit(module, datamodule=WholeImages(4))
    gates = [gate for name, gate in module.network.named_parameters() if name.endswith("gate")]
    assert gates
    assert all(gate != 0 for gate in gates)
