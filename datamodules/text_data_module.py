"""What all data modules of text have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from lightning_nas._lightning import CombinedLoader, pl
from lightning_nas.checks import check_at_least, check_choice, check_fraction
from lightning_nas.datamodules.image_set import pass_on
from lightning_nas.datamodules.resumable_loader import ResumableLoader
from lightning_nas.datamodules.text_columns import side_by_side
from lightning_nas.datamodules.text_window_sampler import TextWindowSampler
from lightning_nas.datamodules.text_window_sizes import Jitter
from lightning_nas.datamodules.text_windows import TextWindows
from lightning_nas.datamodules.training_place import TrainingPlace
from lightning_nas.datamodules.vocabulary import END, Vocabulary
from lightning_nas.datamodules.vocabulary_like import VocabularyLike
from lightning_nas.seeding import make_generator

Part = Literal["train", "val", "test"]

_PARTS: dict[str, tuple[Part, ...]] = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}


class TextDataModule(pl.LightningDataModule, ABC):
    """Text for models of language: for a search, and for the training of what it found.

    A text is cut into ``batch_size`` pieces of equal length that are read side by side, in windows of some steps. Each
    window goes on where the one before ended, so that a network may carry its state over. A batch is a ``TextBatch``.
    Its inputs are the tokens before its targets; before the first token of a text stands ``<eos>``.

    In training the last tokens are left out where the length is not divisible by the number of pieces, as papers do. In
    validation and testing every token is a target exactly once.

    With several processes there are ``batch_size`` pieces for each of them: two processes with 32 read what one with 64
    reads. Windows depend on the seed and the epoch only, so a resumed run reads what an uninterrupted one reads.

    A subclass loads the texts (``load``).

    Args:
        batch_size: Pieces of training text that a process reads side by side.
        eval_batch_size: Pieces of validation text.
        test_batch_size: Pieces of test text.
        bptt: Steps of a window. Gradients flow back through so many steps at most.
        jitter: True varies the length of training windows as Merity et al. (2017): 5 % are about half as long, and all
            differ by a normal deviate with standard deviation 5. ``"halve"`` only halves 5 %, as DARTS does in its
            search. Windows in validation, testing and for the architecture never vary.
        search: The training batch is a dict with a batch of ``"weights"`` text and one of ``"architecture"`` text. The
            shorter text starts again within an epoch.
        search_fraction: Share of the training text for the weights, from its beginning; the rest is for the
            architecture. None takes all of it, and the validation text for the architecture, as DARTS does.
        vocabulary: Numbers the tokens: any object that is called with a list of tokens and has a length, such as
            torchtext's ``Vocab``. It must know ``<eos>``. None builds one from the training text, the most frequent
            token first. It is no hyperparameter: give it to ``load_from_checkpoint``, too.
        max_vocabulary: Largest size of the vocabulary that is built; rarer tokens become ``<unk>``.
        seed: Seed of the lengths of windows.

    Raises:
        ValueError: If an argument is out of range, or two contradict each other.
        TypeError: If ``vocabulary`` cannot be called or has no length.
    """

    def __init__(
        self,
        *,
        batch_size: int = 64,
        eval_batch_size: int = 10,
        test_batch_size: int = 1,
        bptt: int = 35,
        jitter: Jitter = False,
        search: bool = False,
        search_fraction: float | None = None,
        vocabulary: VocabularyLike | None = None,
        max_vocabulary: int | None = None,
        seed: int = 0,
    ) -> None:
        for name, value in (("batch", batch_size), ("eval_batch", eval_batch_size), ("test_batch", test_batch_size)):
            check_at_least(f"{name}_size", value, 1)
        check_at_least("bptt", bptt, 1)
        check_choice("jitter", jitter, (False, True, "halve"))
        _check_search(search, search_fraction)
        _check_vocabulary(vocabulary, max_vocabulary)
        super().__init__()
        # Not for the logger, which refuses a module and a data module that both have a `seed`, with other values.
        self.save_hyperparameters(logger=False, ignore=["vocabulary"])
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.test_batch_size = test_batch_size
        self.bptt = bptt
        self.jitter = jitter
        self.search = search
        self.search_fraction = search_fraction
        self.max_vocabulary = max_vocabulary
        self.seed = seed
        self._vocabulary = vocabulary
        self._texts: dict[Part, Tensor] = {}

    @abstractmethod
    def load(self, part: Part) -> Sequence[str]:
        """Return the tokens of a part, ``<eos>`` at the end of each line or sentence among them.

        It is called in every process, after ``prepare_data``.

        Raises:
            Exception: If there is no such text, saying where it should be.
        """

    @property
    def vocabulary(self) -> VocabularyLike:
        """What numbers the tokens; unless it was given, it is built from the training text when first asked for."""
        if self._vocabulary is None:
            self._vocabulary = Vocabulary.build(self.load("train"), self.max_vocabulary)
        return self._vocabulary

    @property
    def classes(self) -> int:
        """Size of the vocabulary."""
        return len(self.vocabulary)

    def setup(self, stage: str) -> None:
        """Load the texts that a stage needs, unless an earlier stage has done so.

        Raises:
            ValueError: If a text is empty, or ``vocabulary`` numbers a token beyond its length.
        """
        for part in _PARTS.get(stage, ()):
            self.text(part)

    def text(self, part: Part) -> Tensor:
        """Return the token numbers of a part, int64 ``[tokens]``.

        Raises:
            ValueError: If the text is empty, or ``vocabulary`` numbers a token beyond its length.
        """
        if part not in self._texts:
            self._texts[part] = self._numbers(self.load(part), part)
        return self._texts[part]

    def _numbers(self, tokens: Sequence[str], part: Part) -> Tensor:
        if not tokens:
            raise ValueError(f"Expected a {part} text in {type(self).__name__} but got an empty one.")
        numbers = torch.tensor(self.vocabulary(list(tokens)), dtype=torch.int64)
        for number in (int(numbers.min()), int(numbers.max())):
            if not 0 <= number < self.classes:
                raise ValueError(
                    f"Expected `vocabulary` of length {self.classes} to number tokens from 0 to {self.classes - 1} "
                    f"but got {number}."
                )
        return numbers

    def train_dataloader(self) -> ResumableLoader | CombinedLoader:
        """Return the training loader, or both loaders of a search; the shorter text starts again within an epoch.

        Raises:
            ValueError: If a text is too short for its pieces.
        """
        place = TrainingPlace.of(self.trainer)
        if not self.search:
            return _loader(self._train_windows("train", self.text("train"), place), place)
        weights, architecture = self._streams()
        windows = {
            "weights": self._train_windows("weights", weights, place),
            "architecture": self._architecture_windows(architecture, place),
        }
        return CombinedLoader({name: _loader(part, place) for name, part in windows.items()}, "max_size_cycle")

    def val_dataloader(self) -> ResumableLoader:
        """Return the loader of the validation text.

        Raises:
            ValueError: If the text is too short for its pieces.
        """
        return self._eval_loader("val", self.eval_batch_size)

    def test_dataloader(self) -> ResumableLoader:
        """Return the loader of the test text.

        Raises:
            ValueError: If the text is too short for its pieces.
        """
        return self._eval_loader("test", self.test_batch_size)

    def _streams(self) -> tuple[Tensor, Tensor]:
        train = self.text("train")
        if self.search_fraction is None:
            return train, self.text("val")
        border = round(self.search_fraction * len(train))
        return train[:border], train[border:]

    def _train_windows(self, name: str, text: Tensor, place: TrainingPlace) -> TextWindows:
        steps = self._steps(name, text, place, 1)
        return self._windows(text, steps * self.batch_size * place.world, self.batch_size, place, self.jitter)

    def _architecture_windows(self, text: Tensor, place: TrainingPlace) -> TextWindows:
        steps = self._steps("architecture", text, place, self.bptt)
        return self._windows(text, steps * self.batch_size * place.world, self.batch_size, place)

    def _steps(self, name: str, text: Tensor, place: TrainingPlace, unit: int) -> int:
        """Return the steps of each piece of a training text, a multiple of ``unit``."""
        pieces = self.batch_size * place.world
        if len(text) < pieces * unit:
            raise ValueError(
                f"Expected at least {unit} tokens for each of {pieces} pieces of {name} text but got {len(text)} "
                f"tokens; lower `batch_size`{' or `bptt`' if unit > 1 else ''}."
            )
        return len(text) // pieces // unit * unit

    def _windows(
        self, text: Tensor, length: int, texts: int, place: TrainingPlace, jitter: Jitter = False
    ) -> TextWindows:
        (before,) = self.vocabulary([END])
        own = slice(place.rank * texts, (place.rank + 1) * texts)
        columns = side_by_side(text[:length], before, texts * place.world, own)
        return TextWindows(columns, self.bptt, jitter, self.seed)

    def _eval_loader(self, part: Part, texts: int) -> ResumableLoader:
        text, place = self.text(part), TrainingPlace.of(self.trainer)
        if len(text) < texts * place.world:
            argument = "eval_batch_size" if part == "val" else "test_batch_size"
            raise ValueError(
                f"Expected a token for each of {texts * place.world} pieces of {part} text but got {len(text)}; lower "
                f"`{argument}`."
            )
        return _loader(self._windows(text, len(text), texts, place), TrainingPlace())


def _loader(windows: TextWindows, place: TrainingPlace) -> ResumableLoader:
    # The shorter of two texts starts again within an epoch, hence the remainder.
    sampler = TextWindowSampler(windows, epoch=place.epoch, start=place.batch % len(windows))
    return ResumableLoader(
        windows,
        batch_size=None,
        sampler=sampler,
        collate_fn=pass_on,
        pin_memory=torch.cuda.is_available(),
        # Without its own generator a loader draws from the global one, at moments that differ in a resumed run.
        generator=make_generator("loader"),
    )


def _check_search(search: bool, fraction: float | None) -> None:
    if fraction is None:
        return
    check_fraction("search_fraction", fraction)
    if not search:
        raise ValueError(f"Expected `search_fraction` only with search=True but got {fraction}; leave it out.")


def _check_vocabulary(vocabulary: VocabularyLike | None, max_vocabulary: int | None) -> None:
    check_at_least("max_vocabulary", max_vocabulary, 3)
    if vocabulary is None:
        return
    if not isinstance(vocabulary, VocabularyLike):
        raise TypeError(
            "Expected `vocabulary` to be called with a list of tokens and to have a length but got "
            f"{type(vocabulary).__name__}."
        )
    if max_vocabulary is not None:
        raise ValueError(f"Expected `vocabulary` or `max_vocabulary` but got both ({max_vocabulary}); leave one out.")
