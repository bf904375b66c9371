"""The Space's entry point: read the settings, build the app, launch."""

import logging
import sys
import warnings

from bonefx.shutdown import end_on_signals

if __name__ == "__main__":
    end_on_signals()

from bonefx.detectors import default_registry
from bonefx.errors import SettingsError
from bonefx.ui.build import build, launch_options

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
for library in ("PIL", "pydicom", "pylibjpeg"):  # what they say, as warnings too, can quote a visitor's file
    logging.getLogger(library).addHandler(logging.NullHandler())
    logging.getLogger(library).propagate = False
warnings.simplefilter("ignore")
try:
    demo = build(default_registry())
except SettingsError as error:
    sys.exit(f"The app cannot start: {error}")

if __name__ == "__main__":
    demo.launch(**launch_options())
