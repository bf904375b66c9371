"""The page "Use via API": what it says of an endpoint is that function's docstring.

Gradio (6.31) itself says of a parameter only to which component it belongs, and its samples are no images.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from bonefx.inference import CHOICES

SAMPLE = "examples/wrist-1.png"
"""The radiograph of all samples, below the app's address."""

_PARAMETER = re.compile(r"^    (\w+): (.*)")


def document(endpoint: dict[str, Any], function: Callable[..., Any], address: str) -> None:
    """Put words, allowed values and samples into Gradio's description of an endpoint.

    Args:
        endpoint: one of the `named_endpoints` of `Blocks.get_api_info`; it is changed.
        function: what the endpoint calls, with a docstring in Google's style.
        address: where the app answers, with a slash at its end.
    """
    summary, parameters, answer = _read_docstring(function)
    endpoint["description"] = f"{summary} Returns {answer}" if answer else summary
    samples = _samples(address + SAMPLE)
    for parameter in endpoint["parameters"]:
        name = parameter["parameter_name"]
        parameter["python_type"]["description"] = parameters[name]
        parameter["example_input"] = samples[name]
        if name == "model":
            parameter["type"] = {"type": "string", "enum": list(CHOICES)}
            parameter["python_type"]["type"] = f"Literal[{', '.join(map(repr, CHOICES))}]"
        if name == "files":
            # For a "File" Gradio's JavaScript fetches one sample; of what it does not know it shows all.
            parameter["component"] = "Files"


def _samples(address: str) -> Mapping[str, Any]:
    name = address.rpartition("/")[2]
    file = {"path": address, "meta": {"_type": "gradio.FileData"}, "orig_name": name, "url": address}
    # Only one of the last two may be sent.
    return {
        "image": file,
        "files": [file],
        "model": "yolo",
        "threshold": 0.25,
        "fp_per_image": None,
        "pair": None,
        "dicom": False,
    }


def _read_docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str], str]:
    """What a docstring says before its sections, of each parameter, and of the answer: each in one line."""
    head, _, rest = (inspect.getdoc(function) or "").partition("\nArgs:\n")
    arguments, _, answer = (rest or head).partition("\nReturns:\n")
    if not rest:
        head, arguments = arguments, ""
    parameters: dict[str, str] = {}
    for line in arguments.splitlines():
        begun = _PARAMETER.match(line)
        if begun:
            name = begun[1]
            parameters[name] = begun[2]
        elif line.strip():
            parameters[name] += " " + line.strip()
    sentences = {name: words[:1].upper() + words[1:] for name, words in parameters.items()}
    return " ".join(head.split()), sentences, " ".join(answer.split())
