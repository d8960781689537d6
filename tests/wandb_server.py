"""A double of a server of Weights & Biases on this machine: it answers what runs and workspaces ask, and keeps it."""

import gzip
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import unquote

import pytest
import wandb

from tests.finish_wandb import finish_wandb

Variables = dict[str, Any]
QUICK = {
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_INIT_TIMEOUT": "30",
    "WANDB__GRAPHQL_RETRY_MAX": "1",
    "WANDB__FILE_STREAM_RETRY_MAX": "1",
    "WANDB__FILE_TRANSFER_RETRY_MAX": "1",
}


class WandbServer:
    """What the clients have sent."""

    def __init__(self) -> None:
        self.url = ""
        self.run: Variables = {}  # everything that was said of the run that was sent last
        self.config: dict[str, Any] = {}
        self.rows: dict[int, dict[str, Any]] = {}  # the history, by number
        self.artifacts: dict[str, Variables] = {}
        self.committed: set[str] = set()
        self.uploads: dict[str, bytes] = {}
        self.views: list[Variables] = []
        self.finished = False
        self.unknown: list[str] = []
        self._lock = Lock()

    @property
    def history(self) -> list[dict[str, Any]]:
        return [row for _, row in sorted(self.rows.items())]

    def answer(self, query: str, variables: Variables) -> Any:
        """Answer a query of GraphQL by the method of its operation's name; ``None`` if there is none."""
        found = re.search(r"(?:query|mutation)\s+(\w+)", query)
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", found.group(1) if found else query).lower()
        with self._lock:
            answer = getattr(self, f"answer_{name}", None)
            if answer is None:
                self.unknown.append(query)
            return answer and answer(variables)

    def stream(self, message: dict[str, Any]) -> None:
        """Take a part of a run's history."""
        with self._lock:
            part = message.get("files", {}).get("wandb-history.jsonl", {"offset": 0, "content": []})
            for number, line in enumerate(part["content"], part["offset"]):
                self.rows[number] = json.loads(line)
            self.finished |= bool(message.get("complete"))

    def _link(self, name: str) -> dict[str, Any]:
        return {"name": name, "displayName": name, "uploadUrl": f"{self.url}/upload/{name}", "uploadHeaders": []}

    def answer_upsert_bucket(self, variables: Variables) -> Any:
        self.run |= {name: value for name, value in variables.items() if value is not None}
        config = json.loads(variables.get("config") or "{}")
        self.config |= {key: item["value"] for key, item in config.items() if key != "_wandb"}
        project = {"id": "project", "name": self.run["project"], "entity": {"id": "entity", "name": "someone"}}
        bucket = {"id": "run", "name": self.run["name"], "displayName": self.run.get("displayName"), "config": "{}"}
        return {"upsertBucket": {"bucket": {**bucket, "historyLineCount": 0, "project": project}, "inserted": True}}

    def answer_run_resume_status(self, variables: Variables) -> Any:
        return {"model": None}

    def answer_server_features_query(self, variables: Variables) -> Any:
        return {"serverInfo": {"features": []}}

    def answer_viewer(self, variables: Variables) -> Any:
        return {"viewer": {"id": "viewer", "entity": "someone", "username": "someone", "flags": "{}"}}

    def answer_organization_core_weave_organization_id(self, variables: Variables) -> Any:
        return {"entity": None}

    def answer_artifact_type(self, variables: Variables) -> Any:
        return {"project": {"artifact": None}}

    def answer_create_artifact(self, variables: Variables) -> Any:
        made = f"artifact-{len(self.artifacts)}"
        self.artifacts[made] = variables["input"]
        sequence = {"id": f"sequence-{made}", "latestArtifact": None}
        return {"createArtifact": {"artifact": {"id": made, "state": "PENDING", "artifactSequence": sequence}}}

    def answer_create_artifact_manifest(self, variables: Variables) -> Any:
        name = f"manifest-{variables['artifactID']}"
        manifest = {"id": name, "file": {"id": name, **self._link(f"{name}.json")}}
        return {"createArtifactManifest": {"artifactManifest": manifest}}

    def answer_create_artifact_files(self, variables: Variables) -> Any:
        edges = [
            {
                "node": {
                    "id": f"{file['artifactID']}/{file['name']}",
                    **self._link(f"{file['artifactID']}/{file['name']}"),
                    "name": file["name"],
                    "storagePath": file["name"],
                    "uploadMultipartUrls": None,
                    "artifact": {"id": file["artifactID"]},
                }
            }
            for file in variables["input"]["artifactFiles"]
        ]
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def answer_commit_artifact(self, variables: Variables) -> Any:
        self.committed.add(variables["artifactID"])
        return {"commitArtifact": {"artifact": {"id": variables["artifactID"], "digest": "digest"}}}

    def answer_create_run_files(self, variables: Variables) -> Any:
        files = [self._link(name) for name in variables["files"]]
        return {"createRunFiles": {"runID": "run", "uploadHeaders": [], "files": files}}

    def answer_upsert_view2(self, variables: Variables) -> Any:
        self.views.append(variables)
        return {"upsertView": {"view": {"id": "view", "name": variables["name"]}, "inserted": True}}


@contextmanager
def serving() -> Iterator[WandbServer]:
    """Serve on a free port of this machine."""
    server = WandbServer()

    class Handler(BaseHTTPRequestHandler):
        timeout = 30

        def log_message(self, *args: Any, **options: Any) -> None:
            """Print nothing."""

        def content(self) -> bytes:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return gzip.decompress(content) if self.headers.get("Content-Encoding") == "gzip" else content

        def reply(self, answer: Any, status: int = 200) -> None:
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_PUT(self) -> None:
            server.uploads[unquote(self.path.removeprefix("/upload/"))] = self.content()
            self.reply({})

        def do_POST(self) -> None:
            content = self.content()
            if self.path == "/graphql":
                request = json.loads(content)
                data = server.answer(request["query"], request.get("variables") or {})
                self.reply({"data": data}, 200 if data else 400)  # others than 400 it would ask for minutes
            else:
                if self.path.endswith("/file_stream"):
                    server.stream(json.loads(content))
                self.reply({})

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}"
        thread = Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join(10)


@contextmanager
def wandb_in(folder: Path, server: WandbServer | None = None) -> Iterator[None]:
    """Keep all that wandb writes in one folder, offline or with a server, whatever other tests of the process did.

    The files of runs are whole at the end of it, and not before: ``finish`` returns a moment earlier.
    """
    wandb.teardown()  # it reads the environment once in a process
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
            patch.setenv(name, str(folder / name))
        for name, value in {**QUICK, "WANDB_MODE": "online" if server else "offline"}.items():
            patch.setenv(name, value)
        if server:
            patch.setenv("WANDB_BASE_URL", server.url)
            patch.setenv("WANDB_API_KEY", "local-" + 40 * "a")
        try:
            yield
        finally:
            finish_wandb()
