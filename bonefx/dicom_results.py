"""Results for an archive of radiographs: a DICOM structured report, and a picture with the boxes drawn in.

Both belong to the study of the image that they are about, whose patient they name as it does. Nothing of that
is shown or logged here. highdicom makes them; it is imported where it is needed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bonefx import __version__, export
from bonefx.errors import ImageError
from bonefx.export import Result
from bonefx.images import Radiograph
from bonefx.labels import CLASSES
from bonefx.quiet import silenced
from bonefx.settings import NOTICE

if TYPE_CHECKING:
    from highdicom.sc import SCImage
    from highdicom.sr import (
        ComprehensiveSR,
        MeasurementsAndQualitativeEvaluations,
        PlanarROIMeasurementsAndQualitativeEvaluations,
    )
    from pydicom import Dataset

_HEADER = (
    *("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Rows", "Columns"),
    *("NumberOfFrames", "StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "StudyDescription"),
    *("AccessionNumber", "ReferringPhysicianName", "PatientName", "PatientID", "IssuerOfPatientID"),
    *("PatientBirthDate", "PatientSex", "PatientAge", "PatientSize", "PatientWeight", "PatientOrientation"),
    *("ImageLaterality", "BurnedInAnnotation", "TimezoneOffsetFromUTC"),
)
_SITES = {  # of DICOM PS3.16 annex L, by what a label begins with
    "elbow": ("16953009", "Elbow joint"),
    "fingers": ("7569003", "Finger"),
    "forearm": ("14975008", "Forearm"),
    "humerus": ("85050009", "Humerus"),
    "shoulder": ("16982005", "Shoulder"),
    "wrist": ("74670003", "Wrist joint"),
}
_SCHEME = "99BONEFX"  # our own codes, as the prefix 99 says
_REPORT_SERIES, _CAPTURE_SERIES = 9101, 9102
_LOGGERS = ("pydicom", "highdicom")
_DESCRIPTION = "BoneFX. Research and education. Not a medical device."  # 64 characters at most


def header(path: Path) -> Dataset | None:
    """What a report takes over from a file that `bonefx.images` has read; None if it is no DICOM.

    Raises:
        ImageError: it is one, and names no study or no image that a report could be about.
    """
    import pydicom

    with silenced(*_LOGGERS):
        try:
            found = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_HEADER), force=True)
            if not found.get("SOPClassUID"):
                return None
            found.decode()
            for element in found:
                if element.VR == "PN":  # it would remember the bytes that it was read from
                    element.value = str(element.value)
            found.SpecificCharacterSet = "ISO_IR 100" if _is_latin(found) else "ISO_IR 192"
        except Exception:  # `bonefx.images` has read it: whatever is wrong, it is no DICOM file
            return None
    for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if not found.get(name):
            raise ImageError("This DICOM file does not say which study it belongs to: there is no report.")
    for name in _HEADER:  # what is empty may be missing in a file, but not in a report
        if name not in found and name.startswith(("Patient", "Study", "Accession", "Referring")):
            setattr(found, name, None)
    return found


def _is_latin(header: Dataset) -> bool:
    """Whether Latin-1 is enough, which more readers know than Unicode."""
    try:
        "".join(str(element.value) for element in header).encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def named_like_dicom(name: str) -> bool:
    """Whether a file's name says that it is DICOM; many have none that does."""
    return Path(name).suffix.lower() in (".dcm", ".dicom")


def looks_like_dicom(path: Path) -> bool:
    """Whether a file is likely to be DICOM, by its name or its first bytes; `header` says if it is."""
    if named_like_dicom(path.name):
        return True
    try:
        with path.open("rb") as file:
            return file.read(132).endswith(b"DICM")
    except OSError:  # it is gone: whoever wants more of it is told
        return False


def documents(
    header: Dataset, radiograph: Radiograph, results: Sequence[Result]
) -> Iterator[tuple[str, bytes]]:
    """The report and the picture as DICOM files, each with the ending of its name: `sr` and `sc`.

    Raises:
        ImageError: no model has a result, or they cannot take over what the image says of its study. The text
            quotes none of that.
    """
    if all("error" in result for result in results):
        raise ImageError("No model has a result for this image: there is no report.")
    for ending, make in (("sr", structured_report), ("sc", secondary_capture)):
        file: io.BytesIO | None = io.BytesIO()
        with silenced(*_LOGGERS):
            try:
                make(header, radiograph, results).save_as(file)
            except Exception:
                file = None  # the error is raised outside: a library's text may quote a patient's value
        if file is None:
            raise ImageError(
                "What this DICOM file says of its study breaks the standard: there is no report."
            )
        yield ending, file.getvalue()


def structured_report(header: Dataset, radiograph: Radiograph, results: Sequence[Result]) -> ComprehensiveSR:
    """A Comprehensive SR by template TID 1500 (PS3.16): the number of detections of
    each model, and one planar region a detection.

    Each has the label, the score as a measurement, and the model with its version and its weights' hash.
    The comment of the whole says what the score means, what was not found, and the notice.

    Args:
        header: from `header`.
        radiograph: the image, for its size.
        results: one a model, as `Outcome.to_result` makes them.
    """
    from highdicom import sr
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    observer = sr.ObserverContext(
        codes.DCM.Device,
        sr.DeviceObserverIdentifyingAttributes(
            uid=generate_uid(entropy_srcs=["BoneFX", __version__]),
            name="BoneFX",
            manufacturer_name="BoneFX",
            model_name=f"BoneFX {__version__}",
        ),
    )
    groups = [
        group
        for result in results
        if "error" not in result
        for group in (
            _count(header, result),
            *(
                _region(header, radiograph, result, record, f"{result['model']} {number}")
                for number, record in enumerate(result["detections"], 1)
            ),
        )
    ]
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.SCT.PlainRadiography,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    comment = sr.TextContentItem(
        name=codes.DCM.Comment, value=_comment(results), relationship_type=sr.RelationshipTypeValues.CONTAINS
    )
    report[0].ContentSequence.append(comment)
    document = sr.ComprehensiveSR(
        evidence=[header],
        content=report,
        series_number=_REPORT_SERIES,
        instance_number=1,
        is_complete=True,
        **_ours(),
    )
    document.CodingSchemeIdentificationSequence = [_coding_scheme()]
    return document


def secondary_capture(header: Dataset, radiograph: Radiograph, results: Sequence[Result]) -> SCImage:
    """The picture with the boxes of every model, and below it what made them and the notice, as RGB."""
    from highdicom.sc import SCImage

    nameless = replace(radiograph, name="Radiograph")  # a file's name may be the patient's
    picture = np.asarray(export.annotated(nameless, results))
    image = SCImage.from_ref_dataset(
        header,
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),  # it must be something here, and is put right below
        series_number=_CAPTURE_SERIES,
        instance_number=1,
        **_ours(),
    )
    image.PatientOrientation = header.get("PatientOrientation") or ""
    image.Laterality = header.get("ImageLaterality") or ""
    image.DerivationDescription = "Boxes of detections and a caption drawn in."
    if header.get("BurnedInAnnotation"):
        image.BurnedInAnnotation = header.BurnedInAnnotation
    return image


def _coding_scheme() -> Dataset:
    """Whose our own codes are."""
    from pydicom import Dataset

    scheme = Dataset()
    scheme.CodingSchemeDesignator = _SCHEME
    scheme.CodingSchemeName = "BoneFX detections"
    scheme.CodingSchemeResponsibleOrganization = "BoneFX"
    return scheme


def _ours() -> dict[str, Any]:
    """What both documents say of their maker."""
    from pydicom.uid import generate_uid

    return {
        "series_instance_uid": generate_uid(),
        "sop_instance_uid": generate_uid(),
        "manufacturer": "BoneFX",
        "manufacturer_model_name": "BoneFX",
        "software_versions": __version__,
        "series_description": _DESCRIPTION,
    }


def _count(header: Dataset, result: Result) -> MeasurementsAndQualitativeEvaluations:
    """How many detections a model has in the image as a whole; 0 is a result too."""
    from highdicom import sr
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=generate_uid(), identifier=result["model"]),
        algorithm_id=_algorithm(result),
        source_images=[
            sr.SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID, _frames(header))
        ],
        measurements=[
            sr.Measurement(
                name=sr.CodedConcept("count", _SCHEME, "Number of detections"),
                value=len(result["detections"]),
                unit=codes.UCUM.NoUnits,
            )
        ],
    )


def _frames(header: Dataset) -> list[int] | None:
    """The first of several frames is the one that was looked at."""
    return [1] if int(header.get("NumberOfFrames") or 1) > 1 else None


def _region(
    header: Dataset, radiograph: Radiograph, result: Result, record: dict[str, Any], name: str
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    from highdicom import sr
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    x1, y1, x2, y2 = record["box"].values()
    corners = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]])
    corners = corners.clip(0, [radiograph.width, radiograph.height])
    label = CLASSES[record["class_id"]]
    value, meaning = _SITES[label.split()[0]]
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=generate_uid(), identifier=name),
        referenced_region=sr.ImageRegion(
            graphic_type=sr.GraphicTypeValues.POLYLINE,
            graphic_data=corners,
            source_image=sr.SourceImageForRegion(header.SOPClassUID, header.SOPInstanceUID, _frames(header)),
        ),
        finding_type=sr.CodedConcept("72704001", "SCT", "Fracture"),
        finding_sites=[sr.FindingSite(sr.CodedConcept(value, "SCT", meaning))],
        algorithm_id=_algorithm(result),
        measurements=[
            sr.Measurement(
                name=sr.CodedConcept("score", _SCHEME, "Score of the detection, from 0 to 1"),
                value=record["score"],
                unit=codes.UCUM.NoUnits,
            )
        ],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(
                name=sr.CodedConcept("label", _SCHEME, "Label of the detection"),
                value=sr.CodedConcept(f"label-{record['class_id']}", _SCHEME, label),
            )
        ],
    )


def _algorithm(result: Result) -> Any:
    """Model, version, and the weights by their hash."""
    from highdicom import sr

    weights = [part["weights"] for part in result.get("members") or [result]]
    used = [f"weights {each['file']} ({each['source']}), SHA-256 {each['sha256']}" for each in weights]
    return sr.AlgorithmIdentification(
        name=f"BoneFX {result['model']}",
        version=__version__,
        parameters=[*used, f"lowest score shown {result['threshold']:.4g}"],
    )


def _comment(results: Sequence[Result]) -> str:
    lines = [NOTICE, "A score orders detections; it is no probability of a fracture."]
    for result in results:
        if "error" in result:
            lines.append(f"{result['model']}: no result. {result['error']}")
        elif not result["detections"]:
            lines.append(
                f"{result['model']}: no detection with a score of {result['threshold']:.4g} or more."
            )
    return " ".join(lines)
