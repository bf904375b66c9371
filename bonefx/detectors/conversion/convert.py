"""Makes graphs: the torch network of a checkpoint, as it is, in OpenVINO's format.

torch and OpenVINO are both imported here, so nothing that answers imports this module.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bonefx.detectors import graphs
from bonefx.detectors.base import Processing
from bonefx.detectors.engines.openvino_import import openvino
from bonefx.detectors.graphs import Card
from bonefx.errors import BoneFXError
from bonefx.provenance import versions
from bonefx.sources.hub import sha256_of

# isort: split
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

_FLOAT32 = "precise_0"  # the mark by which OpenVINO computes an operation, and keeps a constant, in float32


@dataclass(frozen=True)
class Convertible:
    """A network that can be converted.

    Attributes:
        processing: before and after it.
        network: what is traced.
        example: inputs to trace it with, of sides that differ.
        reduced: names of the layers that may compute in less than float32; nothing else may.
        float32: names of layers within them that must not.
        quantised_without: for eight bits, names of layers that stay in float32, the fewest first: the first
            set with which the graph is good enough is taken.
        fast_bias_correction: whether quantisation may estimate the shift of each layer's output from the
            layer alone, in place of the whole network.
    """

    processing: Processing
    network: nn.Module
    example: Sequence[np.ndarray]
    reduced: tuple[str, ...]
    float32: tuple[str, ...]
    quantised_without: tuple[tuple[str, ...], ...]
    fast_bias_correction: bool


@torch.no_grad()
def trace(source: Convertible) -> openvino.Model:
    """The network as OpenVINO's model, for images of any height and width.

    Raises:
        BoneFXError: a layer that is named in `reduced` or `float32` is not in it.
    """
    example = tuple(torch.from_numpy(array) for array in source.example)
    with warnings.catch_warnings():  # of what the example alone decides; tests compare other sizes
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        traced = torch.jit.trace(source.network.eval(), example, check_trace=False)
    decoder = TorchScriptPythonDecoder(traced)
    frontend = FrontEndManager().load_by_framework("pytorch")
    read = frontend.load(decoder)
    model = frontend.convert(read)
    for parameter, array in zip(model.get_parameters(), source.example, strict=True):
        any_size = [*array.shape[:2], -1, -1] if array.ndim == 4 else list(array.shape)
        parameter.set_partial_shape(openvino.PartialShape(any_size))
    model.validate_nodes_and_infer_types()
    may_be_reduced = named(model, source.reduced) - named(model, source.float32)
    for operation in model.get_ops():
        if operation.get_friendly_name() not in may_be_reduced:
            operation.get_rt_info()[_FLOAT32] = ""
    return model


def named(model: openvino.Model, layers: Sequence[str]) -> set[str]:
    """The names of the operations of layers, given by those of the layers in the torch network.

    Raises:
        BoneFXError: there is no operation of one of them.
    """
    names = {operation.get_friendly_name() for operation in model.get_ops()}
    found: set[str] = set()
    for layer in layers:
        start = f"__module.{layer}"
        # Operations of one kind in a layer have a number at the end, apart from the first.
        own = {
            name
            for name in names
            if name == start or name.startswith((f"{start}.", f"{start}/", f"{start}_"))
        }
        if not own:
            raise BoneFXError(f"The graph has no layer {layer}, which is meant to be treated by itself.")
        found |= own
    return found


def save(model: openvino.Model, card: Path, about: dict[str, Any]) -> Card:
    """Write a graph's three files.

    Weights that are float16 numbers, as those of a checkpoint in half precision are, are stored as such; all
    others in full. So nothing is lost.

    Args:
        model: the graph.
        card: the path of the card.
        about: the card's fields, but for the files' SHA-256.

    Raises:
        OSError: a file cannot be written.
    """
    _halve(model)
    _, xml, binary = graphs.files(card)
    openvino.save_model(model, xml, compress_to_fp16=False)
    text = xml.read_text(encoding="utf-8")
    xml.write_text(re.sub(r">\s+<", "><", text), encoding="utf-8")  # two fifths of it are blanks
    made = Card(**about, xml=sha256_of(xml), bin=sha256_of(binary), versions=versions(graphs.MADE_WITH))
    card.write_text(made.to_json(), encoding="utf-8")
    return made


def _halve(model: openvino.Model) -> None:
    """Store as float16 what is a float16 number. OpenVINO's own compression would round all others too."""
    for operation in model.get_ops():
        if operation.get_type_name() != "Constant" or operation.get_element_type() != openvino.Type.f32:
            continue
        with np.errstate(over="ignore"):
            half = operation.data.astype(np.float16)
        if half.size > 1 and np.array_equal(half, operation.data):
            stored = openvino.opset1.convert(openvino.opset1.constant(half), "f32")
            for use in operation.output(0).get_target_inputs():
                use.replace_source_output(stored.output(0))
