"""The user's own text."""

from pathlib import Path

from lightning_nas.datamodules.text_data_module import Part, TextDataModule
from lightning_nas.datamodules.text_lines import read_tokens
from lightning_nas.datamodules.text_window_sizes import Jitter
from lightning_nas.datamodules.vocabulary_like import VocabularyLike


class TextFilesDataModule(TextDataModule):
    """Files of text with spaces between tokens; every line gets an ``<eos>`` at its end, empty lines too.

    Words that are not in the training text are ``<unk>``. Nothing is downloaded.

    Args:
        data_dir: Folder of the files.
        train_file: Training text. The names that are the defaults are those of WikiText-2's word-level files.
        val_file: Validation text.
        test_file: Test text; None if there is none.
        batch_size: See ``TextDataModule``, as for all that follow.
        eval_batch_size: Pieces of validation text.
        test_batch_size: Pieces of test text.
        bptt: Steps of a window.
        jitter: How lengths of training windows vary.
        search: Give text for the weights and for the architecture.
        search_fraction: Share of the training text for the weights.
        vocabulary: Numbers the tokens.
        max_vocabulary: Largest size of the vocabulary that is built.
        seed: Seed of the lengths of windows.
    """

    def __init__(
        self,
        data_dir: str | Path = "data",
        *,
        train_file: str = "wiki.train.tokens",
        val_file: str = "wiki.valid.tokens",
        test_file: str | None = "wiki.test.tokens",
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
        data_dir = str(data_dir)  # a Path among the hyperparameters could not be loaded from a checkpoint
        super().__init__(
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            test_batch_size=test_batch_size,
            bptt=bptt,
            jitter=jitter,
            search=search,
            search_fraction=search_fraction,
            vocabulary=vocabulary,
            max_vocabulary=max_vocabulary,
            seed=seed,
        )
        self.data_dir = Path(data_dir)
        self.files: dict[Part, str | None] = {"train": train_file, "val": val_file, "test": test_file}

    def load(self, part: Part) -> list[str]:
        """Read a file.

        Raises:
            RuntimeError: If there is no test file.
            FileNotFoundError: If a file is not there.
        """
        name = self.files[part]
        if name is None:
            raise RuntimeError(f"Expected a {part} text but got {part}_file=None; give {type(self).__name__} one.")
        return read_tokens(self.data_dir / name)
