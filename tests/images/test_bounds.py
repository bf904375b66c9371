"""Files that are built to cost much are read, or refused in words: their parts are counted before they are
read, and what cannot be counted is decoded in a process that is ended."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from pydicom import uid

from bonefx import images
from bonefx.errors import ImageError
from bonefx.images import apart
from tests.images import attacks
from tests.images.pictures import DEEP, saved
from tests.images.test_dicom import dicom
from tests.images.test_raster import chunk

PAGE = attacks.plain(16, 16, t273=8, t278=16, t279=100)
NO_TIME = "takes more than"


class TestCounted:
    @pytest.mark.parametrize(
        ("content", "shape", "note"),
        [
            # what it is, and what is read
            (attacks.pages(1000), (16, 16), "first of 1000 or more pages"),
            (attacks.pages(20_000), (16, 16), "first of 1000 or more pages"),
            (attacks.tiff(PAGE, bytes(300), following=8), (16, 16), None),  # a chain that bites its tail
            (attacks.tiff(PAGE, bytes(300), following=10**9), (16, 16), None),  # one that leads nowhere
            (attacks.strips(3000), (3000, 1), None),
            (attacks.webp_frames(3000), (8, 8), "first of 3000 frames"),
            # runs of one index; nothing but jumps to the next line; an end at once
            (attacks.bmp(b"\xff\7\xff\7\0\0" * 300, side=300), (300, 300), None),
            (attacks.bmp(b"\0\0" * 300, side=300), (300, 300), None),
            (attacks.bmp(b"\0\1", side=300), (300, 300), None),
            # texts and a colour profile that unpack to 10 MB
            (
                attacks.png(
                    *(
                        chunk(kind, name + attacks.zeros(10**7))
                        for kind, name in (
                            (b"zTXt", b"k\0\0"),
                            (b"iCCP", b"k\0\0"),
                            (b"iTXt", b"k\0\1\0\0\0"),
                        )
                    ),
                    chunk(b"tEXt", b"k\0" + b"x" * 2_000_000),
                    chunk(b"IDAT", attacks.zeros(72)),
                ),
                (8, 8),
                None,
            ),
            (attacks.sequence(90_000), (64, 64), None),  # functional groups of as many frames
        ],
    )
    def test_what_is_read(self, read, content, shape, note):
        radiograph = read(content)
        assert radiograph.rgb.shape == (*shape, 3)
        assert note is None or note in radiograph.notes

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (attacks.strips(3_000_000), "too many parts"),
            (attacks.tiff([(273, 4, 0xFFFFFFFF, 8), *PAGE], bytes(300)), "too many parts"),
            (attacks.png(chunk(b"IDAT", b"") * 1_000_000), "too many parts"),
            (attacks.png(chunk(b"tEXt", b"a\0b") * 1_000_000), "too many parts"),
            (attacks.jpeg_segments(1_000_000), "too many parts"),
            (attacks.jpeg_scans(600), "very long"),
            (attacks.webp_frames(100_000), "too many parts"),
            (attacks.bmp(b"\0\2\xff\0" * 300), "cut off"),
            (attacks.bmp(b"\xff\7" * 300), "cut off"),
            (dicom(DEEP, uid.JPEGBaseline8Bit, [b"\xff\xd8"] * 60_000), "too many parts"),
        ],
    )
    def test_what_is_refused(self, read, content, words):
        with pytest.raises(ImageError, match=words):
            read(content)


@pytest.fixture
def apart_anew(monkeypatch):
    """The process that decodes, with other limits."""

    def limits(**values):
        apart._stop()
        for name, value in values.items():
            monkeypatch.setattr(apart, name, value)

    yield limits
    apart._stop()


class TestApart:
    """Each of these is a file of at most 0.1 MB that would keep a decoder busy for long."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "content",
        [
            attacks.large(uid.JPEGLSLossless, attacks.jpeg_ls(attacks.SIDE, bytes(100))),
            attacks.jpeg_scans(480),
            attacks.png(
                chunk(b"IDAT", attacks.zeros(7000 * 56_001)), width=7000, height=7000, bits=16, colour=6
            ),
        ],
    )
    def test_what_takes_too_long_is_ended(self, read, apart_anew, content):
        apart_anew(SECONDS=0.2)
        with pytest.raises(ImageError, match=NO_TIME):
            read(content)

    @pytest.mark.slow
    def test_memory(self, read, apart_anew):
        """Colours and alpha of 16 bits take 21 bytes a pixel, of which 8 are theirs: 50 megapixels stay below
        1.5 GB in both processes together. (They took 66 once.)"""
        side = 3500
        row = b"\0" + struct.pack(">4H", 1000, 2000, 3000, 65535) * side
        pixels = chunk(b"IDAT", zlib.compress(row * side, 1))
        content = attacks.png(pixels, width=side, height=side, bits=16, colour=6)
        apart_anew(SECONDS=100, PATIENCE=200, MEMORY=21 * side**2 + 80_000_000)
        assert read(content).rgb.shape == (side, side, 3)
        apart_anew(MEMORY=14 * side**2)
        with pytest.raises(ImageError, match="more memory"):
            read(content)

    @pytest.mark.slow
    def test_the_next_file_is_read_after_one_that_was_ended(self, read, apart_anew):
        apart_anew(SECONDS=0.2)
        with pytest.raises(ImageError, match=NO_TIME):
            read(attacks.large(uid.JPEGLSLossless, attacks.jpeg_ls(attacks.SIDE, bytes(100))))
        picture = dicom(DEEP, uid.JPEG2000Lossless, [saved(DEEP, "JPEG2000", no_jp2=True)])
        assert np.array_equal(read(picture).grey, DEEP)
        os.kill(apart._process.pid, signal.SIGKILL)  # as the kernel does where memory is short
        apart._process.wait()
        assert np.array_equal(read(picture).grey, DEEP)

    @pytest.mark.slow
    def test_a_fork_has_a_process_of_its_own(self, tmp_path):
        picture = dicom(DEEP, uid.JPEG2000Lossless, [saved(DEEP, "JPEG2000", no_jp2=True)])
        (tmp_path / "a.dcm").write_bytes(picture)
        images.read(tmp_path / "a.dcm")
        child = os.fork()
        if not child:
            try:
                os._exit(not np.array_equal(images.read(tmp_path / "a.dcm").grey, DEEP))
            finally:
                os._exit(2)
        assert np.array_equal(images.read(tmp_path / "a.dcm").grey, DEEP)
        assert os.waitpid(child, 0)[1] == 0

    @pytest.mark.slow
    def test_nothing_is_left_running(self, tmp_path):
        picture = dicom(DEEP, uid.JPEG2000Lossless, [saved(DEEP, "JPEG2000", no_jp2=True)])
        (tmp_path / "a.dcm").write_bytes(picture)
        code = (
            "import os, sys; from bonefx import images; from bonefx.images import apart; "
            "images.read(sys.argv[1]); print(apart._process.pid, flush=True); "
        )
        for end in ("", "os.kill(os.getpid(), 9)"):
            command = [sys.executable, "-c", code + end, tmp_path / "a.dcm"]
            answer = subprocess.run(command, capture_output=True, text=True)
            assert answer.stderr == ""
            waiting = 100
            while waiting and os.path.exists(f"/proc/{int(answer.stdout)}"):
                waiting -= 1
                time.sleep(0.1)
            assert waiting
