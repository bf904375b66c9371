"""The app as tools of an assistant, by the Model Context Protocol, where the package `mcp` is installed.

Gradio (6.31) serves it under `/gradio_api/mcp/`. It makes a tool of every endpoint; here it is four. An image
comes as the address of an example or of a file that was uploaded to `/gradio_api/upload`: no other address is
fetched, and no file is taken from inside of a call, for Gradio would keep it.
"""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import gradio as gr

ENDPOINTS = ("/detect", "/compare", "/models", "/metrics")
"""What assistants are offered. A batch takes minutes, and archives."""


def installed() -> bool:
    """Whether the app can be served as tools."""
    return importlib.util.find_spec("mcp") is not None


def keep_to_endpoints(blocks: gr.Blocks) -> None:
    """Take all other tools away. To be called once Gradio has made them."""
    server = blocks.mcp_server_obj
    if server is not None:
        offered = server.tool_to_endpoint.items()
        server.tool_to_endpoint = {tool: endpoint for tool, endpoint in offered if endpoint in ENDPOINTS}


def holds_a_file(body: bytes) -> bool:
    """Whether a call has a file inside of itself, as a `data:` address."""
    return any(text.lstrip().lower().startswith("data:") for text in _texts(json.loads(body or b"{}")))


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in _texts(each)]
