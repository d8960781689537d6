"""Contract tests: inherit one of these classes in a pytest file, and your own space or method is tested as ours are."""

from lightning_nas.testing.search_module import SearchModuleContract
from lightning_nas.testing.space import SpaceContract

__all__ = ["SearchModuleContract", "SpaceContract"]
