import hashlib
import threading
from collections.abc import Iterator
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lightning_nas.datamodules.text_download import download, md5_of

CONTENT = b"a few words\n" * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Has one file, and promises more of another than it sends."""

    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT) * (2 if self.path == "/short" else 1)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_file_arrives_whole(server: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "text.txt"
    download(f"{server}/text.txt", path, MD5)
    assert path.read_bytes() == CONTENT
    assert md5_of(path) == MD5
    assert list(path.parent.iterdir()) == [path]


def test_file_of_other_content_is_not_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=f"text.txt to have the MD5 {'0' * 32} but got {MD5}"):
        download(f"{server}/text.txt", tmp_path / "text.txt", "0" * 32)
    assert not list(tmp_path.iterdir())


def test_part_of_a_file_is_not_kept(server: str, tmp_path: Path) -> None:
    # Whether urllib notices that the end is missing depends on its version; the checksum always does.
    with pytest.raises((OSError, HTTPException), match=r"MD5|IncompleteRead"):
        download(f"{server}/short", tmp_path / "text.txt", hashlib.md5(CONTENT * 2).hexdigest())
    assert not list(tmp_path.iterdir())


def test_missing_file(server: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="404"):
        download(f"{server}/missing", tmp_path / "text.txt", MD5)
    assert not list(tmp_path.iterdir())
