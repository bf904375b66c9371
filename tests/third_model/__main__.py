"""`python -m bonefx` with a third model; `page` serves the app and ends with its standard input."""

from __future__ import annotations

import sys

from bonefx.detectors import MODELS, ModelSpec
from bonefx.looks import Look

MODELS["contrast"] = ModelSpec(
    id="contrast",
    name="Contrast",
    summary="No detector at all: it marks what differs from its surroundings.",
    look=Look("K", "#009E73", "slashed", "14 4 3 4 3 4", "M0 6 6-5-6-5Z"),
    module="tests.third_model.contrast",
    weights="contrast.json",
    metrics="metrics_contrast.json",
    variable="CONTRAST",
    bundled="contrast.json",
)

from bonefx.__main__ import main  # noqa: E402, from here on there are three


def page() -> None:
    from bonefx.detectors import Registry
    from bonefx.settings import Settings
    from bonefx.ui.build import build, launch_options

    app = build(Registry(Settings.from_env()))
    _, address, _ = app.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **launch_options()
    )
    print("at", address, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    sys.exit(page() if sys.argv[1:] == ["page"] else main(sys.argv[1:]))
