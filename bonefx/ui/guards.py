"""What stands between the network and Gradio: which addresses there are, how much may be sent.

Gradio (6.31) answers under many addresses that this app has no use for; some write files, run programs or
keep a visitor's page for ever (deep links), and there is no switch for them. So those that the page and
Gradio's clients need are listed here, and there are no others.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import gradio.routes
from fastapi.exceptions import RequestValidationError
from gradio.route_utils import MultiPartException, upload_fn
from gradio.routes import file_upload_statuses
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from bonefx.entries import MAX_UNPACKED
from bonefx.errors import UNEXPECTED, log_frames, shortened
from bonefx.ui.examples import examples
from bonefx.ui.storage import storage, sweeping
from bonefx.ui.visitors import Visitors

MAX_BODY = 1024 * 1024
"""Bytes of a request that is no upload: some hundred times what the page sends."""

MAX_UPLOAD = MAX_UNPACKED + 16 * MAX_BODY
"""Bytes of one request that uploads files, with what stands around them."""

FREE_DISK = 1024**3
"""Bytes that uploads leave free on the disk."""

API = "/gradio_api"
UPLOAD = f"{API}/upload"
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
    )
)
"""Methods and addresses that are answered. Other people's pages ask with OPTIONS first (CORS)."""

_log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class TooLarge(Exception):
    """A request's body is longer than it may be."""


class Guard:
    """ASGI middleware: refuses what is not open or too long, and tells of errors without quoting anything."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # there are no web sockets here: the server closes them
        refused = _refused(scope)
        if refused is not None:
            await refused(scope, receive, send)
            return
        await self._answer(scope, receive, send)

    async def _answer(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        limit = MAX_UPLOAD if _path(scope) == UPLOAD else MAX_BODY
        left, started = limit, False  # of the body; whether the answer has begun

        async def bounded() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise TooLarge
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            if left < 0 and not started:
                raise TooLarge  # FastAPI has made something else of it
            started = True
            await send(message)

        try:
            if int(dict(scope["headers"]).get(b"content-length", b"0")) > limit:
                raise TooLarge
            await self._app(scope, bounded, watched)
        except Exception as error:
            too_large = left < 0 or isinstance(error, TooLarge)
            if not too_large:
                log_frames(_log, error)
            if not started:
                words = f"This is more than {limit // 1024**2} MB." if too_large else UNEXPECTED
                await _say(words, 413 if too_large else 500)(scope, receive, send)


def guards() -> dict[str, Any]:
    """What `launch` hands on to the server (`app_kwargs`)."""
    return {
        "middleware": [Middleware(Guard)],
        "routes": [
            Route(UPLOAD, _upload, methods=["POST"]),
            Route("/examples/{name}", _example, methods=["GET"]),
        ],
        "exception_handlers": {HTTPException: _on_refusal, RequestValidationError: _on_bad_request},
        "lifespan": _lifespan,
    }


@asynccontextmanager
async def _lifespan(app: gradio.routes.App) -> AsyncIterator[None]:
    app.state_holder = Visitors(app.get_blocks())
    async with sweeping():
        yield


def _path(scope: MutableMapping[str, Any]) -> str:
    """The address below the one under which a proxy has put the app."""
    path, root = scope["path"], scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _refused(scope: MutableMapping[str, Any]) -> Response | None:
    path, method = _path(scope), scope["method"]
    if method == "OPTIONS":
        return None
    if not any(method in methods and pattern.fullmatch(path) for methods, pattern in OPEN):
        return _say("There is nothing under this address.", 404)
    if b"deep_link" in parse_qs(scope["query_string"], keep_blank_values=True):
        return _say("Links to a stored page are not offered here. Open the page without `deep_link`.", 404)
    if path.startswith(f"{API}/file=") and re.match(r"[a-zA-Z][\w+.-]*:", path[len(f"{API}/file=") :]):
        return _say("Only this server's own files are served.", 403)
    return None


def _say(words: str, status: int) -> Response:
    return JSONResponse({"detail": words, "error": words}, status_code=status)


async def _on_refusal(request: Request, error: Exception) -> Response:
    """Gradio's refusals, which repeat what was sent."""
    assert isinstance(error, HTTPException)
    detail = error.detail if isinstance(error.detail, str) else json.dumps(error.detail)
    return JSONResponse({"detail": shortened(detail)}, status_code=error.status_code, headers=error.headers)


async def _on_bad_request(request: Request, error: Exception) -> Response:
    """A body of another shape than the address takes; FastAPI would send it back whole."""
    assert isinstance(error, RequestValidationError)
    places = ", ".join(shortened(".".join(map(str, each["loc"]))) for each in error.errors()[:3])
    return _say(f"This is not what the address takes: see {shortened(places)}.", 422)


async def _upload(request: Request) -> Response:
    """Gradio's way to take files, each request's into an entry of its own.

    Gradio itself puts the same file of two visitors under one path, where one's deletion takes the other's;
    and leaves behind what breaks off.
    """
    length = int(request.headers.get("content-length", MAX_BODY))
    if shutil.disk_usage(storage().root).free - length < FREE_DISK:
        return _say("The server's disk is full. Try again in an hour.", 507)
    entry = storage().new_entry()
    upload_id = request.query_params.get("upload_id")
    limit = request.app.get_blocks().max_file_size or MAX_UNPACKED
    files: list[str] = []
    try:
        progress = file_upload_statuses if upload_id else None
        files, _, _ = await upload_fn(request, entry, limit, upload_id, upload_progress=progress)
    except MultiPartException as error:
        code = 413 if "maximum allowed size" in error.message else 400
        return _say(shortened(error.message), code)
    except (ClientDisconnect, HTTPException, TypeError, AttributeError, ValueError):
        return _say("The upload broke off, or is none. Send it again.", 400)
    finally:
        if not files:
            shutil.rmtree(entry, ignore_errors=True)
    if not files:
        return _say("There is no file in what was sent, in no field called `files`.", 400)
    return JSONResponse([str(file) for file in files])


async def _example(request: Request) -> Response:
    """An example's file, for those who try the endpoints."""
    name = request.path_params["name"]
    paths = {each.path.name: each.path for each in examples().values()}
    if name not in paths:
        return _say(f"There is no such example. The examples are: {', '.join(paths)}.", 404)
    return FileResponse(paths[name], headers={"Cache-Control": "public, max-age=3600"})
