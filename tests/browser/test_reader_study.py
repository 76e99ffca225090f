"""The page of the reader study as a radiologist uses it, from disk in a real browser."""

import base64
import csv
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from msdiff.__main__ import main
from msdiff.sampling.shards import load_shard
from msdiff.stack.reading import load_stack

CASES = 18
QUESTIONS = ("quality", "plausibility", "adherence")


def scores_of(case):
    """What the reader of these tests gives to a case, from 1."""
    return [case % 5 + 1, (case + 2) % 5 + 1, (3 * case) % 5 + 1]


def start(page, name="Dr A"):
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    page.wait_for_selector("#start", state="hidden")


def answer(page, case):
    """Answer the case on the screen and go on."""
    assert page.inner_text("#case-title") == f"Case {case} of {CASES}"
    for score in scores_of(case):
        page.keyboard.press(str(score))
    page.keyboard.press("Enter")


def pixels(page, panel):
    """Grey levels (y, x) of a panel, colours averaged."""
    url = page.evaluate("name => document.querySelector(`[data-panel=${name}] canvas`).toDataURL()", panel)
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"), dtype=np.float64).mean(axis=-1)


def saved(page, path):
    """Save the answers by keyboard; the file's rows."""
    with page.expect_download() as download:
        page.keyboard.press("Control+s")
    download.value.save_as(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_reader_answers_by_keyboard_closes_resumes_and_is_imported(profile, study, tmp_path):
    requests, faults = [], []

    def opened(context):
        page = context.pages[0]
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.goto(study.page.as_uri())
        return page

    with profile(tmp_path / "profile") as context:
        page = opened(context)
        start(page)
        page.keyboard.press("c")
        page.keyboard.type('5 sharp, "odd"; 1')
        page.keyboard.press("Escape")
        for case in range(1, 9):
            answer(page, case)
        # Half of the ninth.
        page.keyboard.press(str(scores_of(9)[0]))
    with profile(tmp_path / "profile") as context:
        page = opened(context)
        assert page.inner_text("#earlier button") == f"Dr A (8 of {CASES})"
        page.keyboard.press("Enter")
        assert page.input_value("#comment") == ""
        assert page.is_checked(f"#quality-{scores_of(9)[0]}")
        for score in scores_of(9)[1:]:
            page.keyboard.press(str(score))
        page.keyboard.press("Enter")
        for case in range(10, CASES + 1):
            answer(page, case)
        # All done: the list of cases is open, and the marked button saves.
        assert "All cases are answered" in page.inner_text("#overview-text")
        with page.expect_download() as download:
            page.keyboard.press("Enter")
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        assert "Thank you" in page.inner_text("#overview-text")
    assert set(requests) == {study.page.as_uri()}
    assert faults == []
    assert re.fullmatch(r"study-[0-9a-f]{16}_Dr-A\.csv", path.name)
    out = tmp_path / "answers.tsv"
    words = ["--keys", str(study.keys), "--answers", str(path), "--out", str(out)]
    assert main(["reader-study", "import", *words, "--settings", json.dumps({"incomplete": "refuse"})]) == 0
    answers, key = pd.read_csv(out, sep="\t"), pd.read_csv(study.key, sep="\t")
    assert answers[list(QUESTIONS)].to_numpy().tolist() == [scores_of(case) for case in range(1, CASES + 1)]
    assert answers["kind"].tolist() == key["kind"].tolist()
    assert answers["comment"][0] == '5 sharp, "odd"; 1'
    assert answers["seconds"][0] > 0
    assert answers["time"].str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").all()


def test_the_panels_show_the_slices_that_the_key_names(page, study):
    start(page)
    stack, key = load_stack(study.stack), pd.read_csv(study.key, sep="\t", keep_default_na=False)
    sampled = {}
    for folder in study.shards:
        shard = load_shard(folder)
        sampled[shard.manifest["generator"][0]] = (shard.manifest, shard.read("follow_up", slice(None)))
    for row in key.head(4).to_dict("records"):
        images, brains = stack.array("flair"), stack.array("brain_mask")
        places = (row["baseline_row"], row["slice"]), (row["follow_up_row"], row["slice"])
        inside = (brains[places[0]] > 0) & (brains[places[1]] > 0)
        expected = {"baseline": images[places[0]], "follow_up": images[places[1]]}
        if row["generator"]:
            manifest, follow_ups = sampled[row["generator"]]
            wanted = (manifest["baseline_row"] == row["baseline_row"]) & (manifest["slice"] == row["slice"])
            expected["follow_up"] = follow_ups[np.flatnonzero(wanted)[0]]
        for name, image in expected.items():
            shown = pixels(page, name)
            # The page's box: rows 1 to 22 and columns 2 to 19 of the slice as radiologists see it, 2 x 1 mm each.
            grey = 255 * (np.where(inside, image, -1.0)[::-1, ::-1][1:23, 2:20] + 1) / 2
            scale = min(shown.shape[1] / (18 * 2.0), shown.shape[0] / 22)
            y = shown.shape[0] / 2 + (np.arange(22) + 0.5 - 11) * scale
            x = shown.shape[1] / 2 + (np.arange(18) + 0.5 - 9) * 2 * scale
            found = shown[np.ix_(y.astype(int), x.astype(int))]
            # Above the letters of the scale bar; enlarged pixels run into each other a little.
            assert np.abs(found - grey)[:18].mean() < 12
            assert np.corrcoef(found[:18].ravel(), grey[:18].ravel())[0, 1] > 0.98
        page.keyboard.press("n")


def test_the_outline_comes_and_goes(page):
    start(page)
    before = {name: pixels(page, name) for name in ("baseline", "follow_up")}
    page.keyboard.press("m")
    for name, image in before.items():
        changed = np.abs(pixels(page, name) - image) > 20
        assert 0 < changed.mean() < 0.05
    assert page.get_attribute("#outline", "aria-pressed") == "true"
    page.click("#outline")
    assert all((pixels(page, name) == image).all() for name, image in before.items())


def test_who_is_asked_about_the_outline_sees_it(page):
    start(page)
    page.keyboard.press("4")
    assert page.get_attribute("#outline", "aria-pressed") == "false"
    page.keyboard.press("4")
    assert page.get_attribute("#outline", "aria-pressed") == "true"
    page.keyboard.press("n")
    assert page.get_attribute("#outline", "aria-pressed") == "false"
    page.click("label[for=adherence-2]")
    assert page.get_attribute("#outline", "aria-pressed") == "true"


@pytest.mark.parametrize(("key", "rises"), [("w", True), ("s", False)])
def test_keys_change_the_brightness_and_reset_takes_it_back(page, key, rises):
    start(page)
    before = pixels(page, "follow_up")
    page.keyboard.press(key)
    after = pixels(page, "follow_up")
    assert (after.mean() > before.mean()) == rises
    page.keyboard.press("x")
    assert (pixels(page, "follow_up") == before).all()


def test_contrast_hardens_about_the_level(page):
    start(page)
    before = pixels(page, "baseline")
    for _ in range(4):
        page.keyboard.press("d")
    inside = before[200:350, 200:300]
    assert pixels(page, "baseline")[200:350, 200:300].std() > 1.15 * inside.std()
    assert page.inner_text("#window-shown").split() == ["W", "80", "L", "50"]


def test_the_mouse_sets_window_zooms_and_moves(page):
    start(page)
    before = pixels(page, "baseline")
    box = page.locator("[data-panel=baseline] canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y - 100)
    page.mouse.up()
    assert pixels(page, "baseline").mean() > before.mean()
    page.mouse.wheel(0, -100)
    page.wait_for_function("document.getElementById('zoom-shown').textContent === '120 %'")
    zoomed = pixels(page, "follow_up")
    page.keyboard.down("Shift")
    page.mouse.down()
    page.mouse.move(x + 30, y - 100)
    page.mouse.up()
    page.keyboard.up("Shift")
    assert (pixels(page, "follow_up") != zoomed).any()
    page.mouse.dblclick(x, y)
    assert (pixels(page, "baseline") == before).all()


def test_flip_puts_the_baseline_in_place_of_the_follow_up(page):
    start(page)
    baseline, follow_up = pixels(page, "baseline"), pixels(page, "follow_up")
    assert (baseline != follow_up).any()
    page.keyboard.press("f")
    assert (pixels(page, "follow_up") == baseline).all()
    assert page.inner_text("[data-panel=follow_up] figcaption") == "Baseline"
    page.keyboard.press("f")
    assert (pixels(page, "follow_up") == follow_up).all()


def test_an_incomplete_case_says_what_is_missing(page):
    start(page)
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    assert "Plausibility is unanswered" in page.inner_text("#message")
    page.keyboard.press("n")
    page.keyboard.press("o")
    assert "Unanswered or partly answered: 1, 2, 3" in page.inner_text("#overview-text")
    assert page.locator("[aria-label='Case 1, partly answered']").count() == 1
    page.keyboard.press("u")
    assert page.inner_text("#case-title") == f"Case 3 of {CASES}"


def test_leaving_warns_until_the_answers_are_saved(page, tmp_path):
    warnings = []

    def stay(dialog):
        warnings.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    start(page)
    page.keyboard.press("3")
    page.close(run_before_unload=True)
    page.wait_for_timeout(200)
    assert warnings == ["beforeunload"]
    rows = saved(page, tmp_path / "answers.csv")
    assert (rows[0]["quality"], rows[0]["plausibility"], rows[1]["quality"]) == ("3", "", "")
    with page.expect_event("close"):
        page.close(run_before_unload=True)
    assert warnings == ["beforeunload"]


def test_a_saved_file_goes_on_in_another_browser(page, browser, study, tmp_path):
    start(page, "Zoë O'Neil")
    for case in (1, 2, 3):
        answer(page, case)
    path = tmp_path / "answers.csv"
    first = saved(page, path)
    text = path.read_text(encoding="utf-8-sig")
    with browser.new_context() as context:
        other = context.new_page()
        other.goto(study.page.as_uri())
        # As a spreadsheet may have saved it again.
        other.set_input_files(
            "#file", {"name": "a.csv", "mimeType": "text/csv", "buffer": text.replace(",", ";").encode()}
        )
        other.wait_for_selector("#start", state="hidden")
        assert other.inner_text("#reader-shown") == "Zoë O'Neil"
        answer(other, 4)
        again = saved(other, tmp_path / "again.csv")
    assert again[:3] == first[:3]
    assert [again[3][name] for name in QUESTIONS] == [str(score) for score in scores_of(4)]


FOREIGN = {
    "another study": (lambda text: re.sub(r"study-\w+", "study-0", text), "belong to another study"),
    "no answers": (lambda text: "a,b\n1,2\n", "no file of saved answers"),
    "a wrong score": (lambda text: re.sub(r"(study-\w+,2),,", r"\1,7,", text), "Case 2 has a score that is not 1 to 5"),
}


@pytest.mark.parametrize(("change", "message"), FOREIGN.values(), ids=FOREIGN)
def test_a_file_that_does_not_fit_is_refused_and_changes_nothing(page, tmp_path, change, message):
    start(page)
    answer(page, 1)
    path = tmp_path / "answers.csv"
    before = saved(page, path)
    text = change(path.read_text(encoding="utf-8-sig"))
    page.keyboard.press("h")
    page.click("#change-reader")
    page.set_input_files("#file", {"name": "a.csv", "mimeType": "text/csv", "buffer": text.encode()})
    page.wait_for_function("document.getElementById('start-message').textContent !== ''")
    assert message in page.inner_text("#start-message")
    page.click("#earlier button")
    after = saved(page, path)
    assert [[row[name] for name in QUESTIONS] for row in after] == [[row[name] for name in QUESTIONS] for row in before]


def test_two_readers_of_one_browser_are_kept_apart(page, tmp_path):
    start(page, "A")
    answer(page, 1)
    page.reload()
    page.fill("#reader", "B")
    page.keyboard.press("Enter")
    assert page.inner_text("#progress-text") == f"0 of {CASES} answered"
    page.reload()
    assert page.locator("#earlier button").all_inner_texts() == [f"A (1 of {CASES})", f"B (0 of {CASES})"]


def test_the_same_reader_in_two_windows_is_told(page, study):
    start(page)
    other = page.context.new_page()
    other.goto(study.page.as_uri())
    other.click("#earlier button")
    page.wait_for_function("document.getElementById('message').textContent.includes('another window')")


def test_without_javascript_the_page_says_what_it_needs(browser, study):
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(study.page.as_uri())
        assert "needs JavaScript" in page.inner_text("#unsupported")


def test_a_browser_that_keeps_nothing_says_so(browser, study):
    with browser.new_context() as context:
        context.add_init_script("Storage.prototype.setItem = () => { throw new Error('no'); }")
        page = context.new_page()
        page.goto(study.page.as_uri())
        start(page)
        page.keyboard.press("5")
        assert page.inner_text("#kept") == "Not kept by this browser: save to a file"


def test_without_single_keys_all_is_done_by_tab_arrows_and_space(page):
    start(page)
    page.keyboard.press("h")
    page.uncheck("#shortcuts")
    page.keyboard.press("Escape")
    page.keyboard.press("5")
    page.keyboard.press("n")
    assert page.locator("input:checked[type=radio]").count() == 0
    page.focus("#reset")
    for name in QUESTIONS:
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        page.keyboard.press("ArrowRight")
        assert page.is_checked(f"#{name}-2")
    page.keyboard.press("Enter")
    assert page.inner_text("#case-title") == f"Case 2 of {CASES}"


def test_all_fits_a_small_screen(page):
    start(page)
    page.keyboard.press("Enter")
    sizes = page.evaluate(
        """() => [document.scrollingElement, document.querySelector(".questions")]
            .map((part) => [part.scrollWidth - part.clientWidth, part.scrollHeight - part.clientHeight])"""
    )
    assert np.max(sizes) <= 0
    for button in page.locator("header button, main button, main label, #message").all():
        box = button.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 1366
        assert box["y"] + box["height"] <= 640


CONTRASTS = """() => {
    const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b]
        .map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = channels(getComputedStyle(at).backgroundColor);
            if (colour.length === 3 || colour[3] > 0) return colour;
        }
    };
    return [...document.querySelectorAll("body *")]
        .filter((e) => e.checkVisibility() && !e.disabled && e.tagName !== "SCRIPT")
        .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))
        .map((e) => {
            const [low, high] = [light(channels(getComputedStyle(e).color)), light(behind(e))].sort((a, b) => a - b);
            return [(high + 0.05) / (low + 0.05), e.outerHTML.slice(0, 80)];
        });
}"""


@pytest.mark.parametrize("opening", [None, "h", "o"])
def test_text_stands_out_from_its_ground(page, opening):
    """Of 4.5 to 1 at least: WCAG 2.2, criterion 1.4.3."""
    start(page)
    page.keyboard.press("4")
    if opening:
        page.keyboard.press(opening)
    found = page.evaluate(CONTRASTS)
    assert len(found) > 30
    assert [entry for entry in found if entry[0] < 4.5] == []


def test_every_control_has_a_name_and_shows_the_focus(page):
    start(page)
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, input, textarea, canvas, progress, dialog")]
            .filter((e) => !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby")
                || e.textContent.trim() || (e.labels && e.labels.length)))
            .map((e) => e.outerHTML)"""
    )
    assert unnamed == []
    seen = []
    for _ in range(25):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                """() => {
                    const at = document.activeElement;
                    const shows = at.type === "radio" ? at.nextElementSibling : at;
                    return [at.id || at.tagName, getComputedStyle(shows).outlineStyle];
                }"""
            )
        )
    assert {"save", "CANVAS", "outline", "quality-1", "adherence-1", "comment", "next"} <= {name for name, _ in seen}
    assert {style for name, style in seen if name != "BODY"} == {"solid"}


def test_the_page_holds_nothing_of_the_key(page, study):
    """As the browser has it, pictures aside."""
    start(page)
    text = re.sub(r'"[A-Za-z0-9+/=]{60,}"', "", page.content())
    assert not re.search(r"sub-0|long_ms_diff|other_model|synthetic|follow_up_row|generator", text)
    assert not (study.page.parent / study.key.name).exists()
