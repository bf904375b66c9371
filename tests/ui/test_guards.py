"""What the app answers over HTTP to those who do not use its page: only what is meant to be asked."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bonefx.errors import QUOTED
from bonefx.settings import packaged
from bonefx.ui import guards
from bonefx.ui.examples import examples
from bonefx.ui.storage import storage

BOUNDARY = "bonefx-boundary"
CLOSED = {
    "/gradio_api/component_server": "POST",  # takes any number of files into memory
    "/gradio_api/custom_component/x/client/component/index.js": "GET",  # prints what was asked
    "/gradio_api/deep_link?session_hash=x": "GET",  # writes a visitor's page to the disk, for ever
    "/gradio_api/dev/reload": "GET",
    "/gradio_api/file/etc/passwd": "GET",
    "/gradio_api/process_recording": "POST",  # runs ffmpeg on what was sent
    "/gradio_api/proxy=https://a.hf.space/": "GET",
    "/gradio_api/run-history/connect": "POST",
    "/gradio_api/runs": "GET",
    "/gradio_api/stream/x": "POST",
    "/gradio_api/stream/a/b/1/playlist-file": "GET",
    "/gradio_api/token": "GET",
    "/gradio_api/vibe-code": "POST",
    "/gradio_api/vibe-edit": "POST",
    "/login": "POST",
    "/logout": "GET",
    "/monitoring": "GET",
    "/monitoring/summary": "GET",
    "/pwa_icon/99999": "GET",
    "/docs": "GET",
    "/openapi.json": "GET",
    "/etc/passwd": "GET",
    "/": "POST",
    "/gradio_api/upload": "PUT",
}
KNOWN = {
    # Open by `guards.OPEN`.
    "/", "/assets/{path:path}", "/config", "/config/", "/favicon.ico", "/manifest.json", "/robots.txt",
    "/static/{path:path}", "/svelte/{path:path}", "/theme.css", "/examples/{name}",
    "/gradio_api/api/{api_name}", "/gradio_api/api/{api_name}/", "/gradio_api/app_id", "/gradio_api/app_id/",
    "/gradio_api/call/v2/{api_name}", "/gradio_api/call/v2/{api_name}/", "/gradio_api/call/{api_name}",
    "/gradio_api/call/v2/{api_name}/{event_id}", "/gradio_api/call/{api_name}/{event_id}",
    "/gradio_api/call/{api_name}/", "/gradio_api/cancel", "/gradio_api/file={path_or_url:path}",
    "/gradio_api/heartbeat/{session_hash}", "/gradio_api/info", "/gradio_api/info/",
    "/gradio_api/openapi.json", "/gradio_api/queue/data", "/gradio_api/queue/join",
    "/gradio_api/queue/status", "/gradio_api/reset", "/gradio_api/reset/",
    "/gradio_api/run/{api_name}", "/gradio_api/run/{api_name}/",
    "/gradio_api/startup-events", "/gradio_api/theme.css", "/gradio_api/upload",
    "/gradio_api/upload_progress", "/gradio_api/mcp",
    # Closed.
    "/gradio_api/component_server", "/gradio_api/component_server/", "/gradio_api/deep_link",
    "/gradio_api/custom_component/{id}/{environment}/{type}/{file_name}", "/gradio_api/dev/reload",
    "/gradio_api/file/{path:path}", "/gradio_api/login_check", "/gradio_api/login_check/",
    "/gradio_api/process_recording", "/gradio_api/proxy={url_path:path}", "/gradio_api/runs",
    "/gradio_api/runs/", "/gradio_api/stream/{event_id}", "/gradio_api/stream/{event_id}/close",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist-file",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist.m3u8",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/{segment_id}.{ext}", "/gradio_api/token",
    "/gradio_api/token/", "/gradio_api/undo-vibe-edit", "/gradio_api/undo-vibe-edit/", "/gradio_api/user",
    "/gradio_api/user/", "/gradio_api/vibe-code", "/gradio_api/vibe-code/", "/gradio_api/vibe-edit",
    "/gradio_api/vibe-edit/", "/gradio_api/vibe-starter-queries", "/gradio_api/vibe-starter-queries/",
    "/login", "/login/", "/logout", "/monitoring", "/monitoring/summary", "/monitoring/{key}", "/pwa_icon",
    "/pwa_icon/{size}", "/openapi.json",
}  # fmt: skip
"""Every address of Gradio and of ours that somebody has looked at."""


def ask(address: str, path: str, method: str = "GET", body: object = None, headers: dict | None = None):
    """Status and body of an answer, with nothing between the test and the socket."""
    link = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    if body is not None and not isinstance(body, bytes):
        body, headers = json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})}
    link.request(method, path, body, headers or {})
    answer = link.getresponse()
    return answer.status, answer.read().decode("utf-8", "replace")


def form(content: bytes, name: str = "a.png", field: str = "files") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def uploaded(address: str, file: str) -> str:
    """A file's path on the server."""
    return json.loads(ask(address, guards.UPLOAD, "POST", form(Path(file).read_bytes()), FORM)[1])[0]


@pytest.mark.parametrize(("path", "method"), CLOSED.items())
def test_what_the_app_has_no_use_for_is_closed(app_address, path, method):
    status, said = ask(app_address, path, method, body={} if method == "POST" else None)
    assert (status, "nothing under this address" in said) == (404, True)


def test_every_address_has_been_looked_at(running_app):
    """A new version of Gradio may bring some that write or run something: they are closed until then."""
    paths = set(addresses(running_app.app.routes))
    assert {"/gradio_api/run/{api_name}", "/gradio_api/queue/join", "/config"} <= paths
    assert paths - KNOWN == set()
    openly = {
        path
        for path in paths
        if any(pattern.fullmatch(path.replace("{", "").replace("}", "")) for _, pattern in guards.OPEN)
    }
    # These two are open by another method.
    assert openly & {path.partition("?")[0] for path in CLOSED} == {"/", "/gradio_api/upload"}


def addresses(routes) -> Iterator[str]:
    """Also of routers within: newer versions of FastAPI keep these as one route without a path."""
    for route in routes:
        if hasattr(route, "path"):
            yield route.path
        else:
            yield from addresses(route.effective_route_contexts())


@pytest.mark.parametrize("path", ["/?deep_link=abc", "/config?page=&deep_link=x", "/?deep%5Flink="])
def test_links_to_a_stored_page_are_refused(app_address, path):
    status, said = ask(app_address, path)
    assert (status, "not offered" in said) == (404, True)


@pytest.mark.parametrize("route", ["run", "api"])
@pytest.mark.parametrize("name", ["detect", "compare", "batch"])
def test_no_call_goes_past_the_queue(app_address, pictures, route, name):
    image = {"path": uploaded(app_address, pictures[0]), "meta": {"_type": "gradio.FileData"}}
    for suffix in ("", "/"):
        status, said = ask(app_address, f"/gradio_api/{route}/{name}{suffix}", "POST", {"data": [image]})
        assert (status, "join the queue" in said) == (404, True)


def test_no_event_of_the_page_that_waits_goes_past_the_queue(app_address, running_app):
    """An event can be called by its number too."""
    queued = [number for number, event in running_app.fns.items() if event.queue]
    assert len(queued) > 5
    for number in queued:
        body = {"data": [], "fn_index": number, "session_hash": "past"}
        assert ask(app_address, "/gradio_api/run/predict", "POST", body)[0] == 404


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/gradio_api/queue/join", "1 MB"),
        ("/gradio_api/call/detect", "1 MB"),
        ("/gradio_api/run/models", "1 MB"),
        ("/gradio_api/cancel", "1 MB"),
    ],
)
def test_a_long_body_is_refused(app_address, path, words):
    status, said = ask(app_address, path, "POST", {"data": ["x" * 2_000_000]})
    assert (status, words in said) == (413, True)


def test_a_long_body_that_does_not_say_its_length_is_refused(app_address):
    def pieces():
        for _ in range(40):
            yield b"x" * 65536

    link = http.client.HTTPConnection(urlsplit(app_address).netloc, timeout=60)
    try:
        headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
        link.request("POST", "/gradio_api/queue/join", pieces(), headers, encode_chunked=True)
    except (BrokenPipeError, ConnectionResetError):  # closed before its end, which is as good
        return
    answer = link.getresponse()
    assert (answer.status, b"1 MB" in answer.read()) == (413, True)


LONG = "secret-" * 100


@pytest.mark.parametrize(
    ("path", "method", "body"),
    [
        (f"/gradio_api/call/{LONG}", "POST", {"data": []}),
        (f"/gradio_api/call/v2/{LONG}", "POST", {}),
        (f"/gradio_api/run/{LONG}", "POST", {"data": []}),
        (f"/gradio_api/file={LONG}", "GET", None),
        (f"/gradio_api/file=http://{LONG}", "GET", None),
        (f"/gradio_api/upload_progress?upload_id={LONG}", "GET", None),
        ("/gradio_api/call/detect", "POST", {"data": LONG}),
        ("/gradio_api/call/detect", "POST", {LONG: LONG}),
        ("/gradio_api/queue/join", "POST", {"data": [LONG], "fn_index": LONG, "session_hash": "x"}),
        ("/gradio_api/queue/join", "POST", {"data": [], "fn_index": 10**9, "session_hash": LONG}),
        ("/gradio_api/cancel", "POST", {"session_hash": LONG, "fn_index": LONG, "event_id": LONG}),
        ("/gradio_api/reset", "POST", {"event_id": [LONG]}),
        (f"/examples/{LONG}", "GET", None),
        (f"/assets/{LONG}", "GET", None),
    ],
)
def test_no_answer_and_no_log_repeats_much_of_what_was_sent(app_address, capfd, caplog, path, method, body):
    status, said = ask(app_address, path, method, body)
    assert 400 <= status < 600
    assert len(said) < 600
    assert said.count("secret") * len("secret-") <= QUOTED
    logged = capfd.readouterr()
    assert "secret" not in logged.out + logged.err + caplog.text
    assert str(storage().root) not in said


NONSENSE = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"\xff\xfe",
    b"[" * 5000 + b"]" * 5000,
    b'{"data": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"data": [' + b"9" * 5000 + b"]}",
    b'{"data": {"a": 1}}',
    b'{"data": null}',
    b'{"data": [], "fn_index": -1, "session_hash": "s"}',
    b'{"data": [], "fn_index": 3.5, "session_hash": "s"}',
    b'{"data": [], "fn_index": 0, "session_hash": ["s"]}',
    b'{"data": [], "fn_index": 0, "session_hash": "' + b"s" * 200 + b'"}',
    b'{"data": [], "fn_index": 0, "session_hash": "s", "event_id": "' + b"s" * 200 + b'"}',
    b'{"data": [], "fn_index": 0, "session_hash": "s", "event_data": "x", "trigger_id": "y"}',
]


@pytest.mark.parametrize(
    "path", ["queue/join", "call/none", "call/v2/none", "call/v2/detect", "run/none", "api/none"]
)
def test_nonsense_is_refused_with_a_sentence_and_not_logged(app_address, capfd, caplog, path):
    for body in NONSENSE:
        headers = {"Content-Type": "application/json"}
        status, said = ask(app_address, f"/gradio_api/{path}", "POST", body, headers)
        assert 400 <= status < 500, body
        assert len(json.loads(said)["detail"]) > 10
    logged = capfd.readouterr()
    assert "Traceback" not in logged.out + logged.err + caplog.text
    assert "ERROR" not in caplog.text


def test_what_one_says_of_the_servers_name_is_not_told_to_others(app_address):
    asked = ask(app_address, "/gradio_api/info", headers={"X-Forwarded-Host": "evil.example"})
    assert (asked[0], "evil.example" in asked[1]) == (200, True)  # behind a proxy this is the name
    for path in ("/gradio_api/info", "/gradio_api/info/", "/", "/config", "/gradio_api/openapi.json"):
        assert "evil.example" not in ask(app_address, path)[1]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/?page=none", 404),
        ("/gradio_api/call/detect/none", 200),  # a stream, whose first event is the error
        ("/gradio_api/queue/data?session_hash=none", 200),
        (f"/gradio_api/queue/data?session_hash={'x' * 200}", 422),
        (f"/gradio_api/upload_progress?upload_id={'x' * 200}", 422),
    ],
)
def test_what_is_not_known_is_said_and_not_logged(app_address, caplog, path, status):
    answered, said = ask(app_address, path)
    assert answered == status
    assert said
    assert "ERROR" not in caplog.text


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "/proc/self/environ", "app.py"]
)
def test_no_other_file_is_served(app_address, name):
    for prefix in ("/gradio_api/file=", "/static/", "/assets/", "/svelte/", "/examples/"):
        status, said = ask(app_address, prefix + name)
        assert status in (403, 404)
        assert "root:" not in said


def test_examples_can_be_fetched_by_name(app_address):
    for each in examples().values():
        link = http.client.HTTPConnection(urlsplit(app_address).netloc, timeout=60)
        link.request("GET", f"/examples/{each.path.name}")
        answer = link.getresponse()
        assert (answer.status, answer.read()) == (200, each.path.read_bytes())
    status, _ = ask(app_address, "/examples/annotations.json")
    assert (status, (packaged("examples") / "annotations.json").is_file()) == (404, True)


def test_the_same_file_of_two_visitors_lies_in_two_places(app_address, pictures):
    paths = [uploaded(app_address, pictures[1]) for _ in range(2)]
    assert len(set(paths)) == len({storage().entry_of(path) for path in paths} - {None}) == 2


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (form(b"content")[:-25], FORM, 400),  # its end is missing
        (form(b"content", name="../../../../tmp/evil"), FORM, 200),  # only the last part of a name counts
        (form(b"content", name=".."), FORM, 400),
        (form(b"content", field="other"), FORM, 400),
        (b"no form at all", FORM, 400),
        (b"", FORM, 400),
        (form(b"content"), {"Content-Type": "multipart/form-data"}, 400),
        (form(b"content"), {"Content-Type": "text/plain"}, 400),
        (f"--{BOUNDARY}\r\n\r\n\r\n--{BOUNDARY}--".encode(), FORM, 400),
    ],
)
def test_a_broken_upload_is_refused_and_leaves_nothing(app_address, content, headers, status):
    before = set(storage().root.iterdir())
    answered, said = ask(app_address, guards.UPLOAD, "POST", content, headers)
    assert answered == status
    made = set(storage().root.iterdir()) - before
    kept = {storage().entry_of(path) for path in json.loads(said)} if status == 200 else set()
    assert made == kept


def test_an_upload_that_breaks_off_leaves_nothing(app_address, wait_until):
    before = set(storage().root.iterdir())
    link = http.client.HTTPConnection(urlsplit(app_address).netloc, timeout=60)
    link.putrequest("POST", guards.UPLOAD)
    for name, value in {**FORM, "Content-Length": "5000000"}.items():
        link.putheader(name, value)
    link.endheaders()
    link.send(form(b"x" * 1_000_000)[:-60])
    wait_until(lambda: set(storage().root.iterdir()) - before)
    link.close()
    wait_until(lambda: not set(storage().root.iterdir()) - before)
