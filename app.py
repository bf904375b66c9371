"""The Space's entry point: read the settings, build the app, launch."""

import logging
import signal
import sys

from bonefx.detectors import default_registry
from bonefx.ui.build import build, launch_options

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
demo = build(default_registry())

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    demo.launch(**launch_options())
