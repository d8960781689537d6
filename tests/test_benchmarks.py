from pathlib import Path

from benchmarks.darts_on_nasbench201 import Found, look_up
from lightning_nas.tables import NasBench201Table

ROWS = """index,architecture,cifar10_valid_accuracy,cifar10_test_accuracy
0,|none~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|none~2|,50.5,60.25
1,|nor_conv_3x3~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|,80.0,85.0
2,|nor_conv_1x1~0|+|none~0|none~1|+|none~0|nor_conv_1x1~1|none~2|,70.0,75.0
"""


def test_a_found_architecture_is_looked_up_with_its_rank(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(ROWS)
    table = NasBench201Table(tmp_path / "table.csv")
    texts = [line.split(",")[1] for line in ROWS.splitlines()[1:]]
    found = [look_up(table, table.space.from_string(text), seed=7) for text in texts]
    assert found[0] == Found(7, texts[0], 50.5, 60.25, rank=3, skips=2)
    assert [row.rank for row in found] == [3, 1, 2]
