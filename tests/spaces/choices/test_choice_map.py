"""Which choices a model holds: names, conditions, what is computed, and clashes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

from lightning_nas._lightning import pl
from lightning_nas.architecture import Decision
from lightning_nas.spaces import Choice, DecisionGroup, InputChoice, Mixture, OpChoice, RepeatChoice
from lightning_nas.spaces.choices.choice_map import ChoiceMap, merge_conditions, slot_names


def ops(*names: str, key: str | None = None, **modules: nn.Module) -> OpChoice:
    """Return a choice of identities, and of the modules that are given by name."""
    return OpChoice({**{name: nn.Identity() for name in names}, **modules}, key)


def named(**modules: nn.Module) -> nn.Module:
    return nn.ModuleDict(modules)


def keys(module: nn.Module) -> list[str]:
    return list(ChoiceMap(module).choices)


def found(module: nn.Module) -> list[tuple[str, str, dict[str, tuple[object, ...]], str | None]]:
    return [(p.path, p.key, dict(p.conditions), p.parent) for p in ChoiceMap(module).places]


class TestNames:
    def test_by_place(self) -> None:
        model = named(stem=nn.Sequential(nn.ReLU(), ops("a")), head=InputChoice(2))
        assert keys(model) == ["stem/1", "head"]

    def test_by_key(self) -> None:
        assert keys(named(stem=ops("a", key="first"), head=ops("a"))) == ["first", "head"]

    def test_nested(self) -> None:
        inner = nn.Sequential(ops("x"))
        model = named(blocks=ops("a", b=inner), deep=RepeatChoice(lambda: nn.Sequential(ops("y")), [2]))
        assert keys(model) == ["blocks", "blocks/b/0", "deep", "deep/0/0", "deep/1/0"]
        assert [place.path for place in ChoiceMap(model).places] == [
            "blocks",
            "blocks.candidates.b.0",
            "deep",
            "deep.blocks.0.0",
            "deep.blocks.1.0",
        ]

    def test_the_model_itself(self) -> None:
        assert keys(ops("a", b=ops("x"))) == ["choice", "b"]
        assert keys(RepeatChoice(lambda: ops("x"), [1])) == ["choice", "0"]

    def test_choices_know_their_names(self) -> None:
        own, keyed = ops("a"), ops("a", key="first")
        ChoiceMap(named(stem=nn.Sequential(own, keyed)))
        assert (own.name, keyed.name) == ("stem/0", "first")

    def test_slots(self) -> None:
        several = InputChoice(3, 2, "skips")
        assert slot_names("skips", several) == ("skips/0", "skips/1")
        assert slot_names("skips", InputChoice(3)) == ("skips",)
        choices = ChoiceMap(named(a=several, b=ops("x", "y", key="op"), c=RepeatChoice(nn.Identity, (2, 4), "depth")))
        assert choices.decisions == (
            Decision("skips/0", (0, 1, 2), "input"),
            Decision("skips/1", (0, 1, 2), "input"),
            Decision("op", ("x", "y"), "operation"),
            Decision("depth", (2, 4), "number"),
        )
        assert choices.groups == (
            DecisionGroup("skips", ("skips/0", "skips/1"), ("0", "1", "2")),
            DecisionGroup("op", ("op",), ("x", "y")),
            DecisionGroup("depth", ("depth",), ("2", "4")),
        )


class TestPlaces:
    def test_shared_keys(self) -> None:
        assert found(named(one=ops("a", key="k"), two=ops("a", key="k"))) == [
            ("one", "k", {}, None),
            ("two", "k", {}, None),
        ]

    def test_one_module_in_two_places_is_one_choice(self) -> None:
        shared = ops("x")
        assert found(named(one=shared, two=ops("a", b=shared))) == [
            ("one", "one", {}, None),
            ("two", "two", {}, None),
            ("two.candidates.b", "one", {"two": ("b",)}, "two"),
        ]

    def test_container_in_two_places(self) -> None:
        shared = nn.Sequential(ops("x"))
        assert found(named(one=shared, two=shared)) == [("one.0", "one/0", {}, None), ("two.0", "one/0", {}, None)]

    def test_three_levels(self) -> None:
        model = ops("n", m=ops("x", y=ops("u", key="inner"), key="middle"), key="outer")
        assert found(model)[1:] == [
            ("candidates.m", "middle", {"outer": ("m",)}, "outer"),
            ("candidates.m.candidates.y", "inner", {"outer": ("m",), "middle": ("y",)}, "middle"),
        ]

    def test_depth_of_a_repeat(self) -> None:
        model = named(r=RepeatChoice(lambda index: ops("x", key=f"k{index}"), (1, 3)))
        assert found(model)[1:] == [
            ("r.blocks.0", "k0", {"r": (1, 3)}, "r"),
            ("r.blocks.1", "k1", {"r": (3,)}, "r"),
            ("r.blocks.2", "k2", {"r": (3,)}, "r"),
        ]

    def test_a_key_nested_in_itself(self) -> None:
        """Only the candidate of the outer choice that is chosen inside, too, can ever be computed."""
        innermost = ops("x")
        model = ops("a", key="k", b=ops("a", key="k", b=nn.Sequential(ops("x")), c=innermost), c=nn.Identity())
        assert found(model) == [
            ("", "k", {}, None),
            ("candidates.b", "k", {"k": ("b",)}, "k"),
            ("candidates.b.candidates.b.0", "b/b/0", {"k": ("b",)}, "k"),
            ("candidates.b.candidates.c", "b/c", {"k": ()}, "k"),
        ]

    def test_conditions_of_parameters(self) -> None:
        inner = ops(x=nn.Linear(1, 1), y=nn.Identity(), key="inner")
        model = named(stem=nn.Linear(1, 1), outer=ops("a", b=nn.Sequential(nn.Linear(1, 1), inner)))
        choices = ChoiceMap(model)
        assert choices.conditions("stem.weight") == {}
        assert choices.conditions("outer.candidates.b.0.weight") == {"outer": ("b",)}
        assert choices.conditions("outer.candidates.b.1.candidates.x.bias") == {"outer": ("b",), "inner": ("x",)}

    def test_names_that_begin_alike(self) -> None:
        model = named(op=ops("a", "b"), op2=ops("a", "b"))
        assert found(model) == [("op", "op", {}, None), ("op2", "op2", {}, None)]
        assert ChoiceMap(model).conditions("op2.candidates.a.weight") == {"op2": ("a",)}

    def test_what_is_on_a_choice_itself(self) -> None:
        class Tempered(OpChoice):
            def __init__(self) -> None:
                super().__init__({"a": nn.Identity(), "b": ops("x")})
                self.temperature = nn.Parameter(torch.ones(1))
                self.gate = nn.Sequential(ops("open", "shut"))

        choices = ChoiceMap(named(outer=ops("n", m=Tempered())))
        assert choices.conditions("outer.candidates.m.temperature") == {"outer": ("m",)}
        assert choices.conditions("outer.candidates.m.gate.0.weight") == {"outer": ("m",)}
        assert choices.conditions("outer.candidates.m.candidates.b.weight") == {"outer": ("m",), "outer/m": ("b",)}
        assert list(choices.choices) == ["outer", "outer/m", "outer/m/b", "outer/m/gate/0"]

    def test_observed_branches(self) -> None:
        op, repeat = ops("a", "b"), RepeatChoice(nn.Identity, (0, 1, 2))
        choices, seen = ChoiceMap(named(op=op, again=op, repeat=repeat, skip=InputChoice(2))), []

        @contextmanager
        def observer(key: str, values: tuple[object, ...]) -> Iterator[None]:
            seen.append((key, values))
            yield

        with choices.observed(observer):
            repeat(op(torch.ones(1)))
        repeat(op(torch.ones(1)))
        assert seen == [("op", ("a",)), ("op", ("b",)), ("repeat", (1, 2)), ("repeat", (2,))]

    def test_merged_conditions(self) -> None:
        before = {"k": (1, 2, 4)}
        assert merge_conditions(before, "k", (4, 2)) == {"k": (2, 4)}
        assert merge_conditions(before, "other", ("a",)) == {"k": (1, 2, 4), "other": ("a",)}
        assert before == {"k": (1, 2, 4)}


class TestComputed:
    model = named(
        outer=ops("a", key="outer", b=ops("x", key="inner", y=nn.Sequential(InputChoice(2, key="skip")))),
        deep=RepeatChoice(lambda index: ops("u", "v", key=f"block{index}"), (0, 2), key="deep"),
        more=ops("n", key="more", m=ops("x", key="inner", y=nn.Sequential(InputChoice(2, key="skip")))),
    )

    @pytest.mark.parametrize(
        ("outer", "inner", "deep", "more", "expected"),
        [
            ("a", "x", 0, "n", []),
            ("b", "x", 0, "n", ["inner"]),
            ("b", "y", 0, "n", ["inner", "skip"]),
            ("a", "y", 2, "n", ["block0", "block1"]),
            ("a", "y", 0, "m", ["inner", "skip"]),
            ("b", "y", 2, "m", ["inner", "skip", "block0", "block1", "inner", "skip"]),
        ],
    )
    def test_by_hand(self, outer: str, inner: str, deep: int, more: str, expected: Sequence[str]) -> None:
        values: dict[str, str | int] = {
            "outer": outer,
            "inner": inner,
            "deep": deep,
            "more": more,
            "skip": 1,
            "block0": "u",
            "block1": "v",
        }
        computed = [place.key for place in ChoiceMap(self.model).computed(values)]
        assert [key for key in computed if key not in ("outer", "deep", "more")] == expected
        assert {"outer", "deep", "more"} <= set(computed)

    def test_any_of_several_slots_is_enough(self) -> None:
        class Sides(InputChoice):
            """Computes a module for each tensor."""

            container = "sides"

            def __init__(self) -> None:
                super().__init__(3, 2, "sides")
                self.sides = nn.ModuleList(ops("x", "y", key=f"side{index}") for index in range(3))

            def leads_to(self, branch: str) -> tuple[int, ...]:
                return (int(branch),)

        values: dict[str, str | int] = {"sides/0": 2, "sides/1": 0, "side0": "x", "side1": "x", "side2": "x"}
        computed = ChoiceMap(named(s=Sides())).computed(values)
        assert [place.key for place in computed] == ["sides", "side0", "side2"]


class TestChosen:
    choices = ChoiceMap(named(op=ops("a", "b"), skips=InputChoice(3, 2, reduction="concat")))

    def test_by_key(self) -> None:
        assert self.choices.chosen({"op": "b", "skips/0": 2, "skips/1": 0}) == {"op": ("b",), "skips": (2, 0)}

    def test_one_input_twice(self) -> None:
        with pytest.raises(ValueError, match=r"Expected different inputs for choice 'skips' but got \(1, 1\)"):
            self.choices.chosen({"op": "b", "skips/0": 1, "skips/1": 1})

    def test_mixtures(self) -> None:
        mixtures = self.choices.mixtures({"op": "b", "skips/0": 2, "skips/1": 0})
        assert {key: mixture.weights.tolist() for key, mixture in mixtures.items()} == {
            "op": [[0, 1]],
            "skips": [[0, 0, 1], [1, 0, 0]],
        }
        assert (mixtures["op"].active, mixtures["skips"].active) == (((1,),), ((2,), (0,)))


class TestDiscretize:
    @staticmethod
    def skips(table: list[list[float]], reduction: str) -> list[object]:
        choice = InputChoice(3, len(table), "skips", reduction=reduction)  # type: ignore[arg-type]
        return list(ChoiceMap(named(s=choice)).discretize({"skips": torch.tensor(table)}).values())

    def test_strongest_candidate(self) -> None:
        choices = ChoiceMap(named(op=ops("a", "b", "c"), deep=RepeatChoice(nn.Identity, (4, 0))))
        tables = {"op": torch.tensor([[0.2, 0.5, 0.3]]), "deep": torch.tensor([[-1.0, 2.0]])}
        assert choices.discretize(tables) == {"op": "b", "deep": 0}

    def test_ties_go_to_the_earlier_candidate(self) -> None:
        assert ChoiceMap(named(op=ops("a", "b", "c"))).discretize({"op": torch.tensor([[1, 2, 2]])}) == {"op": "b"}

    def test_no_input_twice_and_the_strongest_entry_decides_first(self) -> None:
        table = [[0.6, 0.4, 0.0], [0.9, 0.1, 0.0]]
        assert self.skips(table, "concat") == [1, 0]
        assert self.skips(table, "sum") == [0, 1]
        assert self.skips([[0.9, 0.1, 0.0], [0.8, 0.1, 0.15]], "concat") == [0, 2]

    def test_not_finite(self) -> None:
        choices = ChoiceMap(named(op=ops("a", "b")))
        with pytest.raises(ValueError, match="Expected finite weights for choice 'op' but got NaN or infinity"):
            choices.discretize({"op": torch.tensor([[0.0, torch.nan]])})


class TestSetMixtures:
    def test_each_choice_gets_that_of_its_key(self) -> None:
        one, two, other = ops("a", "b", key="k"), ops("a", "b", key="k"), ops("a", "b")
        choices, mixture = ChoiceMap(named(one=one, two=two, other=other)), Mixture(torch.tensor([[1.0, 0.0]]))
        choices.set_mixtures({"k": mixture})
        assert one.mixture is two.mixture is mixture
        assert other.mixture is None
        choices.set_mixtures({})
        assert one.mixture is two.mixture is None

    @pytest.mark.parametrize("shape", [(1, 2), (2, 3)])
    def test_of_another_shape(self, shape: tuple[int, int]) -> None:
        choices = ChoiceMap(named(op=ops("a", "b", "c")))
        with pytest.raises(ValueError, match=r"a mixture of shape \(1, 3\) for choice 'op' but got \(\d, \d\)"):
            choices.set_mixtures({"op": Mixture(torch.zeros(shape))})


def alike(first: Choice, second: Choice) -> None:
    with pytest.raises(ValueError, match=r"Expected choices of key 'k' to be alike but got .* and, at 'two', "):
        ChoiceMap(named(one=first, two=second))


class TestRefused:
    def test_no_choice(self) -> None:
        with pytest.raises(ValueError, match=r"Expected Sequential to hold an OpChoice.* use nn.ModuleList"):
            ChoiceMap(nn.Sequential(nn.ReLU()))

    def test_choices_in_a_plain_list(self) -> None:
        model = nn.Identity()
        model.hidden = [ops("a")]  # type: ignore[assignment]
        with pytest.raises(ValueError, match="a plain list, `hidden` of Identity"):
            ChoiceMap(model)

    @pytest.mark.parametrize(
        "held", [[ops("a")], (nn.Identity(), nn.Sequential(ops("a"))), {"x": [1, {"y": ops("a")}]}, {ops("a")}]
    )
    def test_choices_that_torch_does_not_see(self, held: Any) -> None:
        """Next to others that are found; the built model would keep them."""
        model = named(body=nn.Sequential(ops("a")))
        model.body.hidden = held  # type: ignore[union-attr]
        kind = type(held).__name__
        with pytest.raises(ValueError, match=f"ModuleDict but got one in a plain {kind}, `body.hidden` of ModuleDict"):
            ChoiceMap(model)

    def test_lists_of_what_is_registered_or_no_choice(self) -> None:
        choice = ops("a")
        model = named(body=nn.Sequential(choice))
        model.again = [choice, model.body]  # type: ignore[assignment]
        model.more = [nn.ReLU(), 3, "text", torch.ones(1)]  # type: ignore[assignment]
        assert list(ChoiceMap(model).choices) == ["body/0"]

    @pytest.mark.filterwarnings("ignore:Attribute 'network' is an instance of `nn.Module`")
    def test_copies_that_lightning_keeps_as_hyperparameters(self) -> None:
        class Project(pl.LightningModule):
            def __init__(self, network: nn.Module) -> None:
                super().__init__()
                self.save_hyperparameters()
                self.network = network

        project = Project(nn.Sequential(ops("a")))
        assert project.hparams_initial["network"] is not project.network
        assert list(ChoiceMap(project).choices) == ["network/0"]

    def test_different_choices_of_one_key(self) -> None:
        alike(ops("a", "b", key="k"), ops("a", "c", key="k"))
        alike(ops("a", "b", key="k"), ops("b", "a", key="k"))
        alike(InputChoice(3, 1, "k"), InputChoice(3, 2, "k"))
        alike(InputChoice(3, 2, "k"), InputChoice(3, 2, "k", reduction="concat"))
        alike(RepeatChoice(nn.Identity, (0, 1), "k"), InputChoice(2, key="k"))

    def test_a_key_that_is_the_place_of_another_choice(self) -> None:
        with pytest.raises(
            ValueError, match=r"`key` to differ from the names of other choices but got \['a/0'\] twice"
        ):
            ChoiceMap(named(a=nn.Sequential(ops("x")), b=ops("x", key="a/0")))

    def test_a_key_that_is_the_slot_of_another_choice(self) -> None:
        with pytest.raises(ValueError, match=r"keys that make different decisions but got \['skips/1'\] twice"):
            ChoiceMap(named(a=InputChoice(3, 2, "skips"), b=ops("x", key="skips/1")))

    @pytest.mark.parametrize("key", ["values", "training"])
    def test_reserved_names(self, key: str) -> None:
        """Methods keep a parameter per key in a ``ParameterDict``."""
        with pytest.raises(ValueError, match=rf"no method's name but got \['{key}'\]; give the choice another `key`"):
            ChoiceMap(named(a=ops("x", key=key)))

    def test_reserved_places(self) -> None:
        model = nn.Module()
        model.items = ops("x")
        with pytest.raises(ValueError, match=r"no method's name but got \['items'\]; give the choice another `key`"):
            ChoiceMap(model)
