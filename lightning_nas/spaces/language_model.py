"""The language model around a recurrent cell."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_nas.checks import check_fraction, check_scale
from lightning_nas.operations.recurrent import RecurrentLayer, dropout_mask, masked
from lightning_nas.spaces.language_model_output import LanguageModelOutput, State
from lightning_nas.spaces.mixture import Mixture

INIT = 0.04  # all weights are drawn from U(-INIT, INIT)
Mask = Tensor | None


@dataclass(frozen=True)
class LanguageScale:
    """Size and dropout rates of a language model.

    Args:
        vocabulary: Number of words.
        hidden: Width of the word table, of the states and of the outputs.
        layers: Number of recurrent layers.
        dropout: Rate for the last layer's outputs, one mask a sequence.
        dropouth: Rate for the states inside the layers, one mask a layer and sequence.
        dropoutx: Rate for what every layer reads, one mask a layer and sequence.
        dropouti: Rate for the embedded words, one mask a sequence.
        dropoute: Rate at which whole words are dropped, wherever they stand in a batch of texts.

    Raises:
        ValueError: If a size is no positive whole number or a rate is not in [0, 1).
    """

    vocabulary: int
    hidden: int
    layers: int
    dropout: float
    dropouth: float
    dropoutx: float
    dropouti: float
    dropoute: float

    def __post_init__(self) -> None:
        check_scale(vocabulary=self.vocabulary, hidden=self.hidden, layers=self.layers)
        for name, rate in asdict(self).items():
            if name.startswith("dropout"):
                check_fraction(name, rate, zero_allowed=True)


class LanguageMasks(NamedTuple):
    """The masks of dropout for one sequence, of every layer for ``inputs`` and ``states``; ``None`` drops nothing."""

    words: Mask
    inputs: Sequence[Mask]
    states: Sequence[Mask]
    outputs: Mask


class LanguageModel(nn.Module):
    """A word table, recurrent layers, and a decoder that is the word table again.

    In training mode all masks of dropout are drawn at the start of the forward pass, from torch's global generator: the
    same seed gives the same masks. The decoder has no weight of its own, ``embedding.weight`` is its weight.

    Args:
        layers: The recurrent layers.
        scale: Size and dropout rates.
        tied: Whether the word table is the decoder's weight; if not, it has one of its own, ``decoder.weight``.
        bias: Whether the decoder has a bias, zero at first.
    """

    def __init__(
        self, layers: Sequence[RecurrentLayer], scale: LanguageScale, *, tied: bool = True, bias: bool = True
    ) -> None:
        super().__init__()
        self.scale = scale
        self.embedding = nn.Embedding(scale.vocabulary, scale.hidden)
        self.layers = nn.ModuleList(layers)
        self.decoder = nn.ParameterDict()
        if not tied:
            self.decoder["weight"] = nn.Parameter(torch.empty(scale.vocabulary, scale.hidden))
        if bias:
            self.decoder["bias"] = nn.Parameter(torch.zeros(scale.vocabulary))
        for name, parameter in self.named_parameters():
            if name != "decoder.bias" and "norm" not in name:
                nn.init.uniform_(parameter, -INIT, INIT)

    def forward(
        self, tokens: Tensor, state: State | None = None, mixtures: Mapping[str, Mixture] | None = None
    ) -> LanguageModelOutput:
        """Read a part of several texts.

        Args:
            tokens: Numbers of words, ``[steps, texts]``.
            state: The state behind the part before, one entry a layer; zeros by default.
            mixtures: For a supernet, its mixtures.

        Raises:
            ValueError: If the tokens or the state have another form.
        """
        if tokens.dim() != 2 or tokens.is_floating_point():
            raise ValueError(f"Expected whole numbers [steps, texts] but got {tokens.dtype} {tuple(tokens.shape)}")
        before = self._state(state, tokens.shape[1])
        masks = self._masks(tokens.shape[1])
        x = self._embed(tokens, masks.words)
        after = []
        for layer, last, of_inputs, of_states in zip(self.layers, before, masks.inputs, masks.states, strict=True):
            x, last = layer(masked(x, of_inputs), last, of_states, *(() if mixtures is None else (mixtures,)))
            after.append(last)
        outputs = masked(x, masks.outputs)
        return LanguageModelOutput(self._decode(outputs), tuple(after), outputs, x)

    def _embed(self, tokens: Tensor, mask: Mask) -> Tensor:
        words: Tensor = self.embedding(tokens)
        return words if mask is None else words * mask[tokens]

    def _decode(self, outputs: Tensor) -> Tensor:
        weight = self.decoder.get("weight", self.embedding.weight)
        return nn.functional.linear(outputs, weight, self.decoder.get("bias"))

    def _state(self, state: State | None, texts: int) -> State:
        zeros = tuple(layer.initial_state(texts, self.embedding.weight) for layer in self._recurrent)
        if state is not None and _shapes(state) != _shapes(zeros):
            raise ValueError(f"Expected a state of the form {_shapes(zeros)} but got {_shapes(state)}")
        return zeros if state is None else state

    @property
    def _recurrent(self) -> list[RecurrentLayer]:
        return [layer for layer in self.layers if isinstance(layer, RecurrentLayer)]

    def _masks(self, texts: int) -> LanguageMasks:
        """Draw the masks; the first layer reads the embedded words, so its mask and theirs are one."""
        none = [None] * len(self.layers)
        if not self.training:
            return LanguageMasks(None, none, none, None)
        scale, like = self.scale, self.embedding.weight.detach()

        def draw(rate: float) -> Mask:
            return dropout_mask(rate, texts, scale.hidden, like=like)

        words, embedded = dropout_mask(scale.dropoute, scale.vocabulary, 1, like=like), draw(scale.dropouti)
        inputs, states = [draw(scale.dropoutx) for _ in none], [draw(scale.dropouth) for _ in none]
        inputs[0] = embedded if inputs[0] is None else masked(inputs[0], embedded)
        return LanguageMasks(words, inputs, states, draw(scale.dropout))


def _shapes(state: object) -> object:
    if isinstance(state, Tensor):
        return tuple(state.shape)
    return [_shapes(item) for item in state] if isinstance(state, tuple | list) else state


def inherit(network: LanguageModel, supernet: nn.Module) -> LanguageModel:
    """Give a network copies of the tensors of equal names of a supernet, in its precision and on its device."""
    network.to(next(supernet.parameters()))
    source = supernet.state_dict()
    network.load_state_dict({name: source[name] for name in network.state_dict()})
    return network
