"""Second-order certificates: the radius from p and the gradient, the bound on the gradient, and both on classifiers
whose probability, gradient and true radius are known."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from scipy.optimize import brentq, linprog, minimize_scalar
from scipy.stats import chi2, ncx2, norm

from rsctl.certificates import CountTable, GradientSums, find_certificate
from rsctl.certificates.bounds import one_minus_lower
from rsctl.certificates.gradient_norm import bounded_norm, deviation
from rsctl.certificates.second_order import certified_shift, split
from rsctl.certificates.table import QUANTUM
from rsctl.errors import RefusedError

SECOND_ORDER = find_certificate("second-order")
CERTIFY = find_certificate("cohen")


def shift(q: float, m: float) -> float:
    return float(certified_shift(np.array([q]), np.array([m]))[0])


def exact_shift(q: str, share: str) -> tuple[mp.mpf, mp.mpf]:
    """m = share of the largest norm, and ρ from the slab, by bisection at 40 digits."""
    with mp.workdps(40):
        tails = mp.mpf(q)

        def quantile(p: mp.mpf) -> mp.mpf:
            return mp.sqrt(2) * mp.erfinv(2 * p - 1)

        m = mp.mpf(share) * mp.npdf(quantile(tails))
        low, high = mp.mpf(10) ** -60, tails / 2
        for _ in range(140):
            left = (low + high) / 2
            found = mp.npdf(quantile(tails - left)) - mp.npdf(quantile(left))
            low, high = (left, high) if found >= m else (low, left)
        a, b = quantile(low), -quantile(tails - low)
        near, far = mp.mpf(0), b
        for _ in range(120):
            middle = (near + far) / 2
            kept = mp.ncdf(b - middle) - mp.ncdf(a - middle) >= mp.mpf(1) / 2
            near, far = (middle, far) if kept else (near, middle)
        return m, near


@pytest.mark.parametrize("q", ["0.45", "0.2", "0.01", "0.0001"])
@pytest.mark.parametrize("share", ["0.01", "0.4", "0.8", "0.999"])
def test_the_radius_is_the_slab_s_and_never_above(q: str, share: str) -> None:
    m, rho = exact_shift(q, share)
    found = shift(float(mp.mpf(q)), float(m))
    # The floats nearest to q and m are not q and m: their last bit moves the radius by some 1e-15.
    assert found <= rho * (1 + mp.mpf(4) * mp.mpf(10) ** -15 / mp.mpf(q))
    assert found == pytest.approx(float(rho), rel=1e-8)


@pytest.mark.parametrize(("q", "share"), [(0.4, 0.3), (0.2, 0.7), (0.05, 0.5), (0.01, 0.9)])
def test_the_radius_is_the_worst_case_of_a_linear_program(q: float, share: float) -> None:
    """Over all h̄(t) in [0, 1] on a fine grid, with mean p and first moment at least −m: the least mass after the shift."""
    m = share * norm.pdf(norm.ppf(q))
    rho = shift(q, m)
    edges = np.linspace(-9, 9, 3601)
    mass = np.diff(norm.cdf(edges))
    moment = norm.pdf(edges[:-1]) - norm.pdf(edges[1:])
    for place, sign in ((rho, 0), (rho * 0.97, 1), (rho * 1.03, -1)):
        least = linprog(
            np.diff(norm.cdf(edges - place)),
            A_ub=np.stack([-mass, -moment]),
            b_ub=[-(1 - q), m],
            bounds=(0, 1),
            method="highs",
        ).fun
        assert abs(least - 0.5) < 2e-5 if sign == 0 else np.sign(least - 0.5) == sign


def test_more_probability_or_less_gradient_never_shrinks_the_radius() -> None:
    q = np.linspace(0.001, 0.499, 60)
    largest = norm.pdf(norm.ppf(q))
    radii = np.array([certified_shift(q, share * largest) for share in np.linspace(0, 1.1, 40)])
    assert (np.diff(radii, axis=0) <= 1e-12).all()
    np.testing.assert_array_equal(radii[-1], -norm.ppf(q))
    at_one_norm = np.array([shift(value, 0.2) for value in q])
    assert (np.diff(at_one_norm) <= 1e-12).all()
    assert (certified_shift(np.array([0.5, 0.7]), np.zeros(2)) == 0).all()


def chernoff(q: float, n: int, alpha: float) -> float:
    """s from its definition, with the worst w and its ψ integrated on a grid, and λ by another minimiser."""
    g = np.linspace(-14, 14, 200_001)
    weight = norm.pdf(g) * (g[1] - g[0])

    def at(log_rate: float) -> float:
        rate = np.exp(log_rate)
        grown = np.expm1(-rate * g) + rate * g
        order = np.argsort(-grown)
        room = np.clip(q - (np.cumsum(weight[order]) - weight[order]), 0, weight[order])
        return float((room @ grown[order] - np.log(alpha) / n) / rate)

    return float(minimize_scalar(at, bounds=(-9, 3), method="bounded", options={"xatol": 1e-7}).fun)


@pytest.mark.parametrize(
    ("q", "n", "alpha"), [(0.4, 100, 0.05), (0.1, 1000, 0.001), (0.01, 1000, 0.01), (0.002, 50_000, 0.0002)]
)
def test_the_deviation_is_the_least_that_its_proof_gives(q: float, n: int, alpha: float) -> None:
    found = float(deviation(np.array([q]), n, np.array([alpha]))[0])
    assert found >= chernoff(q, n, alpha) * (1 - 1e-7)
    assert found == pytest.approx(chernoff(q, n, alpha), rel=1e-4)


def test_the_deviation_grows_with_q_and_shrinks_with_n_and_alpha() -> None:
    q = np.geomspace(1e-6, 0.4999, 50)
    level = np.full(50, 0.001)
    assert (np.diff(deviation(q, 1e4, level)) > 0).all()
    assert (deviation(q, 2e4, level) < deviation(q, 1e4, level)).all()
    assert (deviation(q, 1e4, level) < deviation(q, 1e4, level / 3)).all()


def test_a_mean_falls_short_by_more_than_the_deviation_with_probability_alpha_at_most() -> None:
    """w is what hurts most: the lower tail of g, whose mean is at its largest, or both tails."""
    rng, n, alpha, repeats = np.random.default_rng(0), 60, 0.05, 20_000
    g = rng.standard_normal((repeats, n))
    for q in (0.4, 0.1, 0.02):
        s = float(deviation(np.array([q]), n, np.array([alpha]))[0])
        for inside, mean in (
            (g < norm.ppf(q), -norm.pdf(norm.ppf(q))),
            (g > -norm.ppf(q), norm.pdf(norm.ppf(q))),
            (abs(g) > -norm.ppf(q / 2), 0.0),
        ):
            failed = (mean - (g * inside).mean(axis=1) > s).mean()
            assert failed <= alpha
        assert s < 3.2 * np.sqrt(chernoff_variance(q) / n) + 9 / n  # and it is no use being safe alone


def chernoff_variance(q: float) -> float:
    edge = -norm.ppf(q / 2)
    return float(q + 2 * edge * norm.pdf(edge))


def halves_of(outside: np.ndarray, u: np.ndarray, sizes: tuple[int, int]) -> GradientSums:
    """Sums of draws u (N, n, d) that `outside` (N, n) marks, the first of them in the first half."""
    parts = [slice(0, sizes[0]), slice(sizes[0], None)]
    first, second = (np.einsum("in,ind->id", outside[:, part], u[:, part]) for part in parts)
    products = np.stack(
        [(one * other).sum(axis=1) for one, other in ((first, first), (first, second), (second, second))],
        axis=1,
    )
    others = np.stack([outside[:, part].sum(axis=1) for part in parts], axis=1)
    return GradientSums(sizes, others, products)


def by_hand(halves: GradientSums, q: float, alpha: float, d: int) -> np.ndarray:
    """m̄ as its docstring says it, row by row."""
    n1, n2 = halves.draws
    n = n1 + n2
    s1, s2, s = (float(deviation(np.array([q]), size, np.array([alpha / 3]))[0]) for size in (n1, n2, n))
    found = []
    for (xx, xy, yy), (k1, k2) in zip(halves.products, halves.misses, strict=True):
        off = [0.51 * QUANTUM * np.sqrt(d) * k / size for k, size in ((k1, n1), (k2, n2))]
        x, y = np.sqrt(xx) / n1 + off[0], np.sqrt(yy) / n2 + off[1]
        bound = xy / n1 / n2 + off[0] * y + off[1] * x + (n2 / n) * y * s1 + (n1 / n) * x * s2
        found.append(s / 2 + np.sqrt(s * s / 4 + max(bound, 0)))
    return np.array(found)


def test_the_norm_bound_is_its_formula() -> None:
    rng = np.random.default_rng(1)
    u = rng.standard_normal((6, 700, 40))
    halves = halves_of(u[:, :, 0] > 0.8, u, (400, 300))
    q = np.full(6, 0.25)
    found = bounded_norm(halves, q, np.full(6, 0.004), 40)
    np.testing.assert_allclose(found, by_hand(halves, 0.25, 0.004, 40), rtol=1e-10)
    # Far above the rounding of this test: what a dot product of a million coordinates may err by.
    erring = bounded_norm(halves, q, np.full(6, 0.004), 10**6) / by_hand(halves, 0.25, 0.004, 10**6) - 1
    assert (erring > 9e-11).all()
    assert (erring < 2e-10).all()
    assert (bounded_norm(halves, q, np.zeros(6), 40) == np.inf).all()
    assert (bounded_norm(halves, np.full(6, 0.5), np.full(6, 0.01), 40) == np.inf).all()


@pytest.mark.filterwarnings("error")
def test_draws_of_one_block_have_an_empty_half_and_bound_no_gradient() -> None:
    halves = GradientSums((100, 0), np.array([[3, 0], [0, 0]]), np.array([[9.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert (bounded_norm(halves, np.full(2, 0.1), np.full(2, 0.01), 40) == np.inf).all()
    counts = np.array([[97, 3], [100, 0]])
    table = CountTable(counts, counts, np.array([100, 100]), 0.5, 40, gradient_sums=halves)
    np.testing.assert_array_equal(
        SECOND_ORDER.certify(table, 0.001).radius, CERTIFY.certify(table, 0.001).radius
    )


@pytest.mark.parametrize(("kind", "q"), [("tail", 0.3), ("tail", 0.03), ("shell", 0.2), ("two tails", 0.1)])
def test_the_norm_bound_fails_with_probability_alpha_at_most(kind: str, q: float) -> None:
    """With the largest gradient there is (all of w in one tail), with none, and with draws far out that cancel."""
    rng, n, d, alpha, images = np.random.default_rng(2), 200, 3, 0.05, 2500
    u = rng.standard_normal((images, n, d))
    edge = -norm.ppf(q)
    outside, true = {
        "tail": (u[:, :, 0] > edge, norm.pdf(edge)),
        "two tails": (abs(u[:, :, 0]) > -norm.ppf(q / 2), 0.0),
        "shell": ((u**2).sum(axis=2) > chi2(d).isf(q), 0.0),
    }[kind]
    found = bounded_norm(halves_of(outside, u, (100, 100)), np.full(images, q), np.full(images, alpha), d)
    assert (found < true).mean() <= alpha
    assert np.median(found) < true + 0.35


def classifiers() -> dict[str, tuple[object, float, float]]:
    """Which draws u (…, 3) leave the class, P(leave), and the true radius in σ; the image is at 0."""
    ball = chi2(3).isf(0.2)
    low, high = -1.6, 1.2

    def slab_keeps(rho: float) -> float:
        return float(norm.cdf(high - rho) - norm.cdf(low - rho))

    return {
        "linear": (lambda u: u[..., 0] > 1.0, float(norm.sf(1.0)), 1.0),
        "ball": (
            lambda u: (u**2).sum(axis=-1) > ball,
            0.2,
            float(brentq(lambda rho: ncx2.cdf(ball, 3, rho**2) - 0.5, 0.1, 5)),
        ),
        "slab": (
            lambda u: (u[..., 1] > high) | (u[..., 1] < low),
            1 - slab_keeps(0.0),
            float(brentq(lambda rho: slab_keeps(rho) - 0.5, 0.1, 3)),
        ),
    }


def table_of(
    kind: str, images: int, n: int, *, n0: int = 100, seed: int = 3, sigma: float = 0.5
) -> tuple[CountTable, float]:
    """Counts and sums of a classifier, drawn here; and its true radius."""
    leaves, _, radius = classifiers()[kind]
    rng = np.random.default_rng(seed)
    outside, halves = np.zeros((images, n), bool), []
    for image in range(images):
        u = rng.standard_normal((n, 3)).round(7)
        outside[image] = leaves(u)  # type: ignore[operator]
        halves.append(halves_of(outside[image : image + 1], u[None], (n // 2, n - n // 2)))
    counts = np.stack([n - outside.sum(axis=1), outside.sum(axis=1)], axis=1)
    selected = leaves(rng.standard_normal((images, n0, 3))).sum(axis=1)  # type: ignore[operator]
    selection = np.stack([n0 - selected, selected], axis=1)
    sums = GradientSums(
        halves[0].draws,
        np.concatenate([half.misses for half in halves]),
        np.concatenate([half.products for half in halves]),
    )
    return CountTable(selection, counts, np.full(images, n), sigma, 3, gradient_sums=sums), radius * sigma


@pytest.mark.parametrize("kind", ["linear", "ball", "slab"])
def test_no_radius_beyond_the_truth_and_larger_ones_where_the_gradient_is_small(kind: str) -> None:
    """A slab is the worst case itself where it is: its radius is reached. A linear classifier is CERTIFY's worst case."""
    table, radius = table_of(kind, 25, 20_000)
    found, plain = SECOND_ORDER.certify(table, 0.001), CERTIFY.certify(table, 0.001)
    assert (found.predicted == 0).all()
    assert (found.radius <= radius).all()
    ratio = found.radius / plain.radius
    if kind == "linear":
        assert ratio.min() > 0.99
        assert ratio.max() <= 1
    else:
        assert ratio.min() > {"ball": 1.12, "slab": 1.05}[kind]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["linear", "ball", "slab"])
def test_a_radius_is_beyond_the_truth_with_probability_alpha_at_most(kind: str) -> None:
    """With α = 0.5, so that what is wrong shows: p̲ has its share of it, and no more."""
    table, radius = table_of(kind, 3000, 400, seed=4)
    found = SECOND_ORDER.certify(table, 0.5)
    assert ((found.radius > radius) | (found.predicted == 1)).mean() <= 0.5
    share = split(table, table.gradient_sums, 0.5)  # type: ignore[arg-type]
    leaves = classifiers()[kind][1]
    q = one_minus_lower(table.counts[:, 0], table.n, share * 0.5)
    assert (q < leaves).mean() <= share.max() * 0.5 + 0.03


def test_alpha_is_shared_between_the_probability_and_the_gradient() -> None:
    table, _ = table_of("ball", 4, 20_000)
    assert table.gradient_sums is not None
    for alpha in (0.05, 0.001):
        share = split(table, table.gradient_sums, alpha)
        assert ((share > 0) & (share < 1)).all()
        q = one_minus_lower(table.counts[:, 0], table.n, share * alpha)
        m = np.array(
            [
                by_hand(
                    GradientSums(table.gradient_sums.draws, table.gradient_sums.misses[i : i + 1], table.gradient_sums.products[i : i + 1]),
                    float(q[i]), float((1 - share[i]) * alpha), 3,
                )[0]
                for i in range(4)
            ]
        )  # fmt: skip
        expected = table.sigma * certified_shift(q, m)
        np.testing.assert_allclose(SECOND_ORDER.certify(table, alpha).radius, expected, rtol=1e-9)


def test_the_split_is_read_off_the_selection_draws_alone() -> None:
    table, _ = table_of("ball", 6, 20_000)
    assert table.gradient_sums is not None
    other = GradientSums(
        table.gradient_sums.draws, table.gradient_sums.misses * 0, table.gradient_sums.products * 0
    )
    counts = np.tile([11_000, 9_000], (6, 1))
    moved = CountTable(table.selection_counts, counts, table.n, table.sigma, 3)
    np.testing.assert_array_equal(split(table, table.gradient_sums, 0.001), split(moved, other, 0.001))


def test_where_no_gain_is_in_sight_it_is_certify_to_the_bit() -> None:
    """A hundred draws say next to nothing of a gradient."""
    table, _ = table_of("linear", 200, 100, n0=20)
    found, plain = SECOND_ORDER.certify(table, 0.001), CERTIFY.certify(table, 0.001)
    np.testing.assert_array_equal(found.radius, plain.radius)
    np.testing.assert_array_equal(found.predicted, plain.predicted)
    assert (found.radius > 0).any()


def corrupted(table: CountTable, **changes: object) -> CountTable:
    halves = table.gradient_sums
    assert halves is not None
    values = {"draws": halves.draws, "misses": halves.misses, "products": halves.products, **changes}
    return CountTable(
        table.selection_counts,
        table.counts,
        table.n,
        table.sigma,
        3,
        gradient_sums=GradientSums(**values),  # type: ignore[arg-type]
    )


def test_sums_that_contradict_the_counts_are_refused() -> None:
    table, _ = table_of("ball", 3, 100)
    halves = table.gradient_sums
    assert halves is not None
    for changes, message in (
        ({"draws": (60, 60)}, "sum to n"),
        ({"misses": halves.misses + 1}, "outside the selected class"),
        ({"misses": halves.misses[:, :1]}, "don't fit"),
        ({"products": halves.products * [1, 1e6, 1]}, "contradict"),
        ({"products": halves.products * np.nan}, "contradict"),
        ({"products": -halves.products}, "contradict"),
    ):
        with pytest.raises(RefusedError, match=message):
            corrupted(table, **changes)
    none_left = np.stack([np.full(3, 100), np.zeros(3, int)], axis=1)
    with pytest.raises(RefusedError, match="contradict"):
        CountTable(
            table.selection_counts,
            none_left,
            table.n,
            0.5,
            3,
            gradient_sums=GradientSums((50, 50), halves.misses * 0, halves.products),
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": "uniform"}, "gaussian"),
        ({"stopping": "certify-at-radii"}, "fixed n"),
        ({}, "certification.gradient"),
    ],
)
def test_tables_it_is_not_proved_for_are_refused(changes: dict[str, str], message: str) -> None:
    counts = np.array([[90, 10]])
    with pytest.raises(RefusedError, match=message):
        SECOND_ORDER.certify(CountTable(counts, counts, np.array([100]), 0.5, 3, **changes), 0.001)  # type: ignore[arg-type]
