"""Write the example radiographs beside this file: phantoms, and where exactly they are broken.

    pip install .[phantoms]
    python examples/make_examples.py

The same package versions give the same bytes again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from PIL import Image
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from bonefx.labels import CLASSES
from bonefx.phantoms import Phantom, render
from bonefx.phantoms.dataset import annotation


@dataclass(frozen=True)
class Example:
    """One example: its file name, what the page calls it, and what is rendered."""

    file: str
    title: str
    region: str
    view: str
    seed: int
    fracture: str | None = None
    options: dict = field(default_factory=dict)
    size: int = 896


EXAMPLES = (
    Example(
        "wrist-1.png",
        "Wrist, PA: distal radius",
        "wrist",
        "ap",
        21,
        "transverse",
        {"bone": "radius", "displaced": True},
    ),
    Example("wrist-2.png", "Wrist, PA: look closely", "wrist", "ap", 2, "hairline", {"bone": "radius"}),
    Example(
        "wrist-3.png",
        "Wrist, lateral",
        "wrist",
        "lateral",
        5,
        "oblique",
        {"bone": "radius", "displaced": True},
    ),
    Example("wrist-4.png", "Wrist, PA, in plaster", "wrist", "ap", 9, None, {"cast": True}),
    Example(
        "elbow-1.png",
        "Elbow, lateral",
        "elbow",
        "lateral",
        4,
        "transverse",
        {"bone": "ulna", "displaced": True},
    ),
    Example(
        "elbow-2.png", "Elbow, AP", "elbow", "ap", 3, "transverse", {"bone": "radius", "displaced": True}
    ),
    Example("elbow-3.png", "Elbow, lateral", "elbow", "lateral", 12),
    Example(
        "fingers-1.png", "Fingers, PA", "fingers", "ap", 1, "spiral", {"bone": "3proxph", "displaced": True}
    ),
    Example("fingers-2.png", "Fingers, PA: look closely", "fingers", "ap", 8, "hairline", {"bone": "2midph"}),
    Example("forearm-1.png", "Forearm, AP (16 bit)", "forearm", "ap", 5, "transverse", {"displaced": True}),
    Example("forearm-2.png", "Forearm, AP, with a plate", "forearm", "ap", 3, None, {"plate": True}),
    Example("humerus-1.png", "Humerus, AP", "humerus", "ap", 2, "spiral", {"displaced": True}),
    Example(
        "humerus-2.dcm", "Humerus, AP (DICOM)", "humerus", "ap", 14, "comminuted", {"displaced": True}, 768
    ),
    Example(
        "shoulder-1.png",
        "Shoulder, AP",
        "shoulder",
        "ap",
        11,
        "comminuted",
        {"bone": "humerus", "displaced": True},
    ),
    Example(
        "shoulder-2.png",
        "Shoulder, AP",
        "shoulder",
        "ap",
        6,
        "oblique",
        {"bone": "clavicle", "displaced": True},
    ),
    Example("shoulder-3.png", "Shoulder, oblique", "shoulder", "oblique", 7),
)
SIXTEEN_BIT = ("forearm-1.png",)


def _write_dicom(phantom: Phantom, path: Path) -> None:
    """12 bits, MONOCHROME1 (bright is low), nothing about a person."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["bonefx", path.stem, "instance"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = pydicom.Dataset()
    data.file_meta = meta
    data.SOPClassUID = meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID = generate_uid(entropy_srcs=["bonefx", path.stem, "study"])
    data.SeriesInstanceUID = generate_uid(entropy_srcs=["bonefx", path.stem, "series"])
    data.Modality = "CR"
    data.PatientName = data.PatientID = data.PatientBirthDate = data.PatientSex = ""
    data.StudyDate = data.StudyTime = data.AccessionNumber = data.StudyID = ""
    data.SeriesNumber = data.InstanceNumber = 1
    data.Manufacturer = "BoneFX"
    data.ImageComments = "Synthetic phantom, not a patient"
    data.BurnedInAnnotation = "YES"
    data.ViewPosition = "AP"
    data.ImageLaterality = phantom.side
    data.ImagerPixelSpacing = [round(phantom.pitch, 4)] * 2
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME1"
    data.Rows, data.Columns = phantom.image.shape
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelRepresentation = 0
    data.WindowCenter, data.WindowWidth = 2048, 4096
    data.PixelData = (4095 - (phantom.image >> 4)).astype("<u2").tobytes()
    data.save_as(path, enforce_file_format=True)


def write(folder: Path, examples: tuple[Example, ...] = EXAMPLES) -> dict:
    """Render examples into `folder`; returns, and writes, their ground truth in COCO format."""
    images, annotations = [], []
    for number, example in enumerate(examples, 1):
        phantom = render(
            example.region, example.view, example.seed, example.size, example.fracture, **example.options
        )
        path = folder / example.file
        if path.suffix == ".dcm":
            _write_dicom(phantom, path)
        else:
            pixels = phantom.image if example.file in SIXTEEN_BIT else phantom.grey
            Image.fromarray(pixels).save(path, optimize=True)
        height, width = phantom.image.shape
        images.append(
            {
                "id": number,
                "file_name": example.file,
                "width": width,
                "height": height,
                "title": example.title,
                "region": example.region,
                "view": example.view,
                "side": phantom.side,
            }
        )
        annotations += [
            annotation(lesion, one, number)
            for one, lesion in enumerate(phantom.lesions, len(annotations) + 1)
        ]
    truth = {
        "info": {"description": "BoneFX synthetic phantom radiographs", "license": "CC BY 4.0"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)],
    }
    (folder / "annotations.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    return truth


if __name__ == "__main__":
    write(Path(__file__).parent)
