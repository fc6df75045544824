"""A browser shows the report and runs its script."""

import base64
import hashlib
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from tests.inspection.report_page import Page

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


def browse(page, tmp_path, *options):
    """What chromium prints on standard output."""
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", *options, page.as_uri()]
    done = subprocess.run(command, check=True, capture_output=True, timeout=120, text=True)
    return done.stdout


# A reader who sorts the worst samples.
READER = """
for (const button of document.querySelectorAll("table.sortable button")) button.click();
const buttons = [...document.querySelectorAll("table.sortable button")];
buttons.find((button) => button.textContent === "difference").click();
"""


@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
def test_a_browser_sorts_tables(path, tmp_path):
    page = path.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(READER.encode()).digest()).decode()
    read = page.replace("script-src ", f"script-src 'sha256-{digest}' ")
    copy, after = tmp_path / "copy.html", tmp_path / "after.html"
    copy.write_text(read.replace("</body>", f"<script>{READER}</script></body>"), encoding="utf-8")
    after.write_text(browse(copy, tmp_path, "--dump-dom"), encoding="utf-8")
    before = Page(path).table("sample")
    rows = Page(after).table("sample")
    assert rows == before[::-1]  # the table begins with the largest difference


@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
def test_a_browser_shows_it(path, tmp_path):
    picture = tmp_path / "page.png"
    browse(path, tmp_path, "--window-size=1000,4000", f"--screenshot={picture}")
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    # The diagram's blue boxes, and the blues of the heat maps.
    for color in ((0, 114, 178), (8, 48, 107)):
        assert (np.abs(pixels - color).max(2) < 40).sum() > 100
