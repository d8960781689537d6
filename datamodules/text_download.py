"""Files from the network, whole or not at all."""

import hashlib
import os
import shutil
from pathlib import Path
from urllib.request import urlopen

_SECONDS = 30  # of silence


def md5_of(path: Path) -> str:
    """Return the MD5 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def download(url: str, path: Path, md5: str) -> None:
    """Download a file and check it before it gets its name, so that nobody ever sees a part of it.

    Args:
        url: Where the file is.
        path: Where it shall be. Folders are made.
        md5: Its MD5, in hexadecimal.

    Raises:
        OSError: If it cannot be read or written, or has another MD5.
        HTTPException: If the server breaks off.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with urlopen(url, timeout=_SECONDS) as source, partial.open("wb") as target:
            shutil.copyfileobj(source, target)
        if (got := md5_of(partial)) != md5:
            raise OSError(f"Expected {url} to have the MD5 {md5} but got {got}")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
