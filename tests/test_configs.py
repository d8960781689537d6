import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_nas import ChildSearchModule, DartsModule, EnasModule, PetridishModule, RetrainModule, SearchModule
from lightning_nas._lightning import CombinedLoader, pl
from lightning_nas.commands.lightning import from_config
from lightning_nas.costs import count_multiply_adds, count_parameters
from lightning_nas.spaces import PetridishSpace
from lightning_nas.tasks.text_batch import TextBatch

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")


def make(path: Path, options: Mapping[str, object] | None = None) -> Any:
    with torch.random.fork_rng([]):  # LightningCLI seeds everything
        return from_config(path, options)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_can_be_made(path: Path) -> None:
    cli = make(path)
    asked = yaml.safe_load(path.read_text())
    assert type(cli.model).__name__ == asked["model"]["class_path"]
    assert type(cli.datamodule).__name__ == asked["data"]["class_path"]
    assert cli.trainer.max_epochs == asked["trainer"]["max_epochs"]


def step(module: pl.LightningModule, size: int, classes: int) -> pl.Trainer:
    """Train one batch of two random images."""
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    loader = DataLoader(TensorDataset(images, torch.tensor([0, classes - 1])), 2)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=1,
        max_epochs=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    search = isinstance(module, SearchModule) and not isinstance(module, ChildSearchModule)
    streams = CombinedLoader({"weights": loader, "architecture": loader}, "max_size_cycle") if search else loader
    trainer.fit(module, streams, loader)
    return trainer


@pytest.mark.slow
def test_search_of_the_paper_steps() -> None:
    module = make(CONFIGS[0].with_name("darts_cifar10.yaml")).model
    assert isinstance(module, DartsModule)
    assert count_parameters(module.supernet) == 1_930_618
    before = module.alphas["normal"].clone()
    assert step(module, 32, 10).global_step == 1
    moved = (module.alphas["normal"] - before).abs()
    assert torch.allclose(moved, torch.full_like(moved, 3e-4), rtol=0.05)  # Adam's first step


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "classes", "params", "rate"),
    [
        ("darts_cifar10_retrain", 32, 10, 3_349_342, 0.025),
        ("darts_imagenet_retrain", 224, 1000, 4_718_752, 0.1),
        ("enas_micro_cifar10_retrain", 32, 10, 3_894_372, 0.05),
        ("enas_macro_cifar10_retrain", 32, 10, 30_947_424, 0.05),
        ("petridish_cifar10_retrain", 32, 10, 2_456_852, 0.025),
    ],
)
def test_retraining_of_the_paper_steps(name: str, size: int, classes: int, params: int, rate: float) -> None:
    module = make(CONFIGS[0].with_name(f"{name}.yaml")).model
    assert isinstance(module, RetrainModule)
    assert count_parameters(module.network) == params
    *_, classifier = [child for child in module.network.modules() if isinstance(child, nn.Linear)]
    before = classifier.weight.detach().clone()
    trainer = step(module, size, classes)
    assert trainer.optimizers[0].defaults["lr"] == rate
    assert not torch.equal(classifier.weight, before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "params", "rewards"), [("enas_micro_cifar10", 5_373_140, 300), ("enas_macro_cifar10", 697_860, 1000)]
)
def test_search_of_enas_steps(name: str, params: int, rewards: int) -> None:
    module = make(CONFIGS[0].with_name(f"{name}.yaml")).model
    assert isinstance(module, EnasModule)
    assert count_parameters(module.supernet) == params
    assert module.controller_steps * module.samples_per_step == rewards
    module.controller_steps = 1
    before = [parameter.clone() for parameter in module.controller.parameters()]
    assert step(module, 32, 10).global_step == 1
    pairs = zip(before, module.controller.parameters(), strict=True)
    assert any(not torch.equal(old, new) for old, new in pairs)
    assert torch.isfinite(module.best_reward)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "epochs", "rate", "scale"),
    [
        ("nas_cifar10", 50, 0.1, {"classes": 10}),
        ("pnas_cifar10", 20, 0.01, {"channels": 24, "cells_per_stage": 2, "classes": 10}),
        ("evolution_cifar10", 25, 0.024, {"channels": 24, "cells_per_stage": 3, "classes": 10}),
    ],
)
def test_search_of_children_steps(
    name: str, epochs: int, rate: float, scale: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = make(CONFIGS[0].with_name(f"{name}.yaml")).model
    assert isinstance(module, ChildSearchModule)
    assert (module.epochs_per_child, module.scale) == (epochs, scale)
    assert step(module, 32, 10).global_step == 1
    (proposal,) = module.strategy.proposals
    network = module.space_of(proposal.architecture).build(proposal.architecture, **scale)
    optimizer = module.optimizer(network.parameters())
    assert (optimizer.defaults["lr"], optimizer.defaults["momentum"]) == (rate, 0.9)
    assert count_parameters(network) > 0


def one_batch(size: int) -> DataLoader[Any]:
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(images, torch.tensor([0, 9])), 2)


@pytest.mark.parametrize("mode", ["cell", "macro"])
class TestPetridish:
    def test_search_of_the_paper(self, mode: str) -> None:
        cli = make(CONFIGS[0].with_name(f"petridish_{mode}_cifar10.yaml"))
        module, strategy, data = cli.model, cli.model.strategy, cli.datamodule.hparams
        assert (module.space.name, module.scale) == (
            {"cell": "petridish", "macro": "petridish?mode=macro"}[mode],
            {"filters": 16, "classes": 10},
        )
        settings = (strategy.terms, strategy.max_growth, strategy.max_cost, strategy.pool.eps, module.l1)
        assert settings == (3, 8, 1.667e8 / 2, 0.025, 1e-3)
        assert (data.batch_size, data.val_fraction, data.cutout, data.crop_padding, data.flip) == (32, 0.1, 16, 4, True)

        (seed,) = strategy.ask()
        strategy.tell(seed, 0.9, cost=11_485_824)
        (hallucination,) = strategy.ask()
        strategy.tell(hallucination, 0.9, selection=[[(1, "identity")]] * len(hallucination.places))
        (child,) = strategy.ask()
        jobs = [(job.kind, module.epochs_of(job)) for job in (seed, hallucination, child)]
        assert jobs == [("seed", 200), ("hallucination", 80), ("child", 80)]
        assert cli.trainer.max_epochs == 200 + (strategy.max_jobs - 1) * 80 == 160_120

        optimizer = module.optimizer(module.parameter_groups(module.build_network(seed)))
        assert [(group["weight_decay"], group["momentum"]) for group in optimizer.param_groups] == [
            (1e-4, 0.9),
            (0, 0.9),
        ]
        schedule, rates = module.schedule(optimizer, seed), []
        for _ in range(200):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        assert rates == pytest.approx([0.0125 * (1 + math.cos(math.pi * k / 200)) for k in range(200)])

    @pytest.mark.slow
    def test_search_of_the_paper_steps(self, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A batch for each of a seed, a hallucination of it and its child."""
        monkeypatch.chdir(tmp_path)
        short = dict.fromkeys(("model.seed_epochs", "model.hallucination_epochs", "model.child_epochs"), 1)
        module = make(CONFIGS[0].with_name(f"petridish_{mode}_cifar10.yaml"), {**short, "model.max_jobs": 3}).model
        assert isinstance(module, PetridishModule)
        quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = pl.Trainer(
            accelerator="cpu", max_epochs=9, num_sanity_val_steps=0, enable_checkpointing=False, **quiet
        )
        trainer.fit(module, one_batch(32), one_batch(32))
        assert [(job.kind, job.parent) for job in module.strategy.jobs] == [
            ("seed", None),
            ("hallucination", 0),
            ("child", 1),
        ]
        assert [record.status for record in module.ledger] == ["finished"] * 3
        assert trainer.global_step == 3
        seed, hallucination, child = [record.costs for record in module.ledger]
        assert (seed["params"], seed["macs"]) == (67_258, 11_485_824)
        assert hallucination["params"] > child["params"] > 67_258
        assert child["macs"] > hallucination["macs"] == 11_485_824  # what is validated is the parent

    def test_finals_of_the_paper(self, mode: Any) -> None:
        """Twice the cells and filters of a seed make the seed of six cells a stage."""
        cli = make(CONFIGS[0].with_name("petridish_cifar10_retrain.yaml"))
        scale = cli.model.scale
        three, six = PetridishSpace(mode), PetridishSpace(mode, 6)
        for network in (three.build(three.seed(), **scale), six.build(six.seed(), filters=32)):
            assert count_parameters(network) == 388_394
            assert count_multiply_adds(network, torch.zeros(1, 3, 32, 32)) == 61_719_808
        assert (cli.model.auxiliary, cli.model.drop_path, cli.model.grad_clip) == (True, 0.4, 5.0)
        assert cli.model.task.auxiliary_weight == 0.4
        assert cli.model.optimizer([nn.Parameter(torch.zeros(()))]).defaults["weight_decay"] == 5e-4
        data = cli.datamodule.hparams
        assert (data.batch_size, data.val_fraction, data.cutout, cli.trainer.max_epochs) == (32, 0.0, 16, 600)

    def test_small_search_has_epochs_for_all_jobs(self, mode: str) -> None:
        cli = make(CONFIGS[0].with_name(f"petridish_{mode}_cifar10_small.yaml"))
        strategy, options = cli.model.strategy, cli.model.hparams
        (seed,) = strategy.ask(2)
        assert seed.architecture == cli.model.space.seed()
        growths = (strategy.max_jobs - 1) // 2
        assert 1 + 2 * growths == strategy.max_jobs  # the last job is a child
        rest = growths * (options.hallucination_epochs + options.child_epochs)
        assert options.seed_epochs + rest <= cli.trainer.max_epochs


def read(module: pl.LightningModule, texts: int = 2) -> pl.Trainer:
    """Train one window of seven random words, of a few texts."""
    words = torch.randint(10_000, (8, texts), generator=torch.Generator().manual_seed(0))
    loader = DataLoader([TextBatch(words[:-1], words[1:])], None)  # type: ignore[arg-type,var-annotated]  # a list is a data set
    search = isinstance(module, SearchModule) and not isinstance(module, ChildSearchModule)
    streams = CombinedLoader({"weights": loader, "architecture": loader}, "max_size_cycle") if search else loader
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=1, max_epochs=1, num_sanity_val_steps=0, enable_checkpointing=False, **quiet
    )
    trainer.fit(module, streams, loader)
    return trainer


@pytest.mark.slow
def test_darts_on_the_penn_treebank_steps() -> None:
    module = make(CONFIGS[0].with_name("darts_ptb.yaml")).model
    assert isinstance(module, DartsModule)
    assert count_parameters(module.supernet) == 4_810_000
    assert (module.order, module.clip_virtual, module.grad_clip) == ("second", True, 0.25)
    before = module.alphas["cell"].clone()
    trainer = read(module)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 20.0  # by the window's length within the step only
    assert trainer.optimizers[0].param_groups[0]["weight_decay"] == 5e-7
    moved = (module.alphas["cell"] - before).abs()
    assert torch.allclose(moved.median(), torch.tensor(3e-3), rtol=0.05)  # Adam's first step
    assert float(moved.max()) <= 3e-3 * 1.001


@pytest.mark.slow
def test_retraining_on_the_penn_treebank_steps() -> None:
    module = make(CONFIGS[0].with_name("darts_ptb_retrain.yaml")).model
    assert isinstance(module, RetrainModule)
    assert count_parameters(module.network) == 22_960_000
    (weight,) = (weight for name, weight in module.network.named_parameters() if name == "embedding.weight")
    before = weight.detach().clone()
    trainer = read(module)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 20.0
    change = weight.detach() - before
    assert 0 < float(change.norm()) <= 20 * 7 / 35 * (0.25 + 8e-7 * float(before.norm()))


@pytest.mark.slow
def test_enas_on_the_penn_treebank_steps() -> None:
    module = make(CONFIGS[0].with_name("enas_ptb.yaml")).model
    assert isinstance(module, EnasModule)
    assert (module.controller_steps, module.samples_per_step) == (100, 10)
    module.controller_steps = module.samples_per_step = module.derive_samples = 1
    before = [parameter.clone() for parameter in module.controller.parameters()]
    assert read(module, 4).global_step == 1
    pairs = zip(before, module.controller.parameters(), strict=True)
    assert any(not torch.equal(old, new) for old, new in pairs)
    assert 0 < float(module.best_reward) < 1


@pytest.mark.slow
def test_nas_on_the_penn_treebank_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = make(CONFIGS[0].with_name("nas_ptb.yaml")).model
    assert isinstance(module, ChildSearchModule)
    assert (module.epochs_per_child, module.max_children) == (35, 15_000)
    assert read(module).global_step == 1
    (proposal,) = module.strategy.proposals
    network = module.space.build(proposal.architecture, **module.scale)
    assert round(count_parameters(network) / 1e6) == 25
    optimizer = module.optimizer(network.parameters())
    scheduler = module.schedule(optimizer, proposal)
    rates = []
    for _ in range(35):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[:6] == [35.0] * 6
    assert rates[6:] == pytest.approx([35 / 1.2**k for k in range(1, 30)], rel=2e-3)
