"""Nothing that comes from a visitor is ever part of a template or of HTML that a script makes.

Gradio's `gr.HTML` fills a template by Handlebars and then runs the *result* as a JavaScript template literal:
what Handlebars has put in runs as code where it holds `${...}`.
"""

from __future__ import annotations

import re
from pathlib import Path

import gradio as gr
import pytest

import bonefx.ui
from bonefx.detectors import Registry
from bonefx.settings import Settings

STATIC = Path(bonefx.ui.__file__).parent / "static"
AS_IT_IS = "${value}"
"""Gradio's own template: the value is HTML of ours, and is not looked at again."""

IN_TEMPLATES = re.compile(r"\{\{|\$\{|`|\\")
IN_SCRIPTS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|\bFunction\s*\(|createContextualFragment"
    r"|DOMParser|setHTMLUnsafe|srcdoc|javascript:"
)


def faults(component: gr.HTML) -> list[str]:
    """Where a component's template or script could take a visitor's text for code."""
    found = []
    if component.html_template != AS_IT_IS and IN_TEMPLATES.search(component.html_template):
        found.append("html_template")
    if IN_TEMPLATES.search(component.css_template):
        found.append("css_template")
    if IN_SCRIPTS.search(component.js_on_load or ""):
        found.append("js_on_load")
    return found


def test_no_component_of_the_app_takes_text_for_code():
    from bonefx.ui.build import build

    blocks = build(Registry(Settings(hub=False))).blocks.values()
    components = [block for block in blocks if isinstance(block, gr.HTML)]
    assert len(components) > 10
    found = {each.elem_id or each.html_template[:60]: faults(each) for each in components if faults(each)}
    assert found == {}


@pytest.mark.parametrize("path", sorted(STATIC.rglob("*.*")), ids=lambda path: path.name)
def test_no_file_of_the_page_takes_text_for_code(path):
    pattern = IN_SCRIPTS if path.suffix == ".js" else IN_TEMPLATES
    assert pattern.search(path.read_text("utf-8")) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"html_template": "<b>{{value}}</b>"}, "html_template"),  # `${...}` in the value runs
        ({"html_template": "<b>${value}</b>"}, "html_template"),  # the value is HTML
        ({"html_template": "a \\u0041"}, "html_template"),  # the literal's escapes
        ({"css_template": "b { color: {{value}} }"}, "css_template"),
        ({"js_on_load": "element.innerHTML = props.value"}, "js_on_load"),
        ({"js_on_load": "new Function(props.value)()"}, "js_on_load"),
    ],
)
def test_a_template_that_does_is_found(options, fault):
    with gr.Blocks():
        assert faults(gr.HTML("", **options)) == [fault]
