import csv
from collections import Counter
from dataclasses import asdict
from math import isnan
from pathlib import Path

import pytest

import lightning_nas.zoo
from lightning_nas.objective import Objective
from lightning_nas.plotting import plot_fronts, published_points
from lightning_nas.zoo import PublishedResult, published_results
from tests.plotting.legibility import assert_legible

ERROR, ACCURACY, PERPLEXITY = (Objective(f"test/{name}") for name in ("error", "accuracy", "perplexity"))
PARAMS, MACS = Objective("params"), Objective("macs")


def find(dataset: str, table: str, model: str) -> PublishedResult:
    (found,) = (r for r in published_results(dataset) if r.table.startswith(table) and r.model.startswith(model))
    return found


class TestRows:
    def test_there_are_as_many_as_in_the_papers_tables(self) -> None:
        counts = {
            "CIFAR-10": 85,
            "CIFAR-100": 7,
            "ImageNet mobile": 19,
            "ImageNet large": 9,
            "Penn Treebank": 24,
        }
        assert Counter(result.dataset for result in published_results()) == counts
        assert {name: len(published_results(name)) for name in counts} == counts
        assert len(published_results()) == sum(counts.values())

    def test_they_are_those_of_the_file(self) -> None:
        lines = (Path(lightning_nas.zoo.__file__).parent / "results.csv").read_text().splitlines()
        assert len(published_results()) == len(lines) - 1
        for row, result in zip(csv.DictReader(lines), published_results(), strict=True):
            told = {k: str(v) for k, v in asdict(result).items() if isinstance(v, str) and v}
            assert told == {k: v for k, v in row.items() if k in asdict(result) and v and k in told}
            assert [(result.params or 0) / 1e6, (result.macs or 0) / 1e6] == pytest.approx(
                [float(row["params_m"] or 0), float(row["mult_adds_m"] or 0)]
            )

    def test_pnasnet_5(self) -> None:
        assert find("CIFAR-10", "PNAS", "PNASNet-5") == PublishedResult(
            dataset="CIFAR-10",
            table="PNAS (Liu 2018) table 3",
            model="PNASNet-5 B=5 N=3 F=48",
            metric="test error %",
            value=3.41,
            search_type="SMBO",
            params=3_200_000,
            std=0.09,
            note="M1=1160 E1=0.9M cost 1.0B examples; 15 trials",
        )

    def test_other_rows_by_hand(self) -> None:
        darts = find("CIFAR-10", "DARTS", "DARTS (second order)")
        assert (darts.params, darts.value, darts.std, darts.gpu_days) == (3_400_000, 2.83, 0.06, 4)
        enas = find("CIFAR-10", "ENAS", "ENAS micro + CutOut")
        assert (enas.params, enas.value, enas.gpus, enas.gpu_days) == (4_600_000, 2.89, 1, 0.45)
        amoeba = find("ImageNet large", "PNAS", "AmoebaNet-C")
        assert (amoeba.params, amoeba.macs, amoeba.value, amoeba.value_2) == (155_300_000, 41_100_000_000, 83.1, 96.3)
        network_in_network = find("CIFAR-10", "NAS", "Network in Network")
        assert (network_in_network.params, network_in_network.search_type) == (None, None)
        assert find("Penn Treebank", "NAS", "LSTM large").perplexity == 78.4

    def test_types_and_ranges(self) -> None:
        types = {"manual", "RL", "evolution", "SMBO", "gradient-based", "one-shot", "random", "growth", None}
        for result in published_results():
            assert all(isinstance(text, str) for text in (result.dataset, result.table, result.model, result.note))
            assert all(type(n) is int and n > 0 for n in (result.params, result.macs, result.gpus) if n is not None)
            numbers = (result.value, result.std, result.value_2, result.gpu_days)
            assert all(type(n) is float and n > 0 for n in numbers if n is not None)
            assert result.search_type in types
            assert (result.error is None) == (result.dataset == "Penn Treebank") == (result.perplexity is not None)

    def test_errors_are_fractions_whatever_the_table_prints(self) -> None:
        assert find("CIFAR-10", "PNAS", "PNASNet-5").error == pytest.approx(0.0341)
        assert find("ImageNet mobile", "PNAS", "PNASNet-5").error == pytest.approx(0.258)  # 74.2 % are right
        assert find("ImageNet mobile", "DARTS", "PNAS").error == pytest.approx(0.258)

    def test_selection_by_search_type(self) -> None:
        found = published_results("CIFAR-100", "evolution")
        assert [result.model for result in found] == ["Real et al. (2017)", "Elsken et al. (2017)"]
        assert {result.dataset for result in published_results(search_type="SMBO")} == {
            "CIFAR-10",
            "ImageNet mobile",
            "ImageNet large",
        }

    def test_unknown_names_are_errors(self) -> None:
        with pytest.raises(ValueError, match=r"Expected `dataset` to be one of \['CIFAR-10', .*but got 'cifar10'"):
            published_results("cifar10")
        with pytest.raises(ValueError, match=r"Expected `search_type` to be one of \['RL', .*but got 'rl'"):
            published_results(search_type="rl")


class TestPoints:
    RESULTS = (
        PublishedResult("D", "t", "Small (Who 2018a)", "test error %", 5.0, params=1_000_000),
        PublishedResult("D", "t", "Large", "top-1 accuracy %", 97.0, params=3_000_000, macs=9_000_000),
        PublishedResult("D", "t", "Worse", "test error %", 6.0, params=2_000_000),
        PublishedResult("D", "u", "Small again", "test error %", 5.0, params=1_000_000),
        PublishedResult("D", "t", "Silent", "test error %", 1.0),
    )

    def test_values_labels_and_front(self) -> None:
        points = published_points(self.RESULTS, [ERROR, PARAMS], "the literature")
        assert points.name == "the literature"
        assert [list(row) for row in points.values] == [[0.05, 1e6], [0.03, 3e6], [0.06, 2e6]]
        assert list(points.labels) == ["Small", "Large", "Worse"]
        assert points.on_front == [True, True, False]

    def test_accuracies(self) -> None:
        points = published_points(self.RESULTS, [ACCURACY, PARAMS])
        assert [row[0] for row in points.values] == pytest.approx([0.95, 0.97, 0.94])
        assert points.on_front == [True, True, False]

    def test_what_is_not_told_is_nan(self) -> None:
        points = published_points(self.RESULTS, [ERROR, PARAMS, MACS])
        assert [isnan(row[2]) for row in points.values] == [True, False, True]
        assert points.on_front == [False, True, False]

    def test_perplexities(self) -> None:
        points = published_points(published_results("Penn Treebank"), [PERPLEXITY, PARAMS])
        best = [list(row) for row, member in zip(points.values, points.on_front, strict=True) if member]
        assert [62.4, 54e6] in best
        assert [64.0, 25e6] in best

    @pytest.mark.parametrize("objectives", [[ERROR, Objective("latency")], [PERPLEXITY, PARAMS], [PARAMS, ERROR]])
    def test_nothing_left_is_an_error(self, objectives: list[Objective]) -> None:
        results = self.RESULTS[-1:] if objectives[0] == PARAMS else self.RESULTS
        with pytest.raises(ValueError, match="Expected results that tell the first objective and another one"):
            published_points(results, objectives)

    @pytest.mark.parametrize("dataset", ["CIFAR-10", "CIFAR-100", "ImageNet mobile", "ImageNet large"])
    def test_pictures_are_legible(self, dataset: str) -> None:
        cost = PARAMS if "CIFAR" in dataset else MACS
        known = published_points(published_results(dataset), [ERROR, cost])
        assert_legible(plot_fronts([], [ERROR, cost], background=known))
        assert_legible(plot_fronts([known], [ERROR, cost]))
