"""Runs side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lightning_nas.objective import Objective
from lightning_nas.runs.measures import COSTS, ERROR, LOSS, PERPLEXITY, QUALITY_ENDINGS
from lightning_nas.runs.run import Run

if TYPE_CHECKING:
    from lightning_nas.zoo import PublishedResult


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Args:
        found: The runs, in any order.
        problems: A sentence for every file that could not be read.
        literature: Published results to show with them.
    """

    found: Sequence[Run]
    problems: Sequence[str] = ()
    literature: Sequence["PublishedResult"] = ()

    @cached_property
    def quality(self) -> Objective:
        """What says how good the runs are: what most of them have measured and, of that, what says most."""
        measures = [run.measures for run in self.found]
        logged = sorted({name for names in measures for name in names if name.endswith(QUALITY_ENDINGS)})
        others = [Objective(name) for name in logged if not name.startswith(("train", "search/"))]
        own = [objective for objective in self._objectives if not objective.name.endswith(COSTS)]
        order = [Objective(ERROR), Objective(PERPLEXITY), *own, Objective(LOSS), *others]
        return max(order, key=lambda objective: sum(objective.name in names for names in measures))

    @cached_property
    def costs(self) -> list[Objective]:
        """What the quality is traded for: parameters, multiply-adds, latency, and what else the runs searched for.

        Each was measured of a candidate whose quality is known.
        """
        candidates = [candidate.values for run in self.found for candidate in run.candidates]
        measured = {name for values in candidates if self.quality.name in values for name in values}
        usual = [Objective(name) for name in COSTS]
        own = [other for other in self._objectives if not other.name.endswith(QUALITY_ENDINGS)]
        unique = {objective.name: objective for objective in [*own, *usual] if objective.name != self.quality.name}
        order = [name for name in COSTS if name in unique] + [name for name in unique if name not in COSTS]
        return [unique[name] for name in order if name in measured]

    @cached_property
    def runs(self) -> list[Run]:
        """The runs, best first; those without the quality last."""
        bests = [(run, run.best(self.quality)) for run in self.found]
        known = [(run, self.quality.sign * best) for run, best in bests if best is not None]
        return [run for run, _ in sorted(known, key=lambda pair: pair[1])] + [
            run for run, best in bests if best is None
        ]

    @property
    def _objectives(self) -> list[Objective]:
        return [objective for run in self.found for objective in run.objectives]
