"""The report in a real browser: Chromium without a screen, driven by its own driver.

Debian has both as `chromium` and `chromium-driver`; where they are missing, these
tests are skipped.
"""

import base64
import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image
from reports import LESION, SKIN, evaluation, write_photos, write_predictions
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from lesionseg.evaluation import page

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
DRIVER = shutil.which("chromedriver") or ""
NAMES = [*(f"ISIC_{index:07}" for index in range(11)), "z" * 70]
QUIET = (
    "--headless=new --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
)

pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER),
    reason="no Chromium with its chromedriver: apt-get install chromium chromium-driver",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    profile = f"--user-data-dir={tmp_path_factory.mktemp('profile')}"
    sandbox = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    for argument in (*QUIET.split(), profile, *sandbox):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The address of a report of one set of masks, and of three side by side."""
    folder = tmp_path_factory.mktemp("reports")
    pairs = write_photos(folder / "data", NAMES)
    three = [
        evaluation(pairs, write_predictions(folder / name, NAMES, shift), name)
        for name, shift in (("near", 1.5), ("far", 3), ("a-folder-of-a-rather-long-name", 0.5))
    ]
    page.write(three[:1], pairs, folder / "one.html", workers=1)
    page.write(three, pairs, folder / "three.html", workers=1)
    return {name: (folder / f"{name}.html").as_uri() for name in ("one", "three")}


Shown = Callable[..., webdriver.Chrome]


@pytest.fixture
def shown(browser: webdriver.Chrome, pages: dict[str, str]) -> Shown:
    """Opens a report as a person would see it."""

    def show(name: str = "one", width: int = 1280, *, dark: bool = False) -> webdriver.Chrome:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [scheme]})
        browser.get_log("browser")  # type: ignore[no-untyped-call]
        browser.get(pages[name])
        return browser

    return show


def asked(browser: webdriver.Chrome, script: str, *values: object) -> Any:
    return browser.execute_script(f"return {script}", *values)


def listed(browser: webdriver.Chrome, value: str = "name") -> list[str]:
    """What the photos of the list hold, in the order in which they are shown."""
    items = "[...document.querySelectorAll('#photos > li')].filter(item => item.offsetParent)"
    values: list[str] = asked(browser, f"{items}.map(item => item.dataset[arguments[0]])", value)
    return values


def choose(browser: webdriver.Chrome, control: str, value: str) -> None:
    Select(browser.find_element(By.ID, control)).select_by_value(value)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["one", "three"])
def test_pictures_load_nothing_overflows_and_the_console_is_empty(
    shown: Shown, name: str, width: int
) -> None:
    browser = shown(name, width)
    pictures = "[...document.querySelectorAll('img')].map(img => img.complete && img.naturalWidth)"
    assert len(asked(browser, pictures)) > len(NAMES)
    assert all(natural > 0 for natural in asked(browser, pictures))
    widths = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    assert asked(browser, widths) == [width, width]
    browser.find_element(By.CSS_SELECTOR, "#photos .open").click()
    assert asked(browser, widths) == [width, width]
    wide = (
        "[...document.querySelectorAll('dialog *')].filter(each => each.scrollWidth > innerWidth)"
    )
    assert asked(browser, f"{wide}.length") == 0
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]


def test_a_name_is_found(shown: Shown) -> None:
    browser = shown()
    assert sorted(listed(browser)) == sorted(NAMES)
    box = browser.find_element(By.ID, "search")
    box.send_keys("isic_000000")
    assert sorted(listed(browser)) == NAMES[:10]
    assert browser.find_element(By.ID, "shown").text == "10 of 12 photos"
    box.send_keys("4")
    assert listed(browser) == NAMES[4:5]
    box.send_keys(Keys.BACKSPACE * 20)
    assert len(listed(browser)) == 12


def test_failures_alone_are_shown_and_all_others(shown: Shown) -> None:
    browser = shown()
    choose(browser, "show", "failed")
    failed = [float(value) for value in listed(browser, "jaccard0")]
    assert failed
    assert max(failed) < 0.65
    choose(browser, "show", "held")
    held = [float(value) for value in listed(browser, "jaccard0")]
    assert min(held) >= 0.65
    assert len(failed) + len(held) == len(NAMES)


@pytest.mark.parametrize("name", ["one", "three"])
def test_every_order(shown: Shown, name: str) -> None:
    browser = shown(name)
    orders = asked(
        browser, "[...document.querySelectorAll('#sort option')].map(each => each.value)"
    )
    assert len(orders) == {"one": 6, "three": 16}[name]
    for order in orders:
        choose(browser, "sort", order)
        for direction in ("1", "-1"):
            choose(browser, "order", direction)
            texts = listed(browser, order)
            values: Sequence[object] = texts if order == "name" else list(map(float, texts))
            assert values == sorted(values, reverse=direction == "-1"), order  # type: ignore[type-var]
            assert len(values) == len(NAMES)


def _picture(browser: webdriver.Chrome) -> Image.Image:
    """The first picture of the list as it is on the screen."""
    element = browser.find_element(By.CSS_SELECTOR, "#photos .picture")
    asked(browser, "arguments[0].scrollIntoView()", element)
    return Image.open(io.BytesIO(element.screenshot_as_png)).convert("RGB")


def _like(picture: Image.Image, colour: tuple[int, ...], within: int = 40) -> int:
    """How many pixels have about this colour."""
    distance = np.abs(np.asarray(picture).astype(int) - colour).max(axis=2)
    return int((distance < within).sum())


def test_outlines_lie_on_the_photo_and_can_be_taken_away(shown: Shown) -> None:
    browser = shown()
    truth, prediction = (86, 180, 233), (230, 159, 0)
    choose(browser, "sort", "size")
    choose(browser, "order", "-1")
    picture = _picture(browser)
    pixels = picture.width * picture.height
    assert _like(picture, LESION) > 0.25 * pixels  # not painted over
    assert _like(picture, SKIN) > 0.25 * pixels
    assert _like(picture, truth) > 20
    assert _like(picture, prediction) > 20
    for box in browser.find_elements(By.CSS_SELECTOR, "[data-outline]"):
        box.click()
    bare = _picture(browser)
    assert (_like(bare, truth), _like(bare, prediction)) == (0, 0)


def test_a_photo_is_enlarged_and_the_next_one(shown: Shown) -> None:
    browser = shown("three")
    names = listed(browser)
    zoom = browser.find_element(By.ID, "zoom")
    assert not zoom.is_displayed()
    browser.find_element(By.CSS_SELECTOR, "#photos .open").click()
    assert zoom.find_element(By.CLASS_NAME, "name").text == names[0]
    lines = "[...document.querySelectorAll('#zoom path.over')].map(line => getComputedStyle(line)"
    assert len(set(asked(browser, f"{lines}.stroke)"))) == 4  # truth and three masks
    assert len(set(asked(browser, f"{lines}.strokeDasharray)"))) == 4
    browser.find_element(By.ID, "later").click()
    assert zoom.find_element(By.CLASS_NAME, "name").text == names[1]
    zoom.send_keys(Keys.ARROW_LEFT)
    assert zoom.find_element(By.CLASS_NAME, "name").text == names[0]
    zoom.send_keys(Keys.ESCAPE)
    assert not zoom.is_displayed()
    dot = browser.find_element(By.CSS_SELECTOR, "svg.dots [data-n='7']")
    asked(browser, "arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))", dot)
    shown_name = zoom.find_element(By.CLASS_NAME, "name").text
    assert shown_name == asked(browser, "document.getElementById('p7').dataset.name")


def _luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)`, by the rules for accessible pages (WCAG 2)."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(", ")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
def test_text_is_readable_in_light_and_dark(shown: Shown, dark: bool) -> None:
    browser = shown(dark=dark)
    style = "getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    ground = _luminance(asked(browser, style, "body", "backgroundColor"))
    assert (ground < 0.05) == dark
    for selector, what in (
        ("body", "color"),
        (".definition", "color"),
        (".failed", "color"),
        (".plot text", "fill"),
        (".plot text.limit", "fill"),
        ("#search", "color"),
    ):
        text = _luminance(asked(browser, style, selector, what))
        low, high = sorted((ground, text))
        assert (high + 0.05) / (low + 0.05) >= 4.5, selector


def test_paper_is_white_and_without_controls(shown: Shown) -> None:
    browser = shown(dark=True)
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": features})
    assert not browser.find_element(By.ID, "controls").is_displayed()
    ground = asked(browser, "getComputedStyle(document.body).backgroundColor")
    assert _luminance(ground) == 1
    printed = base64.b64decode(browser.print_page())
    assert printed.startswith(b"%PDF")
