from pathlib import Path

import pytest

from lightning_nas.tables import Accuracies, NasBench201Table

TEXTS = [
    "|none~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|none~2|",
    "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|",
    "|nor_conv_1x1~0|+|none~0|none~1|+|none~0|nor_conv_1x1~1|none~2|",
]
HEADER = "index,architecture,cifar10_valid_accuracy,cifar10_test_accuracy"


@pytest.fixture
def table(tmp_path: Path) -> NasBench201Table:
    rows = zip(TEXTS, (50.5, 80.0, 70.0), (60.25, 85.0, 75.0), strict=True)
    lines = [HEADER, *(f"{number},{','.join(map(str, row))}" for number, row in enumerate(rows))]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    return NasBench201Table(tmp_path / "table.csv")


def test_accuracies_and_ranks(table: NasBench201Table) -> None:
    architectures = [table.space.from_string(text) for text in TEXTS]
    assert len(table) == 3
    assert table.look_up(architectures[0]) == Accuracies(50.5, 60.25)
    assert [table.rank(architecture) for architecture in architectures] == [3, 1, 2]
    assert table.validation_accuracies == [50.5, 80.0, 70.0]


def test_an_architecture_that_is_not_there(table: NasBench201Table) -> None:
    other = table.space.from_string(TEXTS[1].replace("nor_conv_3x3~0", "avg_pool_3x3~0"))
    with pytest.raises(KeyError, match="Expected an architecture of the table but got"):
        table.look_up(other)


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("architecture,accuracy\n")
    with pytest.raises(ValueError, match=r"lacks \['cifar10_test_accuracy', 'cifar10_valid_accuracy'\]"):
        NasBench201Table(tmp_path / "other.csv")
    (tmp_path / "empty.csv").write_text(HEADER + "\n")
    with pytest.raises(ValueError, match="to have a row for every architecture but it has none"):
        NasBench201Table(tmp_path / "empty.csv")
    with pytest.raises(FileNotFoundError):
        NasBench201Table(tmp_path / "missing.csv")
