import subprocess
import sys

CODE = """
import sys
import lightning_nas.plotting
from lightning_nas.zoo import results
print("matplotlib.pyplot" in sys.modules, results._results.cache_info().currsize)
"""


def test_no_pyplot_is_loaded_and_no_table_is_read() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout == "False 0\n"
