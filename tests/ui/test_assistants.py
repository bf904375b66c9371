"""The app as an assistant meets it: the MCP client of the protocol's own package, over loopback."""

from __future__ import annotations

import ast
import asyncio
import base64
import json
import urllib.request

import pytest
from gradio_client import Client, handle_file
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

from bonefx.detectors import Registry
from bonefx.settings import Settings
from bonefx.ui.examples import examples
from tests.browser import serve

EXAMPLE = next(iter(examples().values())).path


def asked(address: str, *calls: tuple[str, dict]) -> list:
    """The tools, and what each call answers: Gradio writes values as Python does."""

    async def ask() -> list:
        async with (
            streamablehttp_client(f"{address}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return [(await session.list_tools()).tools, *[await session.call_tool(*call) for call in calls]]

    return asyncio.run(ask())


def test_there_are_four_tools_which_say_what_they_are_for(app_address):
    (tools,) = asked(app_address)
    assert {tool.name for tool in tools} == {"detect", "compare", "models", "metrics"}
    for tool in tools:
        if tool.name in ("detect", "compare"):
            assert "Research and education, not a medical device." in tool.description
            assert "no other address is fetched" in tool.description
    with urllib.request.urlopen(f"{app_address}/gradio_api/mcp/schema") as answer:
        assert {tool["name"] for tool in json.loads(answer.read())} == {tool.name for tool in tools}


def test_a_detection_of_an_example_by_its_address(app_address):
    image = f"{app_address}/examples/{EXAMPLE.name}"
    _, found = asked(app_address, ("detect", {"image": image, "model": "yolo", "fp_per_image": 1}))
    assert not found.isError
    answer = ast.literal_eval(found.content[0].text)
    same = Client(app_address, verbose=False).predict(
        handle_file(EXAMPLE), "yolo", None, 1, api_name="/detect"
    )
    assert answer["detections"] == same["detections"] != []
    assert answer["notice"] == same["notice"]


def test_a_comparison_of_an_upload_by_its_address(app_address):
    client = Client(app_address, verbose=False)
    edge = "0123456789"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="own.png"\r\n\r\n'
    body = head.encode() + EXAMPLE.read_bytes() + f"\r\n--{edge}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={edge}"}
    request = urllib.request.Request(f"{app_address}/gradio_api/upload", body, headers)
    (path,) = json.loads(urllib.request.urlopen(request).read())
    _, found = asked(app_address, ("compare", {"image": f"{app_address}/gradio_api/file={path}"}))
    answer = ast.literal_eval(found.content[0].text)
    same = client.predict(handle_file(EXAMPLE), api_name="/compare")
    assert [each["detections"] for each in answer["results"]] == [
        each["detections"] for each in same["results"]
    ]


@pytest.mark.parametrize(
    "image",
    [
        "http://127.0.0.1:9/secret.png",
        "/etc/passwd",
        "http://x/gradio_api/file=/etc/passwd",
        "file:///etc/passwd",
    ],
)
def test_nothing_else_is_fetched_or_read(app_address, image):
    _, found = asked(app_address, ("detect", {"image": image}))
    assert found.isError
    assert "root:" not in found.content[0].text


def test_an_image_inside_of_a_call_is_refused(app_address):
    image = "data:image/png;base64," + base64.b64encode(EXAMPLE.read_bytes()[:9000]).decode()
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    call["params"] = {"name": "detect", "arguments": {"image": image}}
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    request = urllib.request.Request(f"{app_address}/gradio_api/mcp/", json.dumps(call).encode(), headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert "Send the address of an image" in refused.value.read().decode()


def test_other_tools_cannot_be_called(app_address):
    _, found = asked(app_address, ("batch", {"files": []}))
    assert found.isError
    assert "Unknown tool" in found.content[0].text


@pytest.mark.slow
def test_without_the_package_nothing_changes(monkeypatch):
    from bonefx.ui import assistants
    from bonefx.ui.build import build, launch_options

    monkeypatch.setattr(assistants.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("bonefx.ui.build.installed", assistants.installed)
    with serve(build(Registry(Settings())), **launch_options()) as address:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(f"{address}/gradio_api/mcp/", b"{}"))
        assert refused.value.code in (404, 405)
        assert "/detect" in Client(address, verbose=False).view_api(return_format="dict")["named_endpoints"]
