"""DICOM: every way to compress it, to window it and to break it; and never a word of the patient."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from bonefx.errors import ImageError
from tests.images.pictures import COLOUR, DEEP, GREY, grey_rgb, saved, windowed

SECRET = "Zebedee"
BLOCKS = np.kron(DEEP[:6, :9] * 5, np.ones((8, 8), np.uint16))
"""Even blocks, which JPEG keeps as they are."""


def dicom(samples: np.ndarray, syntax: uid.UID = uid.ExplicitVRLittleEndian, frames=None, **tags) -> bytes:
    """A DICOM file of these samples, (h, w) or (h, w, 3), or of these encoded frames of them."""
    return written(dataset(samples, syntax, frames, **tags))


def dataset(
    samples: np.ndarray, syntax: uid.UID = uid.ExplicitVRLittleEndian, frames=None, **tags
) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
    ds.SOPInstanceUID = "1.2.3.4"
    ds.PatientName = ds.PatientID = SECRET
    ds.Rows, ds.Columns = samples.shape[:2]
    ds.SamplesPerPixel = samples.shape[2] if samples.ndim == 3 else 1
    if samples.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.PhotometricInterpretation = "RGB" if samples.ndim == 3 else "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 8 * samples.dtype.itemsize
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(samples.dtype.kind == "i")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are wrong on purpose
        for keyword, value in tags.items():
            setattr(ds, keyword, value)
    if frames is None:
        ds.PixelData = samples.astype(samples.dtype.newbyteorder("<>"[not syntax.is_little_endian])).tobytes()
        ds["PixelData"].VR = "OB" if samples.dtype.itemsize == 1 else "OW"
    else:
        ds.PixelData = encapsulate(frames)
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
    return ds


def written(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def lut(entries: np.ndarray, first: int, bits: int) -> list[Dataset]:
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    item.LUTData = entries.astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    return [item]


def jpeg(differences: np.ndarray, after: str, *segments: tuple[int, bytes]) -> bytes:
    """A JPEG of one component (ITU-T T.81): each difference as its number of bits, in a Huffman code of
    5 bits for each of the 17 numbers, then those bits, then `after`."""
    bits = []
    for difference in differences.ravel().tolist():
        length = abs(difference).bit_length()
        bits.append(f"{length:05b}")
        if 0 < length < 16:
            bits.append(f"{difference if difference > 0 else difference + (1 << length) - 1:0{length}b}")
        bits.append(after)
    stream = "".join(bits)
    stream += "1" * (-len(stream) % 8)
    coded = bytes(int(stream[i : i + 8], 2) for i in range(0, len(stream), 8)).replace(b"\xff", b"\xff\0")
    codes = bytes([0, 0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17))
    head = b"".join(
        struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body for marker, body in ((0xC4, codes), *segments)
    )
    return b"\xff\xd8" + head + coded + b"\xff\xd9"


def jpeg_lossless(samples: np.ndarray) -> bytes:
    """Process 14, selection value 1: the differences are those from the left neighbour (annex H)."""
    values = samples.astype(int)
    before = np.hstack([np.vstack([[[1 << 15]], values[:-1, :1]]), values[:, :-1]])
    frame = struct.pack(">BHHBBBB", 16, *samples.shape, 1, 1, 0x11, 0)
    scan = bytes([1, 1, 0, 1, 0, 0])
    differences = (values - before + 32768) % 65536 - 32768
    return jpeg(differences, "", (0xC3, frame), (0xDA, scan))


def jpeg_extended(blocks: np.ndarray) -> bytes:
    """Process 4, 12 bits: even blocks of 8 by 8, so that only their means are coded (annex F)."""
    means = 8 * (blocks.ravel().astype(int) - 2048)
    frame = struct.pack(">BHHBBBB", 12, 8 * blocks.shape[0], 8 * blocks.shape[1], 1, 1, 0x11, 0)
    ones, end_of_block = bytes([0] + [1] * 64), bytes([0x10, 1] + [0] * 15 + [0])
    scan = bytes([1, 1, 0, 0, 63, 0])
    tables = (0xDB, ones), (0xC4, end_of_block)
    return jpeg(np.diff(means, prepend=0), "0", *tables, (0xC1, frame), (0xDA, scan))


def rle(samples: np.ndarray) -> bytes:
    ds = dataset(samples)
    ds.compress(uid.RLELossless, generate_instance_uid=False)
    return written(ds)


def bundled(name: str) -> bytes:
    """A file of pydicom's own tests, which its wheel carries."""
    with open(get_testdata_file(name, download=False), "rb") as file:
        return file.read()


class TestDicom:
    @pytest.mark.parametrize(
        ("content", "samples"),
        [
            (dicom(DEEP, uid.ExplicitVRLittleEndian), DEEP),
            (dicom(DEEP, uid.ImplicitVRLittleEndian), DEEP),
            (dicom(DEEP, uid.ExplicitVRBigEndian), DEEP),
            (dicom(DEEP, uid.DeflatedExplicitVRLittleEndian), DEEP),
            (rle(DEEP), DEEP),
            (dicom(DEEP, uid.JPEGLossless, [jpeg_lossless(DEEP)]), DEEP),
            (dicom(DEEP, uid.JPEGLosslessSV1, [jpeg_lossless(DEEP)]), DEEP),
            (dicom(DEEP, uid.JPEG2000Lossless, [saved(DEEP, "JPEG2000", no_jp2=True)]), DEEP),
            (dicom(DEEP, uid.JPEG2000, [saved(DEEP, "JPEG2000")]), DEEP),  # with the boxes of a .jp2
            (
                bundled("MR_small_jpeg_ls_lossless.dcm"),
                pydicom.dcmread(get_testdata_file("MR_small.dcm")).pixel_array,
            ),
        ],
    )
    def test_transfer_syntaxes_without_loss(self, read, content, samples):
        radiograph = read(content)
        assert np.array_equal(radiograph.grey, samples)
        assert radiograph.rgb.shape == (*samples.shape, 3)
        assert radiograph.notes == ()

    def test_jpeg_baseline_is_shown_as_stored(self, read):
        radiograph = read(dicom(GREY, uid.JPEGBaseline8Bit, [saved(GREY, "JPEG", quality=95)]))
        assert np.abs(radiograph.rgb.astype(int) - grey_rgb(GREY)).max() <= 4
        assert radiograph.grey is None

    def test_near_lossless_jpeg_ls(self, read):
        assert read(bundled("JPEGLSNearLossless_16.dcm")).grey.max() == 65535

    @pytest.mark.parametrize(
        "content",
        [
            dicom(COLOUR),
            dicom(np.moveaxis(COLOUR, 2, 0).reshape(COLOUR.shape), PlanarConfiguration=1),
            dicom(
                COLOUR,
                uid.JPEGBaseline8Bit,
                [saved(COLOUR, "JPEG", quality=95)],
                PhotometricInterpretation="YBR_FULL_422",
            ),
            dicom(
                COLOUR,
                uid.JPEG2000Lossless,
                [saved(COLOUR, "JPEG2000", no_jp2=True)],
                PhotometricInterpretation="YBR_RCT",
            ),
            dicom(np.array(Image.fromarray(COLOUR).convert("YCbCr")), PhotometricInterpretation="YBR_FULL"),
            rle(COLOUR),
            dicom(COLOUR.astype(np.uint16) << 4, BitsStored=12, HighBit=11),
        ],
    )
    def test_colour(self, read, content):
        radiograph = read(content)
        assert np.abs(radiograph.rgb.astype(int) - COLOUR).max() <= 24
        assert np.abs(radiograph.rgb.astype(int) - COLOUR).mean() <= 4
        assert radiograph.grey is None

    @pytest.mark.parametrize("frames", [1, 3])
    def test_an_odd_number_of_bytes_in_big_endian_words(self, read, frames):
        ds = dataset(np.arange(9, dtype=np.uint8).reshape(3, 3) * 20, uid.ExplicitVRBigEndian)
        little = bytes(range(0, 180, 20)) * frames
        little += bytes(len(little) % 2)
        ds.NumberOfFrames = frames
        ds.PixelData = np.frombuffer(little, np.uint16).byteswap().tobytes()
        ds["PixelData"].VR = "OW"
        assert read(written(ds)).rgb[..., 0].ravel().tolist() == list(range(0, 180, 20))

    def test_palette(self, read):
        ramp = np.arange(256, dtype=np.uint16) * 257
        tags = {
            f"{colour}PaletteColorLookupTable{part}": value
            for colour, entries in (("Red", ramp), ("Green", ramp[::-1]), ("Blue", ramp // 2))
            for part, value in (("Descriptor", [256, 0, 16]), ("Data", entries.tobytes()))
        }
        radiograph = read(dicom(GREY, PhotometricInterpretation="PALETTE COLOR", **tags))
        assert np.array_equal(radiograph.rgb, COLOUR)

    @pytest.mark.parametrize(
        "tags",
        [
            {"WindowCenter": 1300, "WindowWidth": 900},
            {"WindowCenter": 1300, "WindowWidth": 900, "VOILUTFunction": "LINEAR_EXACT"},
            {"WindowCenter": 1300, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"},
            {"WindowCenter": 1300, "WindowWidth": 1},
            {"WindowCenter": [1300, 7], "WindowWidth": [900, 9]},  # the first of several
            {"WindowCenter": 300, "WindowWidth": 900, "RescaleSlope": 0.5, "RescaleIntercept": -400},
            {"WindowCenter": -900, "WindowWidth": 900, "RescaleSlope": -1, "RescaleIntercept": 0},
            {"VOILUTSequence": lut(np.arange(2000) ** 2 // 64, first=500, bits=16)},
            {"VOILUTSequence": lut(np.arange(2000) * 2, first=0, bits=12)},
            {
                "ModalityLUTSequence": lut(np.arange(4000)[::-1] // 2, first=0, bits=16),
                "WindowCenter": 1000,
                "WindowWidth": 800,
            },
        ],
    )
    @pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
    @pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
    def test_windows_are_those_of_pydicom(self, read, tags, photometric, syntax):
        ds = dataset(DEEP, syntax, BitsStored=12, HighBit=11, PhotometricInterpretation=photometric, **tags)
        meaning = apply_modality_lut(DEEP, ds)
        brightness = apply_voi_lut(meaning, ds).astype(float)
        if "VOILUTSequence" in ds:
            low, high = 0, 2 ** ds.VOILUTSequence[0].LUTDescriptor[2] - 1
        elif "ModalityLUTSequence" in ds:
            low, high = 0, 65535
        else:
            low, high = apply_modality_lut(np.array([0, 4095]), ds)
        expected = (brightness - low) / (high - low) * 255
        if photometric == "MONOCHROME1":
            expected = 255 - expected

        radiograph = read(written(ds))
        assert np.abs(radiograph.rgb - expected[..., None]).max() <= 1
        rises = np.corrcoef(radiograph.grey.ravel(), expected.ravel())[0, 1]
        assert rises > 0.4  # larger is brighter as shown
        assert set(
            np.ptp([radiograph.grey.astype(int) - DEEP, radiograph.grey + DEEP.astype(int)], axis=(1, 2))
        ) > {0}

    @pytest.mark.parametrize(
        "tags",
        [
            {},
            {"WindowCenter": 100},
            {"WindowCenter": "", "WindowWidth": ""},
            {"WindowCenter": 100, "WindowWidth": 0},
        ],
    )
    def test_without_a_window_the_percentiles(self, read, tags):
        radiograph = read(dicom(DEEP, **tags))
        assert np.abs(radiograph.rgb - windowed(DEEP)[..., None]).max() <= 1

    def test_monochrome1_is_inverted_after_windowing(self, read):
        tags = {"WindowCenter": 500, "WindowWidth": 400, "PhotometricInterpretation": "MONOCHROME1"}
        radiograph = read(dicom(DEEP, **tags))
        assert (radiograph.rgb[DEEP < 300] == 255).all()
        assert (radiograph.rgb[DEEP > 700] == 0).all()
        assert np.array_equal(radiograph.grey, DEEP.max() - DEEP)

    @pytest.mark.parametrize("bits", [12, 16])
    def test_signed_samples_are_shifted(self, read, bits):
        samples = DEEP.astype(np.int16) - 1000
        radiograph = read(dicom(samples, BitsStored=bits, HighBit=bits - 1))
        assert np.array_equal(radiograph.grey, samples - int(samples.min()))

    def test_bits_that_are_not_stored_do_not_count(self, read):
        """Old systems keep a drawing in the bits above the 12 of the picture (PS3.5 8.1.1)."""
        radiograph = read(dicom(DEEP | 0x8000, BitsStored=12, HighBit=11))
        assert np.array_equal(radiograph.grey, DEEP)

    @pytest.mark.parametrize(
        "content",
        [
            dicom(np.vstack([DEEP, DEEP // 2, DEEP // 3]), NumberOfFrames=3, Rows=len(DEEP)),
            dicom(
                DEEP,
                uid.JPEGLosslessSV1,
                [jpeg_lossless(DEEP), jpeg_lossless(DEEP // 2), b"\xff\xd8 not decoded \xff\xd9"],
                NumberOfFrames=3,
            ),
        ],
    )
    def test_the_first_frame_of_three(self, read, content):
        radiograph = read(content)
        assert np.array_equal(radiograph.grey, DEEP)
        assert radiograph.notes == ("first of 3 frames",)

    @pytest.mark.parametrize(
        "syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian]
    )
    def test_without_a_header(self, read, syntax):
        content = dicom(DEEP, syntax)
        meta_length = struct.unpack("<I", content[140:144])[0]
        assert np.array_equal(read(content[144 + meta_length :]).grey, DEEP)

    def test_padding_behind_the_picture_is_not_parsed(self, read):
        assert np.array_equal(read(dicom(DEEP) + bytes(10**6)).grey, DEEP)


RAMP = np.tile(np.arange(0, 4096, 16, dtype=np.uint16), (64, 1))
"""12 bits, dark left to bright right."""
RAMP_8 = (RAMP >> 4).astype(np.uint8)
TWELVE = {"BitsStored": 12, "HighBit": 11}
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
JPEG = saved(RAMP_8, "JPEG", quality=100)


def group(**tags) -> Dataset:
    item = Dataset()
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return item


def text(content: bytes, before: str, after: str) -> bytes:
    """With an element's text in place of another that is as long."""
    assert content.count(before.encode()) == 1
    return content.replace(before.encode(), after.encode())


def without(content: bytes, keyword: str) -> bytes:
    """Without an element that has a short length."""
    tag = pydicom.tag.Tag(keyword)
    at = content.index(struct.pack("<HH", tag.group, tag.element))
    return content[:at] + content[at + 8 + struct.unpack_from("<H", content, at + 6)[0] :]


def with_private(vr: bytes, value: bytes = b"abcd", length: bytes = b"\x04\0") -> bytes:
    """A private element before the size, with a value representation that is none."""
    content = dicom(RAMP, **TWELVE, **WINDOW)
    at = content.index(b"\x28\0\x02\0US")
    return content[:at] + b"\x19\0\x10\x10" + vr + length + value + content[at:]


def extended(content: bytes) -> bytes:
    """A baseline JPEG as extended sequential, its scan header saying Ss = Se = 0, as some encoders do."""
    at = content.index(b"\xff\xda")
    end = at + 2 + struct.unpack_from(">H", content, at + 2)[0]
    return content[: end - 3].replace(b"\xff\xc0", b"\xff\xc1") + b"\0\0\0" + content[end:]


def palette(bits: int, entries: bytes) -> dict:
    return {
        f"{colour}PaletteColorLookupTable{part}": value
        for colour in ("Red", "Green", "Blue")
        for part, value in (("Descriptor", [256, 0, bits]), ("Data", entries))
    }


class TestAsOthersShowIt:
    """What real files do and viewers, DCMTK first, put right: each row shows the ramp."""

    @pytest.mark.parametrize(
        ("content", "off"),
        [
            # tables: 12 bits used of 16 declared; a first value that is negative, as US or SS; one entry
            # fewer than declared; an item without a table before one with it
            (dicom(RAMP, **TWELVE, VOILUTSequence=lut(np.arange(4096), 0, 16)), 0),
            *(
                (
                    dicom(
                        RAMP,
                        syntax,
                        **TWELVE,
                        RescaleSlope=1,
                        RescaleIntercept=-1000,
                        VOILUTSequence=lut(np.arange(4096), -1000, 12),
                    ),
                    0,
                )
                for syntax in (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian)
            ),
            (
                dicom(
                    RAMP,
                    **TWELVE,
                    VOILUTSequence=[
                        group(LUTDescriptor=[4096, 0, 12], LUTData=b""),
                        *lut(np.arange(4096), 0, 12),
                    ],
                ),
                0,
            ),
            (dicom(RAMP, **TWELVE, VOILUTSequence=[Dataset(), *lut(np.arange(4096), 0, 12)]), 0),
            (dicom(RAMP, **TWELVE, ModalityLUTSequence=[Dataset()], **WINDOW), 0),
            # a window under 1 wide has no LINEAR form
            (
                dicom(
                    RAMP,
                    **TWELVE,
                    RescaleSlope="0.000244",
                    RescaleIntercept=0,
                    WindowCenter="0.5",
                    WindowWidth="0.9",
                ),
                13,
            ),
            # windows and rescale of the first frame, and of all, in functional groups
            (
                dicom(
                    RAMP,
                    **TWELVE,
                    SharedFunctionalGroupsSequence=[
                        group(
                            FrameVOILUTSequence=[group(WindowCenter=1048, WindowWidth=4096)],
                            PixelValueTransformationSequence=[group(RescaleSlope=1, RescaleIntercept=-1000)],
                        )
                    ],
                ),
                0,
            ),
            (
                dicom(
                    RAMP,
                    **TWELVE,
                    PerFrameFunctionalGroupsSequence=[
                        group(FrameVOILUTSequence=[group(**WINDOW)]),
                        group(FrameVOILUTSequence=[group(WindowCenter=9, WindowWidth=3)]),
                    ],
                ),
                0,
            ),
            # a window that misses the picture: see the test of its note
            (dicom(RAMP, **TWELVE, WindowCenter=100_000, WindowWidth=10), 2),
            # bits at the top of the word, uncompressed and compressed; an overlay in compressed words
            (dicom(RAMP << 4, BitsStored=12, HighBit=15, **WINDOW), 0),
            (
                dicom(
                    RAMP << 4,
                    uid.JPEGLosslessSV1,
                    [jpeg_lossless(RAMP << 4)],
                    BitsStored=12,
                    HighBit=15,
                    **WINDOW,
                ),
                0,
            ),
            (
                dicom(RAMP | 0x8000, uid.JPEGLosslessSV1, [jpeg_lossless(RAMP | 0x8000)], **TWELVE, **WINDOW),
                0,
            ),
            # text that is no number, or barely
            (
                text(
                    dicom(RAMP, **TWELVE, **WINDOW, RescaleSlope="1.2345", RescaleIntercept=0),
                    "1.2345",
                    "1,0   ",
                ),
                0,
            ),
            (dicom(RAMP, **TWELVE, **WINDOW, RescaleSlope="", RescaleIntercept=0), 0),
            (dicom(RAMP, **TWELVE, **WINDOW, NumberOfFrames=1).replace(b"IS\x02\x001 ", b"IS\x02\x001A"), 0),
            # elements that are missing
            (without(dicom(RAMP, **TWELVE, **WINDOW), "SamplesPerPixel"), 0),
            (without(dicom(RAMP, **TWELVE, **WINDOW), "PixelRepresentation"), 0),
            (without(dicom(RAMP, **TWELVE, **WINDOW), "HighBit"), 0),
            (without(dicom(RAMP, **TWELVE, **WINDOW), "PhotometricInterpretation"), 0),
            (without(dicom(RAMP_8, uid.JPEGBaseline8Bit, [JPEG]), "SamplesPerPixel"), 5),
            # value representations that are none: of short length, of long length, none at all
            (with_private(b"??"), 0),
            (with_private(b"\0\0"), 0),
            (with_private(b"ZZ", length=b"\0\0\x04\0\0\0"), 0),
            (with_private(b"\x04\0", length=b"\0\0"), 0),
            # palettes of 8 bits in bytes, in words, and in the upper half of words
            (dicom(RAMP_8, PhotometricInterpretation="PALETTE COLOR", **palette(8, bytes(range(256)))), 0),
            (
                dicom(
                    RAMP_8,
                    PhotometricInterpretation="PALETTE COLOR",
                    **palette(8, np.arange(256, dtype="<u2").tobytes()),
                ),
                0,
            ),
            (
                dicom(
                    RAMP_8,
                    PhotometricInterpretation="PALETTE COLOR",
                    **palette(8, np.arange(0, 65536, 256, dtype="<u2").tobytes()),
                ),
                0,
            ),
            # JPEG with bytes after its end; extended, with Ss = Se = 0
            *(
                (dicom(RAMP_8, uid.JPEGBaseline8Bit, [JPEG + tail]), 5)
                for tail in (b"\0", b" ", b"\xcc", b"\x14\x01", b"\0\xd3\x0c\x99\xfa", b"\xff")
            ),
            (dicom(RAMP_8, uid.JPEGExtended12Bit, [extended(JPEG)]), 5),
            (dicom(RAMP_8, uid.JPEGBaseline8Bit, [saved(RAMP_8, "JPEG", quality=100, progressive=True)]), 5),
            (  # full progression, retired in 2002 and still in archives
                dicom(
                    RAMP_8,
                    uid.UID("1.2.840.10008.1.2.4.55"),
                    [saved(RAMP_8, "JPEG", quality=100, progressive=True)],
                ),
                5,
            ),
        ],
    )
    def test_the_ramp(self, read, content, off):
        shown = read(content).rgb.astype(int)
        assert np.abs(shown - grey_rgb(RAMP_8)).max() <= off + 1

    def test_a_table_one_entry_short_of_what_it_declares(self, read):
        table = lut(np.arange(4096), 0, 12)
        table[0].LUTData = table[0].LUTData[:-2]
        shown = read(dicom(RAMP, **TWELVE, VOILUTSequence=table)).rgb
        assert np.abs(shown.astype(int) - grey_rgb(RAMP_8)).max() <= 1

    def test_a_modality_table_for_negative_values(self, read):
        samples = RAMP.astype(np.int16) - 2048
        for syntax in (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian):
            table = lut(np.arange(4096), -2048, 12)
            shown = read(dicom(samples, syntax, **TWELVE, ModalityLUTSequence=table, **WINDOW)).rgb
            assert np.abs(shown.astype(int) - grey_rgb(RAMP_8)).max() <= 1

    def test_a_dark_table_stays_dark(self, read):
        """It uses more than a quarter of its range: that is no wrong declaration."""
        shown = read(dicom(RAMP, **TWELVE, VOILUTSequence=lut(np.arange(4096) // 2, 0, 12))).rgb
        assert shown.max() == 127

    def test_a_window_that_misses_the_picture_is_said(self, read):
        for centre in (-5000, 50_000):
            radiograph = read(dicom(RAMP, **TWELVE, WindowCenter=centre, WindowWidth=10))
            assert radiograph.notes == (
                "its window shows none of this picture: percentiles used in its place",
            )
            assert np.ptp(radiograph.rgb) == 255

    @pytest.mark.parametrize(
        ("padding", "tags"),
        [
            (65535, {"PixelPaddingValue": 65535, "PhotometricInterpretation": "MONOCHROME1"}),
            (65535, {"PixelPaddingValue": 65535}),
            (60_000, {"PixelPaddingValue": 59_000, "PixelPaddingRangeLimit": 61_000}),
            (0xF000, {"PixelPaddingValue": 0xF000, "BitsStored": 12, "HighBit": 11}),  # more than its bits
        ],
    )
    def test_padding_does_not_count_and_is_black(self, read, padding, tags):
        samples = np.hstack([np.full((64, 256), padding, np.uint16), RAMP // 2 + 16])
        radiograph = read(dicom(samples, **tags))
        picture = radiograph.rgb[:, 256:, 0].astype(int)
        expected = windowed(RAMP // 2)
        if "PhotometricInterpretation" in tags:
            expected = 255 - expected
        assert np.abs(picture - expected).max() <= 1
        assert (radiograph.rgb[:, :256] == picture.min()).all()
        assert np.ptp(radiograph.grey.astype(int)) == 2040  # nor does it stretch a viewer's own window

    def test_ycbcr_that_is_tagged_rgb(self, read):
        """The stream knows: by a JFIF or Adobe marker, by its component names, by its subsampling."""
        jfif = saved(COLOUR, "JPEG", quality=95)
        bare = jfif[:2] + jfif[20:]
        for frame in (jfif, bare):
            shown = read(dicom(COLOUR, uid.JPEGBaseline8Bit, [frame])).rgb
            assert np.abs(shown.astype(int) - COLOUR).mean() <= 4
        plain = saved(COLOUR, "JPEG", quality=95, keep_rgb=True)
        tagged = dicom(COLOUR, uid.JPEGBaseline8Bit, [plain], PhotometricInterpretation="YBR_FULL")
        assert np.abs(read(tagged).rgb.astype(int) - COLOUR).mean() <= 4

    def test_a_jpeg_that_lacks_its_last_bytes(self, read):
        """Its frame in a file that is whole, or the file."""
        lost = len(JPEG) // 25
        for content in (
            dicom(RAMP_8, uid.JPEGBaseline8Bit, [JPEG[:-lost]]),
            dicom(RAMP_8, uid.JPEGBaseline8Bit, [JPEG])[: -lost - 8],
        ):
            radiograph = read(content)
            (note,) = radiograph.notes
            assert "cut off" in note
            assert np.abs(radiograph.rgb[:56].astype(int) - grey_rgb(RAMP_8)[:56]).max() <= 6


class TestBadDicom:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (dicom(DEEP, Rows=8000, Columns=7000), "7000 × 8000"),
            (dicom(DEEP, Rows=0), "no pixels"),
            (dicom(DEEP, Rows=600), "damaged"),  # claims ten times the samples it has
            (dicom(DEEP, NumberOfFrames=2), "fewer pixels"),
            (dicom(DEEP)[:-100], "cut off"),
            (dicom(DEEP, uid.MPEG4HP41, [b"video"]), "compressed in a way"),
            (bundled("rtplan.dcm"), "no picture"),
            (bundled("rtplan_truncated.dcm"), "cut off"),
            (dicom(DEEP, uid.JPEGBaseline8Bit, [b"no JPEG at all"]), "damaged"),
            # a codestream of 50 times the size that the tags admit to
            (dicom(DEEP[:6], uid.JPEGLosslessSV1, [jpeg_lossless(DEEP)]), "not as large"),
            (dicom(DEEP[:6], uid.JPEG2000Lossless, [saved(DEEP, "JPEG2000", no_jp2=True)]), "not as large"),
            (dicom(DEEP, uid.JPEGLosslessSV1, [jpeg_lossless(DEEP)[:2000]]), "cut off"),
            # rescale and window that are no finite numbers
            (dicom(DEEP, RescaleSlope="nan", RescaleIntercept=0), "finite"),
            (dicom(DEEP, RescaleSlope="1e999", RescaleIntercept=0), "finite"),
            (dicom(DEEP, RescaleSlope=1, RescaleIntercept="-inf"), "finite"),
            (dicom(DEEP, WindowCenter="nan", WindowWidth=5), "finite"),
            (dicom(DEEP, WindowCenter=5, WindowWidth="inf"), "finite"),
            # RLE segments that unpack to 64 times their plane
            (
                dicom(GREY, uid.RLELossless, [struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\0" * 4000]),
                "larger than its tags say",
            ),
            # a sequence of 100,000 items; one of sequences in sequences
            (
                dicom(DEEP).replace(
                    b"\x28\0\x02\0",
                    struct.pack("<HH2sHI", 0x28, 1, b"SQ", 0, 0xFFFFFFFF)
                    + struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 100_000,
                    1,
                ),
                "too many parts",
            ),
            (
                dicom(DEEP).replace(
                    b"\x28\0\x02\0",
                    (
                        struct.pack("<HH2sHI", 0x28, 1, b"SQ", 0, 0xFFFFFFFF)
                        + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
                    )
                    * 5000,
                    1,
                ),
                "cut off",
            ),
        ],
    )
    def test_what_is_wrong_is_said(self, read, content, words):
        with pytest.raises(ImageError, match=words):
            read(content)

    @pytest.mark.slow
    def test_what_unpacks_without_end_is_stopped(self, read):
        content = dicom(DEEP, uid.DeflatedExplicitVRLittleEndian)
        start = 144 + struct.unpack("<I", content[140:144])[0]
        bomb = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
        with pytest.raises(ImageError, match="256 MB"):
            read(content[:start] + bomb.compress(bytes(257 * 1024**2)) + bomb.flush())

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "content",
        [
            dicom(DEEP),
            dicom(DEEP, uid.ImplicitVRLittleEndian),
            dicom(DEEP, uid.DeflatedExplicitVRLittleEndian),
            rle(DEEP),
            dicom(DEEP, uid.JPEGLosslessSV1, [jpeg_lossless(DEEP)]),
            dicom(DEEP, uid.JPEG2000Lossless, [saved(DEEP, "JPEG2000", no_jp2=True)]),
        ],
    )
    def test_a_file_that_is_cut_off_is_never_half_a_picture(self, read, content):
        for kept in range(1, len(content) - 10, max(1, len(content) // 16)):
            with pytest.raises(ImageError):
                read(content[:kept])

    @pytest.mark.parametrize(
        "content",
        [
            dicom(DEEP)[:5000],
            dicom(DEEP, Rows=600),
            dicom(DEEP, uid.JPEG2000, [SECRET.encode() * 10]),
            dicom(DEEP).replace(b"1.2.840.10008.1.2.1\0", b"1.2." + SECRET.encode() + b".......\0"),
            dicom(DEEP, SpecificCharacterSet="ISO_IR 6").replace(b"ISO_IR 6", SECRET.encode() + b" "),
            dicom(DEEP, WindowWidth=5, WindowCenter=1).replace(b"DS\x02\x005 ", b"XX\x02\x005 "),
            dicom(DEEP, PhotometricInterpretation=SECRET.upper() + " " + SECRET),
            dicom(DEEP).replace(b"LO\x08\x00" + SECRET.encode(), b"SQ\x08\x00" + SECRET.encode()),
        ],
    )
    def test_no_patient_in_a_message_or_a_log(self, read, content):
        """`read` of these tests asserts that nothing is printed, warned or logged."""
        try:
            radiograph = read(content)
        except ImageError as error:
            said = f"{error} {error.__cause__!r} {error.__context__!r}"
        else:
            said = f"{radiograph.notes} {radiograph.name}"
        assert SECRET.lower() not in said.lower()
