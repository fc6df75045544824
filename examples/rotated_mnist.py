"""A network that is invariant to the rotation of digits, from ten digits of each class.

On a polar grid a rotation is a cyclic shift of the angles. The radii become channels, and a network
on signals is invariant to shifts. Figures 16 (a)–(d) and Table 14 of the ReduNet paper (JMLR 2022).
"""

from invariance import argument_parser, draw, print_accuracies, training_and_test_digits
from redunet import RandomCirculantLift, ReduNet, polar_samples


def main() -> None:
    parser = argument_parser(__doc__.splitlines()[0])
    parser.add_argument("--angles", type=int, default=200)
    parser.add_argument("--channels", type=int, default=20, help="channels after the lift")
    parser.add_argument("--layers", type=int, default=40)
    options = parser.parse_args()

    train, test = training_and_test_digits(options.per_class, options.data_dir)
    radii = train[0].shape[-1] // 2 + 1  # from the centre to just beyond the border
    train, test = ((polar_samples(X, radii, options.angles), y) for X, y in (train, test))
    net = ReduNet.construct(
        *train,
        num_layers=options.layers,
        eta=options.eta,
        eps_sq=options.eps_sq,
        lift=RandomCirculantLift(radii, options.channels, 5, ndim=1, seed=options.seed),
        validation=test,
        progress=True,
    )
    stride = max(1, options.angles // 20)
    print_accuracies(net, train, test, stride)
    draw(net, train, test, stride, options.figures / "rotated_mnist.png")


if __name__ == "__main__":
    main()
