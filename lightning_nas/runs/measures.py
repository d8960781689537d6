"""Names of what runs are compared by, and what people call it."""

ERROR = "val/error"
PERPLEXITY = "val/perplexity"
LOSS = "val/loss"
QUALITY_ENDINGS = ("accuracy", "error", "loss", "perplexity")
COSTS = ("params", "macs", "latency")
BEST_ERROR = "search/best_error"
EXAMPLES = "search/examples_seen"
DEVICE_HOURS = "search/device_hours"
DEVICE_DAYS = "search/device_days"  # not logged: device hours as papers give them
CHILDREN = "search/children"
FRONT_SIZE = "pareto/size"
HYPERVOLUME = "pareto/hypervolume"

TITLES = {
    ERROR: "validation error",
    PERPLEXITY: "validation perplexity",
    LOSS: "validation loss",
    "params": "parameters",
    "macs": "multiply-adds",
    "latency": "latency in seconds",
    EXAMPLES: "examples seen",
    DEVICE_DAYS: "device days",
}


def title_of(name: str) -> str:
    """Return what a measure is called in pictures and tables."""
    return TITLES.get(name, name)


def is_share(name: str) -> bool:
    """Return whether a measure is a share of wrong answers, which is shown in percent.

    Example:
        >>> is_share("val/error"), is_share("val/mean_squared_error")
        (True, False)
    """
    return name.endswith("error") and not name.endswith(("squared_error", "absolute_error"))
