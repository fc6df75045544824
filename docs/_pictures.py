"""Draw the pictures of the page ``start.md``, by its own code: ``python docs/_pictures.py``."""

import io
import re
from pathlib import Path

import matplotlib.pyplot as plt
from PIL import Image

HERE = Path(__file__).parent
FENCE = re.compile(
    r"^```(?:python|py|pycon)\n(.*?)^```$(?:\n\n!\[[^]]*\]\((images/start_\w+\.png)\))?",
    re.MULTILINE | re.DOTALL,
)


def statements(code):
    """Return the code of a fence, without prompts and without what a session prints."""
    lines = code.splitlines()
    if lines[0].startswith(">>>"):
        lines = [line[4:] for line in lines if line.startswith((">>> ", "... "))]
    return "\n".join(lines)


def drawn(number):
    """Return a figure as an image, and close it."""
    file = io.BytesIO()
    plt.figure(number).savefig(file, dpi=100, bbox_inches="tight")
    plt.close(number)
    return Image.open(file).convert("RGB")


def save(images, path):
    """Save images one below the other."""
    width, height = max(image.width for image in images), sum(20 + image.height for image in images)
    page, top = Image.new("RGB", (width, height), "white"), 0
    for image in images:
        page.paste(image, (0, top))
        top += 20 + image.height
    page.save(path, optimize=True)


def main():
    """Run the fences up to the last picture."""
    text = (HERE / "start.md").read_text(encoding="utf-8")
    text = text[: text.index("## Save the network")]
    names = {}
    for code, path in FENCE.findall(text):
        exec(statements(code), names)
        if path:
            save([drawn(number) for number in plt.get_fignums()], HERE / path)


if __name__ == "__main__":
    main()
