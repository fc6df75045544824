"""The pages of the documentation: their code runs, and nothing public is left out."""

import doctest
import importlib
import inspect
import pkgutil
import re
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex

import redunet.datasets
import redunet.plots
from redunet._warnings import warn
from redunet.inspection.style import PALETTE
from tests.test_numbers import RUN

DOCS = Path(__file__).parents[1] / "docs"


def sessions(page):
    """The interactive examples of a page, fence by fence."""
    return re.findall(r"^```pycon\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


# The sessions of pages in RUN run in test_numbers.py, together with their other code.
WITH_SESSIONS = [
    page for page in sorted(DOCS.glob("**/*.md")) if sessions(page) and page.stem not in RUN
]


def test_theory_is_checked():
    assert DOCS / "theory.md" in WITH_SESSIONS


@pytest.mark.parametrize("page", WITH_SESSIONS, ids=lambda page: page.stem)
def test_sessions(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest(
        "\n".join(sessions(page)), {}, page.name, str(page), 0
    )
    told = []
    found = doctest.DocTestRunner().run(test, out=told.append)
    assert found.attempted > 0
    assert found.failed == 0, "".join(told)


def test_every_public_name_is_in_the_reference():
    listed = re.findall(r"^   (redunet[.\w]+)$", (DOCS / "api.md").read_text(), re.M)
    for module in (redunet, redunet.plots, redunet.datasets):
        for name in module.__all__:
            is_module = isinstance(getattr(module, name), type(redunet))
            if not (is_module or name.startswith("__")):
                assert f"{module.__name__}.{name}" in listed
    assert len(listed) == len(set(listed))


def test_every_name_in_the_reference_can_be_imported_from_there():
    for name in re.findall(r"^   (redunet[.\w]+)$", (DOCS / "api.md").read_text(), re.M):
        module, attribute = name.rsplit(".", 1)
        assert hasattr(importlib.import_module(module), attribute), name


@pytest.mark.parametrize(
    "page", [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))], ids=lambda page: page.stem
)
def test_pictures_exist_and_have_descriptions(page):
    text = page.read_text(encoding="utf-8")
    for description, path in re.findall(r"!\[([^]]*)\]\((?!http)([^)]+)\)", text):
        assert (page.parent / path).is_file(), path
        assert len(description) > 10, path


def test_formulas_need_no_network():
    path = re.search(r'^mathjax_path = "(.*)"$', (DOCS / "conf.py").read_text(), re.MULTILINE)[1]
    file = DOCS / "_static" / path
    assert 10**6 < file.stat().st_size < 2.2 * 10**6
    assert (file.parent / "LICENSE").read_text().strip().startswith("Apache License")


INVENTORIES = sorted((DOCS / "_inventories").glob("*.inv"))


@pytest.mark.parametrize("path", INVENTORIES, ids=lambda path: path.stem)
def test_links_to_other_projects_need_no_network(path):
    conf = (DOCS / "conf.py").read_text()
    assert re.search(rf'"{path.stem}": \("https://[^"]+/", "_inventories/{path.name}"\)', conf)
    head, _, _, *lines = path.read_text().splitlines()
    assert head == "# Sphinx inventory version 1"  # a version in plain text
    names = [line.split()[0] for line in lines]
    assert names == sorted(names, key=str.lower)
    assert len(names) == len(set(names))
    for line in lines:
        name, kind, page = line.split()
        assert page.endswith(".html")
        found = pkgutil.resolve_name(name)
        assert inspect.isclass(found) == (kind == "class"), name
        assert callable(found)


def test_every_page_is_in_the_menu():
    menu = re.findall(r"^([a-z_]+)$", (DOCS / "index.md").read_text(), re.MULTILINE)
    assert sorted([*menu, "index"]) == sorted(page.stem for page in DOCS.glob("*.md"))


def test_a_warning_in_a_lesson_is_an_error(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    lessons = importlib.import_module("_lessons")
    with warnings.catch_warnings(), plt.rc_context():
        warnings.simplefilter("ignore")
        filters = list(warnings.filters)
        lessons.prepare({}, None, "before")
        with pytest.raises(UserWarning, match="meaningless"):
            warn("features may be meaningless")
        warnings.warn("another package will change", FutureWarning, stacklevel=1)
        lessons.prepare({}, None, "after")
        assert list(warnings.filters) == filters
    del sys.modules["_lessons"]


LESSONS = sorted((DOCS.parent / "examples" / "gallery").glob("plot_*.py"))


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_lessons_have_a_title_and_say_what_to_see(lesson):
    text = lesson.read_text(encoding="utf-8")
    _, title, line, *_ = text.splitlines()
    assert line == "=" * len(title)
    assert text.count("# %%") >= 1


def test_lessons_take_the_colours_of_methods_and_classes(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    lessons = importlib.import_module("_lessons")
    with warnings.catch_warnings(), plt.rc_context():
        lessons.prepare({}, None, "before")
        assert [to_hex(f"C{i}") for i in range(7)] == [color.lower() for color in PALETTE]
        lessons.prepare({}, None, "after")
    del sys.modules["_lessons"]
    for lesson in LESSONS:
        assert not re.search(r"color=\"(#|tab:|red|green|blue)", lesson.read_text()), lesson.name


def test_lessons_name_the_figures_that_they_repeat():
    header = " ".join((LESSONS[0].parent / "GALLERY_HEADER.rst").read_text().split())
    texts = {lesson.stem: lesson.read_text(encoding="utf-8") for lesson in LESSONS}
    for figures, stem in re.findall(r"- Figures? ([\d a-z]+): :doc:`(\w+)`", header):
        first, _, last = figures.partition(" to ")
        for figure in range(int(first), int(last) + 1) if last else figures.split(" and "):
            assert re.search(rf"\b{figure}\b", texts[stem]), (stem, figure)
    assert "Figures 22 to 27: :doc:`plot_22_channels`" in header
