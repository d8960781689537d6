"""Made-up searches that grow networks."""

import numpy as np

from lightning_nas.plotting.grown_model import GrownModel

OPERATIONS = ("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "max_pool_3x3", "identity")


def random_family(count: int, seeds: int = 1, generations: int = 8) -> list[GrownModel]:
    """Return models as Petridish finds them: each growth costs something, and most of them help."""
    rng = np.random.default_rng(count)
    models = [GrownModel(f"seed {k}", 1.15e7 * (k + 1), 0.142 - 0.02 * k) for k in range(seeds)]
    depth = {model.name: 0 for model in models}
    while len(models) < count:
        pool = [model for model in models if depth[model.name] < generations]
        parent = min(pool[::-1], key=lambda model: model.error + 0.02 * rng.random())
        terms = ", ".join(f"{name} of {rng.integers(10)}" for name in rng.choice(OPERATIONS, rng.integers(1, 4)))
        error = max(parent.error - 0.01 * 0.7 ** depth[parent.name] + rng.normal(0, 0.004), 0.02)
        name = f"child {2 * len(models)}"
        models.append(GrownModel(name, parent.cost + rng.uniform(2e6, 9e6), error, parent.name, f"normal: {terms}"))
        depth[name] = depth[parent.name] + 1
    return models
