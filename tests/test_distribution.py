"""What a package index shows."""

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETUP = runpy.run_path(str(ROOT / "setup.py"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINK = re.compile(r"(!?)\[[^\]]+\]\(([^)]+)\)")


def test_without_a_repository_no_link_leads_into_one():
    text = SETUP["description"](README, None, "1.2")
    assert all(place.startswith("https://") for _, place in LINK.findall(text))
    assert "![" not in text
    assert "Similarity of test digits" not in text
    assert "Digits of the test set" not in text  # the caption
    assert "`docs/install.md` says what this downloads" in text
    assert text.count("\n## ") == README.count("\n## ") == text.count("\n\n## ")


def test_with_a_repository_all_links_and_pictures_lead_to_the_release():
    text = SETUP["description"](README, "https://example.org/redunet", "1.2")
    assert "(https://example.org/redunet/blob/v1.2/docs/install.md)" in text
    assert "(https://example.org/redunet/raw/v1.2/docs/images/similarity.png)" in text
    links = LINK.findall(text)
    assert len(links) == len(LINK.findall(README))
    assert all(place.startswith("https://") for _, place in links)
    for place in re.findall(r"1\.2/([^)]+)\)", text):
        assert (ROOT / place).exists(), place
