"""Graphs with weights and activations of eight bits, by NNCF, an extra that nothing that answers needs."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from bonefx.detectors.conversion.convert import Convertible, named, trace
from bonefx.detectors.engines.openvino_import import openvino, without_telemetry

# isort: split
from openvino.passes import ConstantFolding, Manager


def quantise(
    source: Convertible, calibration: Sequence[Sequence[np.ndarray]], float_layers: Sequence[str]
) -> openvino.Model:
    """The graph with eight bits in all layers that may be reduced, but for `float_layers`.

    Args:
        source: the network, its normalisation folded into the convolutions.
        calibration: inputs of real images.
        float_layers: names of the layers that stay as they are.

    Raises:
        BoneFXError: a layer is not in the graph.
    """
    with without_telemetry():
        import nncf
    logging.getLogger("nncf").setLevel(logging.WARNING)
    model = trace(source)
    folding = Manager()
    folding.register_pass(ConstantFolding())
    folding.run_passes(model)
    quantised = named(model, source.reduced) - named(model, float_layers)
    others = [
        operation.get_friendly_name()
        for operation in model.get_ops()
        if operation.get_friendly_name() not in quantised
    ]
    names = [port.get_any_name() for port in model.inputs]
    return nncf.quantize(
        model,
        nncf.Dataset([dict(zip(names, inputs, strict=True)) for inputs in calibration]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(calibration),
        fast_bias_correction=source.fast_bias_correction,
        ignored_scope=nncf.IgnoredScope(names=others, validate=False),
    )
