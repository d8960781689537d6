"""Data of which every process has all."""

from torch.utils.data import DistributedSampler

from lightning_nas._lightning import CombinedLoader, MisconfigurationException, pl


def check_whole_data(trainer: pl.Trainer) -> None:
    """Refuse loaders that give each process a part of the data, and a search without validation data.

    Raises:
        MisconfigurationException: If the Trainer has such loaders.
    """
    loaders = CombinedLoader([trainer.train_dataloader, trainer.val_dataloaders]).flattened
    owners = [*loaders, *(getattr(loader, "batch_sampler", None) for loader in loaders)]
    samplers = [getattr(owner, "sampler", None) for owner in owners]
    if any(isinstance(sampler, DistributedSampler) and sampler.num_replicas > 1 for sampler in samplers):
        raise MisconfigurationException(
            "Expected loaders that give every process all data, because each trains a child of its own, but got a "
            "DistributedSampler; use Trainer(use_distributed_sampler=False)"
        )
    if not trainer.val_dataloaders:
        raise MisconfigurationException(
            "Expected validation data, for the scores of the children, but got none; use a data module with a "
            "`val_dataloader` (ours have `val_fraction`)"
        )
