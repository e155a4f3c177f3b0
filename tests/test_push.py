"""alignreg push against a stand-in of the Hub on this machine."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from alignreg_jax import cli


class Hub(BaseHTTPRequestHandler):
    """Knows what a commit of small files needs, by the Hub's own paths."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        hub = self.server
        if hub.refuse:
            return self.answer({"error": hub.refuse}, 403)
        if self.path == "/api/repos/create":
            hub.made.append(json.loads(body))
            return self.answer({"url": f"{hub.address}/me/model", "name": "me/model"})
        if self.path == "/api/validate-yaml":
            hub.cards.append(json.loads(body)["content"])
            return self.answer({"errors": [], "warnings": []})
        if self.path == "/api/models/me/model/preupload/main":
            asked = json.loads(body)["files"]
            files = [
                {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                for each in asked
            ]
            return self.answer({"files": files})
        if self.path == "/api/models/me/model/commit/main":
            hub.commits.append([json.loads(line) for line in body.splitlines()])
            return self.answer({"commitUrl": f"{hub.address}/me/model/commit/1", "commitOid": "1"})
        return self.answer({"error": f"no such path {self.path}"}, 404)

    def answer(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture(autouse=True)
def online(monkeypatch):
    """The other tests forbid it."""
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_test")


@pytest.fixture
def hub(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.address = f"http://127.0.0.1:{server.server_port}"
    server.made, server.cards, server.commits, server.refuse = [], [], [], ""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "export/onnx").mkdir(parents=True)
    (tmp_path / "export/config.json").write_text("{}")
    (tmp_path / "export/README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    (tmp_path / "export/onnx/model.onnx").write_bytes(b"\0\1\2")
    (tmp_path / "export/.DS_Store").write_text("")
    return tmp_path / "export"


def test_a_folder_is_one_commit(hub, folder, capsys):
    assert cli.execute(["push", str(folder), "me/model", "--private", "--message", "First"]) == 0
    assert capsys.readouterr().out.strip() == f"{hub.address}/me/model/commit/1"
    assert hub.made[0]["name"] == "model"
    # Versions of the client say it in one way or the other
    assert hub.made[0].get("private") is True or hub.made[0]["visibility"] == "private"
    (lines,) = hub.commits
    header, *files = lines
    assert header["value"]["summary"] == "First"
    sent = {each["value"]["path"]: base64.b64decode(each["value"]["content"]) for each in files}
    assert sent == {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".DS_Store"
    }
    assert "license: mit" in hub.cards[0]


def test_what_the_hub_refuses_is_told_in_a_line(hub, folder, capsys):
    hub.refuse = "no right"
    assert cli.execute(["push", str(folder), "me/model"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: me/model: the Hub refuses: ")
    assert err.count("\n") == 1
    assert not hub.commits


@pytest.mark.parametrize(
    ("name", "missing", "says"),
    [
        ("me/model", "config.json", "has no config.json; give the export of a run"),
        ("me/model", "README.md", "has no README.md"),
        ("model", "", "model: should be OWNER/NAME"),
        ("me/mo del", "", "me/mo del: "),
    ],
)
def test_mistakes_are_told_before_anything_is_sent(hub, folder, capsys, name, missing, says):
    if missing:
        (folder / missing).unlink()
    assert cli.execute(["push", str(folder), name]) == 2
    assert says in capsys.readouterr().err
    assert not hub.made


def test_without_a_connection(folder, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert cli.execute(["push", str(folder), "me/model"]) == 2
    assert "error: me/model: http://127.0.0.1:9 cannot be reached" in capsys.readouterr().err
