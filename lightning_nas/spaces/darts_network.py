"""The evaluation networks of DARTS, for CIFAR and for ImageNet."""

import operator
from collections.abc import Iterator
from functools import reduce
from typing import Self

import torch
from torch import Tensor, nn

from lightning_nas.operations.convolution import build_operation
from lightning_nas.operations.drop_path import DropPath
from lightning_nas.operations.norm import Norm, search_norm
from lightning_nas.spaces.auxiliary import AuxiliaryHead, AuxiliaryLogits
from lightning_nas.spaces.cell_plan import CellPlan, check_images, plan_cells, reductions
from lightning_nas.spaces.darts_stem import CifarStem, ImageNetStem
from lightning_nas.spaces.darts_supernet import DartsSupernet, edge_index
from lightning_nas.spaces.genotype import Genotype


class DiscreteCell(nn.Module):
    """A cell as derived: every node is the sum of two operations. ``edges.<2 * node + k>`` is the node's k-th."""

    def __init__(
        self,
        plan: CellPlan,
        pairs: list[tuple[str, int]],
        concat: list[int],
        drop_path: DropPath,
        *,
        norm: Norm,
        pool_norm: bool,
    ) -> None:
        super().__init__()
        self.preprocess0, self.preprocess1 = plan.preprocessing(norm)
        self.inputs = [j for _, j in pairs]
        self.concat = concat
        self.drop_path = drop_path
        self.edges = nn.ModuleList(
            build_operation(name, plan.channels, plan.stride(j), norm=norm, pool_norm=pool_norm) for name, j in pairs
        )

    def forward(self, before_last: Tensor, last: Tensor) -> Tensor:
        """Return the concatenated nodes, ``[N, len(concat) * channels, H, W]``."""
        states = [self.preprocess0(before_last), self.preprocess1(last)]
        for node in range(0, len(self.inputs), 2):
            states.append(reduce(operator.add, [self._edge(k, states[self.inputs[k]]) for k in (node, node + 1)]))
        return torch.cat([states[j] for j in self.concat], 1)

    def _edge(self, k: int, x: Tensor) -> Tensor:
        operation = self.edges[k]
        output: Tensor = operation(x) if isinstance(operation, nn.Identity) else self.drop_path(operation(x))
        return output


class DartsNetwork(nn.Module):
    """The network of a genotype. Build it with ``DartsSpace.build``, which explains the arguments."""

    def __init__(
        self,
        genotype: Genotype,
        stem: CifarStem | ImageNetStem,
        channels: int,
        layers: int,
        classes: int,
        *,
        auxiliary: bool = False,
        norm: Norm = nn.BatchNorm2d,
        pool_norm: bool = False,
    ) -> None:
        super().__init__()
        imagenet = isinstance(stem, ImageNetStem)
        pairs = {"normal": genotype.normal, "reduce": genotype.reduce}
        concats = {"normal": list(genotype.normal_concat), "reduce": list(genotype.reduce_concat)}
        widths = {cell: len(concat) for cell, concat in concats.items()}
        plans = list(plan_cells(stem.channels, stem.channels, channels, layers, widths, after_reduction=imagenet))
        self.divisor = 2 ** (stem.halvings + len(set(reductions(layers))))
        self.drop_path = DropPath()
        self.stem = stem
        self.cells = nn.ModuleList(
            DiscreteCell(plan, pairs[plan.cell], concats[plan.cell], self.drop_path, norm=norm, pool_norm=pool_norm)
            for plan in plans
        )
        self.auxiliary_after = reductions(layers)[1]
        outputs = [plan.channels * widths[plan.cell] for plan in plans]
        self.auxiliary = AuxiliaryHead(outputs[self.auxiliary_after], classes, imagenet=imagenet) if auxiliary else None
        self.classifier = nn.Linear(outputs[-1], classes)

    @classmethod
    def inherit(cls, genotype: Genotype, supernet: DartsSupernet) -> Self:
        """Build the network with the supernet's scale, its weights and its BatchNorms."""
        stem = CifarStem(supernet.in_channels, supernet.stem.channels)
        network = cls(genotype, stem, *supernet.scale, norm=search_norm, pool_norm=True)
        network.to(supernet.classifier.weight)  # its device and precision
        source = supernet.state_dict()
        renamed: dict[str, Tensor] = {}
        flat = {"normal": genotype.normal, "reduce": genotype.reduce}
        for index, kind in enumerate(supernet.kinds):
            for k, (operation, j) in enumerate(flat[kind]):
                mixed = f"cells.{index}.edges.{edge_index(k // 2, j)}.{operation}."
                discrete = f"cells.{index}.edges.{k}."
                chosen = {name: value for name, value in source.items() if name.startswith(mixed)}
                renamed |= {discrete + name.removeprefix(mixed): value for name, value in chosen.items()}
        shared = {name: value for name, value in source.items() if ".edges." not in name}
        network.load_state_dict(shared | renamed)
        return network

    def forward(self, images: Tensor) -> Tensor | AuxiliaryLogits:
        """Return the logits ``[N, classes]`` of images ``[N, C, H, W]``; in training mode the auxiliary ones too."""
        features = list(self.features(images))
        logits: Tensor = self.classifier(features[-1].mean((2, 3)))
        if self.auxiliary is not None and self.training:
            return AuxiliaryLogits(logits, self.auxiliary(features[self.auxiliary_after]))
        return logits

    def features(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the output of every cell."""
        check_images(images, self.stem.in_channels, self.divisor)
        before_last, last = self.stem(images)
        for cell in self.cells:
            before_last, last = last, cell(before_last, last)
            yield last
