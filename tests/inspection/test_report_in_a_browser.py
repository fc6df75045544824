"""A browser shows the report."""

import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


def browse(page, tmp_path, *options):
    """What chromium prints on standard output."""
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", *options, page.as_uri()]
    done = subprocess.run(command, check=True, capture_output=True, timeout=120, text=True)
    return done.stdout


@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
def test_a_browser_shows_it(path, tmp_path):
    picture = tmp_path / "page.png"
    browse(path, tmp_path, "--window-size=1000,4000", f"--screenshot={picture}")
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    # The diagram's blue boxes, and the blues of the heat maps.
    for color in ((0, 114, 178), (8, 48, 107)):
        assert (np.abs(pixels - color).max(2) < 40).sum() > 100
