"""The entry to the benchmarks, and the benchmark of a GPU on small workloads."""

import ast
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import __main__ as entry
from benchmarks import budget, construct, few_samples, losses, normalizations
from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import constants, profiles, timings
from benchmarks.workloads import Workload
from redunet import algorithm, datasets

FOLDER = Path(entry.__file__).parent
SMALL = {
    "vector": Workload("vector, m=60", 60, (12,), 3, 2),
    "image16": Workload("image, m=40", 40, (6, 4, 4), 2, 2),
    "classes": Workload("classes, m=64", 64, (8,), 8, 2),
}


def is_program(path):
    """Whether a module ends with ``if __name__ == "__main__"``."""
    last = ast.parse(path.read_text(encoding="utf-8")).body[-1]
    return isinstance(last, ast.If) and "__name__" in ast.unparse(last.test)


@pytest.fixture
def small_workloads(monkeypatch):
    for module in (constants, profiles, timings):
        monkeypatch.setattr(module, "WORKLOADS", SMALL)
    monkeypatch.setattr(profiles, "CONSTRUCTED", list(SMALL))
    monkeypatch.setattr(timings, "EVALUATION", SMALL["image16"]._replace(name="evaluation, m=40"))
    monkeypatch.setattr(construct, "EVALUATION", SMALL["image16"])
    monkeypatch.setattr(losses, "SMALL_CLASSES", [losses.Batch(2, 64, 128, 2)])
    monkeypatch.setattr(losses, "LARGE_CLASSES", [losses.Batch(200, 64, 3200, 2)])
    monkeypatch.setattr(timings, "SERIES", 24)
    monkeypatch.delenv("REDUNET_DATA", raising=False)


def test_every_benchmark_is_listed():
    programs = {path.stem for path in FOLDER.glob("*.py") if is_program(path)} - {"__main__"}
    programs |= {path.parent.name for path in FOLDER.glob("*/__main__.py")}
    assert programs == set(entry.BENCHMARKS)


def test_the_list_says_what_each_benchmark_needs(capsys):
    assert entry.main([]) == 0
    shown = capsys.readouterr().out
    for name, benchmark in entry.BENCHMARKS.items():
        (line,) = (line for line in shown.splitlines() if line.startswith(f"{name} "))
        assert benchmark.shows in line
        assert benchmark.needs in line
        assert 0 < benchmark.minutes < 120


def test_a_benchmark_is_run_by_its_name(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    with pytest.raises(SystemExit) as stopped:
        entry.main(["mnist", "--help"])
    assert stopped.value.code == 0
    assert "--per-class" in capsys.readouterr().out


def test_a_benchmark_that_does_not_exist(capsys):
    assert entry.main(["speed"]) == 2
    assert "no benchmark is called 'speed': choose from construct," in capsys.readouterr().out


def test_all_timings_of_a_device_are_one_section(small_workloads, tmp_path, capsys):
    file = tmp_path / "section.md"
    with torch.no_grad():
        gpu.main(["--device", "cpu", "--minutes", "0.5", "--out", str(file)])
    section = file.read_text(encoding="utf-8")
    assert capsys.readouterr().out == section
    assert section.startswith("## Timings on a CPU\n\n- Processor: ")
    for part in gpu.PARTS:
        assert f"### {part}\n" in section.lower()
    assert "This part failed" not in section
    for title in ("trial, 3, m=", "trial, 3×4×4, m=", "k=2, d=8, m=400", "24 series"):
        assert f"| {title}" in section, title
    assert "There is no device for the tests that run on one." in section


def test_a_device_without_time_gets_a_section_too(small_workloads, capsys):
    with torch.no_grad():
        gpu.main(["--device", "cpu", "--minutes", "0", "--only", "layers", "precision", "graphs"])
    assert "There was no time for a layer on new samples." in capsys.readouterr().out


def test_a_part_that_fails_does_not_end_the_others(small_workloads, capsys, monkeypatch):
    def fail(context):
        raise RuntimeError("out of memory")

    monkeypatch.setitem(gpu.PARTS, "layers", fail)
    with torch.no_grad():
        gpu.main(["--device", "cpu", "--minutes", "0.1", "--only", "layers", "tests"])
    shown = capsys.readouterr().out
    assert "### Layers\n\nThis part failed: RuntimeError: out of memory\n" in shown
    assert "### Tests" in shown


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_the_benchmark_of_a_gpu_needs_one(capsys):
    with pytest.raises(SystemExit):
        gpu.main(["--minutes", "0.1"])
    assert "there is no CUDA device; --device cpu shows" in capsys.readouterr().err


def test_a_size_is_fitted_to_a_budget(monkeypatch):
    def took(run, device, repeat):
        return run() / 1000  # a run takes a millisecond for each sample

    monkeypatch.setattr(budget, "best_time", took)
    work = Workload("vector, m=3200", 3200, (4,), 2, 1)
    cpu = torch.device("cpu")

    def samples(seconds):
        left = budget.Budget(seconds, cpu)
        found = budget.fitted(work, left, lambda size: lambda: size.samples, runs=10)
        return found and found.samples

    assert samples(1000) == 3200
    assert samples(16) == pytest.approx(1600, abs=2)
    assert samples(2) == 100
    assert samples(0.5) is None
    assert budget.resized(work, 100).name == "vector, m=100"


def test_few_samples(capsys, monkeypatch):
    arguments = ["few_samples", "--features", "300", "--sets", "iris", few_samples.DEEP]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.delenv("REDUNET_DATA", raising=False)
    few_samples.main()
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if "|" in line]
    assert int(rows[2][1]) == 300
    assert [row[1].strip() for row in rows[5:]] == ["iris", few_samples.DEEP]
    for row in rows[5:]:
        samples, whole, short, _, _, error = (float(cell) for cell in row[3:9])
        assert short < 2 * samples
        assert short < whole / 10
        assert error < 1e-4


def series():
    """Training and new series of 4 channels in double precision, and the labels of both."""
    X, labels = datasets.sinusoids(per_class=8, channels=4, length=10, noise=0.5)
    return [X.double()[0::2], X.double()[1::2], labels[0::2], labels[1::2]]


def test_the_sphere_gives_the_algorithm_as_printed():
    X, X_new, labels, _ = series()
    settings = normalizations.Settings(eps_sq=0.5, step=0.7, sharpness=20)
    sphere = normalizations.NORMALIZATIONS["sphere"]
    net = normalizations.construct(X, labels, sphere, 3, settings)
    alpha = 4 / (12 * 0.05)  # C/(mε²), and three classes of 4 samples have α_j = 3α
    layers = algorithm.construct(X, labels, 3, 0.7 / alpha, 0.05, 20 / (3 * alpha))
    torch.testing.assert_close(net(X_new)[0], algorithm.features(X_new, layers))
    R, R_c = algorithm.rates(algorithm.to_spectrum(net(X)[0]), labels, 0.05)
    assert net.delta == pytest.approx(float(R - R_c), rel=1e-12)


@pytest.mark.parametrize("name", normalizations.NORMALIZATIONS)
def test_normalizations_commute_with_shifts(name):
    X, X_new, labels, _ = series()
    make, settings = normalizations.NORMALIZATIONS[name], normalizations.Settings(0.5, 0.7, 5)
    net = normalizations.construct(X, labels, make, 3, settings)
    (Z, membership), (moved, same) = net(X_new), net(X_new.roll(3, -1))
    torch.testing.assert_close(moved, Z.roll(3, -1), rtol=0, atol=1e-12)
    torch.testing.assert_close(same, membership, rtol=0, atol=1e-12)
    assert 0.1 < membership.max(1).values.mean() < 0.999


def test_what_each_normalization_fixes():
    X, _, labels, _ = series()
    true = torch.nn.functional.one_hot(labels).double()
    V = normalizations.spectrum(X * torch.linspace(0.01, 1, 12)[:, None, None])
    Z = {
        name: algorithm.from_spectrum(make(V, true)(V, true), X.shape)
        for name, make in normalizations.NORMALIZATIONS.items()
    }
    norms = {name: each.flatten(1).norm(dim=1) for name, each in Z.items()}
    before = torch.linalg.vector_norm(V, dim=(0, 2))
    torch.testing.assert_close(norms["ball"], before.clamp_max(1))
    assert 0 < int((before < 1).sum()) < 12
    for name in ("sphere", "layer", "4 groups", "instance"):
        torch.testing.assert_close(norms[name], torch.ones(12).double())
    assert Z["layer"].mean((1, 2)).abs().max() < 1e-15
    torch.testing.assert_close(Z["instance"].norm(dim=2), torch.full((12, 4), 0.5).double())
    parts = normalizations.grouped(V, true, 2)
    torch.testing.assert_close(
        parts[..., 2:].abs().square().sum((0, 2)), torch.full((12,), 0.5).double()
    )
    energies = {name: each.square() for name, each in norms.items()}
    assert float(energies["Frobenius"].sum()) == pytest.approx(12)
    assert energies["Frobenius by class"] @ true == pytest.approx([4, 4, 4])


def test_normalizations_are_compared(capsys, monkeypatch):
    X, X_new, labels, labels_new = series()
    few = [X.float(), X_new.float(), labels, labels_new]
    monkeypatch.setattr(normalizations, "draw", lambda name, seed: few)
    for setting in ("EPS_SQ", "STEPS", "SHARPNESS"):
        monkeypatch.setattr(normalizations, setting, getattr(normalizations, setting)[-1:])
    monkeypatch.setattr(
        sys, "argv", ["normalizations", "sinusoids", "--layers", "2", "--seeds", "2"]
    )
    normalizations.main()
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if "|" in line]
    assert [row[2].strip() for row in rows[2:]] == list(normalizations.NORMALIZATIONS)
    for row in rows[2:]:
        assert float(row[4].split()[0]) > 0.4, row
        assert row[4].endswith("± 0.000) "), row
        assert float(row[6]) < 1e-12


def test_samples_for_normalizations(tmp_path):
    X, X_new, labels, labels_new = normalizations.draw("digits, images", seed=1)
    assert (X.shape, X_new.shape) == ((200, 16, 8, 8), (1000, 16, 8, 8))
    assert labels.bincount().sub(20).abs().max() <= 1
    assert len(labels_new) == 1000
    assert normalizations.draw("Gaussians", seed=1)[0].shape == (160, 8)
    header, rising, falling = (
        "@classLabel true a b\n@data",
        "1,2,3,4,5,6,7,8,9",
        "9,8,7,6,5,4,3,2,1",
    )
    for part in ("TRAIN", "TEST"):
        text = f"{header}\n{rising}:a\n{falling}:b\n"
        (tmp_path / f"a_{part}.ts").write_text(text, encoding="utf-8")
    X, X_new, labels, _ = normalizations.draw(str(tmp_path / "a_TRAIN.ts"), seed=0)
    assert (X.shape, X_new.shape) == ((2, 16, 9), (2, 16, 9))
    assert sorted(labels.tolist()) == [0, 1]
