"""The page of `lesionseg page` in Chromium beside `segment`: seconds a photo, pixels that differ.

    lesionseg page -o lesion.html --checkpoint bundled
    python benchmarks/page.py lesion.html PHOTO...

Opens the file from the disk at a phone's width and needs selenium with Chromium and its driver.
"""

import argparse
import io
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By

from lesionseg.segmentation.segmenter import load

ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=390,844")
DONE = "return document.getElementById('progress').hidden"


def waited(driver: webdriver.Chrome, condition: str) -> None:
    while not driver.execute_script(condition):
        time.sleep(0.02)


def main() -> None:
    """Print a line for each photo, and one for all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("photos", type=Path, nargs="+")
    options = parser.parse_args()
    segmenter = load("bundled", "cpu")
    chrome = webdriver.ChromeOptions()
    for argument in ARGUMENTS:
        chrome.add_argument(argument)
    seconds, differing, beyond, pixels = [], 0, 0, 0
    with TemporaryDirectory() as folder, webdriver.Chrome(options=chrome) as driver:
        place = {"behavior": "allow", "downloadPath": folder}
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", place)
        begun = time.perf_counter()
        driver.get(options.page.resolve().as_uri())
        for path in options.photos:
            driver.find_element(By.ID, "files").send_keys(str(path.resolve()))
            waited(driver, DONE)
            seconds.append(time.perf_counter() - begun)
            driver.execute_script("document.getElementById('save-mask').click()")
            target = Path(folder) / f"{path.stem}_segmentation.png"
            while not target.is_file():
                time.sleep(0.02)
            mask = np.asarray(Image.open(io.BytesIO(target.read_bytes()))) == 255
            expected = segmenter(path).mask
            differ = mask != expected
            border = cv2.morphologyEx(
                expected.view(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)
            )
            away = int((differ & (border == 0)).sum())
            print(f"{path.name} {mask.shape}: {differ.sum()} pixels, {away} beside no outline")
            differing, beyond, pixels = differing + differ.sum(), beyond + away, pixels + mask.size
            begun = time.perf_counter()
    print(
        f"{differing:,} of {pixels:,} pixels differ ({differing / pixels:.4%}), {beyond:,} beside "
        f"no outline; first mask {seconds[0]:.1f} s after opening, then "
        f"{statistics.median(seconds[1:] or seconds):.2f} s a photo"
    )


if __name__ == "__main__":
    main()
