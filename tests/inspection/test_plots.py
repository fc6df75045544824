import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from redunet import MultiScaleLift, RandomCirculantLift, ReduNet, Search, datasets, explain
from redunet.construction.construction import RateHistory
from redunet.inspection import Decision
from redunet.inspection.palette import HUES, METHODS, class_style
from redunet.inspection.plots.similarity import similarity_over_shifts
from redunet.lifts.band import resampled
from redunet.plots import (
    AccuracyByDepthDisplay,
    class_colors,
    plot_architecture,
    plot_decision,
    plot_eigenvalues,
    plot_explanation,
    plot_kernels,
    plot_nearest_images,
    plot_paths,
    plot_principal_images,
    plot_rates,
    plot_search,
    plot_similarity,
    plot_similarity_histogram,
    plot_singular_values,
    plot_sphere,
)
from tests.samples import samples

RATES = RateHistory(np.array([2.0, 3.0, 4.0]), np.array([1.0, 1.5, 1.0]))


@pytest.fixture(scope="module")
def images():
    """A network on embedded digits, with the digits."""
    X, labels = datasets.digits()
    lift = RandomCirculantLift(in_channels=1, out_channels=4, kernel_size=3, ndim=2)
    names = np.array([f"digit {label}" for label in labels])
    net = ReduNet.construct(X[:200], names[:200], num_layers=3, lift=lift)
    return net, X[200:260], names[200:260]


@pytest.fixture(scope="module")
def circle():
    """A network on the circle, with its samples."""
    X, labels = datasets.gaussians(ndim=2, per_class=20)
    return ReduNet.construct(X, labels, num_layers=5), X, labels


def test_rates_are_the_history():
    history = RateHistory(RATES.expansion, RATES.compression, validation=RATES)
    for drawn, lines in ((RATES, 3), (history, 6)):
        ax = plot_rates(drawn)
        assert len(ax.lines) == len(ax.get_legend().get_texts()) == lines
        for line, values in zip(
            ax.lines, [RATES.delta, RATES.expansion, RATES.compression] * 2, strict=False
        ):
            np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2])
            np.testing.assert_array_equal(line.get_ydata(), values)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[0] == r"$\Delta R = R - R_c$"
    assert labels[5] == "$R_c$, class by class (validation)"


def test_similarities_are_sorted_by_class():
    labels = np.array(["b", "a", "b", "a", "a"])
    Z = torch.eye(2)[torch.tensor([1, 0, 1, 0, 0])] * torch.tensor([[1.0], [2], [-3], [4], [5]])
    ax = plot_similarity(Z, labels)
    (image,) = ax.get_images()
    expected = np.kron(np.eye(2), np.ones((3, 3)))[:5, :5]
    np.testing.assert_allclose(image.get_array(), expected, atol=1e-6)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b"]
    assert ax.get_xticks().tolist() == ax.get_yticks().tolist() == [1.5, 4]
    assert image.get_clim() == (0, 1)


@pytest.mark.parametrize(("shape", "grid"), [((5,), None), ((4, 3), None), ((3, 5), (4, 8))])
def test_similarities_over_shifts_are_the_largest_ones(shape, grid):
    A, B = (samples(m, 2, *shape, seed=m) for m in (4, 3))
    found = similarity_over_shifts(A, B, grid=grid)
    grid = shape if grid is None else grid
    A, B = (resampled(Z, grid).numpy() for Z in (A, B))
    expected = np.zeros((4, 3))
    for shift in np.ndindex(grid):
        moved = np.roll(A, shift, axis=tuple(range(2, A.ndim))).reshape(4, -1)
        others = B.reshape(3, -1)
        norms = np.linalg.norm(moved, axis=1)[:, None] * np.linalg.norm(others, axis=1)
        expected = np.maximum(expected, np.abs(moved @ others.T) / norms)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_grid_of_even_length_is_not_refined():
    A = samples(3, 2, 4)
    found = similarity_over_shifts(A, A, grid=(8,))
    np.testing.assert_array_equal(found, similarity_over_shifts(A, A))


def test_similarities_over_shifts_do_not_change_if_a_sample_is_shifted():
    X, labels = samples(6, 2, 7), [0, 1] * 3
    (image,) = plot_similarity(X, labels, shift_invariant=True).get_images()
    moved = torch.stack([x.roll(i, 1) for i, x in enumerate(X)])
    (again,) = plot_similarity(moved, labels, shift_invariant=True).get_images()
    np.testing.assert_allclose(image.get_array(), again.get_array(), rtol=1e-9)
    with pytest.raises(ValueError, match=r"signals have shape \(m, C, \*spatial\), got \(2, 2\)"):
        plot_similarity(torch.eye(2), [0, 1], shift_invariant=True)


def test_histograms_count_pairs_of_different_classes_and_of_the_same_class():
    train = (torch.tensor([[1.0, 0.0], [0.0, 1.0]]), [0, 1])
    test = (torch.tensor([[1.0, 0.0], [1.0, 1.0]]), [0, 0])
    ax = plot_similarity_histogram(train, test, label="pixels")
    heights = np.array([patch.get_height() for patch in ax.patches[:-1]])
    # The second training sample against both test samples: cosines 0 and 1/√2.
    assert np.flatnonzero(heights).tolist() == [0, 35]
    assert heights[[0, 35]].tolist() == [0.5, 0.5]
    # The first training sample against them: cosines 1 and 1/√2.
    outline = ax.patches[-1].get_xy()
    assert set(outline[outline[:, 1] == 0.5][:, 0].round(2)) == {0.7, 0.72, 0.98, 1.0}
    assert outline[:, 1].max() == 0.5
    assert ax.patches[-1].get_edgecolor()[:3] == ax.patches[0].get_facecolor()[:3]
    plot_similarity_histogram(train, test, ax=ax, label="features")
    assert len(ax.patches) == 2 * (len(heights) + 1)
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {
        f"{name}, {kind} class{'es' * (kind == 'different')}"
        for name in ("pixels", "features")
        for kind in ("different", "same")
    }


@pytest.mark.parametrize("n", [2, 3])
def test_scatter_shows_every_sample_in_its_class(n):
    Z = torch.nn.functional.normalize(torch.randn(9, n, generator=torch.manual_seed(0)))
    labels = np.array(["x", "y", "z"] * 3)
    ax = plot_sphere(Z, labels)
    drawn = [c for c in ax.collections if not c.get_label().startswith("_")]
    assert [c.get_label() for c in drawn] == ["x", "y", "z"]
    for label, collection in zip("xyz", drawn, strict=True):
        offsets = collection._offsets3d if n == 3 else collection.get_offsets().T
        np.testing.assert_allclose(np.stack(offsets, 1), Z[labels == label], rtol=1e-6)
    assert len({tuple(c.get_facecolor()[0]) for c in drawn}) == 3


def test_singular_values_of_all_and_of_each_class():
    Z = torch.randn(12, 5, generator=torch.manual_seed(0))
    labels = np.repeat(["x", "y"], [9, 3])
    ax = plot_singular_values(Z, labels)
    assert [line.get_label() for line in ax.lines] == ["x", "y", "all"]
    for line, part in zip(ax.lines, (Z[:9], Z[9:], Z), strict=True):
        expected = np.linalg.svd(part.numpy(), compute_uv=False)
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-5)
        assert line.get_xdata().tolist() == [*range(1, len(expected) + 1)]


def test_many_classes_share_a_colour_and_a_name():
    ax = plot_singular_values(samples(63, 4), np.arange(63) % 21)
    assert len(ax.lines) == 22
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["single classes", "all"]


def test_scatter_needs_a_circle_or_a_sphere():
    with pytest.raises(ValueError, match=r"have shape \(m, 2\) or \(m, 3\), got \(5, 4\)"):
        plot_sphere(torch.ones(5, 4), [0] * 5)


def test_subspaces_are_where_the_samples_are():
    Z = torch.tensor([[0.6, 0.8, 0], [-0.6, -0.8, 0], [0.0, 0.0, 1.0]])
    ax = plot_sphere(Z[:2, :2], ["a", "a"], subspace_dim=1)
    ends = np.stack(ax.lines[-1].get_data(), 1)
    np.testing.assert_allclose(np.abs(ends), [[0.6, 0.8]] * 2, rtol=1e-6)
    np.testing.assert_allclose(ends.sum(0), 0, atol=1e-6)
    ax = plot_sphere(Z, ["a"] * 3, subspace_dim=2)
    turn = np.stack(ax.lines[-1].get_data_3d(), 1)
    np.testing.assert_allclose(np.linalg.norm(turn, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(turn @ [0.8, -0.6, 0], 0, atol=1e-6)
    with pytest.raises(ValueError, match="from 0 to 1 on S1, got 2"):
        plot_sphere(Z[:, :2], [0] * 3, subspace_dim=2)


def test_paths_begin_at_the_samples_and_end_at_the_features(circle):
    net, X, labels = circle
    ax = plot_paths(net, X, labels)
    starts, ends = ([c.get_offsets() for c in ax.collections[i::2]] for i in (0, 1))
    np.testing.assert_allclose(np.concatenate(starts), 0.35 * X, rtol=1e-5)
    np.testing.assert_allclose(np.concatenate(ends), net(X), rtol=1e-5)
    path = np.stack(ax.lines[1].get_data(), 1).reshape(20, 7, 2)  # six points, and a gap
    assert np.isnan(path[:, -1]).all()
    np.testing.assert_allclose(
        np.linalg.norm(path[:, :-1], axis=2), [np.linspace(0.35, 1, 6)] * 20, rtol=1e-5
    )
    X, labels = datasets.gaussians(per_class=5)
    net = ReduNet.construct(X, labels, num_layers=2)
    drawn = plot_paths(net, X, labels).lines
    assert [len(line.get_data_3d()[0]) for line in drawn] == [5 * 4] * 3


def test_eigenvalues_are_those_of_the_operators(circle):
    net, _, _ = circle
    ax = plot_eigenvalues(net, 0)
    layer = net.layers[0]
    E, C = layer.operators.expansion[0], layer.operators.matrices().compression[0]
    weighted = [g * c for g, c in zip(layer.proportions, C, strict=True)]
    *curves, limit = ax.lines
    assert limit.get_ydata() == [layer.alpha.item()] * 2
    for line, matrix in zip(curves, [*weighted, E], strict=True):
        expected = np.linalg.eigvalsh(matrix.numpy())[::-1]
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-5)
    assert ax.get_title() == "Operators of layer 1"
    assert plot_eigenvalues(net).get_title() == "Operators of layer 5"
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["$\\gamma_j C^j$, class 0", "$\\gamma_j C^j$, class 1", "$E$", r"$\alpha$"]


def test_kernels_are_drawn_around_their_origin(images, circle):
    net, _, _ = images
    axes = plot_kernels(net, channels=3)
    assert axes.shape == (11, 3)
    E, C = net.layers[-1].kernels()
    for i, j, kernel in ((0, 0, E[0, 0]), (3, 2, C[2, 2, 2])):
        (picture,) = axes[i, j].get_images()
        drawn = np.fft.ifftshift(picture.get_array().filled(np.nan))
        assert np.isnan(drawn[0, 0])
        np.testing.assert_allclose(drawn.ravel()[1:], kernel.ravel()[1:], rtol=1e-5)
        low, high = picture.get_clim()
        assert low == -high
        scale = axes[i, 0].get_images()[0].colorbar
        np.testing.assert_allclose(scale.get_ticks(), [low, 0, high])
    assert [ax.get_ylabel() for ax in axes[:2, 0]] == ["E", "C, class digit 0"]
    assert [tick.get_text() for tick in axes[-1, 0].get_xticklabels()] == ["-4", "0", "3"]
    assert axes[-1, 0].get_images()[0].get_extent() == [-4.5, 3.5, 3.5, -4.5]

    net, _, _ = circle
    axes = plot_kernels(net)
    assert axes.shape == (3, 1)
    matrix = axes[0, 0].get_images()[0].get_array().filled(np.nan)
    expected = net.layers[-1].operators.expansion[0]
    np.testing.assert_allclose(matrix[[0, 1], [1, 0]], expected[[0, 1], [1, 0]], rtol=1e-5)
    assert np.isnan(np.diag(matrix)).all()


def test_kernels_of_signals_are_curves():
    X, labels = datasets.sinusoids(per_class=5)
    net = ReduNet.construct(X, labels, num_layers=1)
    axes = plot_kernels(net)
    length = X.shape[-1]
    kernel = net.layers[0].kernels()[0][0, 0]
    (line,) = axes[0, 0].lines
    drawn = dict(zip(line.get_xdata().tolist(), line.get_ydata().tolist(), strict=True))
    assert np.isnan(drawn[0])
    np.testing.assert_allclose([drawn[1], drawn[-1]], kernel[[1, length - 1]], rtol=1e-5)
    kernels = net.layers[0].kernels()[0]
    largest = max(kernels[c, c, 1:].abs().max().item() for c in range(axes.shape[1]))
    np.testing.assert_allclose(axes[0, 0].get_yticks(), [-largest, 0, largest])


def test_kernels_of_volumes_cannot_be_drawn():
    X = torch.randn(6, 1, 2, 2, 2, generator=torch.manual_seed(0))
    net = ReduNet.construct(X, [0, 1] * 3, num_layers=1)
    with pytest.raises(ValueError, match=r"two spatial axes can be drawn, got \(2, 2, 2\)"):
        plot_kernels(net)


def test_principal_images_are_nearest_to_the_principal_directions():
    generator = torch.manual_seed(0)
    Z = torch.nn.functional.normalize(torch.randn(20, 5, generator=generator))
    X = torch.arange(20.0)[:, None, None].expand(20, 2, 2)  # an image tells its number
    labels = np.repeat(["x", "y"], 10)

    def numbers(axes):
        return [[int(ax.get_images()[0].get_array()[0, 0]) for ax in row] for row in axes]

    found = numbers(plot_principal_images(X, Z, labels, components=3))
    directions = np.linalg.svd(Z[10:].numpy())[2][:3]
    coherence = np.abs(directions @ Z[10:].numpy().T)
    assert found[1] == (10 + coherence.argmax(1)).tolist()
    axes = plot_principal_images(X[:, None], Z, labels, label="y", components=3, images=4)
    assert numbers(axes) == (10 + np.argsort(-coherence, axis=1)[:, :4]).tolist()
    assert axes[2, 0].get_ylabel() == "class y, direction 3"
    with pytest.raises(ValueError, match="no sample has label 'z'"):
        plot_principal_images(X, Z, labels, label="z")
    with pytest.raises(ValueError, match=r"got \(20, 2, 2, 2\)"):
        plot_principal_images(X[:, None].expand(20, 2, 2, 2), Z, labels)


def test_few_images_leave_the_rest_of_a_row_empty():
    X, Z = torch.rand(4, 3, 2, 2, generator=torch.manual_seed(0)), torch.eye(4)
    axes = plot_principal_images(X, Z, ["a", "a", "a", "b"])
    assert [[len(ax.get_images()) for ax in row] for row in axes] == [[1, 1, 1], [1, 0, 0]]
    np.testing.assert_allclose(axes[1, 0].get_images()[0].get_array(), X[3].movedim(0, -1))


def test_the_nearest_of_a_shifted_image_are_shifted_alike(images):
    net, X, _ = images
    shifts = datasets.all_shifts(X[:5], 4).flatten(0, 1)
    axes = plot_nearest_images((shifts[:4], net(shifts[:4])), (shifts, net(shifts)), images=2)
    assert axes.shape == (4, 3)
    for image, row in zip(shifts[:4], axes, strict=True):
        framed, nearest = (ax.get_images()[0].get_array() for ax in row[:2])
        np.testing.assert_array_equal(framed, image[0])
        np.testing.assert_array_equal(nearest, image[0])  # itself, not one of its shifts
    assert [ax.get_title() for ax in axes[0]] == ["image", "nearest", ""]


def test_depth_shows_how_often_each_layer_is_right(images):
    net, X, names = images
    display = AccuracyByDepthDisplay.from_network(net, X, names, name="test")
    for layer in range(3):
        found = net.classes_[net.residual_norms(X, layer).argmin(1)]
        assert display.line_.get_ydata()[layer] == (found == names).mean()
    assert display.line_.get_xdata().tolist() == [1, 2, 3]
    again = AccuracyByDepthDisplay([0.25, 0.75], name="other").plot(ax=display.ax_, color="red")
    assert display.ax_.get_ylim()[0] < 0.25  # so that it can be seen
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["test", "other"]
    assert again.line_.get_color() == "red"
    assert again.figure_ is display.figure_


def test_the_diagram_has_the_true_shapes(images, circle):
    def words(net):
        return " ".join(text.get_text().replace("\n", " ") for text in plot_architecture(net).texts)

    found = words(images[0])
    for part in ("1 × 8 × 8", "RandomCirculantLift", "4 × 8 × 8 = 256", "3 layers", "10 classes"):
        assert part in found
    size = len(images[0].spectrum)
    assert f"{size} of 64 frequencies × 4" in found
    assert f"{size} × (4 × 4)" in found
    assert f"10 × {size} × (4 × 4)" in found
    assert "Fourier" not in words(circle[0])
    X, labels = datasets.gaussians(ndim=2, per_class=20)
    options = {"operators": "variational", "rank": 1, "momentum": 0.5, "membership": "rectified"}
    found = words(ReduNet.construct(X, labels, num_layers=1, **options))
    for part in ("rank 1", "β = 0.5", "1 layer ", "rectified"):
        assert part in found


def test_an_explanation_is_drawn_as_it_is(images):
    net, X, _ = images
    explanation = explain(net, X[0])
    axes = plot_explanation(explanation)
    assert len(axes) == 3
    axes[0].figure.canvas.draw()
    arrays = explanation.residual_norms, explanation.memberships, explanation.compression
    for ax, array in zip(axes, arrays, strict=True):
        drawn = {line.get_label(): line.get_ydata() for line in ax.lines}
        for j in explanation.nearest_classes(5):
            np.testing.assert_array_equal(drawn[f"digit {j}"], array[:, j])
        assert len(ax.lines) == 10 + (ax is axes[2])
    assert len(axes[2].get_legend().get_texts()) == 6


def colors_of(ax):
    """The colour of each class in a plot."""
    return {line.get_label(): line.get_color() for line in ax.lines if line.get_label()[0] != "_"}


def test_a_class_has_the_same_colour_for_all_samples(images):
    net, X, _ = images
    found = {}
    for x in X[:8]:
        for ax in plot_explanation(explain(net, x)):
            for name, color in colors_of(ax).items():
                assert found.setdefault(name, color) == color
    assert found.pop("$E$") == "black"
    assert found == {f"digit {j}": HUES[j] for j in range(10) if f"digit {j}" in found}


def test_the_true_class_has_a_colour(images):
    net, X, _ = images
    furthest = explain(net, X[0]).nearest_classes(10)[-1]
    explanation = explain(net, X[0], label=f"digit {furthest}")
    assert f"digit {furthest}" in colors_of(plot_explanation(explanation)[1])


def test_one_layer_has_bars(circle):
    _, X, labels = circle
    net = ReduNet.construct(X, labels, num_layers=1)
    explanation = explain(net, X[0])
    axes = plot_explanation(explanation)
    arrays = explanation.residual_norms, explanation.memberships, explanation.compression
    order = explanation.nearest_classes(2)
    for ax, array in zip(axes, arrays, strict=True):
        heights = [patch.get_height() for patch in ax.patches]
        np.testing.assert_allclose(heights[-2:], array[0, order])
        names = [tick.get_text() for tick in ax.get_xticklabels()]
        assert names[-2:] == [str(net.classes_[j]) for j in order]
    assert axes[2].patches[0].get_height() == explanation.expansion[0]


def appearance(colors, deficiency):
    """CIELAB coordinates of colours as readers with a colour deficiency see them.

    Machado, Oliveira and Fernandes (2009), severity 1.
    """
    matrix = {
        "none": np.eye(3),
        "red": [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        "green": [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        "blue": [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ],
    }[deficiency]
    rgb = np.array(colors)[:, :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(matrix).T, 0, 1)
    to_xyz = np.array(
        [[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]
    )
    xyz = seen @ to_xyz.T / to_xyz.sum(1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1], 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


@pytest.mark.parametrize("deficiency", ["none", "red", "green", "blue"])
def test_colours_of_ten_classes_are_distinct_for_all_readers(deficiency):
    found = appearance(class_colors(10), deficiency)
    differences = np.linalg.norm(found[:, None] - found, axis=2)
    assert differences[np.triu_indices(10, 1)].min() > 12  # 2 is just noticeable


def test_the_first_hundred_classes_differ_in_colour_or_marker():
    styles = [tuple(class_style(number).values()) for number in range(100)]
    assert len(set(styles)) == 100
    assert [color for color, _ in styles[:10]] == list(HUES)
    assert class_colors(11).shape == (11, 4)
    assert len(set(METHODS.values())) == len(METHODS)


@pytest.mark.parametrize("size", [None, (3, 4)])
def test_texts_of_the_diagram_are_within_their_boxes(images, size):
    X, labels = samples(12, 3, 24, 24), np.arange(12) % 3
    lift = [RandomCirculantLift(3, 600, 3, 2), torch.nn.AdaptiveAvgPool2d(5)]
    options = {"operators": "variational", "rank": 3, "momentum": 0.9, "eta": 1e-4}
    for net in (images[0], ReduNet.construct(X, labels, num_layers=1, lift=lift, **options)):
        ax = plot_architecture(net, ax=None if size is None else plt.subplots(figsize=size)[1])
        ax.figure.draw_without_rendering()
        boxes = [patch.get_window_extent() for patch in ax.patches[:11]]
        texts = [text for text in ax.texts if text.get_text()]
        assert len(texts) == 2 * len(boxes)
        for text in texts:
            extent = text.get_window_extent()
            (box,) = [b for b in boxes if b.contains(*extent.get_points().mean(0))]
            assert box.x0 < extent.x0
            assert extent.x1 < box.x1


def decision(*shape, scales=("dilation 1", "dilation 2"), classes=("yes", "no")):
    """A decision with random shares of places and frequencies."""
    rng = np.random.default_rng(0)
    by_place = rng.normal(size=shape)
    difference = by_place.sum()
    frequencies = np.indices((5,) * len(shape)).reshape(len(shape), 5 ** len(shape)).T
    by_frequency = rng.normal(size=len(frequencies))
    by_frequency[-1] += difference - by_frequency.sum()
    residuals = (9.0, (81 + difference) ** 0.5)
    by_scale = {name: difference / len(scales) for name in scales}
    return Decision(classes, residuals, frequencies, by_frequency, by_scale, by_place)


def test_shares_are_drawn_on_an_image():
    shares = decision(6, 5)
    axes = plot_decision(shares, np.arange(60.0).reshape(2, 6, 5))
    grey, overlay = axes[0].get_images()
    np.testing.assert_allclose(grey.get_array(), np.arange(30.0).reshape(6, 5) + 15)
    percentages = 100 * shares.by_place / abs(shares.difference)
    np.testing.assert_allclose(overlay.get_array(), percentages)
    low, high = overlay.get_clim()
    assert high == -low == np.abs(percentages).max()
    assert overlay.get_extent() == [-0.5, 4.5, 5.5, -0.5] == grey.get_extent()
    assert axes[0].get_title() == "yes (blue) rather than no (orange)"
    bars = [patch.get_width() for patch in axes[1].patches]
    assert np.sum(bars) == pytest.approx(100 * np.sign(shares.difference))
    assert np.abs(bars[:8]).tolist() == sorted(np.abs(bars[:8]), reverse=True)
    names = [tick.get_text() for tick in axes[1].get_yticklabels()]
    assert names[8] == "17 others"
    largest = np.abs(shares.by_frequency).argmax()
    assert names[0] == shares.frequency_names[largest]
    assert [tick.get_text() for tick in axes[2].get_yticklabels()] == ["dilation 1", "dilation 2"]


def test_shares_are_drawn_behind_a_series():
    shares = decision(7)
    axes = plot_decision(shares, np.ones((2, 7)))
    assert len(axes[0].lines) == 2
    (overlay,) = axes[0].get_images()
    np.testing.assert_allclose(
        overlay.get_array()[0], 100 * shares.by_place / abs(shares.difference)
    )
    heights = [patch.get_height() for patch in axes[1].patches]
    np.testing.assert_allclose(heights, shares.percentages(shares.by_frequency))
    signs = [patch.get_facecolor()[2] > patch.get_facecolor()[0] for patch in axes[1].patches]
    assert signs == [height >= 0 for height in heights]  # blue for the winner


def test_shares_of_other_samples():
    assert len(plot_decision(decision(7, scales=["samples"]), np.ones((2, 7)))) == 2
    assert len(plot_decision(decision(2, 2, 2), np.ones((1, 2, 2, 2)))) == 2
    (ax,) = plot_decision(decision(scales=["samples"]), np.ones(4))
    assert len(ax.patches) == 1
    (ax,) = plot_decision(decision(), np.ones((1, 4, 4)))  # features without places
    assert len(ax.patches) == 2
    with pytest.raises(ValueError, match=r"one axis of channels and 2 of places, got shape \(3,"):
        plot_decision(decision(4, 4), np.ones((3, 1, 4, 4)))


def test_a_decision_fits_on_a_narrow_page():
    for shape, sample in (((7,), np.ones((2, 7))), ((4, 4), np.ones((1, 4, 4)))):
        axes = plot_decision(decision(*shape), sample)
        axes[0].figure.canvas.draw()
        places, frequencies, scales = (ax.get_position() for ax in axes)
        assert axes[0].figure.get_figwidth() < 7
        if len(shape) == 1:  # a series is above the bars
            assert places.y0 > max(frequencies.y1, scales.y1)
            assert frequencies.x1 < scales.x0
        else:  # an image is beside them
            assert places.x1 < min(frequencies.x0, scales.x0)
            assert frequencies.y0 > scales.y1


def test_a_decision_of_a_network_is_drawn(images):
    net, X, _ = images
    explanation = explain(net, X[0])
    axes = plot_decision(explanation.decision, X[0])
    assert len(axes) == 2
    assert axes[0].get_title().startswith(f"{explanation.decision.classes[0]} (blue)")
    nothing = Decision.from_network(net, 0 * X[0])
    plot_decision(nothing, 0 * X[0]).item(0).figure.canvas.draw()


@pytest.fixture(scope="module")
def search():
    """A search for series with three lifts and three bands."""
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    X = rng.normal(size=(30, 1, 12)) + labels[:, None, None] * np.cos(np.arange(12))
    lifts = [
        MultiScaleLift(1, 1, kernels_per_scale=2, dilations=(1,), nonlinearity=nonlinearity)
        for nonlinearity in ("relu", "step")
    ]
    return Search([*lifts, None], bands=[1, 3, None]).fit(X, labels)


def test_a_search_is_drawn_by_band_and_precision(search):
    left, right = plot_search(search)
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["1", "3", "all"]
    curves = {tuple(line.get_ydata()) for line in left.lines if len(line.get_xdata()) == 3}
    for lift in {candidate.lift for candidate in search.candidates_}:
        losses = {c.band: c.loss for c in search.candidates_ if c.lift is lift}
        assert (losses[1], losses[3], losses[None]) in curves
    rings = left.lines[-1]
    assert sorted(rings.get_ydata()) == sorted(c.loss for c in search.chosen_)
    curves = [line for line in right.lines if line.get_linestyle() != "None"]
    for curve, candidate in zip(curves, search.chosen_, strict=True):
        np.testing.assert_array_equal(curve.get_xdata(), candidate.precisions)
        np.testing.assert_array_equal(curve.get_ydata(), candidate.losses)
    rings = [line for line in right.lines if line.get_linestyle() == "None"]
    assert [line.get_xdata()[0] for line in rings] == [c.eps_sq for c in search.chosen_]
    assert right.get_xscale() == right.get_yscale() == "log"
    names = [text.get_text() for text in right.get_legend().get_texts()]
    assert {"MultiScaleLift, relu", "MultiScaleLift, step", "samples"} == set(names[:3])
    assert names[-1] == "chosen"


def test_a_search_without_bands_has_a_row_for_each_lift():
    X, labels = datasets.gaussians(per_class=10)
    search = Search([None, MultiScaleLift(3, 0, kernels_per_scale=4)], most_samples=20)
    search.fit(X, labels)
    left, right = plot_search(search)
    names = [tick.get_text() for tick in left.get_yticklabels()]
    assert names == [candidate.name for candidate in search.candidates_]
    # All samples refined the chosen candidates, but the rings are those of the subset.
    chosen = [candidate.lift for candidate in search.chosen_]
    rows = [row for row, c in enumerate(search.candidates_) if c.lift in chosen]
    assert left.lines[-1].get_ydata().tolist() == rows
    assert right.get_legend() is None


def test_a_search_on_too_few_samples_has_no_losses_to_draw():
    search = Search([None], bands=[1, 2]).fit(torch.randn(4, 1, 9), [0, 0, 1, 1])
    with pytest.raises(ValueError, match="no class had three samples or more"):
        plot_search(search)


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plot_rates(RATES, ax=ax),
        lambda ax: plot_similarity(torch.eye(2), [0, 1], ax=ax),
        lambda ax: plot_similarity_histogram((np.eye(2), [0, 1]), (np.eye(2), [0, 1]), ax=ax),
        lambda ax: plot_singular_values(torch.eye(2), [0, 1], ax=ax),
        lambda ax: plot_sphere(torch.eye(2), [0, 1], ax=ax),
        lambda ax: AccuracyByDepthDisplay([0.5]).plot(ax=ax).ax_,
    ],
)
def test_axes_that_are_given_are_drawn_on(draw):
    _, ax = plt.subplots()
    assert draw(ax) is ax
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize("draw", [plot_paths, plot_eigenvalues, plot_architecture])
def test_axes_that_are_given_are_drawn_on_too(draw, circle):
    _, ax = plt.subplots()
    arguments = circle if draw is plot_paths else circle[:1]
    assert draw(*arguments, ax=ax) is ax
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize(
    "draw", [plot_kernels, plot_explanation, plot_principal_images, plot_decision, plot_search]
)
def test_figures_that_are_given_are_drawn_on(draw, circle, images, search):
    figure = plt.figure().subfigures(1, 2)[1]
    arguments = {
        plot_kernels: (circle[0],),
        plot_explanation: (explain(circle[0], circle[1][0]),),
        plot_principal_images: (images[1], images[1], images[2]),
        plot_decision: (decision(4, 4), np.ones((1, 4, 4))),
        plot_search: (search,),
    }[draw]
    axes = draw(*arguments, figure=figure)
    assert all(ax.get_figure(root=False) is figure for ax in axes.flat)
    assert len(plt.get_fignums()) == 1


def test_labels_and_features_may_be_on_any_device(device):
    generator = torch.Generator().manual_seed(0)
    Z = torch.randn(20, 3, generator=generator).to(device)
    labels = (torch.arange(20) % 2).to(device)
    net = ReduNet.construct(Z, labels, num_layers=1, eta=0.1)
    for draw in (plot_similarity, plot_singular_values, plot_sphere):
        draw(net(Z), labels)
    plot_similarity_histogram((Z, labels), (net(Z), labels))
    plot_paths(net, Z, labels)
    plot_principal_images(Z[:, None].expand(20, 2, 3), Z, labels)
    plot_eigenvalues(net)
    plot_kernels(net)
    plot_explanation(explain(net, Z[0]))
    assert AccuracyByDepthDisplay.from_network(net, Z, labels).accuracies.shape == (1,)
