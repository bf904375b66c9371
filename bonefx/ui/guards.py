"""What stands between the network and Gradio: which addresses there are, and how much may be sent.

Gradio (6.31) answers under many addresses that this app has no use for; some write files, run programs or
keep a visitor's page for ever (deep links), and there is no switch for them. So those that the page and
Gradio's clients need are listed here, and there are no others.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from bonefx.entries import MAX_UNPACKED
from bonefx.errors import UNEXPECTED, log_frames
from bonefx.ui.assistants import holds_a_file

MAX_BODY = 1024 * 1024
"""Bytes of a request that is no upload: some ten times what the page sends for a batch of 200 files."""

MAX_UPLOAD = MAX_UNPACKED + 16 * MAX_BODY
"""Bytes of one request that uploads files, with what stands around them."""

MAX_ID = 100
"""Characters of what a client calls its session, or an upload: Gradio keeps these for long."""

API = "/gradio_api"
UPLOAD = f"{API}/upload"
MCP = f"{API}/mcp/"
OPEN = tuple(
    (frozenset(methods.split()), re.compile(path))
    for methods, path in (
        ("GET HEAD", r"/|/config/?|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json"),
        ("GET HEAD", r"/(static|assets|svelte)/.+"),
        ("GET HEAD", r"/examples/[^/]+"),
        ("GET HEAD", rf"{API}/(info/?|openapi\.json|theme\.css|app_id/?|startup-events)"),
        ("GET HEAD", rf"{API}/file=.+"),
        ("GET", rf"{API}/(heartbeat/[^/]+|queue/data|queue/status|upload_progress)"),
        ("GET", rf"{API}/call/[^/]+/[^/]+|{API}/call/v2/[^/]+/[^/]+"),
        ("POST", rf"{API}/(call|call/v2|run|api)/[^/]+/?"),
        ("POST", rf"{API}/(queue/join|cancel|reset/?|upload)"),
        ("POST", MCP),
        ("GET", rf"{MCP}schema"),  # by which the Hub finds a Space's tools
    )
)
"""Methods and addresses that are answered. Other people's pages ask with OPTIONS first (CORS)."""

_ELSEWHERE = re.compile(rf"{API}/file=[a-zA-Z][\w+.-]*:")
_NO_SUCH_CALL = "There is no such call. “Use via API”, at the page's foot, says which there are."

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Refusal(Exception):
    """A request is not answered; the words are for whoever has sent it."""

    def __init__(self, words: str, status: int) -> None:
        super().__init__(words)
        self.status = status


class Guard:
    """ASGI middleware: refuses what is not open or too long, and tells of errors without quoting anything."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":  # there are no web sockets here: the server closes them
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            _check_address(scope)
            if _path(scope).startswith(f"{API}/info"):
                scope["app"].api_info = None  # Gradio would show all what one's `X-Forwarded-Host` made of it
            await self._app(scope, await _bounded(scope, receive), watched)
        except Refusal as error:
            refusal = say(str(error), error.status)
        except Exception as error:
            refusal = _unexpected(scope, error, started)
        else:
            return
        if started:  # it is too late for words
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await refusal(scope, receive, send)


def say(words: str, status: int) -> Response:
    """An answer that is a sentence."""
    return JSONResponse({"detail": words, "error": words}, status_code=status)


def _check_address(scope: Scope) -> None:
    path, method = _path(scope), scope["method"]
    query = parse_qs(scope["query_string"], keep_blank_values=True)
    if method == "OPTIONS":
        return
    if not any(method in methods and pattern.fullmatch(path) for methods, pattern in OPEN):
        raise Refusal("There is nothing under this address.", 404)
    if b"deep_link" in query:
        raise Refusal("Links to a stored page are not offered here. Open it without `deep_link`.", 404)
    if path == "/" and any(query.get(b"page", ())):
        raise Refusal("There is one page only. Open it without `page`.", 404)
    if any(len(name) > MAX_ID for key in (b"session_hash", b"upload_id") for name in query.get(key, ())):
        raise Refusal(f"A name of a session or an upload has at most {MAX_ID} characters.", 422)
    if _ELSEWHERE.match(path):
        raise Refusal("Only this server's own files are served.", 403)


async def _bounded(scope: Scope, receive: Receive) -> Receive:
    """The same request, whose body cannot be too long."""
    if _path(scope) == UPLOAD:
        return _counted(scope, receive, MAX_UPLOAD)
    if scope["method"] != "POST":
        return receive
    read, body = _counted(scope, receive, MAX_BODY), b""
    message: Message = {"more_body": True}
    while message.get("more_body") and message.get("type") != "http.disconnect":
        message = await read()
        body += message.get("body", b"")
    _check_names(body)
    if _path(scope) == MCP and holds_a_file(body):
        raise Refusal("Send the address of an image in place of the image itself.", 422)
    whole = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return whole.pop() if whole else await receive()

    return again


def _counted(scope: Scope, receive: Receive, limit: int) -> Receive:
    too_long = Refusal(f"This is more than {limit // 1024**2} MB.", 413)
    length = dict(scope["headers"]).get(b"content-length", b"0")
    if not length.isdigit() or int(length) > limit:
        raise too_long
    left = limit

    async def counted() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise too_long
        return message

    return counted


def _check_names(body: bytes) -> None:
    try:
        sent = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise Refusal("This is not JSON that can be read.", 422) from None
    for key in ("session_hash", "event_id"):
        name = sent.get(key) if isinstance(sent, dict) else None
        if not (name is None or (isinstance(name, str) and len(name) <= MAX_ID)):
            raise Refusal(f"{key} must be a text of at most {MAX_ID} characters.", 422)


def _path(scope: Scope) -> str:
    """The address below the one under which a proxy has put the app."""
    path, root = scope["path"], scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _unexpected(scope: Scope, error: Exception, started: bool) -> Response:
    """What is said of an error that Gradio does not handle."""
    if scope["method"] == "POST" and re.match(rf"{API}/(call|run|api|queue)/", _path(scope)):
        return say(_NO_SUCH_CALL, 404)  # an event's own errors are answered as such: see `api.App`
    if not (started and isinstance(error.__cause__, HTTPException)):  # such as: there is no such session
        log_frames(_log, error)
    return say(UNEXPECTED, 500)
