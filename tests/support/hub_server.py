"""A Hub on loopback: the part of its protocol by which models are found, downloaded and committed.

Large files are served as the Hub does it, by a redirect to another place, and uploaded through the Git-LFS protocol.
`faults` make it misbehave.
"""

import base64
import hashlib
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_good"
LARGE = ".safetensors"


@dataclass
class Repository:
    private: bool = False
    gated: bool = False
    commits: list[tuple[str, str, dict[str, bytes]]] = field(default_factory=list)  # (sha, message, files)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, files, message="Add", deleted=()):
        before = self.commits[-1][2] if self.commits else {".gitattributes": b"*.safetensors filter=lfs\n"}
        files = {name: data for name, data in {**before, **files}.items() if name not in deleted}
        sha = hashlib.sha1(f"{len(self.commits)} {message} {sorted(files)}".encode()).hexdigest()
        self.commits.append((sha, message, files))
        return sha

    def at(self, revision):
        revision = self.tags.get(revision, revision)
        if revision == "main" and self.commits:
            return self.commits[-1]
        return next((commit for commit in self.commits if commit[0] == revision), None)

    @property
    def files(self):
        return self.commits[-1][2]


class Hub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}  # of Git-LFS
        self.log: list[str] = []
        self.faults: dict[str, object] = {}

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def elsewhere(self):
        """The same server under another name, as the Hub's large files lie on another host."""
        return f"http://localhost:{self.server_address[1]}"

    def add(self, repo_id, folder, **options):
        repository = self.repositories.setdefault(repo_id, Repository(**options))
        folder = Path(folder)
        repository.commit({p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()})
        return repository

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is part of the tests

    @contextmanager
    def fault(self, **faults):
        """Misbehave within the block.

        down: status of every answer. silent: seconds before any answer. portal: a web page for every answer. cut: names
        of files whose transfer breaks off. body: other contents of files, whatever their size is said to be.
        """
        self.faults = faults
        try:
            yield
        finally:
            self.faults = {}


@contextmanager
def running_hub():
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def answer(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        path = unquote(urlsplit(self.path).path).strip("/")
        self.server.log.append(f"{self.command} {path}")
        faults = self.server.faults
        time.sleep(faults.get("silent", 0))
        if "down" in faults:
            return self.send(faults["down"], b"out of order")
        if "portal" in faults:
            return self.send(200, b"<!DOCTYPE html><html>Please log in</html>", {"Content-Type": "text/html"})
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in ("", TOKEN):
            return self.send(401, b"{}", {"X-Error-Message": "Invalid credentials in Authorization header"})
        self.known = token == TOKEN
        parts = path.split("/")
        if parts[:2] == ["api", "models"]:
            return self.api("/".join(parts[2:4]), parts[4:])
        if path == "api/repos/create":
            return self.create()
        if path == "api/validate-yaml":
            return self.validate()
        if parts[0] == "lfs":
            return self.store(parts[1])
        if parts[0] == "cdn":
            return self.send_file(self.server.objects[parts[1]], "/".join(parts[2:]))
        if path.endswith(".git/info/lfs/objects/batch"):
            return self.batch()
        if len(parts) > 4 and parts[2] == "resolve":
            return self.resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        return self.send(404, b"{}")

    def send(self, status, data=b"", headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def send_json(self, values, status=200):
        warning = {"X-HF-Warning": "test; a warning that no user should see"}
        self.send(status, json.dumps(values).encode(), {"Content-Type": "application/json", **warning})

    def found(self, repo_id):
        repository = self.server.repositories.get(repo_id)
        if repository is None or (repository.private and not self.known):
            # The Hub does not tell a stranger which private models there are.
            self.send(404 if self.known else 401, b"{}", {"X-Error-Code": "RepoNotFound"})
            return None
        return repository

    def commit_at(self, repository, revision):
        commit = repository.at(revision)
        if commit is None:
            self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        return commit

    def api(self, repo_id, rest):
        repository = self.found(repo_id)
        if repository is None:
            return None
        if rest[:1] == ["preupload"]:
            return self.preupload()
        if rest[:1] == ["commit"]:
            return self.commit(repo_id, repository)
        commit = self.commit_at(repository, rest[1] if len(rest) > 1 else "main")
        if commit is None:
            return None
        sha, _, files = commit
        if rest[:1] == ["tree"]:
            return self.send_json(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in files.items()
                ]
            )
        siblings = [{"rfilename": name} for name in files]
        return self.send_json({"id": repo_id, "sha": sha, "private": repository.private, "siblings": siblings})

    def resolve(self, repo_id, revision, name):
        repository = self.found(repo_id)
        commit = self.commit_at(repository, revision) if repository else None
        if commit is None:
            return None
        sha, _, files = commit
        if repository.gated and not self.known:
            return self.send(403, b"{}", {"X-Error-Code": "GatedRepo"})
        if name not in files:
            return self.send(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": sha})
        data = files[name]
        digest = hashlib.sha256(data).hexdigest()
        headers = {"X-Repo-Commit": sha, "ETag": f'"{digest}"'}
        if not name.endswith(LARGE):
            return self.send_file(data, name, headers)
        self.server.objects[digest] = data
        linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data))}
        return self.send(302, b"", {**headers, **linked, "Location": f"{self.server.elsewhere}/cdn/{digest}/{name}"})

    def send_file(self, data, name, headers=None):
        faults = self.server.faults
        data = faults.get("body", {}).get(name, data) if self.command == "GET" else data
        start, status = 0, 200
        if self.headers.get("Range"):
            start, status = int(self.headers["Range"].removeprefix("bytes=").split("-")[0]), 206
        part = data[start:]
        if name not in faults.get("cut", ()) or self.command == "HEAD":
            return self.send(status, part, headers)
        self.send_response(status)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part[: len(part) // 2])
        self.close_connection = True
        return None

    def create(self):
        if not self.known:
            return self.send(401, b"{}")
        asked = json.loads(self.body)
        repo_id = f"{asked.get('organization') or 'me'}/{asked['name']}"
        there = repo_id in self.server.repositories
        if not there:
            private = asked.get("private") or asked.get("visibility") == "private"
            self.server.repositories[repo_id] = Repository(private=bool(private))
            self.server.repositories[repo_id].commit({}, "initial commit")
        return self.send_json({"url": f"{self.server.address}/{repo_id}"}, 409 if there else 200)

    def validate(self):
        text = json.loads(self.body)["content"]
        front = yaml.safe_load(text.split("---")[1])
        return self.send_json({"errors": [], "warnings": []} if isinstance(front, dict) else {"errors": ["none"]})

    def preupload(self):
        files = json.loads(self.body)["files"]
        return self.send_json(
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                        "shouldIgnore": False,
                    }
                    for file in files
                ]
            }
        )

    def batch(self):
        asked = json.loads(self.body)
        objects = [
            {**part, "actions": {"upload": {"href": f"{self.server.address}/lfs/{part['oid']}"}}}
            for part in asked["objects"]
        ]
        return self.send_json({"transfer": "basic", "objects": objects})

    def store(self, digest):
        if hashlib.sha256(self.body).hexdigest() != digest:
            return self.send(400)
        self.server.objects[digest] = self.body
        return self.send(200)

    def commit(self, repo_id, repository):
        lines = [json.loads(line) for line in self.body.splitlines()]
        files, deleted, message = {}, [], ""
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "header":
                    message = value["summary"]
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.server.objects[value["oid"]]
                case "deletedFile":
                    deleted.append(value["path"])
        sha = repository.commit(files, message, deleted)
        return self.send_json({"commitUrl": f"{self.server.address}/{repo_id}/commit/{sha}", "commitOid": sha})
