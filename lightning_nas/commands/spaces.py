"""``lightning-nas spaces``."""

from lightning_nas.spaces.registry import SPACES
from lightning_nas.zoo import ARCHITECTURES


def run_spaces() -> None:
    """Print the search spaces and the published architectures."""
    print("Search spaces")
    for name, make in SPACES.items():
        space = make()
        operations = sorted({str(c) for d in space.decisions if d.kind == "operation" for c in d.choices})
        print(f"  {name:12} {space.size:.3g} architectures of {', '.join(operations)}")
        if space.settings:
            setting, default = next(iter(space.settings.items()))
            print(f"  {'':12} settings, as in {name}?{setting}={default}: {', '.join(space.settings)}")
    print("Published architectures")
    for name, architecture in ARCHITECTURES.items():
        print(f"  {name:16} {architecture.provenance['source']}")
