"""The numbers of README and the pages are what their code and their commands print.

- All fences ``python`` and ``pycon`` of the pages in ``RUN`` run, in order, in one set of names. A
  line of Python that ends in a number, such as ``# 0.960``, has this value.
- ``<!-- printed by: X -->`` stands before an indented block that X prints. X is a command of
  redunet, or a statement of Python.
- ``<!-- from: FILE, COMMAND -->`` stands before a paragraph, list or table whose numbers are in the
  sections of FILE that name COMMAND.
- Other numbers stand in a section that names a command, or says that they are calculated.
"""

import ast
import contextlib
import doctest
import io
import re
import shlex
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

import redunet
from redunet import cli, datasets

ROOT = Path(__file__).parents[1]
PAGES = {page.stem: page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
TEXTS = {stem: page.read_text(encoding="utf-8") for stem, page in PAGES.items()}

RUN = (
    *("README", "algorithm", "classifier", "losses", "own_data", "own_loop", "photographs"),
    *("pipelines", "start", "windows"),
)

# These pages state no results of their own: names, rules, terms, and formulas with their checks.
WITHOUT_RESULTS = {"api", "contributing", "changelog", "extending", "glossary", "results", "theory"}

STEP = re.compile(
    r"^```(python|pycon)\n(.*?)^```$|^<!-- printed by: (.*?) -->\n\s*?\n((?:    [^\n]*\n|\s*\n)+)",
    re.MULTILINE | re.DOTALL,
)
FROM = re.compile(r"^<!-- from: (\S+), (.*?) -->\n+(.*?)\n\s*\n", re.MULTILINE | re.DOTALL)
# Fences, indented blocks, blocks with a mark, and code state no numbers of their own.
CODE = re.compile(r"^```.*?^```$|^    .*$|^<!-- from.*?\n\s*\n|`[^`\n]*`", re.MULTILINE | re.DOTALL)
DECIMAL = re.compile(r"(?<![\w.^=×])\d+\.\d{2,}(?![\w.])")
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.])")
COMMAND = re.compile(
    r"python -m ((?:benchmarks|redunet)\.\w+)|(examples/\w+\.py)|(?<!\w)(redunet \w+ |make \w+)"
)


def near(value):
    """What other processors may compute: a sample or two more or less, or another rounding."""
    return pytest.approx(value, rel=0.03, abs=0.011)


def run_statements(code, names):
    """Run a fence. Compare the value of each line that ends in a number."""
    lines = code.splitlines()
    for node in ast.parse(code).body:
        exec(compile(ast.Module([node], []), "page", "exec"), names)
        if promise := re.search(r"# (-?\d+\.\d+)$", lines[node.end_lineno - 1]):
            assert names[node.targets[0].id] == near(float(promise[1])), ast.unparse(node)


def run_session(session, names):
    """Run an interactive example, and compare what it prints."""
    test = doctest.DocTestParser().get_doctest(session, {}, "page", "page", 0)
    test.globs = names
    told = []
    found = doctest.DocTestRunner().run(test, out=told.append, clear_globs=False)
    assert found.failed == 0 < found.attempted, "".join(told)


def check_printed(command, names, block):
    """Compare an indented block with the first lines that a command prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        if command.startswith("redunet "):
            assert cli.main(shlex.split(command)[1:]) == 0
        else:
            exec(command, names)
    expected, printed = (
        [line for line in text.splitlines() if line.strip()] for text in (block, out.getvalue())
    )
    for line, other in zip(expected, printed[: len(expected)], strict=True):
        words, other_words = (
            re.sub("-{2,}|#", "", NUMBER.sub("", x)).split() for x in (line, other)
        )
        assert words == other_words, command
        values, others = ([float(x) for x in NUMBER.findall(text)] for text in (line, other))
        assert others == near(values), command


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with images in classes, where pages may write files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    X, labels = datasets.digits()
    for i, (image, label) in enumerate(zip(X[:300, 0], labels[:300].tolist(), strict=True)):
        images = tmp_path / "parts" / ("train" if i < 200 else "test") / f"part {label}"
        images.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 * image).to(torch.uint8).numpy()).save(images / f"{i}.png")
    return tmp_path


@pytest.mark.parametrize("stem", RUN)
@pytest.mark.filterwarnings("error::redunet.ReduNetWarning")
def test_pages_run_and_print_what_they_say(stem, folder, monkeypatch):
    if stem == "start":  # the report of README is written as it stands; here it explains one sample
        monkeypatch.setattr(redunet, "report", partial(redunet.report, worst=1))
    names = {}
    for kind, code, command, block in STEP.findall(TEXTS[stem]):
        if kind == "python":
            run_statements(code, names)
        elif kind == "pycon":
            run_session(code, names)
        else:
            check_printed(command, names, block)
    if stem in ("README", "classifier"):
        assert names["shifted"] == names["accuracy"]  # exactly, as the pages say


def sections(text):
    """The parts of a page between its headings of the second level."""
    return re.split(r"^(?=## )", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("file", "command", "block"),
    [
        pytest.param(*found, id=f"{stem}, {found[1]}")
        for stem, text in TEXTS.items()
        for found in FROM.findall(text)
    ],
)
def test_results_stand_beside_their_command(file, command, block):
    first, *others = sections((ROOT / file).read_text(encoding="utf-8"))
    named = [part for part in others if command in part or command in first]
    known = [float(number) for part in [first, *named] for number in DECIMAL.findall(part)]
    assert named, f"{file} does not name {command}"
    found = DECIMAL.findall(block)
    assert found
    for number in found:
        places = len(number.partition(".")[2])
        assert any(f"{x:.{places}f}" == number for x in known), f"{number} is not in {file}"


@pytest.mark.parametrize("stem", sorted(TEXTS.keys() - WITHOUT_RESULTS))
def test_numbers_have_a_command(stem):
    parts = sections(TEXTS[stem])
    for section in parts:
        numbers = DECIMAL.findall(CODE.sub("", section))
        named = COMMAND.search(section) or COMMAND.search(parts[0]) or "calculated" in section
        assert named or not numbers, f"no command for {numbers}"


@pytest.mark.parametrize("stem", TEXTS)
def test_named_programs_exist(stem):
    for module, program, _ in COMMAND.findall(TEXTS[stem]):
        if module or program:
            path = ROOT / (program or module.replace(".", "/") + ".py")
            assert path.is_file() or (path.with_suffix("") / "__main__.py").is_file(), path
