"""Trains language models of several recurrent cells on the Penn Treebank, all with the same budget.

    python benchmarks/language_cells.py --data ptb --minutes 5 --json language_cells.json

The cells: a plain LSTM of as many parameters, the published cell of DARTS, one found here by DARTS and one by ENAS,
both with small settings, and a random one. A search takes about as long as a training. All networks are trained for the
same number of epochs of the same data with the same recipe: as many as the slowest cell makes in the given minutes, by
a short trial, and at least one. Test perplexity is measured once, after the last epoch.
"""

import argparse
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam

from lightning_nas import DartsModule, EnasModule, PennTreebankDataModule, RetrainModule
from lightning_nas._lightning import pl
from lightning_nas.architecture import Architecture
from lightning_nas.costs import count_parameters
from lightning_nas.methods.base import SearchModule
from lightning_nas.seeding import fixed_seed
from lightning_nas.spaces.darts_recurrent import DartsRecurrentSpace
from lightning_nas.spaces.language_model_output import LanguageModelOutput
from lightning_nas.zoo import DARTS_RNN_V2

WORDS = 10_000
DROPOUT = {"dropout": 0.2, "dropouth": 0.1, "dropoutx": 0.1, "dropouti": 0.1, "dropoute": 0.0}  # few epochs: little
BATCH = 20  # few epochs: many steps in each
TRIAL = 20  # windows that are timed
PUBLISHED, RANDOM, PLAIN = "published DARTS V2", "random", "plain LSTM"
CELLS = ("DARTS", "ENAS", PUBLISHED, RANDOM, PLAIN)


class PlainLstm(nn.Module):
    """A word table, an LSTM, and a decoder that is the word table again; dropout before and after the LSTM.

    Args:
        hidden: Width of all of it.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, hidden)
        self.lstm = nn.LSTM(hidden, hidden)
        self.bias = nn.Parameter(torch.zeros(WORDS))
        self.dropout = nn.Dropout(DROPOUT["dropout"])
        nn.init.uniform_(self.embedding.weight, -0.04, 0.04)

    def forward(self, tokens: Tensor, state: Any = None) -> LanguageModelOutput:
        """Read a window."""
        raw, state = self.lstm(self.dropout(self.embedding(tokens)), state)
        outputs = self.dropout(raw)
        logits = nn.functional.linear(outputs, self.embedding.weight, self.bias)
        return LanguageModelOutput(logits, state, outputs, raw)


def lstm_of(parameters: int, seed: int) -> PlainLstm:
    """Return the LSTM whose number of parameters is nearest to a given one."""
    with torch.device("meta"):
        sizes = {hidden: count_parameters(PlainLstm(hidden)) for hidden in range(8, 1024)}
    with fixed_seed(seed):
        return PlainLstm(min(sizes, key=lambda hidden: abs(sizes[hidden] - parameters)))


def trainer(**options: Any) -> pl.Trainer:
    """Return a quiet Trainer."""
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    return pl.Trainer(accelerator="cpu", enable_progress_bar=False, num_sanity_val_steps=0, **{**quiet, **options})


def retraining(cell: Architecture, hidden: int, seed: int) -> RetrainModule:
    """Return the module that trains a cell."""
    scale = {"vocabulary": WORDS, "hidden": hidden, "layers": 1, **DROPOUT}
    optimizer = partial(SGD, lr=20.0, weight_decay=8e-7)
    return RetrainModule(architecture=cell, scale=scale, grad_clip=0.25, optimizer=optimizer, seed=seed)


def darts(hidden: int, epochs: int, seed: int) -> SearchModule:
    """Return a search by DARTS: first order, longer steps of the alphas, and a rate at which small batches learn."""
    return DartsModule(
        "darts_recurrent",
        scale={"vocabulary": WORDS, "hidden": hidden, **DROPOUT},
        order="first",
        grad_clip=0.25,
        min_learning_rate=5.0,
        weights_optimizer=partial(SGD, lr=5.0, weight_decay=5e-7),
        alphas_optimizer=partial(Adam, lr=0.02, weight_decay=1e-3),
        schedule_epochs=epochs,
        seed=seed,
    )


def enas(hidden: int, epochs: int, seed: int) -> SearchModule:
    """Return a search by ENAS, with fewer steps of the controller, and such a rate, too."""
    return EnasModule(
        "enas_recurrent?nodes=8",
        scale={"vocabulary": WORDS, "hidden": hidden, **DROPOUT},
        grad_clip=0.25,
        min_learning_rate=5.0,
        weights_optimizer=partial(SGD, lr=5.0, weight_decay=8e-7),
        controller_steps=20,
        samples_per_step=5,
        derive_samples=20,
        seed=seed,
    )


def windows_in(seconds: float, make: Callable[[], pl.LightningModule], data: pl.LightningDataModule) -> int:
    """Return how many windows a module is trained on in so many seconds, of a trial that leaves out the first few."""
    times: list[float] = []

    class Clock(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            times.append(time.perf_counter())

    options: dict[str, Any] = {"max_epochs": 1, "limit_train_batches": TRIAL, "limit_val_batches": 0}
    trainer(callbacks=[Clock()], **options).fit(make(), datamodule=data)
    # not the last one, behind which a controller learns
    return int(seconds / ((times[-2] - times[4]) / (len(times) - 6)))


def search(
    make: Callable[[int, int, int], SearchModule],
    hidden: int,
    seconds: float,
    per_epoch: int,
    data: PennTreebankDataModule,
    seed: int,
) -> tuple[Architecture, float]:
    """Search for about so long, whole epochs or a part of one; return what was found and the seconds it took."""
    windows = windows_in(seconds, lambda: make(hidden, 1, seed), data)
    epochs = max(1, round(windows / per_epoch))
    options = {"limit_train_batches": windows} if windows < per_epoch else {}
    module, start = make(hidden, epochs, seed), time.perf_counter()
    trainer(max_epochs=epochs, limit_val_batches=10, **options).fit(module, datamodule=data)
    return module.derive(), time.perf_counter() - start


def train(module: RetrainModule, epochs: int, data: PennTreebankDataModule) -> dict[str, float]:
    """Train a network; return its perplexities, its size, and the seconds it took."""
    start, ours = time.perf_counter(), trainer(max_epochs=epochs)
    ours.fit(module, datamodule=data)
    seconds = time.perf_counter() - start
    validation = ours.validate(module, datamodule=data, verbose=False)[0]["val/perplexity"]
    test = ours.test(module, datamodule=data, verbose=False)[0]["test/perplexity"]
    parameters = count_parameters(module.network)
    return {"validation": validation, "test": test, "parameters": parameters, "epochs": epochs, "seconds": seconds}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of ptb.train.txt, ptb.valid.txt, ptb.test.txt")
    parser.add_argument("--minutes", type=float, default=5.0, help="of a training, of the slowest cell")
    parser.add_argument("--hidden", type=int, default=128, help="width of the trained networks")
    parser.add_argument("--search-hidden", type=int, default=64, help="width of the supernets")
    parser.add_argument("--epochs", type=int, help="of every training, instead of as many as the minutes allow")
    parser.add_argument("--only", nargs="+", choices=CELLS, default=CELLS, help="cells to train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger(pl.__name__).setLevel(logging.WARNING)
    seed, seconds = arguments.seed, 60 * arguments.minutes
    options: dict[str, Any] = {"batch_size": BATCH, "test_batch_size": 10, "seed": seed}
    texts = PennTreebankDataModule(arguments.data, **options)
    per_epoch = len(texts.train_dataloader())
    streams = PennTreebankDataModule(arguments.data, search=True, **options)
    result: dict[str, Any] = {"settings": {**options, "hidden": arguments.hidden, "minutes": arguments.minutes}}
    cells = {PUBLISHED: DARTS_RNN_V2, RANDOM: DartsRecurrentSpace().sample(torch.Generator().manual_seed(seed))}
    for name, make in {"DARTS": darts, "ENAS": enas}.items():
        if name in arguments.only:
            cell, spent = search(make, arguments.search_hidden, seconds, per_epoch, streams, seed)
            cells[name] = cell
            result.setdefault("searches", {})[name] = {"seconds": spent, "architecture": cell.to_dict()}
            print(f"{name}: {spent:.0f} s, {dict(cell.values)}", flush=True)
    modules = {name: retraining(cell, arguments.hidden, seed) for name, cell in cells.items()}
    modules[PLAIN] = retraining(DARTS_RNN_V2, arguments.hidden, seed)
    modules[PLAIN].network = lstm_of(count_parameters(modules[PLAIN].network), seed)
    trials = [partial(retraining, cell, arguments.hidden, seed) for cell in cells.values()]
    epochs = arguments.epochs or max(1, min(windows_in(seconds, trial, texts) for trial in trials) // per_epoch)
    print(f"{'':22}{'validation':>12}{'test':>10}{'parameters':>14}{'epochs':>8}{'seconds':>9}", flush=True)
    for name in arguments.only:
        row = result.setdefault("cells", {})[name] = train(modules[name], epochs, texts)
        numbers = f"{row['validation']:12.2f}{row['test']:10.2f}{row['parameters']:14,.0f}{row['epochs']:8}"
        print(f"{name:22}{numbers}{row['seconds']:9.0f}", flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
