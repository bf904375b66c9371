"""What is sent as a file or in a file's place, over plain HTTP and by Gradio's client."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from pathlib import Path

import gradio as gr
import pytest
from gradio_client import Client, handle_file

from bonefx.detectors import MODELS
from bonefx.errors import QUOTED
from bonefx.settings import packaged
from bonefx.ui.storage import storage
from tests.ui.test_guards import ask, uploaded

META = {"_type": "gradio.FileData"}
SECRET = "secret" * 1000
PICTURE = base64.b64encode((packaged("examples") / "wrist-1.png").read_bytes()).decode()[:500_000]


def call(address: str, name: str, values: list) -> tuple[str, object]:
    """The last event of a call over plain HTTP, and its data."""
    status, said = ask(address, f"/gradio_api/call/{name}", "POST", {"data": values})
    assert status == 200, said
    _, said = ask(address, f"/gradio_api/call/{name}/{json.loads(said)['event_id']}")
    event, data = said.strip().split("\n\n")[-1].splitlines()[:2]
    return event.removeprefix("event: "), json.loads(data.removeprefix("data: "))


@pytest.fixture(scope="module")
def elsewhere():
    """A web server that nobody has asked to be asked, and what it was asked."""
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_error(404)

        def log_message(self, *args: object) -> None:
            """Silence."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (PICTURE, "A str was sent in place of a file"),
        (f"data:image/png;base64,{PICTURE}", "A str was sent in place of a file"),
        ({"path": PICTURE, "meta": META}, "no such file on the server"),
        ({"path": f"data:image/png;base64,{PICTURE}", "meta": META}, "Addresses are not fetched"),
        ({"path": "/etc/passwd", "meta": META}, "no such file on the server"),
        ({"path": "a\0b", "meta": META}, "no such file on the server"),
        ({"path": "", "meta": META}, "no such file on the server"),
        ({"path": [PICTURE], "meta": META}, "A dict was sent in place of a file"),
        ({"url": PICTURE}, "A dict was sent in place of a file"),
        ([PICTURE], "A list was sent in place of a file"),
        (12, "A int was sent in place of a file"),
        ({"path": "file:///etc/passwd", "meta": META}, "Addresses are not fetched"),
        (None, "no image"),
        ([], "no image"),
    ],
)
@pytest.mark.parametrize("name", ["detect", "batch"])
def test_what_is_no_file_gets_a_sentence_and_is_not_repeated(app_address, capfd, caplog, name, image, words):
    event, answer = call(app_address, name, [image])
    assert event == "error"
    said = answer["error"]
    assert any(each in said for each in (words, "no files", "str was sent", "int was sent"))
    assert len(said) < 2 * QUOTED + 300
    logged = capfd.readouterr()
    assert PICTURE[:60] not in logged.out + logged.err + caplog.text
    assert "Traceback" not in logged.out + logged.err + caplog.text
    assert str(storage().root) not in said


def test_a_way_out_of_the_folder_is_no_file(app_address, pictures):
    path = Path(uploaded(app_address, pictures[0]))
    inside = f"{path.parent}/../../../{storage().root.name}/{path.relative_to(storage().root)}"
    for each in (inside, str(storage().root), str(path.parent)):
        event, answer = call(app_address, "detect", [{"path": each, "meta": META}])
        assert (event, "no such file" in answer["error"]) == ("error", True)


@pytest.mark.parametrize("place", ["image", "url", "model", "threshold", "deep"])
def test_no_address_is_ever_fetched(app_address, pictures, elsewhere, place):
    address, seen = elsewhere
    file = {"path": f"{address}/a.png", "url": f"{address}/a.png", "meta": META}
    good = {"path": uploaded(app_address, pictures[0]), "meta": META}
    values = {
        "image": [file],
        "url": [{**good, "url": f"{address}/a.png"}, "none such"],
        "model": [good, file],
        "threshold": [good, "yolo", file],
        "deep": [good, {"a": [{"b": file}]}],
    }[place]
    event, _ = call(app_address, "detect", values)
    assert (event, seen) == ("error", [])


@pytest.mark.parametrize(
    "values",
    [
        ["yolo", "not a number"],
        ["yolo", {"a": 1}],
        ["yolo", 10**400],
        [["yolo"], 0.5],
        ["y" * 100_000, 0.5],
        ["yolo", "9" * 100_000],
    ],
)
def test_values_of_another_kind_get_a_sentence(app_address, pictures, capfd, caplog, values):
    good = {"path": uploaded(app_address, pictures[0]), "meta": META}
    event, answer = call(app_address, "detect", [good, *values])
    assert event == "error"
    assert 20 < len(answer["error"]) < 2 * QUOTED + 300
    logged = capfd.readouterr()
    assert "Traceback" not in logged.out + logged.err + caplog.text


def test_a_choice_that_is_not_offered_is_not_repeated_whole(app_address, running_app):
    """Gradio's own words about it."""
    number = next(
        number
        for number, event in running_app.fns.items()
        if event.queue is False and any(isinstance(each, gr.Radio) for each in event.inputs)
    )
    values = [SECRET for _ in running_app.fns[number].inputs]
    status, said = ask(app_address, "/gradio_api/run/predict", "POST", {"data": values, "fn_index": number})
    assert (status, "not in the list" in said or "not what this takes" in said) == (500, True)
    assert said.count("secret") * len("secret") <= QUOTED


def test_the_example_for_curl_works_where_several_files_may_be_sent(app_address, pictures):
    """As Gradio's page "Use via API" prints it: one file, and not in a list."""
    sent = {"files": {"path": uploaded(app_address, pictures[0]), "meta": META}, "threshold": None}
    status, said = ask(app_address, "/gradio_api/call/v2/batch", "POST", sent)
    assert status == 200, said
    _, said = ask(app_address, f"/gradio_api/call/batch/{json.loads(said)['event_id']}")
    event, data = said.strip().split("\n\n")[-1].splitlines()[:2]
    (answer,) = json.loads(data.removeprefix("data: "))
    assert event == "event: complete"
    assert [result["model"] for result in answer["results"]] == list(MODELS)


def test_the_address_of_an_example_is_an_example(app_address):
    """The samples under "Use via API" work wherever the app runs."""
    client = Client(app_address, verbose=False)
    for address in (app_address, "https://owner-name.hf.space"):
        file = handle_file(f"{address}/examples/wrist-1.png")
        answer = client.predict(image=file, model="yolo", api_name="/detect")
        assert answer["image"] == "wrist-1.png"
    event, answer = call(app_address, "detect", [{"path": "https://a.b/examples/no.png", "meta": META}])
    assert (event, "no example" in answer["error"]) == ("error", True)


def test_an_unexpected_error_is_told_without_its_words(app_address, pictures, monkeypatch, capfd, caplog):
    from bonefx import images

    hidden = "".join(("sec", "ret"))

    def fail(path: Path) -> None:
        raise ZeroDivisionError(f"{hidden} {path}")

    monkeypatch.setattr(images, "read", fail)
    event, answer = call(app_address, "detect", [{"path": uploaded(app_address, pictures[0]), "meta": META}])
    assert event == "error"
    assert answer["error"] == "Something unexpected went wrong; the server's log has the details."
    logged = capfd.readouterr()
    assert hidden not in logged.out + logged.err + caplog.text
    assert "ZeroDivisionError" in caplog.text
