"""The figures of `measure` as a file, as tables for a terminal and as Markdown for the README."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bonefx.benchmark.figures import Spread
from bonefx.benchmark.measure import BENCHMARK_VERSION
from bonefx.benchmark.processes import SIDES
from bonefx.benchmark.worker import STAGES
from bonefx.errors import BoneFXError
from bonefx.files import whole
from bonefx.numbers import counted

DETECTION = ("preprocess", "network", "postprocess")


class Table(NamedTuple):
    """Rows of cells under a head, and a sentence above."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def write(made: dict[str, Any], path: Path) -> None:
    """Write the figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as file:
        file.write((json.dumps(made, indent=1, ensure_ascii=False) + "\n").encode())


def read(path: Path) -> dict[str, Any]:
    """Read what `write` wrote.

    Raises:
        BoneFXError: the file holds something else.
    """
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        made = None
    if not isinstance(made, dict) or made.get("schema_version") != BENCHMARK_VERSION or "rounds" not in made:
        raise BoneFXError(
            f"{path} holds no benchmark of this version: run `python -m bonefx benchmark --out {path}`."
        )
    return made


def as_text(made: dict[str, Any]) -> str:
    """For a terminal: the outcome first, then aligned tables."""
    parts = ["\n".join(headlines(made)), "\n".join(sentences(made))]
    parts += [_aligned(table) for table in tables(made)]
    return "\n\n".join([*parts, where(made), made["notice"]])


def as_markdown(made: dict[str, Any]) -> str:
    """For the README: the same, as Markdown."""
    lines = [f"{where(made)}\n", *(f"- **{line}**" for line in headlines(made))]
    lines += [f"- {sentence}" for sentence in sentences(made)]
    for table in tables(made):
        lines += ["", f"{table.title}:", ""]
        lines += [f"| {' | '.join(row)} |" for row in (table.head, ["---"] * len(table.head), *table.rows)]
    return "\n".join(lines) + "\n"


def headlines(made: dict[str, Any]) -> list[str]:
    """Each model's share of the reference's time, and what computed it."""
    return [
        f"{model['name']}: {_share(model['ratio'])} of the reference{_of_all_threads(model)}, "
        f"{_computed(model['ours'])}"
        for model in made["models"]
    ]


def where(made: dict[str, Any]) -> str:
    """What was measured, when, and on which machine."""
    machine = made["machine"]
    weights = "published architectures with random weights" if made["full_size"] else "bundled weights"
    files = ", ".join(f"{m['weights']['file']} at {m['image_size']} px" for m in made["models"])
    versions = ", ".join(f"{name} {number}" for name, number in made["versions"].items())
    reference = ", ".join(
        f"{m['name']} in {_computed(m['reference'])} with {counted(m['reference']['threads'], 'thread')}"
        for m in made["models"]
    )
    return (
        f"Measured on {made['created'][:10]} by `{made['command']}` on {machine['processor']}, "
        f"{counted(machine['cores'], 'core')}, {counted(machine['threads'], 'thread')}; {versions}. "
        f"The {weights} ({files}), {counted(made['images'], 'image')} in "
        f"{counted(made['rounds'], 'round')}, reference and ours in turn. The reference, with the threads "
        f"that it takes by itself: {reference}."
    )


def sentences(made: dict[str, Any]) -> list[str]:
    """What fits no table: memory, start-up, shapes."""
    start, names = made["start"], {model["id"]: model["name"] for model in made["models"]}
    lines = [
        "Memory with all models loaded, resident (at most), MB: "
        + ", ".join(f"{side} {_memory(made['memory'][side])}" for side in SIDES),
        "First detections of a new process, s: "
        + ", ".join(f"{side} {_spread(start['first'][side], 1)}" for side in SIDES)
        + f"; conversion, once on a machine, {start['conversion']:.0f}",
        f"Start-up, s: import bonefx {_spread(start['import'], 3)}; the page's first answer "
        f"{_spread(start['page']['ours'], 1)}, an empty Gradio page's {_spread(start['page']['empty'], 1)}",
    ]
    if made["shapes"]:
        shares = (f"{names[model_id]} {found['ratio']:.2f}" for model_id, found in made["shapes"].items())
        lines.append("Ten shapes of images, as a share of one shape ten times: " + ", ".join(shares))
    return lines


def tables(made: dict[str, Any]) -> list[Table]:
    """Stages, and how they grow with images and boxes."""
    models = made["models"]
    columns = [(model, side) for model in models for side in SIDES]
    stages = Table(
        "Milliseconds by stage, median (quartiles); the shares above are of detection",
        ["Stage", *(f"{model['name']}, {side}" for model, side in columns)],
        [
            [_stage(stage), *(_spread(model[side]["ms"][stage], 1) for model, side in columns)]
            for stage in STAGES
        ],
    )
    lengths = Table(
        "Milliseconds by the side of a square image, ours, medians",
        ["Pixels", "Decode", *(f"{m['name']}, {stage}" for m in models for stage in DETECTION), "Draw"],
        [
            [
                str(row["pixels"]),
                _middle(row["models"][models[0]["id"]]["decode"]),
                *(_middle(row["models"][model["id"]][stage]) for model in models for stage in DETECTION),
                _middle(row["models"][models[0]["id"]]["draw"]),
            ]
            for row in made["lengths"]
        ],
    )
    tasks = {"draw": "Draw", "suppress": "NMS", "match": "Match with as many"}
    boxes = Table(
        "Milliseconds by the number of boxes, medians",
        ["Boxes", *tasks.values()],
        [
            [str(row["boxes"]), *(f"{row['ms'][task]['median']:.2f}" for task in tasks)]
            for row in made["boxes"]
        ],
    )
    return [stages, lengths, boxes]


def _stage(name: str) -> str:
    return f"- {name}" if name in DETECTION else name


def _share(found: Spread) -> str:
    return f"{found['median']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _of_all_threads(model: dict[str, Any]) -> str:
    """For a reference whose library leaves cores idle: what is left of its time when it is given them all."""
    found = model.get("ratio_to_all_threads")
    return f", {_share(found)} of it with all threads" if found else ""


def _computed(side: dict[str, Any]) -> str:
    """Such as `openvino 2026.4.1 bfloat16`; with an "and" where it changed on the way."""
    return " and ".join(f"{runtime['engine']} {runtime['precision']}" for runtime in side["runtimes"])


def _spread(found: Spread, digits: int) -> str:
    """Median and quartiles; of a single value there are none."""
    quartiles = f" ({found['low']:.{digits}f} to {found['high']:.{digits}f})" if found["n"] > 1 else ""
    return f"{found['median']:.{digits}f}{quartiles}"


def _middle(found: Spread) -> str:
    return f"{found['median']:.1f}"


def _memory(found: dict[str, float | None]) -> str:
    resident = "–" if found["resident"] is None else f"{found['resident']:.0f}"
    return f"{resident} ({found['peak']:.0f})"


def _aligned(table: Table) -> str:
    rows = [table.head, *table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.head))]
    lines = [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([f"{table.title}:", *lines])
