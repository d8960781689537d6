"""Decisions and architectures: values, equality, files."""

import copy
import json
import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_nas.architecture import FORMAT, VERSION, Architecture, Decision

ARCHITECTURE = Architecture(
    "toy",
    {"activation": "relu", "width": 64, "dropout": 0.5, "bias": True},
    provenance={"method": "DartsModule", "seed": 2, "history": [1, 2]},
    metrics={"val/accuracy": 0.9},
)

json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
choices = st.text() | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
architectures = st.builds(
    Architecture,
    st.text(),
    st.dictionaries(st.text(), choices, max_size=4),
    st.dictionaries(st.text(), json_data, max_size=3),
    st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=3),
)


class TestDecision:
    @pytest.mark.parametrize(
        ("value", "allowed"), [(1, True), (True, False), (1.0, False), ("1", False), (None, False)]
    )
    def test_values_of_another_type_are_other_values(self, value: object, allowed: bool) -> None:
        assert Decision("width", (0, 1), "number").allows(value) is allowed

    def test_flags_are_no_numbers(self) -> None:
        assert Decision("bias", (False, True), "flag").allows(True)
        assert not Decision("bias", (False, True), "flag").allows(1)

    @pytest.mark.parametrize("choices", [(), ("relu", "relu"), (1, True)])
    def test_choices_must_be_distinct(self, choices: tuple[Any, ...]) -> None:
        with pytest.raises(ValueError, match="Expected distinct choices for decision 'activation' but got"):
            Decision("activation", choices, "operation")


class TestEquality:
    def test_provenance_and_metrics_do_not_count(self) -> None:
        bare = Architecture("toy", dict(ARCHITECTURE.values))
        assert bare == ARCHITECTURE
        assert hash(bare) == hash(ARCHITECTURE)
        assert len({bare, ARCHITECTURE}) == 1

    def test_order_of_the_values_does_not_count(self) -> None:
        turned = Architecture("toy", dict(list(ARCHITECTURE.values.items())[::-1]))
        assert turned == ARCHITECTURE
        assert hash(turned) == hash(ARCHITECTURE)

    @pytest.mark.parametrize(
        "other",
        [
            Architecture("another", dict(ARCHITECTURE.values)),
            Architecture("toy", {**ARCHITECTURE.values, "width": 65}),
            Architecture("toy", {**ARCHITECTURE.values, "more": 1}),
            Architecture("toy", {}),
        ],
    )
    def test_space_and_values_count(self, other: Architecture) -> None:
        assert other != ARCHITECTURE

    def test_repr_shows_what_counts(self) -> None:
        assert repr(Architecture("toy", {"width": 1}, {"seed": 2})) == "Architecture('toy', {'width': 1})"


class TestImmutability:
    @pytest.mark.parametrize("name", ["space", "values", "new"])
    def test_attributes_cannot_be_set(self, name: str) -> None:
        with pytest.raises(FrozenInstanceError):
            setattr(ARCHITECTURE, name, "another")

    @pytest.mark.parametrize("name", ["values", "provenance", "metrics"])
    def test_mappings_cannot_be_changed(self, name: str) -> None:
        with pytest.raises(TypeError, match="does not support item assignment"):
            getattr(ARCHITECTURE, name)["new"] = 1

    def test_the_callers_dictionaries_are_copied(self) -> None:
        values: dict[str, Any] = {"width": 64}
        architecture = Architecture("toy", values, metrics=(metrics := {"loss": 1.0}))
        values["width"], metrics["loss"] = 1, 2.0
        assert (architecture.values["width"], architecture.metrics["loss"]) == (64, 1.0)

    def test_to_dict_gives_copies(self) -> None:
        ARCHITECTURE.to_dict()["values"]["width"] = 1
        assert ARCHITECTURE.values["width"] == 64


class TestValues:
    @pytest.mark.parametrize("value", [None, [1], {"a": 1}, float("nan"), float("inf"), (1,)])
    def test_choices_are_plain(self, value: Any) -> None:
        with pytest.raises(ValueError, match="a string, number or flag for decision 'width' but got"):
            Architecture("toy", {"width": value})

    @pytest.mark.parametrize("value", [float("nan"), float("-inf"), "0.9", None])
    def test_metrics_are_finite_numbers(self, value: Any) -> None:
        with pytest.raises(ValueError, match="a finite number for metric 'val/accuracy' but got"):
            Architecture("toy", {}, metrics={"val/accuracy": value})


def same(one: Architecture, other: Architecture) -> bool:
    """Return whether all is equal: types, provenance and metrics too."""
    return one.to_dict() == other.to_dict() and repr(one) == repr(other)


class TestCopies:
    @pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
    def test_keep_everything(self, again: Any) -> None:
        assert same(again(ARCHITECTURE), ARCHITECTURE)
        with pytest.raises(TypeError):
            again(ARCHITECTURE).values["width"] = 1

    def test_deepcopy_shares_nothing(self) -> None:
        copied = copy.deepcopy(ARCHITECTURE)
        copied.provenance["history"].append(3)
        assert ARCHITECTURE.provenance["history"] == [1, 2]

    @settings(database=None, deadline=None)
    @given(architectures)
    def test_json_keeps_everything(self, architecture: Architecture) -> None:
        text = json.dumps(architecture.to_dict(), allow_nan=False)
        again = Architecture.from_dict(json.loads(text))
        assert same(again, architecture)
        assert again == architecture
        assert hash(again) == hash(architecture)


class TestFile:
    def test_both_ways(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "folder" / "architecture.json"
        ARCHITECTURE.save(path)
        assert same(Architecture.load(path), ARCHITECTURE)
        assert same(Architecture.load(str(path)), ARCHITECTURE)
        assert [entry.name for entry in path.parent.iterdir()] == ["architecture.json"]

    def test_content_is_plain_json_with_a_version(self, tmp_path: Path) -> None:
        ARCHITECTURE.save(tmp_path / "a.json")
        data = json.loads((tmp_path / "a.json").read_text())
        assert (data["format"], data["version"]) == ("lightning-nas architecture", 1) == (FORMAT, VERSION)
        assert data["values"] == {"activation": "relu", "width": 64, "dropout": 0.5, "bias": True}

    def test_saving_replaces(self, tmp_path: Path) -> None:
        ARCHITECTURE.save(tmp_path / "a.json")
        Architecture("toy", {"width": 1}).save(tmp_path / "a.json")
        assert Architecture.load(tmp_path / "a.json").values == {"width": 1}

    @pytest.mark.parametrize("provenance", [{"tensor": object()}, {"loss": float("nan")}])
    def test_what_cannot_be_written_leaves_the_old_file(self, provenance: dict[str, Any], tmp_path: Path) -> None:
        ARCHITECTURE.save(tmp_path / "a.json")
        with pytest.raises((TypeError, ValueError)):
            Architecture("toy", {}, provenance).save(tmp_path / "a.json")
        assert same(Architecture.load(tmp_path / "a.json"), ARCHITECTURE)

    def test_an_interrupted_write_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        ARCHITECTURE.save(tmp_path / "a.json")

        def half(path: Path, text: str, **_: Any) -> None:
            path.write_bytes(text.encode()[: len(text) // 2])
            raise OSError("disk full")

        monkeypatch.setattr(Path, "write_text", half)
        with pytest.raises(OSError, match="disk full"):
            Architecture("toy", {"width": 1}).save(tmp_path / "a.json")
        monkeypatch.undo()
        assert same(Architecture.load(tmp_path / "a.json"), ARCHITECTURE)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
            Architecture.load(tmp_path / "nowhere.json")


def changed(**entries: Any) -> str:
    return json.dumps({**ARCHITECTURE.to_dict(), **entries})


def without(key: str) -> str:
    return json.dumps({name: value for name, value in ARCHITECTURE.to_dict().items() if name != key})


class TestBadFiles:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (changed()[:60], "hold an architecture as JSON but got damaged text"),
            ("", "hold an architecture as JSON but got damaged text"),
            ("[1, 2]", '"format": "lightning-nas architecture" but got list'),
            ("null", "but got NoneType"),
            ('{"weights": 1}', "but got format None"),
            (changed(format="another"), "but got format 'another'"),
            (changed(version=2), "format version 1 but got 2; a file of a newer lightning-nas needs a newer"),
            (without("version"), "format version 1 but got None"),
            (changed(space=3), "'space' of an architecture to be a str but got 3"),
            *(
                (without(k), f"'{k}' of an architecture to be a .* None")
                for k in ("space", "values", "provenance", "metrics")
            ),
            (changed(values=["relu"]), r"'values' of an architecture to be a dict but got \['relu'\]"),
            (changed(values={"width": [1]}), r"for decision 'width' but got \[1\]"),
            (changed(metrics={"loss": float("nan")}), "a finite number for metric 'loss' but got nan"),
        ],
    )
    def test_message_names_file_and_reason(self, content: str, message: str, tmp_path: Path) -> None:
        path = tmp_path / "bad.json"
        path.write_text(content)
        with pytest.raises(ValueError, match=rf"(?s)bad\.json.*{message}"):
            Architecture.load(path)

    def test_binary_file(self, tmp_path: Path) -> None:
        (tmp_path / "bad.json").write_bytes(b"PK\x03\x04\xff\xfe")
        with pytest.raises(ValueError, match=r"bad\.json to hold an architecture as JSON but got damaged text"):
            Architecture.load(tmp_path / "bad.json")

    def test_from_dict_without_a_file(self) -> None:
        with pytest.raises(ValueError, match=r"^Expected a dictionary .* but got str"):
            Architecture.from_dict("DARTS_V2")
