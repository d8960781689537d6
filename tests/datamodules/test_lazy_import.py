import subprocess
import sys

import pytest

from lightning_nas import datamodules

CODE = """
import sys
import lightning_nas.datamodules as room
assert set(room.__all__) <= set(dir(room))
heavy = {"torch", "lightning", "pytorch_lightning", "torchvision", "sklearn", "numpy", "PIL"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def test_import_is_light() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True, timeout=60)


def test_all_names_resolve() -> None:
    for name in datamodules.__all__:
        assert getattr(datamodules, name).__name__ == name


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = datamodules.Nothing
