"""The viewer, in a real browser: what a person with mouse, finger or keyboard sees and does."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest

from bonefx.agreement import agree
from bonefx.detections import Detections
from bonefx.inference import CHOICES
from bonefx.marks import places_of
from bonefx.ui import scripts
from bonefx.ui.build import launch_options
from bonefx.ui.viewer import component as ui
from tests.browser import open_browser, record_errors, record_requests, serve, violations

WIDTH, HEIGHT = 600, 800
BOXES = [[100, 200, 220, 300], [300, 500, 500, 700], [40, 40, 140, 100]]
EVIL = '<img src=x onerror="window.hacked=1">'


def detections(scores=(0.9, 0.5, 0.2), boxes=BOXES, class_ids=(2, 5, 0)) -> Detections:
    return Detections(boxes, scores, class_ids, ("",) * len(scores))


def corners(*values) -> dict:
    return dict(zip(("x1", "y1", "x2", "y2"), values, strict=True))


def radiograph(rgb: np.ndarray, grey: np.ndarray | None = None) -> SimpleNamespace:
    return SimpleNamespace(rgb=rgb, grey=grey, width=rgb.shape[1], height=rgb.shape[0])


def ramp() -> np.ndarray:
    """Dark on the left, bright on the right."""
    row = np.linspace(40, 220, WIDTH).astype(np.uint8)
    return np.broadcast_to(row[None, :, None], (HEIGHT, WIDTH, 3)).copy()


# --- what Python makes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "grey",
    [
        np.random.default_rng(0).integers(0, 65536, (17, 23), dtype=np.uint16),  # any value, any step
        np.full((3, 5), 65535, np.uint16),  # a first step that does not fit 15 bits
        np.array([[7]], np.uint16),  # one pixel
    ],
)
def test_deep_bytes_are_what_their_description_says(grey):
    data = np.frombuffer(gzip.decompress(ui.deep_bytes(grey)), np.uint8).reshape(2, *grey.shape)
    folded = data[0].astype(np.int64) + 256 * data[1].astype(np.int64)
    steps = np.where(folded % 2 == 0, folded // 2, -(folded + 1) // 2)
    np.testing.assert_array_equal(np.cumsum(steps, axis=1) % 65536, grey)


@pytest.mark.parametrize(
    ("black", "white"),
    [
        (1000, 3000),  # a usual window
        (3000, 1000),  # an inverted image
        (-500, 70000),  # wider than the data
    ],
)
def test_the_window_is_read_off_the_image_that_the_models_see(black, white):
    grey = np.random.default_rng(0).integers(0, 4096, (200, 300), dtype=np.uint16)
    shown = np.clip(np.round(255 * (grey.astype(float) - black) / (white - black)), 0, 255).astype(np.uint8)
    np.testing.assert_allclose(ui.fitted_window(grey, shown), [black, white], atol=0.01 * abs(white - black))


@pytest.mark.parametrize(
    "grey",
    [
        np.full((4, 4), 9, np.uint16),  # no two values
        np.array([[30_000, 30_003], [30_001, 30_002]], np.uint16),  # one grey in 8 bits
    ],
)
def test_a_flat_image_gets_the_window_of_its_values(grey):
    low, high = ui.fitted_window(grey, (grey >> 8).astype(np.uint8))
    assert low == grey.min()
    assert high == max(grey.max(), low + 1)


def test_detections_are_judged_against_the_ground_truth():
    lesions = [
        {"label": "forearm fracture", "box": corners(100, 200, 220, 300)},
        {"label": "elbow positive", "box": corners(300, 500, 500, 700)},
        {"label": "humerus", "box": corners(0, 700, 50, 800)},
    ]
    boxes = [
        *BOXES[:2],  # exactly on a lesion; the second under another label
        [310, 510, 500, 700],  # on the same lesion as the second
        [300, 500, 400, 640],  # on it by less than half
        [40, 40, 140, 100],  # on nothing
    ]
    found = detections((0.9, 0.8, 0.7, 0.6, 0.5), boxes, (2, 5, 0, 0, 0))
    value = ui.viewer_value({}, [viewer_pane("yolo", "YOLO", found, 0.25)], ground_truth=lesions)
    assert value["panes"][0]["detections"]["truth"] == [
        "found",
        "found",
        "second box on the same lesion",
        "near miss, IoU 0.35",
        "false alarm",
    ]
    scores = [each["found"]["yolo"] for each in value["ground_truth"]]
    assert scores == [pytest.approx(0.9), pytest.approx(0.8), None]


def test_where_nothing_is_broken_all_is_false_alarm():
    value = ui.viewer_value({}, [viewer_pane("yolo", "YOLO", detections(), 0.25)], ground_truth=[])
    assert value["panes"][0]["detections"]["truth"] == ["false alarm"] * 3


def test_scores_reach_the_browser_with_all_that_float32_holds():
    found = detections(np.float32([0.1, 1 / 3, 0.9999999]), BOXES)
    sent = ui.viewer_value({}, [viewer_pane("yolo", "YOLO", found, 0.25)])["panes"][0]["detections"]
    assert np.float32(sent["score"]).tolist() == found.scores.tolist()
    assert sent["label"] == ["elbow", "wrist", "forearm"]  # highest score first, in the page's words


def test_scripts_travel_without_comments_and_keep_their_code(tmp_path):
    path = tmp_path / "a.js"
    path.write_text('// why\nif (a) {\n  b("// no comment"); // beside code\n}\n')
    assert scripts.script(path) == 'if (a) {\nb("// no comment"); // beside code\n}'


# --- in the browser ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One app: its viewer shows the value whose number is entered."""
    folder = tmp_path_factory.mktemp("viewer")
    values = make_values(folder)

    with gr.Blocks(analytics_enabled=False) as blocks:
        gr.HTML("<h2>Viewer</h2>")
        shown = ui.viewer(elem_id="viewer")
        number = gr.Number(elem_id="number", precision=0)
        gr.HTML("<div style='height: 1500px'></div>")
        number.submit(lambda n: values[NAMES[n]], number, shown)
    theme = launch_options()["theme"]
    options = {"allowed_paths": [str(folder)], "theme": theme}
    with serve(blocks, **options) as address, open_browser() as browser:
        contexts = {}  # one for each kind of screen: their pages share the files that were loaded

        def page(theme, query="", **screen):
            key = str(screen)
            if key not in contexts:
                contexts[key] = browser.new_context(**screen)
            page = contexts[key].new_page()
            page.goto(f"{address}?__theme={theme}&{query}")
            return page

        yield page


BOTH = ("faster-rcnn", "yolo")
ABOUT = {"choice": 0, "done": True, "settled": True, "title": "A ramp", "name": "Ramp"}


def viewer_pane(pane_id: str, *values, **more) -> dict:
    """A pane with its model's own look."""
    return ui.viewer_pane(pane_id, *values, look=CHOICES[pane_id].look, **more)


NAMES = ["compare", "points", "agreement", "deep", "colour", "foreign", "failed", "evil", "large", "none"]
NAMES += ["crowded", "crowd", "reweighted"]


def make_values(folder: Path) -> dict:
    image = ui.viewer_image(radiograph(ramp()), folder, "a ramp from dark to bright")
    grey = np.full((HEIGHT, WIDTH), 30_000, np.uint16)
    grey[:, WIDTH // 2 :] += 3  # a difference that 8 bits cannot hold
    grey[0, :2] = 0, 65535
    deep = ui.viewer_image(
        radiograph((grey >> 8).astype(np.uint8)[..., None].repeat(3, 2), grey), folder, "deep"
    )
    red = ui.viewer_image(radiograph(np.full((90, 90, 3), (200, 30, 10), np.uint8)), folder, "red")
    truth = [{"label": "forearm fracture", "box": corners(100, 200, 220, 300)}]
    panes = [
        viewer_pane("faster-rcnn", "Faster R-CNN", detections(), 0.25, strict=0.6),
        viewer_pane("yolo", "YOLO", detections((0.3, 0.1, 0.05)), 0.25),
    ]
    point = {"label": "1", "thresholds": {"faster-rcnn": 0.4, "yolo": 0.2}, "strict": {"faster-rcnn": 0.6}}
    reached_by_none = {"label": "1/4", "thresholds": {"faster-rcnn": None, "yolo": 0.2}}
    strict = {
        "label": "1/8",
        "fp_per_image": 0.125,
        "thresholds": {"faster-rcnn": 0.95, "yolo": 0.9},
        "notes": {"yolo": "sensitivity 0.4"},
    }
    relabelled = detections((0.8, 0.6, 0.1), class_ids=(2, 0, 0))  # the second has another label
    pair = [panes[0], viewer_pane("yolo", "YOLO", relabelled, 0.25)]
    evil = [{**each, "label": EVIL} for each in detections().to_records()]
    failed = viewer_pane("yolo", "YOLO", None, 0.25, error="The weights could not be loaded.")
    rng = np.random.default_rng(0)
    many = np.sort(rng.integers(0, 4000, (50, 2, 2)), axis=1).reshape(50, 4)
    large = ui.viewer_image(radiograph(np.tile(ramp(), (6, 7, 1))), folder, "large")
    crowd = detections(np.linspace(1, 0.3, 50), many, rng.integers(0, 6, 50))
    nested = [[100, 200, 220, 300], [105, 200, 220, 300], [100, 205, 220, 300], [300, 500, 400, 600]]
    crowded = viewer_pane(
        "faster-rcnn", "Faster R-CNN", detections((0.9, 0.8, 0.7, 0.3), nested, (2,) * 4), 0.25
    )
    near = [[100, 300, 200, 400], [130, 330, 260, 430], [90, 280, 300, 460], [240, 420, 330, 520]]
    crowd_of_four = detections((0.9, 0.8, 0.7, 0.6), near, (2,) * 4)
    return {
        "reweighted": ui.viewer_value(
            image,
            panes[::-1],
            about={**ABOUT, "sha256": {"yolo": "2"}, "weights": "YOLO: from owner/others."},
        ),
        "crowded": ui.viewer_value(image, [crowded], about=ABOUT),
        "crowd": ui.viewer_value(image, [viewer_pane("yolo", "YOLO", crowd_of_four, 0.25)], about=ABOUT),
        "large": ui.viewer_value(
            large,
            [viewer_pane(each, each, crowd, 0.25) for each in ("faster-rcnn", "yolo")],
            agreement_of=BOTH,
            about=ABOUT,
        ),
        "compare": ui.viewer_value(image, panes, ground_truth=truth, about=ABOUT),
        "points": ui.viewer_value(
            image,
            panes,
            ground_truth=truth,
            operating={"points": [strict, reached_by_none, point], "selected": 2},
            about=ABOUT,
        ),
        "deep": ui.viewer_value(deep, panes, about=ABOUT),
        "agreement": ui.viewer_value(image, pair, agreement_of=BOTH, about=ABOUT),
        "colour": ui.viewer_value(red, panes[:1], about=ABOUT),
        "foreign": ui.viewer_value(
            {**image, "file": {"url": "http://localhost:9/x.png"}}, panes[:1], about=ABOUT
        ),
        "failed": ui.viewer_value(image, [panes[0], failed], agreement_of=BOTH, about=ABOUT),
        "evil": ui.viewer_value(
            {**image, "alt": EVIL},
            [{**panes[0], "title": EVIL, "detections": evil, "color": EVIL, "line": EVIL}],
            ground_truth=[{"label": EVIL, "box": truth[0]["box"]}],
            operating={"message": EVIL},
            about={
                **ABOUT,
                **dict.fromkeys(("title", "name", "warning", "weights"), EVIL),
                "details": [{"name": EVIL, "facts": [[EVIL, EVIL]], "notes": [EVIL], "error": EVIL}],
            },
        ),
        "none": None,
    }


class Visit:
    """A page with a fresh viewer, as a person meets it."""

    def __init__(self, site, name, theme="light", query="", **screen):
        self.page = site(theme, query, **{"viewport": {"width": 1440, "height": 1000}} | screen)
        self.errors = record_errors(self.page)
        self.requests = record_requests(self.page)
        self.viewer = self.page.locator("#viewer")
        self.show(name)

    def show(self, name):
        """Waits until the value is there, and the image with it."""
        self.viewer.locator(".view").evaluate_all(
            "views => views.forEach((view) => { view.dataset.old = true })"
        )
        number = self.page.locator("#number input")
        number.fill(str(NAMES.index(name)))
        number.press("Enter")
        if name == "none":
            self.page.wait_for_function("!document.querySelector('#viewer .view')")
        else:
            done = "textContent.includes('host')" if name == "foreign" else "hidden"
            self.page.wait_for_function(
                "document.querySelector('#viewer .view:not([data-old])') && "
                f"document.querySelector('#viewer .message').{done}"
            )
        self.frame()

    def frame(self):
        self.page.evaluate(
            "() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))"
        )

    def view(self, pane=0):
        return self.viewer.locator(".view").nth(pane)

    def box(self, index=0, pane=0):
        """Left, top, width and height on the screen of a detection's outline, without its stroke."""
        outline = self.view(pane).locator(".mark:not(.dotted) .line").nth(index)
        box = outline.evaluate(
            "line => { const b = line.getBoundingClientRect(); return [b.x, b.y, b.width, b.height] }"
        )
        return np.array(box)

    def zoom(self):
        return int(self.viewer.locator('[data-part="zoom"]').inner_text().removesuffix(" %"))

    def pixel(self, x, y, pane=0):
        """Red, green and blue at a share of the canvas's width and height."""
        script = """(canvas, [x, y]) => [...canvas.getContext("2d").getImageData(
            Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1).data].slice(0, 3)"""
        self.frame()
        return self.view(pane).locator("canvas").evaluate(script, [x, y])

    def thresholds(self):
        return self.page.evaluate("bonefx.thresholds()")

    def rows(self):
        return self.viewer.locator("tr.finding")

    def scores(self):
        """The table's scores, a row for each finding; None where a model has none."""
        rows = self.rows().evaluate_all(
            "rows => rows.map((row) => [...row.querySelectorAll('.number')].map((cell) => cell.textContent))"
        )
        return [[None if each == "–" else float(each) for each in row] for row in rows]

    def pressed(self, button):
        return (
            self.viewer.get_by_role("button", name=button, exact=True).get_attribute("aria-pressed") == "true"
        )

    def chips(self, pane=0):
        """Left, top, right, bottom of each mark's label, in the marks' order; None where it is left out."""
        script = """chips => chips.map((chip) => {
            const { x, y, width, height } = chip.querySelector("rect").getBoundingClientRect();
            const order = Number(chip.dataset.order);
            return width ? [order, x, y, x + width, y + height] : [order] })"""
        found = sorted(self.view(pane).locator(".chip:not(.dotted)").evaluate_all(script))
        return [tuple(each[1:]) or None for each in found]

    def choose(self, view):
        self.viewer.get_by_role("tab", name=view, exact=True).click()
        self.frame()

    def marks(self, pane=0):
        return self.view(pane).locator(".mark:not(.dotted)").locator("visible=true")

    def press(self, keys):
        for key in keys.split():
            self.page.keyboard.press(key)
        self.frame()


@pytest.fixture
def visit(site):
    visits = []

    def go(name, **context):
        visits.append(Visit(site, name, **context))
        return visits[-1]

    yield go
    for each in visits:
        each.page.close()
        assert each.errors == []


def test_boxes_lie_where_the_records_say_in_both_panes(visit):
    page = visit("compare")
    frame = page.view().bounding_box()
    scale = min(frame["width"] / WIDTH, frame["height"] / HEIGHT)  # the whole image is in view
    left = frame["x"] + (frame["width"] - WIDTH * scale) / 2
    top = frame["y"] + (frame["height"] - HEIGHT * scale) / 2
    x1, y1, x2, y2 = BOXES[0]
    expected = [left + x1 * scale, top + y1 * scale, (x2 - x1) * scale, (y2 - y1) * scale]
    np.testing.assert_allclose(page.box(), expected, atol=0.2)
    np.testing.assert_allclose(page.box(pane=1)[2:], expected[2:], atol=0.2)


def test_the_wheel_zooms_about_the_pointer_once_clicked_into(visit):
    page = visit("compare")
    left, top, width, height = page.box()
    corner = (left + width, top + height)
    page.page.mouse.click(*corner)
    page.page.mouse.wheel(0, -400)
    page.frame()
    after = page.box()
    assert after[2] > 1.5 * width
    np.testing.assert_allclose(after[:2] + after[2:], corner, atol=1)
    np.testing.assert_allclose(page.box(pane=1)[2:], after[2:], atol=0.2)


def test_the_wheel_scrolls_the_page_until_then_and_says_so(visit):
    page = visit("compare")
    page.view().hover()
    width, before = page.box()[2], page.page.evaluate("scrollY")
    page.page.mouse.wheel(0, 100)
    page.page.wait_for_function("before => scrollY > before", arg=before)
    assert page.box()[2] == pytest.approx(width)
    assert "Ctrl" in page.viewer.locator(".hint:visible").inner_text()


def test_with_ctrl_the_wheel_zooms_at_once(visit):
    page = visit("compare")
    page.view().hover()
    width = page.box()[2]
    page.page.keyboard.down("Control")
    page.page.mouse.wheel(0, -100)
    page.page.keyboard.up("Control")
    page.frame()
    assert page.box()[2] > 1.5 * width


def test_zooming_out_of_a_whole_image_leaves_the_wheel_to_the_page(visit):
    page = visit("compare")
    page.view().click(position={"x": 5, "y": 60})
    before = page.page.evaluate("scrollY")
    page.page.mouse.wheel(0, 100)
    page.page.wait_for_function("before => scrollY > before", arg=before)


def test_a_double_click_zooms_in_and_out_again(visit):
    page = visit("compare")
    width = page.box()[2]
    for zoomed in (2.5, 1):
        page.view().dblclick()
        page.frame()
        assert page.box()[2] / width == pytest.approx(zoomed, rel=0.01)


def test_keys_zoom(visit):
    page = visit("compare")
    width = page.box()[2]
    page.view().focus()
    for keys, zoom in (
        ("+ +", 1.25**2),  # in
        ("-", 1.25),  # out again
        ("+ 0", 1),  # fit
        ("-", 1),  # not smaller than the view
    ):
        page.press(keys)
        assert page.box()[2] / width == pytest.approx(zoom, rel=0.01)
    page.press("1")
    assert page.box()[2] == pytest.approx(BOXES[0][2] - BOXES[0][0], abs=0.2)
    assert page.zoom() == 100


def test_keys_work_after_a_click_on_a_box(visit):
    page = visit("compare")
    left, top, width, height = page.box(1)
    page.page.mouse.click(left + width / 2, top + height / 2)
    page.press("1")
    assert page.zoom() == 100
    page.press("i g")
    assert page.pressed("Invert")
    assert page.pressed("Show truth")
    page.press("b")
    assert page.marks().count() == 0


def test_fit_makes_a_small_image_large(visit):
    page = visit("colour")
    page.view().focus()
    page.press("1")
    assert page.zoom() == 100
    page.page.set_viewport_size({"width": 1300, "height": 1000})  # a layout of its own does not undo that
    page.frame()
    assert page.zoom() == 100
    page.press("0")
    assert page.zoom() > 500


def test_arrows_and_dragging_move_a_zoomed_image(visit):
    page = visit("compare")
    page.view().focus()
    page.press("+ +")
    start = page.box()
    page.press("ArrowRight")
    moved = page.box()
    assert moved[0] < start[0]
    frame = page.view().bounding_box()
    x, y = frame["x"] + 300, frame["y"] + 300
    page.page.mouse.move(x, y)
    page.page.mouse.down()
    page.page.mouse.move(x + 20, y + 10)
    page.page.mouse.up()
    page.frame()
    np.testing.assert_allclose(page.box()[:2] - moved[:2], [20, 10], atol=1)


def test_a_box_and_its_row_light_each_other(visit):
    page = visit("compare")
    left, top, width, height = page.box(1)
    page.page.mouse.move(left + width / 2, top + height / 2)
    page.frame()
    assert "lit" in page.rows().nth(1).get_attribute("class")
    page.rows().nth(0).hover()
    page.frame()
    lit = page.view().locator(".mark.lit .line").get_attribute("d")
    page.page.mouse.move(0, 0)
    page.rows().nth(0).locator("th button").focus()
    page.frame()
    assert page.view().locator(".mark.lit .line").get_attribute("d") == lit
    page.press("ArrowDown")
    assert page.view().locator(".mark.lit .line").get_attribute("d") != lit


def test_enter_on_a_row_brings_its_box_to_the_middle(visit):
    page = visit("compare")
    button = page.rows().nth(1).locator("th button")
    assert button.get_attribute("aria-label") == "wrist, Faster R-CNN 0.50: zoom to its box"
    button.focus()
    page.press("Enter")
    frame = page.view().bounding_box()
    box = page.box(1)
    middle = [frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2]
    np.testing.assert_allclose(box[:2] + box[2:] / 2, middle, atol=1)


def test_a_new_result_on_the_same_image_keeps_the_view(visit):
    page = visit("compare")
    page.view().focus()
    page.press("+ + i g")
    before = page.zoom()
    page.show("points")
    assert page.zoom() == before
    assert page.pressed("Invert")
    assert page.pressed("Show truth")


def test_weaker_marks_are_dashed(visit):
    page = visit("compare")
    dashed = page.marks().evaluate_all(
        "all => all.map((each) => getComputedStyle(each.querySelector('.line')).strokeDasharray !== 'none')"
    )
    assert dashed == [False, True]
    assert page.rows().locator(".words span").all_inner_texts() == ["", "weaker", ""]
    assert page.viewer.get_by_text(
        "Solid: stronger marks. Dashed: weaker ones."
    ).is_hidden()  # scores by hand
    page.show("points")
    assert page.viewer.get_by_text("Solid: stronger marks. Dashed: weaker ones.").is_visible()


def test_the_table_says_what_the_boxes_show(visit):
    page = visit("compare")
    assert page.rows().locator("th button").all_inner_texts() == ["forearm", "wrist", "forearm"]
    assert page.scores() == [[0.9, None], [0.5, None], [None, 0.3]]
    page.rows().nth(0).locator(".more").click()
    assert "Faster R-CNN 0.900 forearm · at 100, 200, 120 × 100 px" in page.viewer.inner_text()


def test_several_boxes_on_one_place_are_one_finding(visit):
    page = visit("crowded")
    assert page.scores() == [[0.9], [0.3]]
    more = page.rows().nth(0).locator(".more")
    assert more.inner_text() == "×3"
    assert more.get_attribute("aria-expanded") == "false"
    assert page.viewer.locator(".count").first.inner_text() == "4 marks at 2 places"
    assert page.view().locator(".mark.extra").count() == 2
    assert "F forearm 0.90 ×3" in page.view().locator(".chip:visible").all_text_contents()
    more.click()
    assert more.get_attribute("aria-expanded") == "true"
    assert page.viewer.locator(".boxes:visible p").count() == 3
    assert page.view().locator(".mark.extra").count() == 0


def test_nothing_above_the_threshold_is_said_in_words(visit):
    page = visit("compare")
    page.page.evaluate("bonefx.choose({scores: {yolo: 0.8}})")
    assert page.viewer.locator(".count").nth(1).inner_text() == "no marks at this setting"
    page.page.wait_for_function(
        "document.querySelector('#viewer .unseen').textContent.includes('YOLO: no marks')"
    )
    page.page.evaluate("bonefx.choose({scores: {yolo: 1, 'faster-rcnn': 1}})")
    assert page.viewer.locator("[data-part=findings]").inner_text() == (
        "No detection above the threshold. That does not mean that there is no fracture."
    )


def test_thresholds_filter_without_a_request(visit):
    page = visit("compare")
    page.requests.clear()
    page.page.evaluate("bonefx.choose({scores: {'faster-rcnn': 0.1, yolo: 0.1}})")
    assert (page.marks(0).count(), page.marks(1).count()) == (3, 2)
    assert page.thresholds() == {"faster-rcnn": 0.1, "yolo": 0.1}
    page.view().focus()
    page.press("+ + i b l g ArrowLeft 0")
    assert page.requests == []


def test_an_operating_point_sets_every_model(visit):
    page = visit("points")
    assert (page.marks(0).count(), page.marks(1).count()) == (2, 1)
    slider = page.viewer.get_by_role("slider", name="False alarms per image")
    slider.focus()
    page.press("ArrowLeft")
    assert (page.marks(0).count(), page.marks(1).count()) == (0, 1)
    page.press("ArrowLeft")
    assert (page.marks(0).count(), page.marks(1).count()) == (0, 0)
    assert page.viewer.get_by_text("sensitivity 0.4").is_visible()
    assert slider.get_attribute("aria-valuetext") == "1/8"
    assert page.thresholds() == {"faster-rcnn": 0.95, "yolo": 0.9}


def test_a_point_that_no_score_reaches_has_no_threshold(visit):
    page = visit("points")
    page.page.evaluate("bonefx.choose({rate: '1/4'})")
    assert page.thresholds() == {"faster-rcnn": None, "yolo": 0.2}


def test_what_was_set_holds_for_the_next_value_where_it_fits(visit):
    page = visit("points")
    page.page.evaluate("bonefx.choose({rate: '1/8'})")
    page.show("compare")  # knows no operating points: its own thresholds
    assert page.thresholds() == {"faster-rcnn": 0.25, "yolo": 0.25}
    page.show("points")
    assert page.thresholds() == {"faster-rcnn": 0.95, "yolo": 0.9}
    page.page.evaluate("bonefx.choose({scores: {yolo: 0.5}})")
    page.show("compare")
    assert page.thresholds() == {"faster-rcnn": 0.25, "yolo": 0.5}


@pytest.mark.parametrize(
    ("query", "thresholds"),
    [
        ("fp=1/8", {"faster-rcnn": 0.95, "yolo": 0.9}),
        ("fp=0.125", {"faster-rcnn": 0.95, "yolo": 0.9}),
        ("fp=3", {"faster-rcnn": 0.4, "yolo": 0.2}),  # not on offer: the value's own
    ],
)
def test_a_link_sets_the_operating_point(visit, query, thresholds):
    assert visit("points", query=query).thresholds() == thresholds


def test_inverting_swaps_dark_and_bright(visit):
    page = visit("compare")
    before = page.pixel(0.5, 0.9)
    page.view().focus()
    page.press("i")
    assert page.pixel(0.5, 0.9) == [255 - value for value in before]


def test_the_right_button_sets_window_and_level(visit):
    page = visit("compare")
    before = page.pixel(0.5, 0.9)[0]
    frame = page.view().bounding_box()
    page.page.mouse.move(frame["x"] + 300, frame["y"] + 300)
    page.page.mouse.down(button="right")
    page.page.mouse.move(frame["x"] + 300, frame["y"] + 200)  # up is brighter
    page.page.mouse.up(button="right")
    assert page.pixel(0.5, 0.9)[0] > before + 20
    page.viewer.get_by_role("button", name="Window", exact=True).click()
    page.viewer.get_by_role("button", name="Reset level").click()
    assert page.pixel(0.5, 0.9)[0] == before


def test_the_window_works_on_all_16_bits(visit):
    page = visit("deep")
    page.viewer.get_by_role("button", name="Window", exact=True).click()
    level, width = (page.viewer.get_by_role("slider", name=name) for name in ("Level", "Width"))
    page.page.wait_for_function("document.querySelector('[data-part=level]').max === '65535'")
    assert page.pixel(0.4, 0.5) == page.pixel(0.6, 0.5)
    exact = (
        "(input, value) => { input.step = 1; input.value = value; input.dispatchEvent(new Event('input')) }"
    )
    width.evaluate(exact, 65)
    level.evaluate(exact, 30_001)
    assert page.pixel(0.6, 0.5)[0] - page.pixel(0.4, 0.5)[0] >= 10


def test_a_coloured_image_keeps_its_colours(visit):
    page = visit("colour")
    assert page.pixel(0.5, 0.9) == [200, 30, 10]


def test_the_truth_is_hidden_at_first_and_then_judges(visit):
    page = visit("compare")
    truth = page.viewer.locator("[data-part=truth]")
    assert truth.is_hidden()
    page.view().focus()
    page.press("g")
    assert truth.locator("h4").inner_text() == "The truth: 1 fracture."
    assert truth.locator("li").all_inner_texts() == ["forearm: found by Faster R-CNN, found by YOLO"]
    assert page.rows().locator(".words span").all_inner_texts() == ["found", "false alarm", "found"]
    page.page.evaluate("bonefx.choose({scores: {yolo: 0.9}})")
    assert truth.locator("li").all_inner_texts() == ["forearm: found by Faster R-CNN, missed by YOLO"]
    assert "missed: forearm" in page.view(1).locator(".chip:visible").all_text_contents()


def test_boxes_and_labels_can_be_turned_off(visit):
    page = visit("compare")
    page.view().focus()
    for key, what in (("b", ".mark:visible"), ("l", ".chip:visible")):
        assert page.view().locator(what).count() == 2
        page.press(key)
        assert page.view().locator(what).count() == 0
        page.press(key)


def test_labels_never_lie_on_each_other_or_on_their_boxes(visit):
    page = visit("crowd")
    for zoom in ("0", "+ +"):
        page.view().focus()
        page.press(zoom)
        rectangles = """all => all.map((each) => {
            const { x, y, width, height } = each.getBoundingClientRect();
            return [x, y, x + width, y + height] })"""
        chips = page.view().locator(".chip:visible rect").evaluate_all(rectangles)
        assert len(chips) >= 2
        for i, a in enumerate(chips):
            for b in chips[i + 1 :]:
                assert min(a[2], b[2]) - max(a[0], b[0]) < 1.5 or min(a[3], b[3]) - max(a[1], b[1]) < 1.5
        boxes = page.marks().locator(".line").evaluate_all(rectangles)
        own = {chip: box for chip, box in zip(page.chips(), boxes, strict=True) if chip is not None}
        assert len(own) == len(chips)
        for chip, box in own.items():
            across, down = (
                min(chip[2], box[2]) - max(chip[0], box[0]),
                min(chip[3], box[3]) - max(chip[1], box[1]),
            )
            assert across < 1.5 or down < 1.5


@pytest.mark.parametrize(
    ("name", "scores", "words"),
    [
        # no two models to agree
        (
            "compare",
            {},
            "Faster R-CNN marks the forearm and the wrist at 2 places. YOLO marks the forearm at one place.",
        ),
        # one name in common, another not
        (
            "agreement",
            {},
            "Both models mark the forearm at one place. They mark one place under different names.",
        ),
        ("agreement", {"yolo": 0.7}, "Both models mark the forearm at one place. Faster R-CNN marks 1 more."),
        (
            "agreement",
            {"yolo": 1},
            "Faster R-CNN marks the forearm and the wrist at 2 places; YOLO marks nothing.",
        ),
        ("agreement", {"yolo": 1, "faster-rcnn": 1}, "Neither model marks anything at this setting."),
        ("failed", {}, "Faster R-CNN marks the forearm and the wrist at 2 places. YOLO gave no result."),
    ],
)
def test_one_sentence_says_what_was_found(visit, name, scores, words):
    page = visit(name)
    page.page.evaluate("scores => bonefx.choose({ scores })", scores)
    assert page.viewer.locator("h2").inner_text() == words


def test_agreement_is_a_view_that_follows_the_thresholds(visit):
    page = visit("agreement")
    page.requests.clear()
    page.choose("Agreement")
    names = page.rows().locator("th button")
    assert names.all_inner_texts() == ["forearm", "wrist / elbow"]
    assert page.scores() == [[0.9, 0.8], [0.5, 0.6]]
    lines = "marks => marks.map((mark) => mark.classList[1])"
    assert page.marks(2).evaluate_all(lines) == ["plain", "slashed"]
    kinds = page.viewer.locator(".kind:visible")
    assert kinds.all_inner_texts() == ["1 by both", "1 by both, with another name"]
    page.page.evaluate("bonefx.choose({scores: {yolo: 0.7, 'faster-rcnn': 0.1}})")
    assert names.all_inner_texts() == ["forearm", "wrist", "elbow"]
    assert page.scores() == [[0.9, 0.8], [0.5, None], [0.2, None]]
    assert page.marks(2).evaluate_all(lines) == ["plain", "brackets", "brackets"]
    assert kinds.all_inner_texts() == ["1 by both", "2 only by Faster R-CNN"]
    page.page.evaluate("bonefx.choose({scores: {yolo: 1, 'faster-rcnn': 1}})")
    assert page.rows().count() == 0
    assert page.requests == []


def test_a_finding_lights_the_boxes_that_it_is_made_of(visit):
    page = visit("agreement")
    page.rows().nth(0).hover()
    page.frame()
    assert [page.view(i).locator(".mark.lit").count() for i in range(3)] == [1, 1, 1]
    page.page.evaluate("bonefx.choose({scores: {yolo: 0.9}})")
    page.rows().nth(1).hover()
    page.frame()
    assert [page.view(i).locator(".mark.lit").count() for i in range(3)] == [1, 0, 1]


def test_a_press_selects_and_stays(visit):
    page = visit("compare")
    left, top, width, height = page.box(1)
    page.page.mouse.click(left + width / 2, top + height / 2)
    page.page.mouse.move(0, 0)
    page.frame()
    assert "lit" in page.rows().nth(1).get_attribute("class")
    assert page.view().evaluate("view => view === document.activeElement")


def test_one_failed_model_leaves_the_other(visit):
    page = visit("failed")
    assert page.viewer.locator(".pane.failed .count").inner_text() == "The weights could not be loaded."
    assert page.rows().count() == 2
    page.choose("Agreement")
    assert page.viewer.get_by_text("Needs a result of both models", exact=True).is_visible()


def test_results_of_other_weights_are_announced(visit):
    page = visit("compare")
    page.show("reweighted")
    said = "These are now the results of other weights. YOLO: from owner/others."
    assert page.viewer.locator(".news p").inner_text() == said


def test_data_stay_data(visit):
    page = visit("evil")
    page.view().focus()
    page.press("g g")
    assert page.viewer.locator(".caption b").inner_text() == EVIL
    assert page.viewer.locator(".title").inner_text() == EVIL
    assert page.viewer.locator("img").count() == 0
    assert page.page.evaluate("window.hacked") is None


def test_no_other_host_is_asked(visit):
    page = visit("foreign")
    assert page.viewer.get_by_text("the image lies on another host").is_visible()
    assert [url for url in page.requests if ":9/" in url] == []
    assert page.rows().count() == 2  # the findings are there all the same


def test_without_a_value_there_is_an_invitation(visit):
    page = visit("compare")
    page.show("none")
    assert page.viewer.get_by_text("Drop a radiograph here").is_visible()
    assert page.viewer.locator(".card:visible").count() == 1  # what the words mean


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("name", ["points", "agreement"])
def test_axe_finds_nothing(visit, name, width, theme):
    page = visit(name, theme=theme, viewport={"width": width, "height": 1000})
    page.viewer.locator("details").evaluate_all("all => all.forEach((each) => (each.open = true))")
    page.view().focus()
    page.press("g")
    assert violations(page.page, "#viewer") == []


def test_the_browser_groups_boxes_by_the_rule_of_downloads(visit):
    rng = np.random.default_rng(1)
    corners = rng.integers(0, 5, (300, 7, 2))
    boxes = np.concatenate([corners, corners + rng.integers(1, 5, (300, 7, 2))], axis=2)
    cases = [detections(np.linspace(0.9, 0.1, 7), each, (2,) * 7) for each in boxes]
    folder = Path(ui.__file__).parents[1] / "static" / "viewer"
    script = "".join((folder / f"{name}.js").read_text("utf-8") for name in ("agreement", "groups"))
    answers = visit("compare").page.evaluate(
        f"(cases) => {{ {script} return cases.map(groupsOf); }}", [case.to_records() for case in cases]
    )
    assert answers == [places_of(case) for case in cases]
    assert any(len(group) > 1 for groups in answers for group in groups)


def test_the_browser_matches_by_the_rule_of_the_api(visit):
    rng = np.random.default_rng(0)
    cases, expected = [], []
    for case in range(400):
        # On a coarse grid, so that equal IoUs, and those of exactly one half, are frequent.
        sides = []
        for n in rng.integers(0, 12, 2):
            corner, size = rng.integers(0, 6, (n, 2)), rng.integers(1 if case % 2 else 0, 5, (n, 2))
            boxes = np.hstack([corner, corner + size])
            sides.append(Detections(boxes, rng.integers(0, 5, n) / 4, rng.integers(0, 2, n), ("",) * n))
        found = agree(*sides)
        cases.append([side.to_records() for side in sides])
        expected.append(
            [list(map(list, pairs)) for pairs in (found.both, found.other_label)]
            + [list(found.only_first), list(found.only_second)]
        )
    script = (Path(ui.__file__).parents[1] / "static" / "viewer" / "agreement.js").read_text("utf-8")
    answers = visit("compare").page.evaluate(
        f"""(cases) => {{ {script}
            return cases.map((sides) => {{
                const found = agree(...sides);
                const at = (kind) => found.filter((each) => each.kind === kind).map((each) => each.at);
                return [at("both"), at("other label"), at("only first").map(([i]) => i),
                        at("only second").map(([, j]) => j)];
            }});
        }}""",
        cases,
    )
    assert answers == expected
    assert sum(len(both) + len(other) for both, other, *_ in expected) > 100


def test_fifty_boxes_on_a_large_image_follow_every_turn_of_the_wheel(visit):
    page = visit("large")
    frame = page.view().bounding_box()
    page.page.mouse.click(frame["x"] + 250, frame["y"] + 250)
    before, errors = page.box(), page.errors
    for _ in range(20):
        page.page.mouse.wheel(0, -60)
    page.frame()
    assert page.box()[2] == pytest.approx(before[2] * np.exp(20 * 60 * 0.0015), rel=0.01)
    np.testing.assert_allclose(page.box(pane=1)[2:], page.box()[2:], atol=0.2)
    assert errors == []


# --- with fingers ------------------------------------------------------------------------------------------


@pytest.fixture
def phone(visit):
    page = visit("agreement", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    session = page.page.context.new_cdp_session(page.page)

    def touch(kind, *points):
        fingers = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    page.touch = touch
    page.page.evaluate("scrollTo(0, 0)")
    page.view(2).scroll_into_view_if_needed()
    return page


def middle(page):
    frame = page.view(2).bounding_box()
    return frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2


def test_one_pane_at_a_time_on_a_phone(phone):
    shown = phone.viewer.locator(".pane").locator("visible=true")
    assert shown.evaluate_all("all => all.map((each) => each.getAttribute('aria-label'))") == ["Agreement"]
    phone.choose("Y")
    assert shown.evaluate_all("all => all.map((each) => each.getAttribute('aria-label'))") == ["YOLO"]
    assert phone.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_pinch_zooms(phone):
    x, y = middle(phone)
    before = phone.zoom()
    phone.touch("touchStart", (x - 30, y), (x + 30, y))
    for step in range(1, 7):
        phone.touch("touchMove", (x - 30 - 10 * step, y), (x + 30 + 10 * step, y))
    phone.touch("touchEnd")
    phone.frame()
    assert phone.zoom() == pytest.approx(3 * before, rel=0.05)
    assert phone.page.evaluate("visualViewport.scale") == 1


def drag_up(phone):
    x, y = middle(phone)
    phone.touch("touchStart", (x, y))
    for step in range(1, 11):
        phone.touch("touchMove", (x, y - 10 * step))
        phone.frame()
    phone.touch("touchEnd")
    phone.frame()


def test_one_finger_scrolls_the_page_while_the_image_is_whole(phone):
    before = phone.page.evaluate("scrollY")
    drag_up(phone)
    assert phone.page.evaluate("scrollY") > before + 30


def test_one_finger_moves_a_zoomed_image(phone):
    phone.viewer.get_by_role("button", name="Zoom in").click()
    phone.view(2).scroll_into_view_if_needed()
    before, scrolled = phone.box(0, 2), phone.page.evaluate("scrollY")
    drag_up(phone)
    assert phone.page.evaluate("scrollY") == scrolled
    assert phone.box(0, 2)[1] < before[1] - 30
