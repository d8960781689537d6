"""Imports of packages that only some features need."""

from importlib import import_module
from typing import Any


def import_extra(module: str, extra: str) -> Any:
    """Import a module of an optional package.

    Args:
        module: The module, as in an import statement.
        extra: The extra of lightning-nas that installs it.

    Raises:
        ImportError: If it is not installed; the message says how to install it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"Expected the package {module.partition('.')[0]!r} but it is not installed; "
            f"pip install 'lightning-nas[{extra}]'"
        ) from error
