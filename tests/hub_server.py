"""A Hugging Face Hub on loopback that the real client talks to, and the ways in which a Hub can fail.

    with Hub() as hub:
        sha = hub.put("owner/name", {"best.pt": b"..."})
        hub.trouble(answer(503), on="GET /owner/name/resolve/")

It knows downloads (HEAD and GET of `resolve`) and what a push without LFS needs (`repos/create`,
`validate-yaml`, `preupload`, `commit`).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

READER, WRITER = "hf_reader", "hf_writer"  # the tokens that this Hub knows

_RESOLVE = re.compile(r"/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(preupload|commit|revision)/([^/]+))?")


@dataclass
class Repo:
    """Commits of a repository, oldest first: SHA to files."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return list(self.commits)[-1]

    def commit(self, files: dict[str, bytes]) -> str:
        """Add or replace files; the new commit's SHA."""
        sha = hashlib.sha1(f"{len(self.commits)} {sorted(files)}".encode()).hexdigest()
        self.commits[sha] = (self.commits[self.head] if self.commits else {}) | files
        return sha

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        sha = self.head if revision == "main" else revision
        return (sha, self.commits[sha]) if sha in self.commits else None


class Hub:
    """The server, running from `with` on, in threads of its own.

    Attributes:
        url: its address, for `endpoint`.
        repos: by type ("model", "dataset") and id.
        requests: "METHOD /path" of each request so far.
        connections: every one so far.
        authorizations: path and `Authorization` header of each request so far.
        cdn: whether `resolve` redirects to a storage on another host name, as for large files.
        large: whether it names files by their SHA-256, as it does large ones.
        over: set when the server closes; a trouble that waits must wait for this.
    """

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.requests: list[str] = []
        self.authorizations: list[tuple[str, str | None]] = []
        self.cdn = False
        self.large = False
        self.over = threading.Event()
        self.connections: list[socket.socket] = []
        self._troubles: list[tuple[re.Pattern[str], Trouble]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop: from here on the address refuses connections."""
        if not self.over.is_set():
            self.over.set()
            self._server.shutdown()
            self._server.socket.close()
            for connection in self.connections:  # that a client keeps for its next request
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def put(
        self, repo_id: str, files: dict[str, bytes], repo_type: str = "model", *, private: bool = False
    ) -> str:
        """Commit files, making the repository where it is missing; the commit's SHA."""
        repo = self.repos.setdefault((repo_type, repo_id), Repo(private))
        return repo.commit(files)

    def trouble(self, trouble: Trouble, on: str = "") -> None:
        """From now on answer requests whose "METHOD /path" matches the expression `on` with a trouble."""
        self._troubles.insert(0, (re.compile(on), trouble))

    def recover(self) -> None:
        """No more troubles."""
        self._troubles.clear()

    def find_trouble(self, request: str) -> Trouble | None:
        return next((trouble for on, trouble in self._troubles if on.match(request)), None)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.hub.connections.append(self.connection)

    def log_message(self, *args: object) -> None:
        """Silence."""

    def handle_one_request(self) -> None:
        # A client that gave up is what many tests are about.
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.route = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {self.route}")
        self.hub.authorizations.append((self.route, self.headers.get("Authorization")))
        if trouble := self.hub.find_trouble(f"{self.command} {self.route}"):
            trouble(self)
        elif match := _RESOLVE.fullmatch(self.route.removeprefix("/cdn")):
            self._resolve(*match.groups())
        elif self.route == "/api/repos/create":
            self._create(json.loads(self.body))
        elif self.route == "/api/validate-yaml":
            self.send_json({"errors": [], "warnings": []})
        elif match := _API.fullmatch(self.route):
            self._api(*match.groups())
        else:
            self.send_error_code(404)

    # Answers

    def send(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_json(self, value: object, status: int = 200) -> None:
        self.send(status, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def send_error_code(self, status: int, code: str = "", message: str = "") -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        self.send(status, {name: value for name, value in headers.items() if value})

    # What a Hub does

    def _token(self) -> str | None:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def _may(self, repo: Repo | None, write: bool = False) -> bool:
        """Whether the request may go on; answers it where not."""
        token = self._token()
        if token not in (None, READER, WRITER):
            self.send_error_code(401, message="Invalid credentials in Authorization header")
        elif repo is None or (repo.private and token is None):
            self.send_error_code(404 if token else 401, "RepoNotFound", "Repository not found")
        elif write and token != WRITER:
            self.send_error_code(403, message="You don't have the rights to do this")
        else:
            return True
        return False

    def _resolve(self, kind: str | None, repo_id: str, revision: str, name: str) -> None:
        repo = self.hub.repos.get(("dataset" if kind else "model", repo_id))
        stored = self.route.startswith("/cdn")
        if not stored and not self._may(repo):
            return
        if (found := repo.at(revision)) is None:
            self.send_error_code(404, "RevisionNotFound")
            return
        sha, files = found
        if name not in files:
            self.send_error_code(404, "EntryNotFound")
            return
        content = files[name]
        oid = hashlib.sha256(content).hexdigest() if self.hub.large else git_oid(content)
        headers = {"X-Repo-Commit": sha, "ETag": f'"{oid}"'}
        if self.hub.cdn and not stored:
            location = f"http://localhost:{self.hub.port}/cdn{self.path}"
            linked = {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(len(content))}
            self.send(302, headers | linked | {"Location": location})
        else:
            self.send(200, headers, content)

    def _create(self, wanted: dict[str, str]) -> None:
        repo_type, repo_id = wanted.get("type", "model"), f"{wanted['organization']}/{wanted['name']}"
        if not self._may(Repo(), write=True):
            return
        if (repo_type, repo_id) in self.hub.repos:
            status = 409
        else:
            status = 200
            self.hub.put(repo_id, {".gitattributes": b""}, repo_type)
        self.send_json({"url": self._address(repo_type, repo_id)}, status)

    def _api(self, kind: str, repo_id: str, action: str | None, revision: str | None) -> None:
        repo_type = kind.removesuffix("s")
        repo = self.hub.repos.get((repo_type, repo_id))
        if not self._may(repo, write=action in ("preupload", "commit")):
            return
        if action == "preupload":
            stored = repo.commits[repo.head]
            self.send_json(
                {
                    "files": [
                        {
                            "path": file["path"],
                            "uploadMode": "regular",
                            "shouldIgnore": False,
                            "oid": git_oid(stored[file["path"]]) if file["path"] in stored else None,
                        }
                        for file in json.loads(self.body)["files"]
                    ]
                }
            )
        elif action == "commit":
            lines = [json.loads(line) for line in self.body.splitlines()]
            files = {
                line["value"]["path"]: base64.b64decode(line["value"]["content"])
                for line in lines
                if line["key"] == "file"
            }
            sha = repo.commit(files)
            self.send_json(
                {"commitOid": sha, "commitUrl": f"{self._address(repo_type, repo_id)}/commit/{sha}"}
            )
        else:
            self.send_json({"id": repo_id, "sha": repo.head, "private": repo.private})

    def _address(self, repo_type: str, repo_id: str) -> str:
        return f"{self.hub.url}/{'' if repo_type == 'model' else repo_type + 's/'}{repo_id}"

    def file(self) -> bytes:
        """The content that the path names, at the newest commit."""
        name = _RESOLVE.fullmatch(self.route.removeprefix("/cdn")).groups()[3]
        return self.repo().commits[self.repo().head][name]

    def repo(self) -> Repo:
        """The repository that the path names."""
        kind, repo_id, *_ = _RESOLVE.fullmatch(self.route.removeprefix("/cdn")).groups()
        return self.hub.repos["dataset" if kind else "model", repo_id]


Trouble = Callable[[_Handler], None]


def git_oid(content: bytes) -> str:
    """The id that git, and so the Hub, gives to a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def answer(status: int, code: str = "", message: str = "") -> Trouble:
    """An error status, with the Hub's own error code if there is one."""
    return lambda request: request.send_error_code(status, code, message)


def silence(request: _Handler) -> None:
    """Accept the request and never answer."""
    request.hub.over.wait()


def drip(request: _Handler) -> None:
    """Send the header a byte at a time, without end."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while not request.hub.over.wait(0.05):
        request.wfile.write(b"a")


def drop(request: _Handler) -> None:
    """Close the connection without a word."""
    request.close_connection = True


def redirect_to_itself(request: _Handler) -> None:
    """Redirect without end."""
    request.send(302, {"Location": request.path})


def web_page(request: _Handler) -> None:
    """Answer like a Wi-Fi portal: a page, and nothing of a Hub."""
    request.send(200, {"Content-Type": "text/html"}, b"<h1>Welcome</h1>")


def cut(after: int) -> Trouble:
    """Close the connection in the middle of the file."""

    def trouble(request: _Handler) -> None:
        content = request.file()
        request.send(200, {"Content-Length": str(len(content))}, content[:after])
        request.close_connection = True

    return trouble


def stall(after: int, release: threading.Event | None = None) -> Trouble:
    """Send a part of the file, and no more (until `release` is set, where given)."""

    def trouble(request: _Handler) -> None:
        content = request.file()
        request.send(200, {"Content-Length": str(len(content))}, content[:after])
        (release or request.hub.over).wait()
        request.wfile.write(content[after:])

    return trouble


def announce(**headers: str) -> Trouble:
    """Say of the file what the Hub says of it, but for these headers."""

    def trouble(request: _Handler) -> None:
        content = request.file()
        said = {
            "X-Repo-Commit": request.repo().head,
            "ETag": f'"{git_oid(content)}"',
            "Content-Length": str(len(content)),
        }
        request.send(200, said | {name.replace("_", "-"): value for name, value in headers.items()})

    return trouble


def shorten(length: int) -> Trouble:
    """Send a file that is shorter than the Hub said before."""
    return lambda request: request.send(200, {}, request.file()[:length])


def replaced(content: bytes) -> Trouble:
    """Send another file than the Hub said before."""
    return lambda request: request.send(200, {}, content)


def trickle(size: int, pause: float) -> Trouble:
    """Send the file in pieces with a pause, in seconds, before each."""

    def trouble(request: _Handler) -> None:
        content = request.file()
        request.send(200, {"Content-Length": str(len(content))})
        for start in range(0, len(content), size):
            request.hub.over.wait(pause)
            request.wfile.write(content[start : start + size])

    return trouble
