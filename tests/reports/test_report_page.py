"""The page in a browser: it is whole, works without a network, and is readable by everybody."""

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.synthetic_store import Fake, make_study
from reports.options import parse
from reports.read import read
from reports.render import files
from reports.summarise import summarise
from reports.write import write_folder
from tests.browser import Opened, open_page
from tests.reports.conftest import Stored, board

HOSTILE = '<img src=x onerror="document.title=1">'
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
DRAWN = "document.querySelectorAll('.plot').length === document.querySelectorAll('.plot[data-drawn]').length"

Open = Callable[..., Opened]


@pytest.fixture(scope="session")
def made(stored: Stored, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of reports with figures that answer to the mouse, and of one without."""
    folder = tmp_path_factory.mktemp("pages")
    tiny = {"paddock.mechanics_only": "true", "paddock.model_key": HOSTILE}
    uri = stored(folder, [*board(), Fake(model="a_llmrec", quality=0.2, tags=tiny)])
    make_study(uri, "bpr", trials=8)
    for name, words in (("lively", []), ("still", ["interactive=false"])):
        options = parse([f"tracking.uri={uri}", *words])
        summary = summarise(read(options), options)
        write_folder(folder / name, files(summary))
    return folder


@pytest.fixture
def opened(browser: Any, made: Path) -> Iterator[Open]:
    """Open a report; when the test is over, no page may have complained or asked for anything."""
    pages: list[Opened] = []

    def open_report(name: str = "lively", **settings: Any) -> Opened:
        address = (made / name / "index.html").as_uri()
        settings = {"viewport": WIDE, "offline": True, **settings}
        page = open_page(browser, address, allowed=address, **settings)
        pages.append(page)
        if settings.get("java_script_enabled", True):
            page.page.wait_for_function(DRAWN)
        return page

    yield open_report
    for each in pages:
        each.page.context.close()
        assert each.errors == []
        assert each.blocked == []


@pytest.fixture(scope="module")
def seen(browser: Any, made: Path) -> Iterator[Any]:
    """A page with its figures drawn, for tests that look at it and leave it as it is."""
    address = (made / "lively" / "index.html").as_uri()
    opened = open_page(browser, address, allowed=address, viewport=WIDE, offline=True)
    opened.page.wait_for_function(DRAWN)
    yield opened.page
    opened.page.context.close()
    assert opened.errors == []
    assert opened.blocked == []


def _summary(made: Path, name: str = "lively") -> dict[str, Any]:
    return json.loads((made / name / "summary.json").read_text(encoding="utf-8"))


def _column(page: Any, table: str, number: int) -> list[str]:
    cells = page.locator(f"{table} tbody tr > :nth-child({number})")
    return [text.strip() for text in cells.all_inner_texts()]


def test_a_click_on_a_head_sorts_and_another_turns_it_round(opened: Open, made: Path) -> None:
    page = opened("still").page
    metric = "full/hit_at_10"
    shown = page.locator("#table-full thead th", has_text="Hit@10")
    by_value = sorted(_summary(made)["rows"], key=lambda row: row["metrics"][metric]["mean"])
    rising = [row["label"] for row in by_value]
    assert rising[0] == "pop"
    for order, direction in ((rising[::-1], "descending"), (rising, "ascending")):
        shown.get_by_role("button").click()
        names = [text.removesuffix(" †") for text in _column(page, "#table-full", 1)]
        assert names == order
        assert shown.get_attribute("aria-sort") == direction
    page.locator("#table-full thead th").first.get_by_role("button").press("Enter")
    assert [text.removesuffix(" †") for text in _column(page, "#table-full", 1)] == sorted(rising)
    assert page.locator("#table-full thead th[aria-sort]").count() == 1


def test_numbers_sort_by_value_and_what_is_missing_stays_last(opened: Open) -> None:
    page = opened("still").page
    head = page.locator("#comparisons thead th", has_text="p over users, after Holm").get_by_role(
        "button"
    )
    for _ in range(2):
        head.click()
        values = [text.split()[-1] for text in _column(page, "#comparisons", 7)]
        numbers = [float(text) for text in values if text != "–"]
        assert numbers in (sorted(numbers), sorted(numbers, reverse=True))
        assert values[: len(numbers)] == [text for text in values if text != "–"]
    assert len(set(numbers)) > 2


def test_the_tables_show_what_the_summary_says(seen: Any, made: Path) -> None:
    page, summary = seen, _summary(made)
    for ranking, metrics in summary["tables"].items():
        for row in summary["rows"]:
            name = page.locator("th").get_by_text(re.compile(rf"^{re.escape(row['label'])}( †)?$"))
            line = page.locator(f"#table-{ranking} tbody tr").filter(has=name)
            shown = line.locator("td").all_inner_texts()
            for metric, text in zip(metrics, shown, strict=False):
                assert f"{row['metrics'][metric]['mean']:.4f}" in text
    best = page.locator("#table-full td.best").first
    assert best.locator(".number").evaluate("e => getComputedStyle(e).fontWeight") == "700"
    sign = page.locator("#table-full .sign").first
    assert "significantly better than" in str(sign.get_attribute("title"))


def test_figures_draw_with_a_mark_for_every_number(seen: Any, made: Path) -> None:
    page, rows = seen, _summary(made)["rows"]
    assert page.locator(".plot svg.main-svg").count() >= 4
    assert page.locator("#figure-cost .plot .scatterlayer .point").count() == 2 * len(rows)
    assert page.locator("#figure-curves .plot .scatterlayer .js-line").count() == sum(
        len(row["runs"]) for row in rows
    )
    bars = page.locator("#figure-slices .plot .barlayer .point")
    assert bars.count() == 2 * 4 * len(rows)
    assert bars.first.bounding_box()["height"] > 1
    for name in ("curves", "cost", "slices", "users"):
        assert not page.locator(f"#figure-{name} > img").is_visible()
    # It has no lively form.
    assert page.locator("#figure-importances > img").is_visible()


def test_a_figure_hides_a_model_at_a_click(opened: Open) -> None:
    page = opened().page
    lines = page.locator("#figure-curves .plot .scatterlayer .js-line")
    before = lines.count()
    page.locator("#figure-curves .plot .legendtoggle").first.click()
    page.wait_for_function(
        "n => document.querySelectorAll('#figure-curves .scatterlayer .js-line').length < n",
        arg=before,
    )
    assert lines.count() == before - 3


def test_every_figure_is_told_in_words_and_numbers(opened: Open) -> None:
    page = opened().page
    for figure in page.locator("figure").all():
        assert len(str(figure.locator("> img").get_attribute("alt"))) > 40
        figure.locator("summary").click()
        assert figure.locator("details p").is_visible()
        assert figure.locator("details tbody tr").count() > 0


def test_without_scripts_and_on_paper_the_pictures_are_there(opened: Open) -> None:
    bare = opened(java_script_enabled=False).page
    assert bare.locator("figure > img").count() == 5
    for image in bare.locator("figure > img").all():
        assert image.is_visible()
    page = opened().page
    page.emulate_media(media="print")
    for image in page.locator("figure > img").all():
        assert image.is_visible()
    assert not page.locator(".plot").first.is_visible()
    assert not page.locator("nav").is_visible()


def test_pictures_are_not_broken(opened: Open) -> None:
    page = opened("still").page
    widths = page.eval_on_selector_all("figure > img", "all => all.map(e => e.naturalWidth)")
    assert len(widths) == 5
    assert min(widths) > 300


def test_without_interaction_the_file_is_small_and_as_whole(opened: Open, made: Path) -> None:
    page = opened("still").page
    assert page.locator(".plot").count() == 0
    assert (made / "still" / "index.html").stat().st_size < 500_000
    first, second = _summary(made), _summary(made, "still")
    assert first == second


def test_a_phone_needs_no_scrolling_sideways(opened: Open) -> None:
    page = opened(viewport=PHONE, device_scale_factor=2, is_mobile=True, has_touch=True).page
    page.eval_on_selector_all("details", "all => all.forEach(e => { e.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate("innerWidth") == PHONE["width"]
    sizes = page.eval_on_selector_all(
        "p, td, th, li, dd", "all => all.map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 12
    # What is wider than the screen scrolls by itself.
    assert page.evaluate("document.querySelector('#reproduce .scroll').scrollWidth") > 360


def test_at_390_pixels_the_page_stays_and_wide_tables_scroll(opened: Open) -> None:
    page = opened(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True).page
    page.eval_on_selector_all("details", "all => all.forEach(e => { e.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    outside = page.eval_on_selector_all(
        "body *:not(.scroll *):not(.plot *):not(.hidden)",
        "all => all.filter(e => e.getBoundingClientRect().right > 390.5).map(e => e.outerHTML)",
    )
    assert outside == []
    boxes = page.eval_on_selector_all(
        ".scroll", "all => all.map(e => [e.scrollWidth, e.clientWidth])"
    )
    assert any(inner > outer for inner, outer in boxes)


def test_the_dark_page_is_dark_with_its_figures(opened: Open) -> None:
    """What the screen shows, by its pixels, of the page and of the figures of both kinds."""
    image = pytest.importorskip("PIL.Image")
    for scheme, dark in (("light", False), ("dark", True)):
        page = opened(color_scheme=scheme).page
        for place in ("#tables", "#figure-curves .plot", "#figure-importances > img"):
            taken = image.open(io.BytesIO(page.locator(place).screenshot())).convert("L")
            counts = taken.histogram()
            brightest = sum(counts[128:]) / sum(counts)
            assert (brightest < 0.5) is dark, (scheme, place)
        page.emulate_media(media="print")
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        )


def test_buttons_copy_commands_and_tables(opened: Open, made: Path) -> None:
    page = opened(permissions=["clipboard-read", "clipboard-write"]).page

    def copied(button: Any) -> str:
        button.click()
        button.get_by_text("Copied").wait_for()
        return str(page.evaluate("navigator.clipboard.readText()"))

    rows = _summary(made)["rows"]
    command = page.locator("#reproduce tbody tr").first.get_by_role("button")
    assert copied(command) in {run["command"] for row in rows for run in row["runs"]}
    bar = page.locator(".scroll:has(#table-full) + .copying").get_by_role("button")
    lines = copied(bar.nth(0)).splitlines()
    assert lines[0].split("\t")[:3] == ["model", "Hit@1", "Hit@10"]
    assert len(lines) == 1 + len(rows)
    assert {line.count("\t") for line in lines} == {lines[0].count("\t")}
    by_label = {line.split("\t")[0]: line.split("\t") for line in lines}
    assert f"{rows[0]['metrics']['full/hit_at_1']['mean']:.4f}" in by_label[rows[0]["label"]][1]
    assert "better than" not in "".join(lines)
    markdown = copied(bar.nth(1)).splitlines()
    assert len(markdown) == 2 + len(rows)
    assert set(markdown[1]) == set("|:-")
    assert not any("<img" in line for line in markdown)
    # Where the page has no clipboard, the browser's older way is taken.
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()) }")
    last = page.locator("#reproduce tbody tr").last
    assert copied(last.get_by_role("button")) == last.locator("code.command").inner_text()


def test_names_from_the_store_are_text(seen: Any) -> None:
    page = seen
    assert page.title() != "1"
    assert page.locator("#table-full tbody th", has_text=HOSTILE).count() == 1
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_accessible(opened: Open, viewport: dict[str, int]) -> None:
    page = opened(viewport=viewport).page
    page.eval_on_selector_all("details", "all => all.forEach(e => { e.open = true })")
    assert _violations(page) == {}
    # The same check finds what is wrong.
    page.eval_on_selector_all("figure > img", "all => all.forEach(e => e.removeAttribute('alt'))")
    page.add_style_tag(content=".notes { color: #bbb } figure > img { display: block !important }")
    page.eval_on_selector_all("h2", "all => all.forEach(e => { e.outerHTML = '<h5>x</h5>' })")
    assert {"image-alt", "color-contrast", "heading-order"} <= set(_violations(page))


def _violations(page: Any) -> dict[str, list[str]]:
    """axe-core's rules that are broken, each with the elements that break it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
    found = axe().run(page).response
    assert len(found["passes"]) > 20
    return {each["id"]: [node["html"] for node in each["nodes"]] for each in found["violations"]}
