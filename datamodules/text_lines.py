"""Files of text, a sentence or paragraph a line, with spaces between tokens."""

from pathlib import Path

from lightning_nas.datamodules.vocabulary import END


def read_tokens(path: Path) -> list[str]:
    """Return the tokens of a UTF-8 file, with ``<eos>`` at the end of every line, empty ones too.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected the text file {path.absolute()} but got none; put it there.")
    with path.open(encoding="utf-8") as lines:
        return [token for line in lines for token in (*line.split(), END)]
