"""The upload, against a server that answers as the hub does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from helpers.commands import refused
from helpers.paths import ROOT

from objbench.use import hub

NAME = "objmae-small-tetrominoes"


class Hub(BaseHTTPRequestHandler):
    """Takes every file as a regular one and keeps what is committed; without a token it refuses."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(self.path)
        if self.headers.get("Authorization") != "Bearer hf_right":
            self.answer({"error": "Invalid username or password."}, 401)
        elif self.path == "/api/repos/create":
            self.server.created = json.loads(body)
            self.answer({"url": f"http://127.0.0.1:{self.server.server_port}/me/mine"})
        elif self.path.startswith("/api/models/me/mine/preupload/"):
            files = [
                {**file, "uploadMode": "regular", "shouldIgnore": False} for file in json.loads(body)["files"]
            ]
            self.answer({"files": files})
        elif self.path.startswith("/api/models/me/mine/commit/"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = b64decode(line["value"]["content"])
            self.answer({"commitUrl": "http://127.0.0.1/me/mine/commit/1", "commitOid": "1"})
        else:
            self.answer({"errors": [], "warnings": []})

    def do_GET(self):
        self.answer({"id": "me/mine", "sha": "0" * 40, "siblings": []})

    def answer(self, content, status=200):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.files, server.created = [], {}, None
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def publish(server, token: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the library reads its settings when it is imported."""
    settings = {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_TOKEN": token,
        "HF_HOME": str(cwd / "hf"),
        "PYTHONPATH": str(ROOT),
        "NO_PROXY": "127.0.0.1",
    }
    code = "from objbench.cli import main; main()"
    line = ["publish", NAME, "--output", "model", "--to", "hf://me/mine", "--licence", "apache-2.0"]
    return subprocess.run(
        [sys.executable, "-c", code, *line],
        cwd=cwd,
        env=os.environ | settings,
        capture_output=True,
        text=True,
    )


def test_all_files_arrive_as_they_are(server, tmp_path):
    done = publish(server, "hf_right", tmp_path)
    assert done.returncode == 0, done.stderr
    assert server.created["name"] == "mine"
    folder = tmp_path / "model"
    assert server.files == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert "model.safetensors" in server.files
    assert done.stdout.splitlines()[-1].endswith("/me/mine")


def test_a_refusal_leaves_the_folder_and_says_what_to_do(server, tmp_path):
    done = publish(server, "hf_wrong", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("objbench: ")]
    assert line.startswith("objbench: hf://me/mine: not uploaded (")
    assert "401" in line
    assert "log in with `hf auth login` or HF_TOKEN" in line
    assert server.files == {}
    assert (tmp_path / "model/result.json").exists()


def test_without_the_library_one_line_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: None)
    message = refused(2, "publish", NAME, "--output", "model", "--to", "hf://me/mine")
    assert (
        message
        == "objbench: --to hf://me/mine: the upload needs huggingface_hub: pip install 'objbench[hub]'\n"
    )
    assert not Path("model").exists()


@pytest.mark.parametrize("address", ["me/mine", "hf://mine", "https://huggingface.co/me/mine", "hf://a/b/c"])
def test_addresses_that_are_none(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "expected hf://USER/NAME" in refused(2, "publish", NAME, "--output", "model", "--to", address)
