"""Scripts and style of the page, from `static/`: those that it carries, and those that it fetches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr

from bonefx.files import replaced
from bonefx.ui.storage import Storage, storage

STATIC = Path(__file__).with_name("static")


def script(path: Path) -> str:
    """A script as the page carries it: without indentation and lines of comment, which are a third of it."""
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def parts(name: str, scripts: Sequence[str], styles: Sequence[str] = ()) -> dict[str, Any]:
    """Scripts and style in one file of their own, which `bonefx.parts` of `viewer/choice.js` fetches.

    Args:
        name: of the file, before what changes with its content.
        scripts: names of files in `static/`, without their ending; the later use the earlier. Together they
            are the body of one function of `element`, `props`, `trigger` and `watch`, as Gradio's own are.
        styles: likewise.

    Returns:
        The file as Gradio's own record, for a component's value.
    """
    return _kept(storage(), name, tuple(scripts), tuple(styles))


@cache
def _kept(where: Storage, name: str, scripts: tuple[str, ...], styles: tuple[str, ...]) -> dict[str, Any]:
    body = "\n".join(script(STATIC / f"{each}.js") for each in scripts)
    content = json.dumps(
        {
            "css": "".join((STATIC / f"{each}.css").read_text("utf-8") for each in styles),
            "js": f"export default (element, props, trigger, watch) => {{\n{body}\n}};",
        }
    )
    folder = where.new_entry(lasting=True)
    gr.set_static_paths([folder])
    path = folder / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:16]}.json"
    with replaced(path) as beside:
        beside.write_text(content, encoding="utf-8")
    return file_record(path)


def file_record(path: Path) -> dict[str, Any]:
    """A file as Gradio's own record: Gradio serves it, and gives it the address that the page sees."""
    return gr.FileData(path=str(path)).model_dump()
