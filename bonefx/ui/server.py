"""What the app adds to Gradio's server: its own way to take files, examples, words, and housekeeping."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

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
from bonefx.errors import shortened
from bonefx.ui.assistants import keep_to_endpoints
from bonefx.ui.examples import examples
from bonefx.ui.guards import UPLOAD, Guard, say
from bonefx.ui.storage import storage, sweeping
from bonefx.ui.visitors import Visitors

FREE_DISK = 1024**3
"""Bytes that uploads leave free on the disk."""


def server_options() -> dict[str, Any]:
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
    keep_to_endpoints(app.get_blocks())
    async with sweeping(lambda: _tidy(app)):
        yield


def _tidy(app: gradio.routes.App) -> None:
    """Drop what Gradio (6.31) keeps for ever: names of files, sessions and uploads that are long gone."""
    blocks = app.get_blocks()
    for paths in blocks.temp_file_sets:  # it would delete the files by these, which `storage` does
        paths.clear()
    waiting = blocks._queue.pending_event_ids_session
    for session in list(waiting):
        if session not in blocks._queue.pending_messages_per_session:
            waiting.pop(session, None)
    signals = file_upload_statuses._signals
    for upload in list(signals):
        if upload not in file_upload_statuses._statuses:
            signals.pop(upload, None)


async def _on_refusal(request: Request, error: Exception) -> Response:
    """Gradio's refusals, which repeat what was sent."""
    assert isinstance(error, HTTPException)
    detail = error.detail if isinstance(error.detail, str) else json.dumps(error.detail)
    return JSONResponse({"detail": shortened(detail)}, status_code=error.status_code, headers=error.headers)


async def _on_bad_request(request: Request, error: Exception) -> Response:
    """A body of another shape than the address takes; FastAPI would send it back whole."""
    assert isinstance(error, RequestValidationError)
    places = ", ".join(".".join(map(str, each["loc"])) for each in error.errors()[:3])
    return say(f"This is not what the address takes: see {shortened(places)}.", 422)


async def _upload(request: Request) -> Response:
    """Gradio's way to take files, each request's into an entry of its own.

    Gradio itself puts the same file of two visitors under one path, where one's deletion takes the other's;
    and leaves behind what breaks off.
    """
    length = int(request.headers.get("content-length", 0))
    if shutil.disk_usage(storage().root).free - length < FREE_DISK:
        return say("The server's disk is full. Try again in an hour.", 507)
    entry = storage().new_entry()
    upload_id = request.query_params.get("upload_id")
    limit = request.app.get_blocks().max_file_size or MAX_UNPACKED
    files: list[str] = []
    try:
        progress = file_upload_statuses if upload_id else None
        files, _, _ = await upload_fn(request, entry, limit, upload_id, upload_progress=progress)
    except MultiPartException as error:
        return say(shortened(error.message), 413 if error.message.startswith("File size") else 400)
    except (ClientDisconnect, HTTPException, TypeError, AttributeError, ValueError):
        return say("The upload broke off, or is none. Send it again.", 400)
    finally:
        if not files:
            shutil.rmtree(entry, ignore_errors=True)
    if not files:
        return say("There is no file in what was sent, in no field called `files`.", 400)
    return JSONResponse([str(file) for file in files])


async def _example(request: Request) -> Response:
    """An example's file, for those who try the endpoints."""
    name = request.path_params["name"]
    paths = {each.path.name: each.path for each in examples().values()}
    if name not in paths:
        return say(f"There is no such example. The examples are: {', '.join(paths)}.", 404)
    return FileResponse(paths[name], headers={"Cache-Control": "public, max-age=3600"})
