"""The Space's entry point: read the settings, build the app, launch."""

import logging
import signal
import sys

from bonefx.collector import paused

with paused():  # a tenth of the start
    from bonefx.detectors import default_registry
    from bonefx.errors import SettingsError
    from bonefx.ui.build import build, launch_options

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
try:
    demo = build(default_registry())
except SettingsError as error:
    sys.exit(f"The app cannot start: {error}")

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    demo.launch(**launch_options())
