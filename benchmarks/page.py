"""The page of `lesionseg page` in Chromium beside `segment`: seconds a photo, pixels that differ.

    lesionseg page -o lesion.html --checkpoint bundled
    python benchmarks/page.py lesion.html PHOTO...

Opens the file from the disk at a phone's width, then the same as a folder on a server, where the
network has threads, and runs the network alone. Needs selenium with Chromium and its driver.
"""

import argparse
import http.server
import io
import shutil
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from lesionseg import store
from lesionseg.images.arrays import Mask
from lesionseg.segmentation.segmenter import Segmenter, load
from lesionseg.web import pages

ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=390,844")
DONE = "return document.getElementById('progress').hidden"
READY = "return document.documentElement.dataset.engine"
FOLDER_PHOTOS = 20  # that are timed in the folder, evenly taken of all
RUNS = 20  # of the network alone
ALONE = """
const [side, runs, done] = arguments;
import(new URL("network.js", location)).then(async ({ openNetwork }) => {
  const network = await openNetwork(side);
  const photo = Uint8Array.from({ length: 3 * side * side }, (_, place) => (place * 7919) % 256);
  const times = [];
  for (let run = 0; run < runs; run++) {
    const begun = performance.now();
    await network.run(photo);
    times.push((performance.now() - begun) / 1000);
  }
  done([network.threads, times]);
});
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A static server without a log."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@dataclass
class Difference:
    """Pixels in which a mask of the page differs from that of `segment`."""

    name: str
    pixels: int
    differing: int
    beyond: int  # of these, not beside the outline


@contextmanager
def browser(downloads: str) -> Iterator[webdriver.Chrome]:
    """Open Chromium without a screen."""
    options = webdriver.ChromeOptions()
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    driver = shutil.which("chromedriver")
    with webdriver.Chrome(options=options, service=Service(driver)) as chrome:
        place = {"behavior": "allow", "downloadPath": downloads}
        chrome.execute_cdp_cmd("Browser.setDownloadBehavior", place)
        chrome.set_script_timeout(120)
        yield chrome


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder, and give its address."""
    handler = partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def wait(driver: webdriver.Chrome, condition: str) -> None:
    while not driver.execute_script(condition):
        time.sleep(0.02)


def seconds_of(driver: webdriver.Chrome, path: Path, begun: float | None = None) -> float:
    """Give the page a photo and wait for its outline."""
    begun = begun or time.perf_counter()
    driver.find_element(By.ID, "files").send_keys(str(path.resolve()))
    wait(driver, DONE)
    return time.perf_counter() - begun


def saved_mask(driver: webdriver.Chrome, target: Path) -> Mask:
    driver.execute_script("document.getElementById('save-mask').click()")
    while not target.is_file():
        time.sleep(0.02)
    mask = np.asarray(Image.open(io.BytesIO(target.read_bytes())))
    return np.asarray(mask == 255)


def compare(path: Path, mask: Mask, segmenter: Segmenter) -> Difference:
    expected = segmenter(path).mask
    differ = mask != expected
    square = np.ones((3, 3), np.uint8)
    border = cv2.morphologyEx(expected.view(np.uint8), cv2.MORPH_GRADIENT, square)
    beyond = int((differ & (border == 0)).sum())
    return Difference(path.name, mask.size, int(differ.sum()), beyond)


def report(form: str, threads: int, seconds: list[float]) -> None:
    later = seconds[1:] or seconds
    print(
        f"{form}, threads: {threads}: first mask {seconds[0]:.2f} s after opening, then "
        f"{statistics.median(later):.2f} s a photo ({min(later):.2f} to {max(later):.2f}, "
        f"{len(later)} photos)",
        flush=True,
    )


def run_file(page: Path, photos: list[Path], segmenter: Segmenter) -> list[Difference]:
    """Time the file from the disk, and compare its masks."""
    seconds, differences = [], []
    with TemporaryDirectory() as downloads, browser(downloads) as driver:
        begun: float | None = time.perf_counter()
        driver.get(page.resolve().as_uri())
        for path in photos:
            seconds.append(seconds_of(driver, path, begun))
            mask = saved_mask(driver, Path(downloads) / f"{path.stem}_segmentation.png")
            differences.append(compare(path, mask, segmenter))
            begun = None
    report("one file", 1, seconds)
    return differences


def run_folder(photos: list[Path], checkpoint: str) -> None:
    """Time a folder on a server once it is on the device, and the network alone."""
    network = pages.load_network(store.find_checkpoint(checkpoint))
    with TemporaryDirectory() as folder, browser(folder) as driver:
        pages.write_folder(Path(folder), network)
        with served(Path(folder)) as address:
            driver.get(address)
            wait(driver, f"{READY} && crossOriginIsolated")
            begun: float | None = time.perf_counter()
            driver.get(address)
            seconds = []
            for path in photos[:: max(1, len(photos) // FOLDER_PHOTOS)]:
                seconds.append(seconds_of(driver, path, begun))
                begun = None
            threads, times = driver.execute_async_script(ALONE, network.size, RUNS)
            report("folder", threads, seconds)
            alone = {threads: statistics.median(times)}
            one = {"hardwareConcurrency": 1}
            driver.execute_cdp_cmd("Emulation.setHardwareConcurrencyOverride", one)
            driver.get(address)
            wait(driver, READY)
            threads, times = driver.execute_async_script(ALONE, network.size, RUNS)
            alone[threads] = statistics.median(times)
    for threads, median in sorted(alone.items()):
        print(f"network alone, threads: {threads}: {median:.3f} s (median of {RUNS} runs)")


def main() -> None:
    """Print times, and how the masks of the page differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--checkpoint", default=store.BUNDLED, help="that the page was made from")
    options = parser.parse_args()
    differences = run_file(options.page, options.photos, load(options.checkpoint, "cpu"))
    run_folder(options.photos, options.checkpoint)
    differing, beyond, pixels = (
        sum(getattr(one, name) for one in differences) for name in ("differing", "beyond", "pixels")
    )
    worst = max(differences, key=lambda one: one.differing / one.pixels)
    print(
        f"{differing:,} of {pixels:,} pixels differ ({differing / pixels:.4%}), {beyond:,} not "
        f"beside the outline; at most {worst.differing / worst.pixels:.3%} ({worst.name}); equal "
        f"in {sum(not one.differing for one in differences)} of {len(differences)} photos"
    )


if __name__ == "__main__":
    main()
