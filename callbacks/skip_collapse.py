"""Ends a search whose cells turn into skip connections (DARTS+, Liang et al. 2019)."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from lightning_nas._lightning import MisconfigurationException, pl
from lightning_nas.architecture import Architecture
from lightning_nas.callbacks.search_stop import Action, SearchStop
from lightning_nas.checks import check_at_least, check_choice
from lightning_nas.methods.base import SKIPS, SearchModule

Export = Literal["criterion", "last_within"]
Ranking = dict[str, list[list[str]]]  # of every row of every group, the heaviest candidate first


class SkipCollapse(SearchStop):
    """Ends a search when what it derives has too many skip connections, or has not changed its mind for long.

    After the last step of every epoch the module's ``derive()`` is looked at, with the module's ``skip_count``: skip
    connections of the normal cell, or flags that are on in spaces such as ``enas_macro``, where far more than two are
    usual. The architecture that is kept stands in ``skip_collapse.json`` and in ``callback.architecture``; its epoch is
    logged as ``search/skip_collapse_epoch``. Where no criterion ever holds, there is neither. Processes that
    ``ddp_spawn`` or ``ddp_fork`` start keep ``callback.architecture``: read the file.

    Epochs in which nothing is learned about architectures do not count: what is derived then is as random as the
    initial values. Searches that train children derive something random until a child has a score; give them
    ``warmup_epochs``.

    Args:
        max_skips: Skips that are accepted; with more the search ends. The paper ends it at two or more. ``None``: any
            number is accepted.
        stable_epochs: End the search, too, when the ranking of the candidates that learn has been the same for so many
            epochs in every row (the paper's other criterion, with 10). Pooling, skips and ``"none"`` do not learn.
        action: ``"stop"`` the search, or ``"warn"`` only.
        export: Which architecture is kept: that of the epoch when a ``"criterion"`` holds, or the ``"last_within"``
            the limit of skips; if there was none yet, the former.
        warmup_epochs: Epochs at the start that do not count; by default the module's own ``warmup_epochs``, or none.
        dirpath: Folder for ``skip_collapse.json``; by default that of the logger's run, or else the Trainer's.

    Raises:
        ValueError: If an argument is out of range, or there is no criterion.

    Example:
        >>> trainer = pl.Trainer(accelerator="cpu", callbacks=[SkipCollapse(max_skips=1)], logger=False)
    """

    name = "skip_collapse"

    def __init__(
        self,
        max_skips: int | None = 1,
        *,
        stable_epochs: int | None = None,
        action: Action = "stop",
        export: Export = "criterion",
        warmup_epochs: int | None = None,
        dirpath: str | Path | None = None,
    ) -> None:
        super().__init__(action, dirpath)
        check_at_least("max_skips", max_skips, 0)
        check_at_least("stable_epochs", stable_epochs, 1)
        check_at_least("warmup_epochs", warmup_epochs, 0)
        check_choice("export", export, get_args(Export))
        if max_skips is None and stable_epochs is None:
            raise ValueError("Expected a criterion, `max_skips` or `stable_epochs`, but got None for both")
        self.max_skips = max_skips
        self.stable_epochs = stable_epochs
        self.export = export
        self.warmup_epochs = warmup_epochs
        self.forget()

    def forget(self) -> None:
        """Be as new: another search begins."""
        self._within: Architecture | None = None
        self._ranking: Ranking | None = None
        self._unchanged = 0  # epochs since the ranking changed

    def state_dict(self) -> dict[str, Any]:
        """Return what was seen so far as plain data."""
        within = None if self._within is None else self._within.to_dict()
        return {**super().state_dict(), "within": within, "ranking": self._ranking, "unchanged": self._unchanged}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state of the run that is resumed."""
        super().load_state_dict(state_dict)
        within = state_dict["within"]
        self._within = None if within is None else Architecture.from_dict(within)
        self._ranking, self._unchanged = state_dict["ranking"], state_dict["unchanged"]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check that the module is a search, and that it ranks candidates if it has to."""
        super().setup(trainer, pl_module, stage)
        if not isinstance(pl_module, SearchModule):
            raise TypeError(
                f"Expected SkipCollapse to run with a search, a module with derive(), but got {type(pl_module)}"
            )
        if self.stable_epochs is not None and not any(
            len(row) > 1 for rows in ranking(pl_module).values() for row in rows
        ):
            raise MisconfigurationException(
                "Expected a search with weights() of two candidates that learn, as DartsModule has, for "
                f"`stable_epochs` but got {type(pl_module).__name__} on space {pl_module.space.name!r}; use `max_skips`"
            )

    def look(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any) -> None:
        """Derive, and end the search if a criterion holds."""
        assert isinstance(pl_module, SearchModule)
        epoch, warmup = trainer.current_epoch, self.warmup_epochs
        if epoch < (getattr(pl_module, "warmup_epochs", 0) if warmup is None else warmup):
            return
        derived = pl_module.derive()
        architecture = replace(derived, provenance={**derived.provenance, "epoch": epoch})
        order = ranking(pl_module) if self.stable_epochs is not None else {}
        reason = self.observe(architecture, pl_module.skip_count(architecture), order)
        if reason is not None:
            last_within = self._within if self.export == "last_within" else None
            kept = last_within or architecture
            self.finish(trainer, pl_module, kept, kept.provenance["epoch"], f"Epoch {epoch}: {reason}")

    def observe(self, architecture: Architecture, skips: float, ranking: Ranking) -> str | None:
        """Take in what an epoch has come to.

        Args:
            architecture: What is derived.
            skips: How many skips it has.
            ranking: For every row of every group its candidates that learn, the heaviest first.

        Returns:
            Which criterion holds, if one does.
        """
        self._unchanged = self._unchanged + 1 if ranking == self._ranking else 0
        self._ranking = ranking
        if self.max_skips is not None and skips > self.max_skips:
            return f"the derived architecture has {skips:g} skips, more than {self.max_skips}"
        self._within = architecture
        if self.stable_epochs is not None and self._unchanged >= self.stable_epochs:
            return f"the ranking of candidates has not changed for {self.stable_epochs} epochs"
        return None


def ranking(module: SearchModule) -> Ranking:
    """Return, for every row of every group that has weights, its candidates that learn, the heaviest first."""
    names = {group.name: group.candidates for group in module.space.groups}
    return {
        group: [
            [names[group][k] for k in row.argsort(descending=True, stable=True) if _learns(names[group][k])]
            for row in table
        ]
        for group, table in module.weights().items()
    }


def _learns(candidate: str) -> bool:
    return candidate not in ("none", *SKIPS) and "pool" not in candidate
