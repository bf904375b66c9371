"""The About tab: what this is, what it is not, and whose data it stands on."""

from __future__ import annotations

import gradio as gr

from bonefx import __version__
from bonefx.settings import NOTICE
from bonefx.ui.storage import KEPT_MINUTES

GLOSSARY = """
- **Score**: the model's own number from 0 to 1 for a detection. It is not a probability, and the two models'
  scores are not on one scale. What share of the marks with a score lie on a fracture, on pictures that the
  weights have not learnt from, is in the model's metrics file under `calibration`; the score of the consensus
  is made of such shares, where the weights have them.
- **IoU** (intersection over union): how much two boxes cover each other, from 0 to 1.
- **Hit**: a detection that covers an annotated fracture with an IoU of at least 0.5. **False alarm** (false
  positive): any other detection. **Missed**: an annotated fracture that no detection hits.
- **Sensitivity**: the share of annotated fractures that are hit.
- **Stronger, weaker**: a stronger mark, drawn with solid lines, would still be there if only a quarter of the
  false alarms were accepted. Neither word is a probability.
- **Operating point**: a threshold for each model, chosen so that both make the same number of false alarms
  per image; there the sensitivities can be compared.
"""

_TEXT = f"""
## What this is

Two detectors look for fractures on the same upper-limb radiograph: a **Faster R-CNN** (R50-FPN, as trained
with Detectron2) and a **YOLO26** (Ultralytics). The page shows what each finds, with which weights, at which
threshold, and how often that is right on images where the truth is known.

**{NOTICE}** A detection is a region that looks to a model like the annotated fractures of its training
data. *No detection above the threshold* means only that; it does not mean that there is no fracture.

## Words

{GLOSSARY}

## Your images

Files stay on this server for at most {KEPT_MINUTES} minutes, are used for nothing but your results, and can
be deleted at once with the button beside the result. Remove names and other identifying marks before you
upload.

## Data and licences

Trained and measured on *BoneFractureYolo8* (Bone Fracture Detection, Roboflow
`veda/bone-fracture-detection-daoon` version 4, CC BY 4.0, DOI 10.13140/RG.2.2.14400.34569), measured also on
the upper-limb images of *FracAtlas* (I. Abedeen and others, Scientific Data 10, 521, 2023, CC BY 4.0). The
examples are synthetic phantoms. BoneFX {__version__} is free software under AGPL-3.0, as Ultralytics is.
"""


def add_about_tab() -> None:
    """Fill the About tab."""
    gr.Markdown(_TEXT, elem_classes="about")
