"""`python -m bonefx dataset`: lay a public data set out as the other commands read it."""

from __future__ import annotations

import argparse
from pathlib import Path

from bonefx import fracatlas


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Offer the command's arguments."""
    parser.add_argument("name", choices=["fracatlas"], help="its upper-limb images, with sites as classes")
    parser.add_argument("original", type=Path, metavar="ORIGINAL", help="folder of the unpacked download")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; its exit status."""
    print(f"{fracatlas.make(options.original, options.out)} images in {options.out}")
    return 0
