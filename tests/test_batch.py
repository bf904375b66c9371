"""Batches: what is unpacked and what is refused, a row for each file, and what is written."""

from __future__ import annotations

import csv
import io
import json
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bonefx import batch, entries
from bonefx.detectors import Registry
from bonefx.entries import Entry, Opener, collect
from bonefx.errors import ImageError, RequestError
from bonefx.settings import NOTICE, Settings


def png(seed: int = 0, size: tuple[int, int] = (60, 50)) -> bytes:
    grey = np.random.default_rng(seed).integers(0, 255, size, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    return file.getvalue()


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def names(found: list[Entry]) -> list[str]:
    return [entry.name for entry in found]


def read(entry: Entry) -> bytes:
    with Opener() as opener, opener.open(entry) as path:
        return path.read_bytes()


# --- what there is -----------------------------------------------------------------------------------------


def test_an_archive_is_known_by_its_content_and_listed_in_its_order(tmp_path):
    path = archive(
        tmp_path / "pictures.png",
        {
            "b/": b"",
            "b/two.png": b"2",
            "one.png": b"1",
            "__MACOSX/._one.png": b"x",
            ".DS_Store": b"x",
            "b/.hidden/x.png": b"x",
            "results.json": b"x",
            "notes.md/three.png": b"3",  # a folder may be called anything
        },
    )
    found = collect([path])
    assert names(found) == ["b/two.png", "one.png", "notes.md/three.png"]
    assert [read(entry) for entry in found] == [b"2", b"1", b"3"]


def test_a_folder_is_walked_without_hidden_files_texts_links_to_folders_and_the_output(tmp_path):
    wanted = ("a.png", "b.png", "sub/1.2.840.10008", "sub/c.dcm")
    texts = ("README.md", "sub/c.csv", "make.py")
    for name in (*wanted, *texts, ".hidden/x.png", "out/annotated/x.png", "elsewhere/x.png"):
        file = tmp_path / "in" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    (tmp_path / "in" / "elsewhere").rename(tmp_path / "elsewhere")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
    found = collect([tmp_path / "in"], leave_out=tmp_path / "in" / "out")
    assert names(found) == list(wanted)


def test_same_names_are_kept_apart(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.png").write_bytes(folder.encode())
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as file:
        file.writestr("d.x/y", b"1")
        for content in (b"2", b"3"):
            with pytest.warns(UserWarning, match="Duplicate name"):
                file.writestr("d.x/y", content)
    found = collect([tmp_path / "a" / "x.png", tmp_path / "b" / "x.png"])
    assert names(found) == ["x.png", "x (2).png"]
    assert [read(entry) for entry in found] == [b"a", b"b"]
    found = collect([tmp_path / "z.zip"])
    assert names(found) == ["d.x/y", "d.x/y (2)", "d.x/y (3)"]
    assert [read(entry) for entry in found] == [b"1", b"2", b"3"]


def test_of_several_sources_each_is_named(tmp_path):
    first = archive(tmp_path / "1.zip", {"x.png": b"1"})
    second = archive(tmp_path / "2.zip", {"x.png": b"2"})
    assert names(collect([first, second])) == ["1.zip/x.png", "2.zip/x.png"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("..\\up.png", "up.png"),
        ("C:\\x.png", "C:/x.png"),
        ("a\u202egnp.exe", "agnp.exe"),  # what would be read backwards
        ("a\r\nb.png", "ab.png"),
        ("..", "file"),
        ("x" * 500 + ".png", "x" * 196 + ".png"),
    ],
)
def test_names_of_an_archive_are_only_shown(tmp_path, name, shown):
    (entry,) = collect([archive(tmp_path / "z.zip", {name: b"content"})])
    assert entry.name == shown
    with Opener() as opener, opener.open(entry) as path:
        assert path.read_bytes() == b"content"
        assert path.name == "entry"
    assert not path.parent.exists()


def test_what_is_unpacked_is_deleted_after_use(tmp_path):
    found = collect([archive(tmp_path / "z.zip", {"a.png": b"a", "b.png": b"b"})])
    with Opener() as opener:
        for entry in found:
            with opener.open(entry) as path:
                assert path.read_bytes() == entry.name[:1].encode()
            assert list(path.parent.iterdir()) == []


# --- what is refused ---------------------------------------------------------------------------------------


def patched(path: Path, change) -> Path:
    """An archive whose bytes are changed by a function."""
    path.write_bytes(change(bytearray(path.read_bytes())))
    return path


def encrypted(data: bytearray) -> bytearray:
    """The flag that says so, in the member's header and in the list."""
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return data


def flipped(data: bytearray) -> bytearray:
    data[60] ^= 0xFF
    return data


def linked(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        member = zipfile.ZipInfo("link.png")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(member, "/etc/passwd")
    return path


def nested(folder: Path) -> dict[str, bytes]:
    return {"inner.png": archive(folder / "inner.zip", {"a.png": png()}).read_bytes()}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda at: patched(archive(at / "z.zip", {"a.png": png()}), encrypted), "encrypted"),
        (lambda at: patched(archive(at / "z.zip", {"a.png": png()}), flipped), "damaged"),
        (lambda at: patched(archive(at / "z.zip", {"a.png": png()}), lambda data: data[:-40]), "cut off"),
        (lambda at: patched(archive(at / "z.zip", {"a.png": png()}), lambda data: data[:20]), "cut off"),
        (lambda at: archive(at / "z.zip", nested(at)), "in another archive"),
        (lambda at: linked(at / "z.zip"), "link"),
        # These unpack into memory, however little is asked for.
        (lambda at: archive(at / "z.zip", {"a.png": png()}, zipfile.ZIP_BZIP2), "compressed in a way"),
        (lambda at: archive(at / "z.zip", {"a.png": png()}, zipfile.ZIP_LZMA), "compressed in a way"),
    ],
)
def test_what_cannot_be_unpacked_says_why(tmp_path, make, words):
    (entry,) = collect([make(tmp_path)])
    with pytest.raises(ImageError, match=words):
        read(entry)


def test_an_archive_in_a_folder_is_not_unpacked(tmp_path):
    (tmp_path / "in").mkdir()
    archive(tmp_path / "in" / "z.zip", {"a.png": png()})
    (entry,) = collect([tmp_path / "in"])
    with pytest.raises(ImageError, match="in a folder"):
        read(entry)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "no file"),
        ({"folder/": b""}, "no file"),
        ({f"{i}.png": b"" for i in range(entries.MAX_ENTRIES + 1)}, "201 files"),
        ({f"{i:0200d}.png": b"" for i in range(5000)}, "lists too much"),  # more than is even listed
    ],
)
def test_the_number_of_files_is_limited(tmp_path, members, words):
    with pytest.raises(RequestError, match=words):
        collect([archive(tmp_path / "z.zip", members)], limited=False)


def test_nothing_or_too_many_loose_files_are_refused_and_a_folder_of_ones_own_is_not(tmp_path):
    with pytest.raises(RequestError, match="no file"):
        collect([])
    for i in range(entries.MAX_ENTRIES + 1):
        (tmp_path / f"{i}.png").touch()
    with pytest.raises(RequestError, match="201 files"):
        collect([tmp_path])
    assert len(collect([tmp_path], limited=False)) == 201


def saying(size: int):
    """Changes the size of the first member in an archive's list."""

    def change(data: bytearray) -> bytearray:
        at = data.index(b"PK\x01\x02") + 24
        data[at : at + 4] = size.to_bytes(4, "little")
        return data

    return change


def test_what_is_said_to_be_too_large_is_refused_at_once(tmp_path):
    path = archive(tmp_path / "z.zip", {"a.png": b"1", "b.png": b"2"})
    with pytest.raises(RequestError, match="512 MB"):
        collect([patched(path, saying(entries.MAX_UNPACKED))])


def test_a_list_that_says_too_little_does_no_harm(tmp_path):
    """Of 3 MB no more than the 10 bytes are unpacked."""
    (entry,) = collect([patched(archive(tmp_path / "z.zip", {"a.png": bytes(3_000_000)}), saying(10))])
    with pytest.raises(ImageError, match="damaged"):
        read(entry)


def test_all_files_share_one_limit(tmp_path, monkeypatch):
    found = collect([archive(tmp_path / "z.zip", {f"{i}.png": bytes(3_000_000) for i in range(3)})])
    monkeypatch.setattr(entries, "MAX_UNPACKED", 4_000_000)  # as if the list had said less
    with Opener() as opener:
        with opener.open(found[0]) as path:
            assert path.stat().st_size == 3_000_000
        for entry in found[1:]:
            with pytest.raises(ImageError, match="more than 512 MB"), opener.open(entry):
                pass


def test_a_file_that_is_too_large_is_not_unpacked_to_its_end(tmp_path, monkeypatch):
    (entry,) = collect([archive(tmp_path / "z.zip", {"a.png": bytes(9_000_000)})])
    monkeypatch.setattr(entries, "MAX_BYTES", 2_000_000)
    with Opener() as opener, opener.open(entry) as path:
        assert 2_000_000 < path.stat().st_size < 4_000_000


# --- results -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(Settings(hub=False))


def at(threshold: float):
    return lambda outcomes: [outcome.to_result(threshold) for outcome in outcomes]


@pytest.fixture
def mixed(tmp_path) -> Path:
    good = {"a/x.png": png(0, (60, 50)), "b/x.dcm": png(1, (70, 40)), "ä b.png": png(2)}
    return archive(tmp_path / "mixed.zip", {"=bad.png": b"no image", **good})


def test_a_bad_file_is_a_row_and_the_others_are_done(mixed, registry):
    said: list[str] = []
    rows = list(batch.run(collect([mixed]), ["yolo"], at(0.0), registry, said.append))
    assert [row.name for row in rows] == ["=bad.png", "a/x.png", "b/x.dcm", "ä b.png"]
    assert [row.failed for row in rows] == [True, False, False, False]
    assert "not an image" in rows[0].error
    assert rows[0].thumbnail(20) is None
    for row in rows[1:3]:
        (result,) = row.results
        assert (result["image"], result["width"]) == (row.name, row.radiograph.width)
        assert max(Image.open(io.BytesIO(row.thumbnail(20))).size) == 20
    assert said[0] == "1 of 4: =bad.png"
    assert "4 of 4: ä b.png (YOLO: looking for fractures)" in said


def test_what_progress_raises_ends_the_run(mixed, registry):
    class Enough(Exception):
        pass

    def progress(words: str) -> None:
        if words.startswith("2 of"):
            raise Enough

    done = []
    with pytest.raises(Enough):
        done.extend(row.name for row in batch.run(collect([mixed]), ["yolo"], at(0.0), registry, progress))
    assert done == ["=bad.png"]


@pytest.mark.parametrize("ending", ["closed", "failed"])
def test_a_batch_that_ends_early_keeps_what_is_finished(mixed, registry, tmp_path, ending):
    class Enough(Exception):
        pass

    def progress(words: str) -> None:
        if words.startswith("3 of") and ending == "failed":
            raise Enough

    path = tmp_path / "out.zip"
    rows = batch.save_archive(batch.run(collect([mixed]), ["yolo"], at(0.0), registry, progress), path)
    assert [next(rows).name for _ in range(2)] == ["=bad.png", "a/x.png"]
    if ending == "closed":
        rows.close()
    else:
        with pytest.raises(Enough):
            next(rows)
    formats = ["coco/images.json", "coco/yolo.json", "yolo/data.yaml", "yolo/yolo/a/x.txt"]
    formats += ["label-studio/config.xml", "label-studio/tasks.json"]
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        assert file.namelist() == [
            "annotated/002-x.png",
            "results.json",
            "results.csv",
            *formats,
            "README.txt",
        ]
        results = json.loads(file.read("results.json"))
        assert "ended early" in file.read("README.txt").decode()
    assert results["complete"] is False
    assert [each["image"] for each in results["results"]] == ["=bad.png", "a/x.png"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_all_of_it_is_written(mixed, registry, tmp_path, kind):
    rows = batch.run(collect([mixed]), ["yolo", "consensus"], at(0.0), registry)
    out = tmp_path / "out"
    if kind == "folder":
        names = [row.name for row in batch.save_folder(rows, out, ["yolo"])]
    else:
        names = [row.name for row in batch.save_archive(rows, tmp_path / "out.zip")]
        with zipfile.ZipFile(tmp_path / "out.zip") as file:
            assert file.testzip() is None
            file.extractall(out)
    assert len(names) == 4
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    pictures = ["annotated/002-x.png", "annotated/003-x.png", "annotated/004-b.png"]
    texts = [f"{model}/{name}.txt" for model in ("consensus", "yolo") for name in ("a/x", "b/x", "ä b")]
    texts = sorted(f"yolo/{name}" for name in ("data.yaml", *texts))
    others = ["coco/consensus.json", "coco/images.json", "coco/yolo.json"]
    others += ["label-studio/config.xml", "label-studio/tasks.json"]
    formats = texts if kind == "folder" else sorted(others + texts)
    assert written == sorted(["README.txt", *pictures, "results.csv", "results.json", *formats])
    results = json.loads((out / "results.json").read_text("utf-8"))
    assert (results["schema_version"], results["notice"], results["complete"]) == (1, NOTICE, True)
    assert results["pictures"] == dict(zip(("a/x.png", "b/x.dcm", "ä b.png"), pictures, strict=True))
    made = [(result["image"], result["model"]) for result in results["results"]]
    assert made == [(name, model) for name in names for model in ("yolo", "consensus")]
    table = list(csv.DictReader((out / "results.csv").open(encoding="utf-8", newline="")))
    assert {row["image"] for row in table} == {"a/x.png", "'=bad.png", "b/x.dcm", "ä b.png"}
    readme = (out / "README.txt").read_text("utf-8")
    for words in (NOTICE, "yolo26n_512.pt (bundled, ", "=bad.png: This is not an image", "threshold 0"):
        assert words in readme
    with Image.open(out / pictures[0]) as image:
        assert image.height > 600
