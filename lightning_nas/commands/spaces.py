"""``lightning-nas spaces``."""

from lightning_nas.spaces.registry import SPACES
from lightning_nas.zoo import ARCHITECTURES


def run_spaces() -> None:
    """Print the search spaces and the published architectures."""
    print("Search spaces")
    for name, make in SPACES.items():
        space = make()
        candidates = sorted({candidate for group in space.groups for candidate in group.candidates})
        print(f"  {name:12} {space.size:.3g} architectures of {', '.join(candidates)}")
        if space.settings:
            print(f"  {'':12} settings, as in {name}?nodes=2: {', '.join(space.settings)}")
    print("Published architectures")
    for name, architecture in ARCHITECTURES.items():
        print(f"  {name:16} {architecture.provenance['source']}")
