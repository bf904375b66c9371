"""What is sent as a file: an upload that lies here, by path or address, or the address of an example.

Gradio (6.31) itself would take any text for a path and repeat it in its answer and its log, and would fetch
any address of the network, even one that stands in place of a number.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import gradio as gr

from bonefx.errors import RequestError, quoted, shortened
from bonefx.ui.examples import examples
from bonefx.ui.storage import KEPT_MINUTES, storage

_EXAMPLE = re.compile(r"https?://[^?#]*/examples/([^/?#]+)")
_UPLOAD = re.compile(r"https?://[^?#]*/gradio_api/file=([^?#]+)")
_HOW = (
    "Upload the file to /gradio_api/upload, and send the path that this answers: "
    '{"path": PATH, "meta": {"_type": "gradio.FileData"}}. Gradio\'s clients do both: handle_file(FILE).'
)


def checked(component: gr.components.Component, value: Any) -> Any:
    """A component's value as it came from outside, with each file in it checked.

    Raises:
        RequestError: it holds something that is no file of ours; the message says what to send.
    """
    if isinstance(component, gr.File):
        if value is None or value == []:
            return None
        if component.file_count == "single":
            return _file(value)
        # Gradio's own example for cURL sends one file as it is where several may be sent.
        return [_file(each) for each in (value if isinstance(value, list) else [value])]
    for each in _objects(value):
        if "path" in each and "meta" in each:
            each.update(_file(each))
    return value


def _file(value: Any) -> dict[str, Any]:
    """What Gradio needs of a file, and nothing else that was sent with it."""
    if not isinstance(value, dict) or not isinstance(value.get("path"), str):
        raise RequestError(f"A {type(value).__name__} was sent in place of a file. {_HOW}")
    path = _path(value["path"])
    name = value.get("orig_name")
    name = shortened(name) if isinstance(name, str) else path.name
    return {"path": str(path), "orig_name": name, "url": None, "meta": {"_type": "gradio.FileData"}}


def _path(text: str) -> Path:
    example = _EXAMPLE.fullmatch(text)
    if example is not None:
        return _example(example[1])
    upload = _UPLOAD.fullmatch(text)
    if upload is not None:
        text = unquote(upload[1])
    if re.match(r"[a-z][a-z0-9+.-]*:", text, re.IGNORECASE):
        raise RequestError(f"Addresses are not fetched, and {quoted(text)} looks like one. {_HOW}")
    path = Path(text)
    try:
        found = storage().entry_of(path) is not None and path.is_file()
    except (OSError, ValueError):  # no path at all
        found = False
    if not found:
        raise RequestError(
            f"There is no such file on the server; uploads stay for at most {KEPT_MINUTES} minutes. {_HOW}"
        )
    return path


def _example(name: str) -> Path:
    """A copy of an example, which is like an upload then."""
    for each in examples().values():
        if each.path.name == name:
            return Path(shutil.copy(each.path, storage().new_entry() / name))
    raise RequestError(f"There is no example {quoted(name)}.")


def _objects(value: Any) -> list[dict[str, Any]]:
    """All objects in a JSON value, however deep."""
    found, left = [], [value]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            found.append(each)
            left += each.values()
        elif isinstance(each, list):
            left += each
    return found
