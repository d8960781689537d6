"""One row of a paper's table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedResult:
    """What a paper says of a network.

    Args:
        dataset: ``"CIFAR-10"``, ``"CIFAR-100"``, ``"ImageNet mobile"``, ``"ImageNet large"`` or ``"Penn Treebank"``.
        table: The paper and its table.
        model: The network as the table names it.
        metric: What ``value`` is, e.g. ``"test error %"``, in the table's own unit.
        value: The result.
        search_type: How the network was found: ``"manual"``, ``"RL"``, ``"evolution"``, ``"SMBO"``,
            ``"gradient-based"``, ``"one-shot"``, ``"random"`` or ``"growth"``; ``None`` where the table is silent.
        params: Parameters.
        macs: Multiply-adds of one image.
        std: Standard deviation of ``value``.
        value_2: A second result that ``metric`` explains: the top-5 accuracy or error.
        gpus: GPUs that searched.
        gpu_days: GPU days that the search took.
        note: What else is to know.
    """

    dataset: str
    table: str
    model: str
    metric: str
    value: float
    search_type: str | None = None
    params: int | None = None
    macs: int | None = None
    std: float | None = None
    value_2: float | None = None
    gpus: int | None = None
    gpu_days: float | None = None
    note: str = ""

    @property
    def error(self) -> float | None:
        """The error as a fraction, from the error or accuracy in percent; ``None`` for perplexities."""
        if "error" in self.metric:
            return self.value / 100
        return (100 - self.value) / 100 if "accuracy" in self.metric else None

    @property
    def perplexity(self) -> float | None:
        """The perplexity, or ``None`` where errors are measured."""
        return self.value if "perplexity" in self.metric else None
