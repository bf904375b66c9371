"""Every environment variable that BoneFX reads, in one frozen value.

`Settings.from_env()` is called once by each way in (the app, the command line, `bonefx.detect`) and
handed down; no other module looks at the environment for a setting.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bonefx.errors import SettingsError, quoted

DEFAULT_THRESHOLD = 0.25
DEFAULT_REPO = "karinversan/bone_fracture"
NOTICE = "Research and education. Not a medical device."

ZERO_GPU = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
"""Whether this is a ZeroGPU Space. Read at import, where its function decorator is applied."""

SPACE_HOST = os.environ.get("SPACE_HOST", "")
"""Where a Space answers, such as `owner-name.hf.space`; empty elsewhere. The platform sets it."""

_PACKAGE = Path(__file__).resolve().parent


def packaged(name: str) -> Path:
    """A folder that travels with the code: inside an installed package, or beside it in a checkout."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


@dataclass(frozen=True)
class Settings:
    """Where weights and metrics come from, and how they are run.

    Attributes:
        repo_id: Hub model repo of the weights (`HF_REPO_ID`).
        weights_files: weight files in it that are not called as in `bonefx.detectors.MODELS`, by the end of
            the variable's name (`HF_FILENAME_FRCNN`, `HF_FILENAME_YOLO`).
        revision: commit, tag or branch of the weights (`BONEFX_REVISION`); None is the newest.
        metrics_repo_id: Hub repo of the metrics (`HF_METRICS_REPO_ID`).
        metrics_repo_type: `dataset` or `model` (`HF_METRICS_REPO_TYPE`).
        metrics_files: files in it, likewise (`HF_METRICS_FILENAME_FRCNN`, `HF_METRICS_FILENAME_YOLO`).
        token: access token (`HF_TOKEN`, else `HUGGINGFACE_HUB_TOKEN`); never logged.
        endpoint: address of the Hub (`HF_ENDPOINT`).
        hub: whether the Hub may be asked at all (`BONEFX_HUB=off`, or `HF_HUB_OFFLINE=1`).
        weights_dir: folder that is looked into before the Hub (`BONEFX_WEIGHTS_DIR`).
        frcnn_engine: `auto`, `torchvision` or `detectron2` (`BONEFX_FRCNN_ENGINE`).
        runtime: `auto` is torch on a GPU, and on a CPU OpenVINO with the graph of the weights; `torch` does
            without OpenVINO (`BONEFX_RUNTIME`), and `cpu` without a GPU.
        precision: of a graph: `int8`, `bfloat16` or `float32`; `auto` is the fastest form that was found to
            agree with float32 (`BONEFX_PRECISION`).
        cache_dir: folder for graphs that are made here, and what OpenVINO compiles (`bonefx` in
            `XDG_CACHE_HOME`); None keeps nothing, and makes no graphs.
    """

    repo_id: str = DEFAULT_REPO
    weights_files: Mapping[str, str] = field(default_factory=dict)
    revision: str | None = None
    metrics_repo_id: str = DEFAULT_REPO
    metrics_repo_type: str = "model"
    metrics_files: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None
    endpoint: str = "https://huggingface.co"
    hub: bool = True
    weights_dir: Path = Path("weights")
    frcnn_engine: str = "auto"
    runtime: str = "auto"
    precision: str = "auto"
    cache_dir: Path | None = None  # what is made by hand writes nothing into the user's folders

    def __repr__(self) -> str:  # the token must not reach a log
        return f"Settings(repo_id={self.repo_id!r}, hub={self.hub}, weights_dir={str(self.weights_dir)!r})"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the environment. An unset or blank variable keeps its default.

        Raises:
            SettingsError: a variable has a value that it does not offer.
        """

        def get(name: str, default: str) -> str:
            return environ.get(name, "").strip() or default

        def named(start: str) -> dict[str, str]:
            found = {name[len(start) :]: get(name, "") for name in environ if name.startswith(start)}
            return {end: value for end, value in found.items() if value}

        metrics_repo_id = get("HF_METRICS_REPO_ID", "")
        return cls(
            repo_id=get("HF_REPO_ID", cls.repo_id),
            weights_files=named("HF_FILENAME_"),
            revision=get("BONEFX_REVISION", "") or None,
            metrics_repo_id=metrics_repo_id or cls.metrics_repo_id,
            # The default repo is a model repo that holds the metrics too; an owner's own is a data set.
            metrics_repo_type=_choice(
                get("HF_METRICS_REPO_TYPE", "dataset" if metrics_repo_id else cls.metrics_repo_type),
                "HF_METRICS_REPO_TYPE",
                ("dataset", "model"),
            ),
            metrics_files=named("HF_METRICS_FILENAME_"),
            token=get("HF_TOKEN", "") or get("HUGGINGFACE_HUB_TOKEN", "") or None,
            endpoint=get("HF_ENDPOINT", cls.endpoint).rstrip("/"),
            hub=_choice(get("BONEFX_HUB", "on"), "BONEFX_HUB", ("on", "off")) == "on"
            and get("HF_HUB_OFFLINE", "0").lower() not in ("1", "true", "yes", "on"),
            weights_dir=Path(get("BONEFX_WEIGHTS_DIR", str(cls.weights_dir))),
            frcnn_engine=_choice(
                get("BONEFX_FRCNN_ENGINE", cls.frcnn_engine),
                "BONEFX_FRCNN_ENGINE",
                ("auto", "torchvision", "detectron2"),
            ),
            runtime=_choice(get("BONEFX_RUNTIME", "auto"), "BONEFX_RUNTIME", ("auto", "torch")),
            precision=_choice(
                get("BONEFX_PRECISION", cls.precision),
                "BONEFX_PRECISION",
                ("auto", "int8", "bfloat16", "float32"),
            ),
            cache_dir=Path(get("XDG_CACHE_HOME", "~/.cache")) / "bonefx",
        )


def _choice(value: str, name: str, offered: tuple[str, ...]) -> str:
    if value not in offered:
        raise SettingsError(f"{name} is {quoted(value)}; it must be one of {', '.join(offered)}.")
    return value
