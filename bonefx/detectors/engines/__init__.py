"""What runs a graph: torch (`torch_engine`) or OpenVINO (`openvino_engine`), each imported when it is needed.

Both are a `bonefx.detectors.base.Engine`.
"""
