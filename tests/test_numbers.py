"""Every number of README and the pages has a command, and cheap commands print what pages say.

Pages say where numbers come from in one of four ways:

- A line of Python ends in a comment that is a number, such as ``# 0.960``.
- ``<!-- printed by: X -->`` stands before an indented block that X prints. X is a command of
  redunet, or a statement of Python. ``<!-- run: X -->`` is a command that has to run before.
- ``<!-- from: FILE, COMMAND -->`` stands before a paragraph, list or table whose numbers are in the
  sections of FILE that name COMMAND.
- The section names the command, or says that its figures are calculated.

All code of the pages in ``WHOLE`` runs as it stands, in order, with the names of what ran before.
"""

import ast
import contextlib
import copy
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
from redunet import cli, datasets, rate_reduction

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

# These pages state no results of their own: names, rules, terms, and formulas with their checks.
WITHOUT_RESULTS = {"api", "contributing", "changelog", "extending", "glossary", "results", "theory"}

# All code of these pages runs. Of other pages, that up to the last promise, and the sessions.
WHOLE = {"README", "losses", "own_data", "start"}

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"^<!-- (run|printed by|from): (.*?) -->$", re.MULTILINE)
PROMISE = re.compile(r"# (-?\d+\.\d+)$", re.MULTILINE)
DECIMAL = re.compile(r"(?<![\w.^=×])\d+\.\d{2,}(?![\w.])")
COMMAND = re.compile(
    r"python -m ((?:benchmarks|redunet)\.\w+)|(examples/\w+\.py)|(?<!\w)(redunet \w+ |make \w+)"
)


def text_of(page):
    return page.read_text(encoding="utf-8")


def near(value):
    """What other processors may compute: a sample or two more or less, or another rounding."""
    return pytest.approx(value, rel=0.03, abs=0.011)


def numbers(text):
    """The numbers of a text, and the text with # in their place."""
    pattern = r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.])"
    words = re.sub(r"-{2,}", "", re.sub(pattern, "#", text)).split()
    return [float(x) for x in re.findall(pattern, text)], words


def events(text):
    """The fences of Python and the marks of a page, in order, each with what follows it."""
    found = [(m.start(), m.group(1), m.group(2), m.end()) for m in FENCE.finditer(text)]
    found += [(m.start(), m.group(1), m.group(2), m.end()) for m in MARK.finditer(text)]
    for _, kind, body, end in sorted(found):
        yield kind, body, text[end:]


def run_statements(code, names):
    """Run a fence. Compare the value of each line that promises a number."""
    lines = code.splitlines()
    checked = 0
    for node in ast.parse(code).body:
        exec(compile(ast.Module([node], []), "page", "exec"), names)
        promise = PROMISE.search(lines[node.end_lineno - 1])
        if promise:
            assert isinstance(node, ast.Assign), f"assign the value to a name: {ast.unparse(node)}"
            assert names[node.targets[0].id] == near(float(promise[1])), ast.unparse(node)
            checked += 1
    return checked


def run_session(session, names, page):
    """Run an interactive example, and compare what it prints."""
    test = doctest.DocTestParser().get_doctest(session, {}, page.name, str(page), 0)
    test.globs = names
    told = []
    found = doctest.DocTestRunner().run(test, out=told.append, clear_globs=False)
    assert found.attempted > 0
    assert found.failed == 0, "".join(told)


def printed(command, names):
    """What a command of redunet or a statement prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        if command.startswith("redunet "):
            assert cli.main(shlex.split(command)[1:]) == 0
        else:
            exec(command, names)
    return out.getvalue()


def indented(text):
    """The lines of the first indented block of a text."""
    block = re.match(r"\s*?\n((?:    .*\n|\s*\n)+)", text)
    assert block, f"expected an indented block, found {text[:80]!r}"
    return [line for line in block[1].splitlines() if line.strip()]


def check_printed(command, names, expected):
    """Compare an indented block with the first lines that a command prints."""
    lines = [line for line in printed(command, names).splitlines() if line.strip()]
    for line, other in zip(expected, lines[: len(expected)], strict=True):
        values, words = numbers(line)
        others, other_words = numbers(other)
        assert words == other_words, command
        assert others == near(values), command


def has_promises(text):
    """Whether a text says what its code or its commands give."""
    fences = [body for kind, body in FENCE.findall(text) if kind in ("python", "py")]
    return any(map(PROMISE.search, fences)) or any(m[0] != "from" for m in MARK.findall(text))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with images in classes, where pages may write files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    X, labels = datasets.digits()
    for i, (image, label) in enumerate(zip(X[:300, 0], labels[:300].tolist(), strict=True)):
        images = tmp_path / "pets" / ("train" if i < 200 else "test") / f"pet {label}"
        images.mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 * image).to(torch.uint8).numpy()).save(images / f"{i}.png")
    return tmp_path


def run_page(page):
    """Run the code of a page. Returns its names, and how many promises it has kept."""
    text, names, checked = text_of(page), {}, 0
    whole = page.stem in WHOLE
    for kind, body, rest in events(text):
        if kind == "pycon" and whole:
            run_session(body, names, page)
        elif kind == "python" or (kind == "py" and re.search(PROMISE, body)):
            if not (whole or re.search(PROMISE, body) or has_promises(rest)):
                break  # nothing more is promised
            checked += run_statements(body, names)
        elif kind == "run":
            assert body in text.replace(f"<!-- run: {body} -->", ""), "the page shows the command"
            printed(body, names)
        elif kind == "printed by":
            check_printed(body, names, indented(rest))
            checked += 1
    return names, checked


def page_of(stem):
    (page,) = [page for page in PAGES if page.stem == stem]
    return page


@pytest.mark.filterwarnings("error::redunet.ReduNetWarning")
def test_readme_keeps_its_promises_and_writes_files(folder, capsys):
    names, checked = run_page(page_of("README"))
    assert checked
    assert names["shifted"] == names["accuracy"]
    assert "prediction: " in capsys.readouterr().out
    assert (folder / "digits.safetensors").is_file()
    assert (folder / "digits.html").is_file()


@pytest.mark.filterwarnings("error::redunet.ReduNetWarning")
def test_the_page_for_beginners_keeps_its_promises_and_writes_files(folder, monkeypatch):
    # The report of README is written as it stands. Here it explains a single sample.
    monkeypatch.setattr(redunet, "report", partial(redunet.report, worst=1))
    _, checked = run_page(page_of("start"))
    assert checked == 3
    assert (folder / "digits.html").is_file()


@pytest.mark.filterwarnings("error::redunet.ReduNetWarning")
def test_the_page_about_data_of_ones_own_keeps_its_promises(folder):
    names, checked = run_page(page_of("own_data"))
    assert checked
    assert names["accuracy"] > 0.5


@pytest.mark.filterwarnings("error::redunet.ReduNetWarning")
def test_the_training_of_the_page_about_losses_raises_the_rate_reduction(folder):
    page = run_page(page_of("losses"))[0]
    X, labels = page["datasets"].digits()
    trained = page["featurizer"]
    untrained = copy.deepcopy(trained)
    for layer in (untrained[1], untrained[3]):
        layer.reset_parameters()
    before, after = (rate_reduction(f(X), labels, 0.5).delta for f in (untrained, trained))
    assert after > before + 5


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if has_promises(text_of(page)) and page.stem not in WHOLE],
    ids=lambda page: page.stem,
)
def test_other_pages_print_what_they_promise(page, folder):
    assert run_page(page)[1]


def sections(text):
    """The parts of a page between its headings of the second level."""
    return re.split(r"^(?=## )", text, flags=re.MULTILINE)


def blocks(section):
    """Paragraphs, lists and tables, without code. Each comes with the mark before it, if any."""
    mark = None
    for block in re.split(r"\n\s*\n", FENCE.sub("", section)):
        found = MARK.match(block.strip())
        if found:
            mark = found.groups()
            block = block.strip()[found.end() :]
            if not block.strip():
                continue
        if not block.startswith("    ") or mark:
            yield re.sub(r"`[^`]*`", "", block), mark
        mark = None


RESULTS = [
    pytest.param(block, source, id=f"{page.stem}, {source.partition(', ')[2]}")
    for page in PAGES
    for section in sections(text_of(page))
    for block, mark in blocks(section)
    if mark and mark[0] == "from"
    for source in [mark[1]]
]


def stands_in(number, text):
    """Whether a text has this number, or one that is rounded to it."""
    places = len(number.partition(".")[2])
    return any(f"{float(other):.{places}f}" == number for other in DECIMAL.findall(text))


@pytest.mark.parametrize(("block", "source"), RESULTS)
def test_results_stand_beside_their_command(block, source):
    file, _, command = source.partition(", ")
    text = text_of(ROOT / file)
    parts = sections(text)
    beside = text if command in parts[0] else "".join(part for part in parts if command in part)
    assert command in beside, f"{file} does not name {command}"
    found = DECIMAL.findall(block)
    assert found, f"no numbers in {block!r}"
    assert [x for x in found if not stands_in(x, beside)] == [], f"not in {file} beside {command}"


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.stem not in WITHOUT_RESULTS], ids=lambda page: page.stem
)
def test_numbers_have_a_command(page):
    parts = sections(text_of(page))
    for section in parts:
        named = COMMAND.search(section) or COMMAND.search(parts[0]) or "calculated" in section
        for block, mark in blocks(section):
            if DECIMAL.search(block) and not mark:
                assert named, f"{page.name}: no command for {DECIMAL.findall(block)} in {block!r}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_named_programs_exist(page):
    for module, program, _ in COMMAND.findall(text_of(page)):
        if module or program:
            path = ROOT / (program or module.replace(".", "/") + ".py")
            assert path.is_file() or (path.with_suffix("") / "__main__.py").is_file(), path
