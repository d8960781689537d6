"""The three samplers of ENAS restated for one architecture, as section 4 of their specification describes them.

They walk through a list of tokens with a plain loop and return the sum of log-probabilities, the full entropy, the
entropy of the chosen only, and the skip penalty of the official code. ``chain`` and so on are spelled out on purpose.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lightning_nas.controllers import LstmController


@dataclass
class Walk:
    controller: LstmController
    log_prob: float = 0.0
    full: float = 0.0
    sampled: float = 0.0
    penalties: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        p = {name: value.detach() for name, value in self.controller.named_parameters()}
        self.g = p["start"][0]
        self.lstm = p["lstm.0.weight"]
        self.embedding, self.head = p["vocabularies.0.embedding"], p["vocabularies.0.head"]
        self.bias = p.get("vocabularies.0.bias", torch.zeros(self.head.shape[1]))
        self.w1, self.w2, self.v = p["attention.key"], p["attention.query"], p["attention.v"][:, 0]
        self.c = self.h = torch.zeros_like(self.g)

    def step(self, x: Tensor) -> Tensor:
        i, f, o, g = (torch.cat([x, self.h]) @ self.lstm).chunk(4)
        self.c = torch.sigmoid(f) * self.c + torch.sigmoid(i) * torch.tanh(g)
        self.h = torch.sigmoid(o) * torch.tanh(self.c)
        return self.h

    def chain(self, z: Tensor, constant: float) -> Tensor:
        return constant * torch.tanh(z / (self.controller.temperature or 1.0))

    def choose(self, logits: Tensor, token: int) -> None:
        p = torch.softmax(logits, 0)
        self.log_prob += float(p[token].log())
        self.full -= float((p * p.log()).sum())
        self.sampled -= float(p[token] * p[token].log())

    def score(self, key: Tensor) -> Tensor:
        return self.v @ torch.tanh(key + self.h @ self.w2)


def recurrent(controller: LstmController, tokens: list[int]) -> Walk:
    walk = Walk(controller)
    constant = controller.tanh_constant or 0.0
    remaining = iter(tokens)
    anchors: list[Tensor] = []
    keys: list[Tensor] = []
    x = walk.g
    for i in range((len(tokens) + 1) // 2):
        walk.step(x)
        x = walk.g
        if i > 0:
            scores = torch.stack([walk.score(key) for key in keys])
            logits = walk.chain(scores, constant) - torch.tensor([(i - j) ** 2 / 6 for j in range(i)])
            chosen = next(remaining)
            walk.choose(logits, chosen)
            x = anchors[chosen] / (0.1 + i - chosen)
        anchors.append(walk.h)
        keys.append(walk.h @ walk.w1)
        walk.step(x)
        function = next(remaining)
        walk.choose(walk.chain(walk.h @ walk.head, constant), function)
        x = walk.embedding[function]
    return walk


def micro(controller: LstmController, tokens: list[int]) -> Walk:
    walk = Walk(controller)
    constant = controller.tanh_constant or 0.0
    remaining = iter(tokens)
    for cell in range(2):
        anchors: list[Tensor] = []
        keys: list[Tensor] = []
        for _ in range(2):
            walk.step(walk.g)
            anchors.append(torch.zeros_like(walk.g))
            keys.append(walk.h @ walk.w1)
        x = walk.g
        for _ in range(len(tokens) // 8):
            for _ in range(2):
                walk.step(x)
                index = next(remaining)
                walk.choose(walk.chain(torch.stack([walk.score(key) for key in keys]), constant), index)
                x = anchors[index]
            for _ in range(2):
                walk.step(x)
                logits = walk.chain(walk.h @ walk.head + walk.bias, constant / 2.5)
                if cell == 0:
                    logits = logits + torch.tensor([0.25, 0.25, -0.25, -0.25, -0.25])
                operation = next(remaining)
                walk.choose(logits, operation)
                x = walk.embedding[operation]
            walk.step(x)
            anchors.append(walk.h)
            keys.append(walk.h @ walk.w1)
            x = walk.g
    return walk


def macro(controller: LstmController, tokens: list[int], layers: int) -> Walk:
    walk = Walk(controller)
    constant = controller.tanh_constant or 0.0
    remaining = iter(tokens)
    anchors: list[Tensor] = []
    keys: list[Tensor] = []
    x = walk.g
    for k in range(layers):
        walk.step(x)
        operation = next(remaining)
        walk.choose(walk.chain(walk.h @ walk.head, constant), operation)
        walk.step(walk.embedding[operation])
        x = walk.g
        if k > 0:
            total, count, divergence = torch.zeros_like(walk.g), 0, 0.0
            for key, anchor in zip(keys, anchors, strict=True):
                q = walk.score(key)
                logits = walk.chain(torch.stack([-q, q]), constant)
                bit = next(remaining)
                walk.choose(logits, bit)
                total, count = total + bit * anchor, count + bit
                s = torch.sigmoid(logits)
                divergence += float((s * (s / torch.tensor([0.6, 0.4])).log()).sum())
            walk.penalties.append(divergence)
            x = total / (1 + count)
        anchors.append(walk.h)
        keys.append(walk.h @ walk.w1)
    return walk
