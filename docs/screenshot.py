"""Make docs/compare.png from a running app: `python docs/screenshot.py [ADDRESS]`."""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

address = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7860"
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(
        channel=None, executable_path="/usr/bin/chromium", args=["--no-sandbox"]
    )
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(f"{address}/?example=wrist-1&__theme=light")
    page.locator('.viewer[data-example="wrist-1"][data-settled="true"]').wait_for(timeout=120_000)
    page.wait_for_function("document.querySelector('.viewer .message').hidden", timeout=120_000)
    page.wait_for_timeout(1000)  # a smooth frame follows the quick ones
    page.screenshot(path=Path(__file__).with_name("compare.png"))
    browser.close()
