"""Contract tests: inherit one of these classes in a pytest file, and your own space or method is tested as ours are."""

from lightning_nas.testing.search_module import SearchModuleContract
from lightning_nas.testing.space import SpaceContract
from lightning_nas.testing.strategy import StrategyContract

__all__ = ["SearchModuleContract", "SpaceContract", "StrategyContract"]
