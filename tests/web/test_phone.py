"""The page in a real browser at the width of a phone: Chromium without a screen.

Debian has it as `chromium` and `chromium-driver`; where they are missing, these tests are skipped.
"""

import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from lesionseg import store
from lesionseg.data import synthetic
from lesionseg.images.arrays import Mask
from lesionseg.images.photos import read_photo
from lesionseg.segmentation.measurements import measure
from lesionseg.segmentation.segmenter import Segmenter, load
from lesionseg.web import pages

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
DRIVER = shutil.which("chromedriver") or ""
REAL = os.environ.get("LESIONSEG_TEST_DATA")
QUIET = (
    "--headless=new --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars "
    "--use-fake-device-for-media-stream --use-fake-ui-for-media-stream"
)
PATIENCE = 120  # seconds for a busy machine; nothing is timed
SIDES = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"

pytestmark = [
    pytest.mark.skipif(
        not (BROWSER and DRIVER),
        reason="no Chromium with its chromedriver: apt-get install chromium chromium-driver",
    ),
    pytest.mark.usefixtures("packed_once"),
]


class Phone:
    """A browser with the page in it."""

    def __init__(self, driver: webdriver.Chrome, downloads: Path) -> None:
        self.driver, self.downloads = driver, downloads

    def ask(self, expression: str, *values: object) -> Any:
        return self.driver.execute_script(f"return {expression}", *values)

    def wait(self, expression: str) -> None:
        end = time.monotonic() + PATIENCE
        while not self.ask(expression):
            assert time.monotonic() < end, (expression, self.driver.get_log("browser"))  # type: ignore[no-untyped-call]
            time.sleep(0.05)

    def resize(self, width: int, *, dark: bool = False) -> None:
        sides = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sides)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"media": "", "features": [scheme]}
        )

    def open(self, address: str) -> None:
        self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        self.driver.get_log("performance")  # type: ignore[no-untyped-call]
        self.driver.get(address)
        self.wait("document.documentElement.dataset.engine")

    def find(self, name: str) -> Any:
        return self.driver.find_element(By.ID, name)

    def click(self, name: str) -> None:
        self.ask("document.getElementById(arguments[0]).click()", name)

    def text(self, name: str) -> str:
        return str(self.ask("document.getElementById(arguments[0]).textContent", name))

    def add(self, *paths: Path) -> None:
        """Choose photos and wait until all are done."""
        self.find("files").send_keys("\n".join(map(str, paths)))
        self.wait("document.getElementById('progress').hidden")

    def save(self, button: str, name: str) -> bytes:
        """Press a button that saves a file of this name, and give its content."""
        path = self.downloads / name
        path.unlink(missing_ok=True)
        self.click(button)
        end = time.monotonic() + PATIENCE
        while not path.is_file():  # it gets its name when it is whole
            assert time.monotonic() < end, name
            time.sleep(0.05)
        return path.read_bytes()

    def errors(self) -> list[str]:
        items = "document.querySelectorAll('#errors li')"
        return [str(line) for line in self.ask(f"[...{items}].map(item => item.textContent)")]

    def focus(self) -> str:
        return str(self.ask("document.activeElement.id"))

    def press(self, *keys: str) -> None:
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def touch(self, kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x, "y": y} for x, y in places]
        self.driver.execute_cdp_cmd(
            "Input.dispatchTouchEvent", {"type": kind, "touchPoints": points}
        )

    def mask(self, stem: str) -> Mask:
        with Image.open(io.BytesIO(self.save("save-mask", f"{stem}_segmentation.png"))) as image:
            assert image.mode == "L"
            mask = np.asarray(image)
        assert set(np.unique(mask)) <= {0, 255}
        return np.asarray(mask == 255)

    def requests(self) -> list[str]:
        """The addresses that were asked for since the page was opened, in it and its workers."""
        messages = [
            json.loads(entry["message"])["message"]
            for entry in self.driver.get_log("performance")  # type: ignore[no-untyped-call]
        ]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phone]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    profile = f"--user-data-dir={tmp_path_factory.mktemp('profile')}"
    sandbox = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    for argument in (*QUIET.split(), profile, *sandbox):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    downloads = tmp_path_factory.mktemp("downloads")
    place = {"behavior": "allow", "downloadPath": str(downloads)}
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", place)
    try:
        yield Phone(driver, downloads)
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return load(store.BUNDLED_FILE, "cpu")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, packed_once: None) -> Path:
    path = tmp_path_factory.mktemp("page") / "lesion.html"
    pages.write_file(path, pages.load_network(store.BUNDLED_FILE))
    return path


@pytest.fixture
def opened(phone: Phone, file: Path) -> Iterator[Phone]:
    """The page from the disk; nothing it does may ask the network or complain."""
    phone.resize(390)
    phone.open(file.as_uri())
    yield phone
    asked = phone.requests()
    assert file.as_uri() in asked
    assert all(address == file.as_uri() or address.startswith("blob:") for address in asked)
    assert phone.driver.get_log("browser") == []  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("photos") / "first.png")


def draw(path: Path, index: int = 4) -> Path:
    pixels, _ = synthetic.generate(0, index)
    Image.fromarray(pixels).save(path, quality=95)
    return path


def beside_border(mask: Mask) -> Mask:
    """The pixels that have a neighbour of the other kind."""
    gradient = cv2.morphologyEx(
        mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)
    )
    return gradient.astype(bool)


def assert_same(mask: Mask, expected: Mask) -> None:
    assert mask.shape == expected.shape
    differ = mask != expected
    assert differ.mean() <= 1e-3
    assert (differ & ~beside_border(expected)).mean() <= 1e-4


def test_masks_are_those_of_segment(
    opened: Phone, segmenter: Segmenter, photo: Path, tmp_path: Path
) -> None:
    lying = tmp_path / "lying.jpg"  # on its side, as phones store photos
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(read_photo(photo)).save(lying, quality=95, exif=exif)
    wide = draw(tmp_path / "wide.jpg", 7)
    for path in (photo, lying, wide):
        opened.add(path)
        expected = segmenter(path)
        assert expected.mask.any()
        assert_same(opened.mask(path.stem), expected.mask)
        assert abs(float(opened.text("quality").split()[1]) - expected.quality) <= 0.011
    with Image.open(io.BytesIO(opened.save("save-overlay", "wide_overlay.jpg"))) as overlay:
        assert overlay.size == expected.mask.shape[::-1]
        cyan = np.abs(np.asarray(overlay, int) - (0, 255, 255)).max(axis=2) < 60
    assert 0 < cyan.mean() < 0.2
    assert (cyan & expected.mask).sum() <= 0.2 * cyan.sum()  # around the lesion, not on it
    opened.add(photo)  # once more
    rows = opened.save("save-table", "lesions.csv").decode().splitlines()
    names = ["first.png", "lying.jpg", "wide.jpg", "first (2).png"]
    assert [row.split(",")[0] for row in rows] == ["file", *names]
    assert opened.ask("document.querySelectorAll('#list li').length") == 4


@pytest.mark.skipif(REAL is None, reason="LESIONSEG_TEST_DATA names no real photos")
def test_masks_of_real_photos_are_those_of_segment(opened: Phone, segmenter: Segmenter) -> None:
    paths = sorted((Path(REAL or "") / "isic-raw" / "images").iterdir())[::24]
    assert paths
    for path in paths:
        opened.add(path)
        assert_same(opened.mask(path.stem), segmenter(path).mask)


def test_twelve_megapixels(opened: Phone, segmenter: Segmenter, tmp_path: Path) -> None:
    pixels, _ = synthetic.generate(0, 4)
    path = tmp_path / "large.jpg"
    Image.fromarray(pixels).resize((4000, 3000), Image.Resampling.BICUBIC).save(path, quality=90)
    opened.add(path)
    assert_same(opened.mask("large"), segmenter(path).mask)
    assert opened.ask("performance.memory.usedJSHeapSize") < 400e6


def test_the_threshold_is_that_of_the_checkpoint(
    phone: Phone, segmenter: Segmenter, photo: Path, tmp_path: Path
) -> None:
    network = dataclasses.replace(pages.load_network(store.BUNDLED_FILE), threshold=0.03)
    pages.write_file(tmp_path / "a.html", network)
    phone.open((tmp_path / "a.html").as_uri())
    phone.add(photo)
    expected = Segmenter(segmenter.network, threshold=0.03)(photo)
    assert expected.mask.sum() > 1.02 * segmenter(photo).mask.sum()
    assert_same(phone.mask("first"), expected.mask)


def test_what_is_not_a_photo(opened: Phone, photo: Path, tmp_path: Path) -> None:
    content, pixels = photo.read_bytes(), read_photo(photo)
    clear, dim, jpeg = (io.BytesIO() for _ in range(3))
    transparent = np.dstack([pixels, np.zeros(pixels.shape[:2], np.uint8)])
    Image.fromarray(transparent).save(clear, "PNG")
    dim.write(cv2.imencode(".png", pixels.astype(np.uint16) * 16)[1].tobytes())
    Image.fromarray(pixels).save(jpeg, "JPEG")
    huge = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (20000).to_bytes(4, "big") * 2
    files = {
        "empty.jpg": (b"", "the file is empty (0 bytes)"),
        "text.jpg": (b"not a photo at all", "not a photo"),
        "cut.png": (content[: len(content) // 8], "damaged or cut short"),
        "cut.jpg": (jpeg.getvalue()[:-200], "damaged or cut short"),
        "clear.png": (clear.getvalue(), "black in this browser"),
        "dim.png": (dim.getvalue(), "black in this browser"),
        "phone.heic": (b"\0\0\0\x18ftypheic" + bytes(60), "cannot read HEIC"),
        "scan.tif": (b"II*\0" + bytes(60), "cannot read TIFF"),
        "huge.png": (huge, "400 megapixels; this page reads up to 64"),
    }
    for name, (data, _) in files.items():
        (tmp_path / name).write_bytes(data)
    still = draw(tmp_path / "still.gif")
    opened.add(*(tmp_path / name for name in files), still)
    lines = opened.errors()
    assert len(lines) == len(files)
    for line, (name, (_, words)) in zip(lines, files.items(), strict=True):
        assert line.startswith(f"{name}: ")
        assert words in line
    assert opened.text("level")  # the photo among them is done all the same
    assert opened.ask("document.querySelectorAll('#list li').length") == 1


def test_scale_by_two_taps_on_the_keyboard(opened: Phone, photo: Path) -> None:
    opened.add(photo)
    assert opened.text("area").endswith("px²")
    mask = opened.mask("first")
    opened.click("ruler")
    view = opened.find("view")
    view.send_keys(Keys.ARROW_LEFT * 3, Keys.ENTER, Keys.ARROW_RIGHT * 6, Keys.ENTER)
    assert opened.ask("document.activeElement.id") == "length"
    length = opened.find("length")
    length.clear()
    length.send_keys("12", Keys.ENTER)
    pixels = 6 * max(mask.shape) / 40
    expected = measure(mask, mm_per_pixel=12 / pixels)
    shown = {name: opened.text(name) for name in ("area", "diameter", "perimeter")}
    assert shown["area"].endswith(" mm²")
    for name, value in (
        ("area", expected.area_mm2),
        ("diameter", expected.longest_diameter_mm),
        ("perimeter", expected.perimeter_mm),
    ):
        assert float(shown[name].split()[0].replace(",", "")) == pytest.approx(value, rel=0.006)
    assert "mm" in opened.text("scale")
    assert opened.text("status") == opened.text("scale")
    assert opened.focus() == "ruler"


def test_scale_by_two_taps_of_a_finger(opened: Phone, photo: Path) -> None:
    opened.add(photo)
    sides = opened.mask("first").shape
    opened.click("ruler")
    box = opened.ask("document.getElementById('view').getBoundingClientRect().toJSON()")
    for x, asked in ((40, "Tap two marks of a ruler in the photo."), (140, "Tap the second mark.")):
        place = (box["left"] + x, box["top"] + 50)
        opened.touch("touchStart", place, (place[0] + 30, place[1] + 30))  # two fingers: a zoom
        opened.touch("touchCancel")
        assert opened.text("ruler-help") == asked
        opened.touch("touchStart", place)
        opened.touch("touchEnd")
        opened.wait("document.getElementById('ruler-help').textContent.match(/second|Type/)")
    opened.wait("!document.getElementById('apply').disabled")
    opened.click("apply")
    pixels_per_mm = 100 * sides[1] / box["width"] / 10
    shown = float(opened.text("scale").split()[3].replace(",", ""))
    assert shown == pytest.approx(pixels_per_mm, rel=0.02)


def test_the_keyboard_keeps_its_place(opened: Phone, photo: Path) -> None:
    opened.add(photo, photo)
    view = "document.getElementById('view')"
    for tool in ("ruler", "brush"):
        opened.find(tool).send_keys(Keys.ENTER)
        assert opened.focus() == "view"
        assert opened.ask(f"{view}.role") == "application"
        opened.press(Keys.ESCAPE)
        assert opened.focus() == tool
        assert opened.ask(f"[{view}.role, {view}.tabIndex]") == ["img", -1]
    buttons = opened.driver.find_elements(By.CSS_SELECTOR, "#list button")
    assert [button.get_attribute("aria-current") for button in buttons] == ["false", "true"]
    buttons[0].send_keys(Keys.ENTER)
    assert opened.ask("document.activeElement === arguments[0]", buttons[0])
    assert buttons[0].get_attribute("aria-current") == "true"
    top = opened.ask(f"{view}.getBoundingClientRect().top")
    assert top >= opened.ask("document.querySelector('header').getBoundingClientRect().bottom")
    for _ in range(2):
        opened.click("remove")
    assert opened.focus() == "choose"


def test_brush_undo_and_outline(opened: Phone, photo: Path) -> None:
    opened.add(photo)
    before = opened.mask("first")
    opened.click("brush")
    opened.find("view").send_keys(Keys.ENTER)  # in the middle of the photo
    added = opened.mask("first")
    opened.click("erase")
    opened.find("view").send_keys(Keys.ENTER)
    erased = opened.mask("first")
    middle = tuple(side // 2 for side in before.shape)
    assert added[middle]
    assert not erased[middle]
    assert (added >= before).all()
    assert opened.ask("document.getElementById('corrected').offsetParent !== null")
    assert opened.save("save-table", "lesions.csv").decode().splitlines()[1].endswith(",True")
    opened.click("undo")
    opened.click("undo")
    assert (opened.mask("first") == before).all()
    box = opened.ask("document.getElementById('view').getBoundingClientRect().toJSON()")
    place = (box["left"] + 20, box["top"] + 20)
    opened.click("add")
    opened.touch("touchStart", place)
    opened.touch("touchMove", (place[0] + 40, place[1]))
    opened.touch("touchCancel")  # as where a second finger makes it a zoom
    opened.wait("document.getElementById('undo').disabled")
    assert (opened.mask("first") == before).all()
    opened.add(photo)  # another one does not take the place of the one at work
    current = "document.querySelector('#list [aria-current=true] .name').textContent"
    assert opened.ask(current) == "first.png"
    opened.click("brush-done")
    cyan = (
        "[...document.getElementById('view').getContext('2d').getImageData(0, 0, 300, 200).data]"
        ".filter((value, i, all) => i % 4 === 0 && !value && all[i + 1] === 255).length"
    )
    assert opened.ask(cyan) > 100
    opened.click("toggle")
    assert opened.ask(cyan) == 0


def test_a_camera(opened: Phone) -> None:
    assert opened.ask("document.getElementById('camera-file').getAttribute('capture')") == (
        "environment"
    )
    opened.ask("window.matchMedia = () => ({ matches: false })")  # a computer
    opened.click("take")
    opened.wait("document.getElementById('video').videoWidth > 0")
    assert "Not a medical device" in opened.text("camera")
    opened.click("shoot")
    opened.wait(
        "document.querySelectorAll('#list li').length && document.getElementById('progress').hidden"
    )
    assert not opened.find("camera").is_displayed()
    assert opened.text("level")


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_nothing_overflows_and_the_warning_stays(opened: Phone, photo: Path, width: int) -> None:
    opened.resize(width)
    opened.add(photo)
    for panel in ("ruler", "brush"):
        opened.click(panel)
        assert opened.ask(SIDES) == [width, width]
    opened.ask("scrollTo(0, 1e6)")
    box = "document.getElementById('warning').getBoundingClientRect()"
    assert opened.ask(f"{box}.top") >= 0
    assert "Not a medical device" in opened.text("warning")
    unnamed = (
        "[...document.querySelectorAll('button, input, canvas[tabindex], summary')].filter(part =>"
        " !(part.textContent.trim() || part.getAttribute('aria-label') || part.labels?.length))"
    )
    assert opened.ask(f"{unnamed}.length") == 0


@contextmanager
def serve(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    code = (
        "import functools, http.server as h\n"
        f"handler = functools.partial(h.SimpleHTTPRequestHandler, directory={str(folder)!r})\n"
        "server = h.ThreadingHTTPServer(('127.0.0.1', 0), handler)\n"
        "print(server.server_port, flush=True)\nserver.serve_forever()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with process:
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}", process
        finally:
            process.kill()


def test_a_folder_works_with_its_server_gone(
    phone: Phone, segmenter: Segmenter, photo: Path, tmp_path: Path
) -> None:
    site, network = tmp_path / "site", tmp_path / "network"
    pages.write_folder(site, pages.load_network(store.BUNDLED_FILE))
    phone.resize(390)
    with serve(site) as (address, process):
        (site / "network.onnx.bin").rename(network)
        phone.driver.get(f"{address}/")
        phone.wait("document.querySelector('#errors li')")
        (line,) = phone.errors()
        assert line.startswith("A part of this page could not be loaded (network.onnx).")
        network.rename(site / "network.onnx.bin")
        phone.open(f"{address}/")
        installable = phone.driver.execute_cdp_cmd("Page.getInstallabilityErrors", {})
        assert installable["installabilityErrors"] == []
        phone.wait("crossOriginIsolated && document.documentElement.dataset.engine")
        process.kill()
        process.wait()
        phone.open(f"{address}/")
        assert phone.ask("crossOriginIsolated")  # threads, by the headers that the worker adds
        phone.add(photo)
        assert_same(phone.mask("first"), segmenter(photo).mask)
        asked = phone.requests()
        assert asked
        assert all(url.startswith((f"{address}/", f"blob:{address}/")) for url in asked)
        complaints = phone.driver.get_log("browser")  # type: ignore[no-untyped-call]
        # where there is no GPU, the browser itself says so
        assert all("No available adapters" in entry["message"] for entry in complaints)
