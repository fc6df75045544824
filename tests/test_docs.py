"""The pages of the documentation: their code runs, and nothing public is left out."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

import redunet.datasets
import redunet.plots

DOCS = Path(__file__).parents[1] / "docs"


def sessions(page):
    """The interactive examples of a page, fence by fence."""
    return re.findall(r"^```pycon\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


WITH_SESSIONS = [page for page in sorted(DOCS.glob("**/*.md")) if sessions(page)]


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
