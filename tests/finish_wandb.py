"""The end of a run of Weights & Biases, for tests that read it back."""


def finish_wandb() -> None:
    """End the run, and wait until its file is written: ``wandb.finish()`` alone can return before."""
    import wandb

    wandb.finish()
    wandb.teardown()
