"""What loggers take besides the metrics of a module: figures, tables, scatter plots and files.

Every function takes the loggers of a Trainer and gives each what it can show: Weights & Biases all of it, TensorBoard
figures and tables, MLflow figures, tables and files. Other loggers get numbers only. Call them in the first process.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | float | int | None

KINDS = ("WandbLogger", "TensorBoardLogger", "MLFlowLogger")


def log_scalars(loggers: Iterable[Any], values: Mapping[str, float], step: int) -> None:
    """Log numbers, outside of the hooks in which a LightningModule may log."""
    for logger in loggers:
        logger.log_metrics(dict(values), step)


def log_figure(loggers: Iterable[Any], name: str, figure: "Figure", step: int) -> None:
    """Log a picture."""
    for logger in loggers:
        match kind_of(logger):
            case "WandbLogger":
                import wandb

                logger.log_metrics({name: wandb.Image(figure)}, step)
            case "TensorBoardLogger":
                logger.experiment.add_figure(name, figure, step, close=False)
            case "MLFlowLogger":
                logger.experiment.log_figure(logger.run_id, figure, f"{name}/{step:06d}.png")


def log_table(
    loggers: Iterable[Any], name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], step: int
) -> None:
    """Log a table; each call replaces the one before."""
    for logger in loggers:
        match kind_of(logger):
            case "WandbLogger":
                logger.log_metrics({name: _wandb_table(columns, rows)}, step)
            case "TensorBoardLogger":
                logger.experiment.add_text(name, _markdown(columns, rows), step)
            case "MLFlowLogger":
                content = {"columns": list(columns), "data": [list(row) for row in rows]}
                logger.experiment.log_dict(logger.run_id, content, f"{name}.json")


def log_scatter(
    loggers: Iterable[Any],
    name: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    x: str,
    y: str,
    step: int,
) -> None:
    """Log a plot of two columns of a table that can be explored, which only Weights & Biases has."""
    for logger in loggers:
        if kind_of(logger) == "WandbLogger":
            import wandb

            plot = wandb.plot.scatter(_wandb_table(columns, rows), x, y, title=name)
            logger.log_metrics({name: plot}, step)


def log_file(
    loggers: Iterable[Any],
    name: str,
    kind: str,
    path: Path,
    metadata: Mapping[str, Any] | None = None,
    aliases: Sequence[str] = (),
) -> None:
    """Keep a file with the run.

    Args:
        loggers: The loggers of a Trainer.
        name: Name of the artifact; what Weights & Biases does not allow in it becomes a dash there.
        kind: What it is, such as ``"architecture"``.
        path: The file.
        metadata: Plain data about it, for Weights & Biases.
        aliases: Other names of this version, for Weights & Biases.
    """
    for logger in loggers:
        match kind_of(logger):
            case "WandbLogger":
                import wandb

                artifact = wandb.Artifact(re.sub(r"[^a-zA-Z0-9_.-]", "-", name), kind, metadata=dict(metadata or {}))
                artifact.add_file(str(path))
                logger.experiment.log_artifact(artifact, aliases=["latest", *aliases])
            case "MLFlowLogger":
                logger.experiment.log_artifact(logger.run_id, str(path), f"{kind}/{name}")


def kind_of(logger: object) -> str:
    """Return which of the loggers it is, or is derived from: those of both Lightning packages have the same names."""
    names = (base.__name__ for base in type(logger).__mro__)
    return next((name for name in names if name in KINDS), "")


def _wandb_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Any:
    import wandb

    # a fresh one each time: a table that was logged once does not change any more
    return wandb.Table(columns=list(columns), data=[list(row) for row in rows], allow_mixed_types=True)


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines)


def _escaped(cell: Cell) -> str:
    return "" if cell is None else str(cell).replace("|", r"\|").replace("\n", " ")
