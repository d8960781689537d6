from pathlib import Path

import pytest

from lightning_nas._lightning import pl
from lightning_nas.methods import PnasModule
from tests.methods.test_child_search_contract import WholeImages


def test_levels_and_their_rank_correlation(tmp_path: Path) -> None:
    space, scale = "nasnet?blocks=2&operations=identity,max_pool_3x3", {"channels": 4, "cells_per_stage": 1}
    module = PnasModule(space, beam=3, scale=scale, epochs_per_child=1)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=20,
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=WholeImages(4))
    one, two = (f"nasnet?blocks={blocks}&operations=identity,max_pool_3x3" for blocks in (1, 2))
    assert [child.architecture.space for child in module.ledger] == [one] * 10 + [two] * 3
    assert trainer.global_step == 13 * 2  # then nothing was left to train
    (correlation,) = module.strategy.correlations
    assert correlation.ahead is not None
    assert float(trainer.callback_metrics["search/rank_correlation"]) == pytest.approx(correlation.ahead)
    assert module.derive().space == two
