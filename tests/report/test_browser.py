"""Reports in headless Chromium without a network: no errors, readable on a phone and a screen, sortable, usable by keyboard."""

import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from fedlm.report.run import write_report
from fedlm.report.study import write_study_report
from scenarios.runner.output import Ended, write_results
from scenarios.runner.record import RunRecord
from scenarios.runner.study import Case, Figure, Study
from tests.report.test_run_report import ABOUT
from tests.report.test_run_report import folder as run_folder
from tests.support.made_study import record
from tests.support.running import simulate

pytestmark = pytest.mark.slow
WIDTHS = (390, 1280)
MISSING = "Chromium is not installed, so reports cannot be opened: apt-get install chromium."


def result(case: Case, seed: int, value: float) -> RunRecord:
    """The result of a run with clients of its own."""
    figures = {"bits_per_char": value, "accuracy": 1 / value, "clients": 4.0, "tokens": 1000.0}
    return record(case, seed, **figures, **{"client_jain": 0.9, "group:b": value, "label_entropy:play": 1.25})


@pytest.fixture(scope="module")
def study_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cases = (Case("none", x=0.0), Case("half", x=0.5), Case("all", x=1.0))
    kinds = (
        Figure("line", "bits_per_char"),
        Figure("spread", "bits_per_char"),
        Figure("trade", "bits_per_char", "accuracy"),
    )
    settings = {"model": "lstm(units=8, layers=1)", "rounds": 2}
    study = Study("made", "Why & how?", "shakespeare", settings, cases, "none", ("bits_per_char", "accuracy"), kinds)
    results = [result(c, s, 2.0 + v + s / 100) for c, v in zip(cases, (0.5, 0.1, 10.0), strict=True) for s in range(3)]
    folder = tmp_path_factory.mktemp("study")
    write_results(Ended(study, range(3), results, {}, "fedlm study made", 3.0), folder)
    return write_study_report(folder)


@pytest.fixture(scope="module")
def run_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    simulate("r", folder, "--workers", 1)
    return folder / "r" / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = shutil.which("chromium")
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextmanager
def opened(browser: Any, file: Path, width: int, scheme: str = "light") -> Iterator[Any]:
    """Opens a page with the network off; fails if anything but the file was asked for, or the console has a line."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    yield page
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", ["study_report", "run_report"])
def test_figures_are_visible_and_nothing_is_cut_off(
    browser: Any, kind: str, width: int, request: pytest.FixtureRequest
) -> None:
    with opened(browser, request.getfixturevalue(kind), width) as page:
        boxes = [figure.bounding_box() for figure in page.locator("svg[role=img]").all()]
        assert len(boxes) >= 3
        for box in boxes:
            assert box["width"] > 250 and box["height"] > 100
            assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert page.evaluate("document.documentElement.scrollWidth") <= width  # wide tables scroll by themselves
        assert all(page.locator("svg[role=img]").nth(i).get_attribute("aria-label") for i in range(len(boxes)))


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)` (WCAG 2.2)."""
    channels = [int(c) / 255 for c in colour.removeprefix("rgb(").rstrip(")").split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["study_report", "run_report"])
def test_words_and_axes_can_be_read_in_both_modes(
    browser: Any, kind: str, scheme: str, request: pytest.FixtureRequest
) -> None:
    with opened(browser, request.getfixturevalue(kind), 1400, scheme) as page:
        paper = page.evaluate(
            "(() => { const c = document.createElement('div'); c.style.color = 'Canvas';"
            " document.body.append(c); return getComputedStyle(c).color; })()"
        )
        for what in ("p", "svg text", "td"):
            style = "e => { const s = getComputedStyle(e); return e.closest('svg') ? s.fill : s.color; }"
            high, low = sorted((luminance(page.locator(what).first.evaluate(style)), luminance(paper)), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, what  # WCAG AA
        assert (luminance(paper) < 0.2) == (scheme == "dark")


def test_a_table_sorts_by_mouse_and_keyboard(browser: Any, study_report: Path) -> None:
    with opened(browser, study_report, 1400) as page:
        table = page.locator("table.sortable").first
        head = table.locator("th").nth(2)

        def order() -> list[str]:
            return [row.locator("td").first.inner_text() for row in table.locator("tbody tr").all()]

        assert order() == ["none", "half", "all"] and head.get_attribute("aria-sort") == "none"
        head.locator("button").click()
        assert order() == ["half", "none", "all"] and head.get_attribute("aria-sort") == "ascending"  # 12 after 2.5
        page.keyboard.press("Enter")
        assert order() == ["all", "none", "half"] and head.get_attribute("aria-sort") == "descending"
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Space")
        assert table.locator("th").nth(1).get_attribute("aria-sort") == "ascending"
        assert head.get_attribute("aria-sort") == "none"


def test_other_measures_and_labels_are_shown(browser: Any, study_report: Path) -> None:
    with opened(browser, study_report, 400) as page:
        folded = page.get_by_role("region", name="Other metrics per condition")
        assert not folded.is_visible()
        page.get_by_text("All other metrics").focus()
        page.keyboard.press("Enter")
        assert folded.is_visible() and "Jain's index" in folded.inner_text() and "group b" in folded.inner_text()
        data = page.get_by_role("region", name="Heterogeneity of the data").inner_text()
        assert "entropy of play within a client (bits)" in data and "1.250" in data
        assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_every_part_is_reached_by_keyboard(browser: Any, study_report: Path) -> None:
    with opened(browser, study_report, 400) as page:
        stops = "[...document.querySelectorAll(\"a, button, [tabindex='0'], summary\")]"
        wanted = page.evaluate(f"{stops}.filter(e => e.checkVisibility()).length")  # what is folded up has no stop
        reached = set()
        for _ in range(wanted):
            page.keyboard.press("Tab")
            style = "e => [e.outerHTML.slice(0, 200), getComputedStyle(e).outlineStyle]"
            name, outline = page.evaluate_handle("document.activeElement").evaluate(style)
            assert outline != "none", f"no focus to be seen on {name}"
            reached.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
        assert len(reached) == wanted
        page.locator("nav a").nth(1).focus()
        page.keyboard.press("Enter")
        assert page.locator("#table").bounding_box()["y"] < 900


HOSTILE = (
    "<script>document.title = 'ran'</script><img src='https://example.invalid/x.png' onerror=\"document.title = 'ran'\">"
    "\"'><svg onload=\"document.title='ran'\"></svg></script></style>{{ 7 * 7 }}$\\frac$ javascript:alert(1)"
)


@pytest.fixture(scope="module")
def hostile_reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports whose every name is an attack: a study's, and a run's."""
    cases = (Case("none"), Case(HOSTILE, algorithm=HOSTILE))
    settings = {"model": "lstm(units=8, layers=1)", "rounds": 2}
    kinds = (Figure("line", "bits_per_char"), Figure("spread", "bits_per_char"))
    study = Study(HOSTILE, HOSTILE, "shakespeare", settings, cases, "none", ("bits_per_char",), kinds)
    named = {f"group:{HOSTILE}": 1.0, f"label_entropy:{HOSTILE}": 1.25}
    results = [
        record(c, s, bits_per_char=2.0 + s / 100, accuracy=0.5, clients=4.0, tokens=1000.0, **named)
        for c in cases
        for s in range(2)
    ]
    folder = tmp_path_factory.mktemp("hostile")
    write_results(Ended(study, range(2), results, {HOSTILE: HOSTILE}, HOSTILE, 3.0), folder)
    run = run_folder(
        tmp_path_factory.mktemp("hostile-run"),
        corpus={**ABOUT, "corpus": HOSTILE, "vault": HOSTILE, "scrub": HOSTILE, "findings": {HOSTILE: 2}},
        machine=HOSTILE,
        weights_sha256=HOSTILE,
        versions={HOSTILE: HOSTILE},
        config={"model": HOSTILE, "cohort_size": 2, "rounds": 1, "seed": 41, "epsilon_budget": 0, HOSTILE: HOSTILE},
    )
    (run / "sample.txt").write_text(HOSTILE)
    return {"study": write_study_report(folder), "run": write_report(run, samples=True)}


@pytest.mark.parametrize("kind", ["study", "run"])
def test_hostile_names_are_shown_and_do_nothing(browser: Any, hostile_reports: dict[str, Path], kind: str) -> None:
    page_file = hostile_reports[kind]
    assert HOSTILE not in page_file.read_text(encoding="utf-8")
    with opened(browser, page_file, 1280) as page:  # nothing was asked for, nothing said
        assert page.title() != "ran" and "{{ 7 * 7 }}" in page.locator("body").inner_text()
        assert page.evaluate("document.images.length") == 0


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """A web server on this machine: its address, and what was asked of it."""
    asked = list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", ["study_report", "run_report", "without a policy"])
def test_a_script_or_an_image_in_the_page_is_not_run_or_loaded(
    browser: Any, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """As if one value had not been escaped: the page's own policy stops it, and without the policy nothing does."""
    has_policy, file = kind != "without a policy", tmp_path / "page.html"
    text = request.getfixturevalue(kind if has_policy else "run_report").read_text(encoding="utf-8")
    if not has_policy:
        text = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    with listening() as (address, asked):
        injected = (
            f"<script>document.title = 'ran'</script><img src='{address}/img' onerror=\"document.title = 'ran'\">"
            f"<iframe src='{address}/frame'></iframe><link rel='stylesheet' href='{address}/css'>"
            f"<p style='background: url({address}/style)'>styled</p><script src='{address}/js'></script>"
            f"<form action='{address}/form'><input name='a'></form><script>document.forms[0].submit()</script>"
        )
        file.write_text(text.replace("</body>", injected + "</body>", 1), encoding="utf-8")
        context = browser.new_context()
        page = context.new_page()
        page.goto(file.as_uri(), wait_until="commit")
        page.wait_for_timeout(500)
        assert bool(asked) != has_policy
        assert not has_policy or page.title() != "ran"
        context.close()
