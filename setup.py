"""The description for package indexes: README.md without links into the repository.

An index knows no files of the repository. If ``project_urls`` in setup.cfg names the repository as
``Source``, links and pictures go there. Otherwise links become their text, without the pictures.
"""

import configparser
import re
from pathlib import Path

from setuptools import setup

# [text](place) and ![text](place), where place is no address and no heading of the page.
LINK = re.compile(r"(!?)\[([^\]]+)\]\((?!https?:|#)([^)]+)\)")

# A picture in a paragraph of its own, and its caption.
PICTURE = re.compile(rf"^{LINK.pattern}\n\n\*[^*]+\*\n\n", re.MULTILINE)


def description(readme: str, source: str | None, version: str) -> str:
    """The text of README.md as an index shows it."""
    if source is None:
        return LINK.sub(lambda link: link[2], PICTURE.sub("", readme))

    def absolute(link: re.Match[str]) -> str:
        place = f"{source}/{'raw' if link[1] else 'blob'}/v{version}/{link[3]}"
        return f"{link[1]}[{link[2]}]({place})"

    return LINK.sub(absolute, readme)


if __name__ == "__main__":
    config = configparser.ConfigParser()
    config.read("setup.cfg", encoding="utf-8")
    urls = dict(
        line.split(" = ", 1) for line in config["metadata"]["project_urls"].strip().splitlines()
    )
    version = re.search(
        r'__version__ = "(.+)"', Path("redunet/_version.py").read_text(encoding="utf-8")
    )[1]
    readme = Path("README.md").read_text(encoding="utf-8")
    setup(
        long_description=description(readme, urls.get("Source"), version),
        long_description_content_type="text/markdown",
    )
