"""The networks of Petridish (Hu et al. 2019, arXiv 1905.13360): seeds, what grows from them, and hallucinations."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_nas.checks import check_fraction, check_scale
from lightning_nas.operations.drop_path import DropPath
from lightning_nas.operations.weak_learner import absolute_sum, initial_alpha
from lightning_nas.spaces.auxiliary import AuxiliaryLogits
from lightning_nas.spaces.cell_plan import check_images
from lightning_nas.spaces.nasnet_network import NasnetAuxiliaryHead
from lightning_nas.spaces.petridish_cell import PetridishCell
from lightning_nas.spaces.petridish_plan import Growth, Mode, Place, Terms, arrange_cells, plan_petridish_cells

# what a child or a hallucination may have and its parent not: nodes, learners and what prepares their inputs
NEW = re.compile(r"alphas\.|cells\.\d+\.(learners|nodes|preprocess\.0)\.")
# what of it was its weak learner's
LEARNED = re.compile(r"(cells\.\d+)\.(?:nodes\.\d+\.paths\.)?((?:operations|preprocess\.0)\..*)")


@dataclass(frozen=True)
class PetridishScale:
    """Size of a network; ``PetridishSpace.build`` explains the values.

    Raises:
        ValueError: If a size is no positive whole number, or ``drop_path`` not in [0, 1).
    """

    mode: Mode
    cells: int
    filters: int
    repeat: int
    classes: int
    in_channels: int
    drop_path: float
    auxiliary_size: int | None  # of the images that the auxiliary classifier is made for

    def __post_init__(self) -> None:
        sizes = {name: value for name, value in vars(self).items() if name not in ("mode", "drop_path")}
        check_scale(**{name: value for name, value in sizes.items() if value is not None})
        check_fraction("drop_path", self.drop_path, zero_allowed=True)


class PetridishNetwork(nn.Module):
    """The network of an architecture, with weak learners where there are candidates.

    Build it with ``PetridishSpace.build`` or ``PetridishSpace.hallucinate``.

    ``places`` are those of the weak learners, ``candidates`` what each of them consists of, ``alphas`` their weights,
    in the same order. Alphas are shared by all cells of a place, operations are not.

    Args:
        growth: What has grown.
        scale: Size of the network.
        places: Where there are weak learners; one place may have several.
        candidates: What each of them consists of.
    """

    def __init__(
        self, growth: Growth, scale: PetridishScale, places: Sequence[Place] = (), candidates: Sequence[Terms] = ()
    ) -> None:
        super().__init__()
        self.growth, self.scale = growth, scale
        self.places, self.candidates = tuple(places), tuple(candidates)
        plans = list(plan_petridish_cells(list(arrange_cells(scale.mode, scale.cells, scale.repeat)), scale.filters))
        width = plans[-1].channels
        stem = nn.Conv2d(scale.in_channels, 3 * scale.filters, 3, padding=1, bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm2d(3 * scale.filters))
        self.cells = nn.ModuleList(
            PetridishCell(
                plan,
                growth.get(plan.place, ()),
                {k: self.candidates[k] for k, place in enumerate(self.places) if place == plan.place},
                # a path is dropped the more often the deeper it lies: in the last cell as often as asked for
                DropPath(scale.drop_path, scale=(index + 1) / len(plans)),
            )
            for index, plan in enumerate(plans)
        )
        self.alphas = nn.ParameterList(initial_alpha(len(terms)) for terms in self.candidates)
        self.head = nn.Sequential(
            *(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 1, bias=False)),
            *(nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        )
        self.classifier = nn.Linear(width, scale.classes)
        self.auxiliary_after = max(k for k, plan in enumerate(plans) if plan.channels == 2 * scale.filters)
        self.auxiliary = None
        if scale.auxiliary_size is not None:  # after the first reduction
            size = -(-scale.auxiliary_size // 2)
            self.auxiliary = NasnetAuxiliaryHead(2 * scale.filters, size, scale.classes, nn.BatchNorm2d)

    def forward(self, images: Tensor) -> Tensor | AuxiliaryLogits:
        """Return the logits ``[N, classes]`` of images ``[N, C, H, W]``; in training mode the auxiliary ones too."""
        check_images(images, self.scale.in_channels, 1)
        alphas = list(self.alphas)
        before_last = last = self.stem(images)
        features = []
        for cell in self.cells:
            before_last, last = last, cell(before_last, last, alphas)
            features.append(last)
        logits: Tensor = self.classifier(self.head(last))
        if self.auxiliary is not None and self.training:
            return AuxiliaryLogits(logits, self.auxiliary(features[self.auxiliary_after]))
        return logits

    def penalty(self) -> Tensor:
        """Return the sum of the absolute values of all alphas."""
        return absolute_sum(self.alphas)

    def place(self, candidate: int) -> Place:
        """Return the place of a weak learner.

        Raises:
            ValueError: If there is no weak learner of this number.
        """
        if not 0 <= candidate < len(self.places):
            raise ValueError(f"Expected a candidate from 0 to {len(self.places) - 1} but got {candidate}")
        return self.places[candidate]

    def promoted(self, growth: Growth, candidate: int) -> "PetridishNetwork":
        """Return the network of a child, in which a weak learner has become a node, with copies of the weights."""
        child = PetridishNetwork(growth, self.scale).to(self.classifier.weight)
        child.inherit(self.state_dict(), candidate)
        return child.train(self.training)

    @torch.no_grad()
    def inherit(self, state: Mapping[str, Tensor], candidate: int = 0) -> tuple[str, ...]:
        """Take over a parent's weights by name, and for a node that it has not, those of its weak learner.

        So a hallucination inherits from its parent, and a child from the hallucination.

        Args:
            state: The ``state_dict`` of the parent, of the same scale.
            candidate: The number of the weak learner that has become a node.

        Returns:
            The names of what is new, and stays as it is.

        Raises:
            ValueError: If the state lacks a weight that every parent has, or has one of another shape.
        """
        inherited: dict[str, Tensor] = {}
        own = self.state_dict()
        for name, tensor in own.items():
            given = state.get(name, state.get(LEARNED.sub(rf"\1.learners.{candidate}.\2", name)))
            if given is None:
                _check_new(name)
            else:
                _check_shape(name, given, tensor)
                inherited[name] = given
        self.load_state_dict(inherited, strict=False)
        return tuple(name for name in own if name not in inherited)


def _check_new(name: str) -> None:
    if not NEW.match(name):
        raise ValueError(f"Expected the weights of a parent but got some without {name!r}")


def _check_shape(name: str, given: Tensor, own: Tensor) -> None:
    if given.shape != own.shape:
        raise ValueError(
            f"Expected {name!r} of shape {tuple(own.shape)} but got {tuple(given.shape)}; give both the same scale"
        )
