"""The LSTM controller of ENAS (Pham et al. 2018, arXiv 1802.03268), for any search space."""

from collections.abc import Sequence
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn

from lightning_nas.architecture import Decision
from lightning_nas.checks import check_at_least, check_choice, check_fraction, check_positive
from lightning_nas.controllers.base import Controller
from lightning_nas.controllers.execution import Execution
from lightning_nas.controllers.forms import program_of
from lightning_nas.controllers.parts import Attention, Lstm, Vocabulary
from lightning_nas.controllers.presets import Preset, enas_settings
from lightning_nas.controllers.program import Flags, Input, Operation, Program, check_program
from lightning_nas.controllers.samples import Samples
from lightning_nas.seeding import make_generator
from lightning_nas.spaces.base import SearchSpace

EntropyForm = Literal["full", "sampled"]
SkipPrior = Literal["sampled", "official"]


class LstmController(Controller):
    """Makes the decisions of a space one after the other; each depends on all before.

    Operations and numbers are decided by softmax heads, inputs and flags by attention over the states that the LSTM had
    at earlier nodes. All logits ``z`` become ``tanh_constant * tanh(z / temperature)``.

    Args:
        space: The space.
        program: In which steps it makes the decisions; by default ``program_of(space)``.
        hidden: Width of the LSTM.
        layers: Layers of the LSTM.
        biases: Whether the LSTM and all heads have biases; ENAS's have none.
        temperature: Divides the logits; ``None`` leaves them.
        tanh_constant: Bounds the logits; ``None`` does not.
        operation_tanh_constant: The same for operations and numbers, if it differs.
        operation_bias: Initial values of a trained bias of the operations' heads, which must be of that many choices.
        skip_target: Share of flags on that the penalty asks for; ``None`` for no penalty.
        skip_prior: The penalty is that of the probability that flags are ``"sampled"`` with, or of the sigmoid of the
            logit as in the ``"official"`` code, whose least penalty is at another share (0.308 for a target of 0.4).
        entropy: ``"full"`` entropies of all decisions, or of the ``"sampled"`` choice only, ``-p log p``, as in the
            official code.
        init_range: Weights are drawn between this number and its negative.
        seed: Seed of the weights.

    Raises:
        ValueError: If a setting is out of range, or the program does not fit the space.

    Example:
        >>> from lightning_nas.spaces import NasBench201Space
        >>> controller = LstmController(NasBench201Space())
        >>> samples = controller.sample(4, torch.Generator().manual_seed(0))
        >>> architectures = controller.architectures(samples.choices)
        >>> bool((controller.log_prob(architectures) == samples.log_prob).all())
        True
    """

    def __init__(
        self,
        space: SearchSpace,
        program: Program | None = None,
        *,
        hidden: int = 64,
        layers: int = 1,
        biases: bool = False,
        temperature: float | None = None,
        tanh_constant: float | None = 1.5,
        operation_tanh_constant: float | None = None,
        operation_bias: Sequence[float] | None = None,
        skip_target: float | None = 0.4,
        skip_prior: SkipPrior = "sampled",
        entropy: EntropyForm = "full",
        init_range: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__(space)
        check_at_least("hidden", hidden, 1)
        check_at_least("layers", layers, 1)
        check_positive("temperature", temperature)
        check_positive("tanh_constant", tanh_constant)
        check_positive("operation_tanh_constant", operation_tanh_constant)
        check_fraction("skip_target", 0.5 if skip_target is None else skip_target)
        check_choice("skip_prior", skip_prior, get_args(SkipPrior))
        check_choice("entropy", entropy, get_args(EntropyForm))
        self.program = program_of(space) if program is None else program
        check_program(self.program, space.decisions)
        self.temperature = temperature
        self.tanh_constant = tanh_constant
        self.operation_tanh_constant = tanh_constant if operation_tanh_constant is None else operation_tanh_constant
        self.skip_target = skip_target
        self.skip_prior = skip_prior
        self.entropy = entropy
        self.columns = {decision.name: k for k, decision in enumerate(space.decisions)}
        self.choice_counts = {decision.name: len(decision.choices) for decision in space.decisions}

        self.start = nn.Parameter(torch.empty(1, hidden))
        self.lstm = nn.ModuleList(Lstm(hidden, biases) for _ in range(layers))
        attends = any(isinstance(instruction, Input | Flags) for instruction in self.program)
        self.attention = Attention(hidden) if attends else None
        self._add_vocabularies(hidden, operation_bias, biases)
        self._initialize(init_range, seed)

    @classmethod
    def enas(cls, space: SearchSpace, preset: Preset = "official", seed: int = 0, **settings: Any) -> Self:
        """Make the controller of ENAS for a space: ``enas_settings(space, preset)``, changed by ``settings``."""
        return cls(space, seed=seed, **{**enas_settings(space, preset), **settings})

    def sample(self, n: int, generator: torch.Generator) -> Samples:
        """Draw ``n`` architectures at once.

        Args:
            n: How many.
            generator: A CPU generator whatever the device; it gives one number per architecture and decision.
        """
        check_at_least("n", n, 1)
        # of this precision always: equal seeds draw equal architectures in double precision, too
        uniforms = torch.rand(n, len(self.columns), generator=generator, dtype=torch.float32)
        return Execution(self, n, uniforms=uniforms.to(self.start.device)).run()

    def evaluate(self, choices: Tensor) -> Samples:
        """Return what ``sample`` would have returned with these choices.

        Args:
            choices: ``[n, decisions]``: for each decision of the space the index of what is chosen.

        Raises:
            ValueError: If they are no such indices.
        """
        self._check(choices)
        return Execution(self, len(choices), given=choices.to(self.start.device)).run()

    def squash(self, logits: Tensor, *, operation: bool = False) -> Tensor:
        """Return the logits after temperature and tanh."""
        constant = self.operation_tanh_constant if operation else self.tanh_constant
        if self.temperature is not None:
            logits = logits / self.temperature
        return logits if constant is None else constant * logits.tanh()

    def vocabulary_of(self, instruction: Operation) -> Vocabulary:
        """Return head and embeddings of a decision."""
        vocabulary = self.vocabularies[self._vocabulary_index[instruction.decision]]
        assert isinstance(vocabulary, Vocabulary)
        return vocabulary

    def _add_vocabularies(self, hidden: int, bias: Sequence[float] | None, biases: bool) -> None:
        # numbered, not named: the same weights serve a deeper space with the same choices
        decisions = {decision.name: decision for decision in self.space.decisions}
        keys = {
            i.decision: (i.vocabulary, *_kind(decisions[i.decision])) for i in self.program if isinstance(i, Operation)
        }
        distinct = list(dict.fromkeys(keys.values()))
        self._vocabulary_index = {name: distinct.index(key) for name, key in keys.items()}
        for _, kind, choices in distinct:
            if bias is not None and kind == "operation" and len(bias) != len(choices):
                raise ValueError(f"Expected `operation_bias` to be one number for each of {choices} but got {bias}")
        self.vocabularies = nn.ModuleList(
            Vocabulary(len(choices), hidden, bias if bias is not None and kind == "operation" else zeros)
            for _, kind, choices in distinct
            for zeros in ([0.0] * len(choices) if biases else None,)
        )

    def _initialize(self, init_range: float, seed: int) -> None:
        generator = make_generator(seed, "controller")
        for name, parameter in self.named_parameters():
            if not name.endswith(".bias"):
                nn.init.uniform_(parameter, -init_range, init_range, generator=generator)


def _kind(decision: Decision) -> tuple[str, tuple[object, ...]]:
    return decision.kind, decision.choices
