"""Compare the speed of a search step on the recurrent space of DARTS with that of the plain loop over operations.

    python benchmarks/recurrent_speed.py --json result.json

A step is a forward and a backward pass to all weights and the mixture: 35 words of 32 texts, 300 units, 10,000 words.
In the plain loop (``tests/references``) every operation on every edge is computed for itself, its matrix product
included: ``"operation"``. Two less plain forms are measured beside it: one product for all operations of an edge
(``"edge"``), and one for all edges of a node, over which the operations loop, as in the authors' code (``"node"``). All
forms run in turns in one process, on the same weights and masks; medians are compared, of the whole step and of the
recurrent part, which is the step without word table, decoder and loss. Exits with 1 unless the step is three times as
fast as the plain loop's.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, it does not find tests.references by itself

from lightning_nas.spaces import DartsRecurrentSpace, LanguageModel, Mixture
from lightning_nas.spaces.darts_recurrent_layers import MixedRecurrentLayer
from tests.references.darts_recurrent import Products, mixed_layer

TARGET = 3.0
PLAIN: tuple[Products, ...] = ("operation", "edge", "node")
Layer = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # of inputs, state, mask and table


def batch_norm(x: Tensor) -> Tensor:
    return nn.functional.batch_norm(x, None, None, training=True)


class Step:
    """A search step, with the recurrent layer as an argument.

    Args:
        texts: Size of the batch.
        steps: Words of every text.
        hidden: Units.
        vocabulary: Words.
        nodes: Nodes of the cell.
    """

    def __init__(self, texts: int, steps: int, hidden: int, vocabulary: int, nodes: int) -> None:
        torch.manual_seed(0)
        self.space = DartsRecurrentSpace(nodes)
        self.network: LanguageModel = self.space.supernet(vocabulary, hidden)
        layer = self.network.layers[0]
        assert isinstance(layer, MixedRecurrentLayer)
        self.layer = layer
        self.alphas = (1e-3 * torch.randn(len(self.space.groups[0].rows), 5)).requires_grad_()
        self.tokens = torch.randint(vocabulary, (steps + 1, texts))
        self.state = torch.zeros(texts, hidden)
        self.masks = [torch.bernoulli(torch.full((texts, hidden), keep)) / keep for keep in (0.2, 0.75, 0.25)]
        self.inputs = torch.randn(steps, texts, hidden, requires_grad=True)

    def plain(self, products: Products) -> Layer:
        """Return a form of the plain loop."""
        weight, nodes = self.layer.weight, list(self.layer.nodes)
        return lambda x, state, mask, table: mixed_layer(
            x, state, mask, table, weight, nodes, batch_norm, products=products
        )

    def ours(self, x: Tensor, state: Tensor, mask: Tensor, table: Tensor) -> Tensor:
        """Return the outputs of the layer of the supernet."""
        outputs: Tensor = self.layer(x, state, mask, {"cell": Mixture(table)})[0]
        return outputs

    def whole(self, layer: Layer) -> list[Tensor]:
        """Return the gradients of all weights and of the alphas, of the loss of a batch."""
        words, states, last = self.masks
        embedded = self.network.embedding(self.tokens[:-1]) * words
        raw = layer(embedded, self.state, states, self.alphas.softmax(1))
        logits = nn.functional.linear(raw * last, self.network.embedding.weight, self.network.decoder["bias"])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), self.tokens[1:].flatten())
        return list(torch.autograd.grad(loss, [*self.network.parameters(), self.alphas]))

    def recurrent(self, layer: Layer) -> list[Tensor]:
        """Return the gradients of inputs, recurrent weights and alphas, of the sum of the outputs' squares."""
        outputs = layer(self.inputs, self.state, self.masks[1], self.alphas.softmax(1))
        weights = [self.layer.weight, *self.layer.nodes]
        return list(torch.autograd.grad(outputs.square().sum(), [self.inputs, *weights, self.alphas]))


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def difference(step: Step, layers: dict[str, Layer]) -> float:
    """Return the largest difference of our gradients to those of a plain loop, over the largest gradient."""
    found, expected = (step.whole(layers[name]) for name in ("ours", "node"))
    pairs = list(zip(found, expected, strict=True))
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def compare(step: Step, repeats: int) -> dict[str, dict[str, float]]:
    """Return the median seconds of all forms, by part and form; they take turns."""
    layers: dict[str, Layer] = {"ours": step.ours, **{products: step.plain(products) for products in PLAIN}}
    print(f"largest relative difference of a gradient: {difference(step, layers):.1e}")
    medians = {}
    for part, run in (("step", step.whole), ("recurrent", step.recurrent)):
        times: dict[str, list[float]] = {name: [] for name in layers}
        for repeat in range(repeats + 1):
            for name, layer in layers.items():
                taken = seconds(partial(run, layer))
                times[name] += [taken] if repeat else []  # the first round warms up
        medians[part] = {name: statistics.median(taken) for name, taken in times.items()}
        ours = medians[part]["ours"]
        rows = "".join(f"   {name} {1000 * t:.0f} ms ({t / ours:.2f})" for name, t in medians[part].items())
        print(f"{part:<10}{rows}", flush=True)
    return medians


def main(arguments: list[str] | None = None) -> int:
    """Compare; return 0 if the whole step is three times as fast as that of the plain loop, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"texts": 32, "steps": 35, "hidden": 300, "vocabulary": 10_000, "nodes": 8}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file for the numbers")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    sizes = {name: getattr(given, name) for name in sizes}
    medians = compare(Step(**sizes), given.repeats)
    ratios = {part: {name: times[name] / times["ours"] for name in PLAIN} for part, times in medians.items()}
    ratio = ratios["step"]["operation"]
    print(f"The step is {ratio:.2f} times as fast as the plain loop's, on {given.threads} threads.")
    if given.json:
        both = {"ours_seconds": medians["step"]["ours"], "plain_seconds": medians["step"]["operation"]}
        result = {"ratio": ratio, **both, "ratios": ratios, "seconds": medians, **sizes, "threads": given.threads}
        given.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if ratio >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
