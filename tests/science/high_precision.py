"""The bounds and radii once more, at 40 digits, from the definitions alone.

Nothing here is shared with the package: binomial tails are summed term by term, quantiles are found by
Newton's method in mpmath. `python tests/science/high_precision.py` writes `golden.json`, which the quick
tests read; a long test makes it again and compares.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mpmath as mp
from mpmath.calculus.quadrature import GaussLegendre

FILE = Path(__file__).with_name("golden.json")

mp.mp.dps = 40


def tail(k: int, n: int, p: Any) -> Any:
    """P(Bin(n, p) ≥ k), the terms summed upwards from k."""
    if k <= 0:
        return mp.mpf(1)
    if k > n or p <= 0:
        return mp.mpf(0)
    if p >= 1:
        return mp.mpf(1)
    p = mp.mpf(p)
    term = mp.exp(log_choose(n, k) + k * mp.log(p) + (n - k) * mp.log(1 - p))
    total, odds = term, p / (1 - p)
    for j in range(k, n):
        ratio = odds * (n - j) / (j + 1)
        term *= ratio
        total += term
        if ratio < 1 and term < total * mp.mpf(10) ** -38:
            break
    return total


def head(k: int, n: int, p: Any) -> Any:
    """P(Bin(n, p) ≤ k)."""
    return tail(n - k, n, 1 - mp.mpf(p))


def log_choose(n: int, k: int) -> Any:
    return mp.loggamma(n + 1) - mp.loggamma(k + 1) - mp.loggamma(n - k + 1)


def one_minus_lower(k: int, n: int, alpha: Any) -> Any:
    """1 − p̲ with P(Bin(n, p̲) ≥ k) = alpha, by Newton steps on the logarithm of the tail, kept in a bracket."""
    if k == 0:
        return mp.mpf(1)
    alpha = mp.mpf(alpha)
    if k == n:
        return -mp.expm1(mp.log(alpha) / n)
    low, high = mp.mpf(0), mp.mpf(1)
    q = 1 - mp.mpf(k) / n
    q = q + (1 - q) * min(mp.mpf(1) / 2, 3 / mp.sqrt(k))
    for _ in range(400):
        at = tail(k, n, 1 - q)
        if at > alpha:
            low = q
        else:
            high = q
        density = mp.exp(log_choose(n, k) + mp.log(k) + (k - 1) * mp.log(1 - q) + (n - k) * mp.log(q))
        step = mp.log(at / alpha) * at / density
        following = q + step
        if not low < following < high:
            following = (low + high) / 2
        if abs(following - q) < q * mp.mpf(10) ** -32:
            return following
        q = following
    raise ArithmeticError(f"no convergence for k = {k}, n = {n}, alpha = {alpha}")


def lower(k: int, n: int, alpha: Any) -> Any:
    return 1 - one_minus_lower(k, n, alpha)


def upper(k: int, n: int, alpha: Any) -> Any:
    return one_minus_lower(n - k, n, alpha)


def minus_quantile(q: Any) -> Any:
    """Φ⁻¹(1 − q) by Newton steps on the complementary error function."""
    q = mp.mpf(q)
    if q > mp.mpf(1) / 2:
        return -minus_quantile(1 - q)
    z = mp.sqrt(-2 * mp.log(q)) if q < mp.mpf("0.1") else mp.mpf(1) / 2
    for _ in range(200):
        at = mp.erfc(z / mp.sqrt(2)) / 2
        density = mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi)
        # On the logarithm, which is concave: no step goes astray.
        step = mp.log(at / q) * at / density
        z += step
        if abs(step) < mp.mpf(10) ** -33:
            return z
    raise ArithmeticError(f"no convergence for q = {q}")


def gap(one_minus_pa: Any, pb: Any) -> Any:
    """(Φ⁻¹(p_A) − Φ⁻¹(p_B)) / 2: the radius for σ = 1."""
    return (minus_quantile(one_minus_pa) + minus_quantile(pb)) / 2


def bounds() -> list[dict[str, Any]]:
    rows = []
    for n in (1, 2, 3, 10, 30, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000):
        inner = {
            1,
            2,
            n // 3,
            n // 2,
            n // 2 + 1,
            int(0.51 * n),
            int(0.9 * n),
            n - n // 1000,
            n - 3,
            n - 2,
            n - 1,
        }
        for k in sorted({0, n} | {k for k in inner if 0 < k < n}):
            for alpha in (0.5, 0.05, 0.001, 1e-6, 1e-12):
                q = one_minus_lower(k, n, alpha)
                radius = minus_quantile(q) if 0 < q < 1 else None
                rows.append(
                    {
                        "k": k,
                        "n": n,
                        "alpha": alpha,
                        "one_minus_lower": text(q),
                        "lower": text(1 - q),
                        "quantile": text(radius),
                    }
                )
    return rows


def predictions() -> list[dict[str, Any]]:
    rows = []
    for first, second in (
        (0, 0),
        (1, 0),
        (5, 5),
        (9, 0),
        (10, 0),
        (11, 0),
        (11, 1),
        (60, 40),
        (70, 30),
        (5300, 4700),
    ):
        rows.append(
            {"first": first, "second": second, "p": text(min(1, 2 * head(second, first + second, 0.5)))}
        )
    return rows


def runner_up(k: int, second: int, n: int, alpha: float, share: float) -> Any:
    """The radius for σ = 1, or None where it abstains: p̲_A at share · alpha, p̄_B at the rest."""
    q = one_minus_lower(k, n, mp.mpf(share) * mp.mpf(alpha))
    p_b = q if share == 1 else min(q, upper(second, n, (1 - mp.mpf(share)) * mp.mpf(alpha)))
    return gap(q, p_b) if q < 1 and 1 - q > p_b else None


def runner_up_radii() -> list[dict[str, Any]]:
    rows = []
    cases = [
        (10, 10, 0),
        (30, 25, 5),
        (100, 45, 20),
        (100, 45, 40),
        (1000, 400, 300),
        (1000, 1000, 0),
        (1000, 999, 1),
    ]
    cases += [
        (100_000, 99_000, 300),
        (100_000, 48_000, 45_000),
        (100_000, 10_000, 9_000),
        (10_000_000, 9_999_990, 3),
    ]
    for n, k, second in cases:
        for alpha in (0.05, 0.001):
            for share in (0.1, 0.4, 0.5, 0.9, 1.0):
                radius = text(runner_up(k, second, n, alpha, share))
                rows.append(
                    {"n": n, "k": k, "second": second, "alpha": alpha, "share": share, "radius": radius}
                )
    return rows


def union_upper(others: list[int], n: int, beta: Any) -> Any:
    """Equation 14 of Feng 2020: where the sum of the other classes' lower tails falls to beta."""
    low, high = upper(max(others), n, beta), upper(max(others), n, beta / len(others))
    if len(others) == 1:
        return high

    def excess(p: Any) -> Any:
        return mp.log(sum(head(k, n, p) for k in others) / beta)

    return mp.findroot(
        excess, (low, high * (1 + mp.mpf(10) ** -30)), solver="anderson", tol=mp.mpf(10) ** -50
    )


def t_certify_radii() -> list[dict[str, Any]]:
    rows = []
    cases = [
        (20, [0, 0]),
        (30, [3, 2, 0]),
        (55, [9, 9, 9, 9, 9]),
        (800, [100, 60, 40]),
        (990, [10]),
        (996, [2, 1, 1, 0, 0]),
    ]
    cases += [
        (60_000, [4444] * 9),
        (99_000, [400, 300, 200, 100, 0, 0, 0, 0, 0]),
        (100_000, [0] * 9),
        (40, [30, 30]),
    ]
    # One where the rule p̲_A > ½ bites inside the grid, and one whose second rival counts a little.
    cases += [(60, [5] * 8), (9_000, [450, 390, 80, 40, 40])]
    for k, others in cases:
        n = k + sum(others)
        for alpha in (0.05, 0.001):
            bounds, radii = [], []
            for share in range(1, 10):
                a = mp.mpf(share / 10) * mp.mpf(alpha)
                p_b = (
                    union_upper(others, n, mp.mpf(1 - share / 10) * mp.mpf(alpha))
                    if max(others) < n / 2
                    else mp.mpf(1)
                )
                bounds.append(text(p_b))
                radii.append(
                    gap(one_minus_lower(k, n, a), p_b) if lower(k, n, a) > mp.mpf(1) / 2 else mp.mpf(0)
                )
            certify = one_minus_lower(k, n, alpha)
            radii.append(minus_quantile(certify) if certify < mp.mpf(1) / 2 else mp.mpf(0))
            rows.append({"k": k, "others": others, "alpha": alpha, "p_b": bounds, "radius": text(max(radii))})
    return rows


def phi(z: Any) -> Any:
    return mp.erfc(-z / mp.sqrt(2)) / 2


def top_k(label: int, others: list[int], n: int, alpha: float, k: int) -> Any:
    """The radius for σ = 1 or None: the best t of Jia 2020, Theorem 1, by bisection."""
    a = mp.mpf(alpha) / 2
    q = one_minus_lower(label, n, a)
    largest = sorted(others, reverse=True)[:k]
    p_bars = [upper(count, n, a / k) for count in largest]
    best = None
    for t in range(1, k + 1):
        p_sum = min(sum(p_bars[-t:]), q)
        if q == 1 or 1 - q <= p_sum / t:
            continue
        z, top = minus_quantile(q), -minus_quantile(p_sum)
        low, high = mp.mpf(0), mp.mpf(20)
        for _ in range(130):
            middle = (low + high) / 2
            if phi(z - middle) >= phi(top + middle) / t:
                low = middle
            else:
                high = middle
        best = low if best is None else max(best, low)
    return best


def top_k_radii() -> list[dict[str, Any]]:
    rows = []
    cases = [
        (900, [50, 30, 20]),
        (300, [250, 200, 150, 60, 40]),
        (300, [140] * 5),
        (200, [190, 190, 190, 130, 100]),
    ]
    cases += [
        (100, [200] * 4 + [100]),
        (1000, [0] * 5),
        (0, [500, 500, 0, 0, 0]),
        (9_000, [300, 200, 200, 150, 150]),
    ]
    cases += [
        (30_000, [14_000] * 5),
        (99_990, [4, 3, 2, 1, 0]),
        (520, [480, 0, 0, 0, 0]),
        (480, [520, 0, 0, 0, 0]),
    ]
    for label, others in cases:
        n = label + sum(others)
        for k in (1, 2, 3, 5):
            if k <= len(others):
                for alpha in (0.05, 0.001):
                    radius = text(top_k(label, others, n, alpha, k))
                    rows.append({"label": label, "others": others, "k": k, "alpha": alpha, "radius": radius})
    return rows


def panels(function: Any, low: Any, high: Any, count: int) -> Any:
    """Gauss–Legendre over `count` equal parts, 24 nodes each."""
    half = (high - low) / count / 2
    nodes = GaussLegendre(mp.mp).calc_nodes(4, 140)
    return sum(
        w * half * function(low + (2 * i + 1) * half + half * x) for i in range(count) for x, w in nodes
    )


def least_mass_offset(d: int, k: int, low: float, high: float, shift: float, slope: float) -> Any:
    """G(λ) = ∫ (λp − p_δ)₊ over the noise norms in (low, high]: p ∝ ‖ε‖^{−2k} exp(−‖ε‖²/2s²), variance 1 per coordinate.

    Written in the norm and the angle to the shift, the latter's density straight from the sphere's.
    """
    r, ratio = mp.mpf(shift), mp.mpf(slope)
    s2, shape, root = mp.mpf(d) / (d - 2 * k), mp.mpf(d) / 2 - k, mp.sqrt(d)
    sphere = mp.gamma(mp.mpf(d) / 2) / mp.gamma(mp.mpf(d - 1) / 2) / mp.sqrt(mp.pi * d)

    def at(t: Any) -> Any:
        rho2 = 2 * s2 * t
        # ‖x − δ‖² where p_δ = λp.
        m2 = (
            2 * k * s2 * mp.lambertw(mp.exp((t - mp.log(ratio)) / k) * t / k).real
            if k
            else rho2 - 2 * mp.log(ratio)
        )
        top = min((rho2 + r * r - m2) / (2 * mp.sqrt(rho2) * r) * root, root, mp.mpf(11))
        bottom = max(-root, mp.mpf(-11))
        if top <= bottom:
            return mp.mpf(0)

        def difference(z: Any) -> Any:
            moved = r * r - 2 * mp.sqrt(rho2) * r * z / root
            return (ratio - (1 + moved / rho2) ** (-k) * mp.exp(-moved / (2 * s2))) * (1 - z * z / d) ** (
                mp.mpf(d - 3) / 2
            )

        weight = mp.exp((shape - 1) * mp.log(t) - t - mp.loggamma(shape))
        return weight * sphere * panels(difference, bottom, top, 2)

    wide = 11 * mp.sqrt(shape)
    start = max(mp.mpf(low) ** 2 / (2 * s2), shape - wide, mp.mpf("1e-3"))
    stop = min(mp.mpf(high) ** 2 / (2 * s2), shape + wide + 30)
    # Over the root of t, in which the start of a Gamma of small shape is not steep.
    count = 2 if shape > 50 else 6 if shape > 5 else 10
    return panels(lambda root_t: 2 * root_t * at(root_t**2), mp.sqrt(start), mp.sqrt(stop), count)


def text(value: Any) -> str | None:
    return None if value is None else mp.nstr(value, 30, strip_zeros=False)


def everything() -> dict[str, Any]:
    return {
        "bounds": bounds(),
        "predict": predictions(),
        "runner-up": runner_up_radii(),
        "t-certify": t_certify_radii(),
        "top-k": top_k_radii(),
    }


def golden(part: str) -> list[dict[str, Any]]:
    """One part of the stored values."""
    rows: list[dict[str, Any]] = json.loads(FILE.read_text())[part]
    return rows


if __name__ == "__main__":
    parts = everything()
    lines = [
        f' "{name}": [\n' + ",\n".join("  " + json.dumps(row) for row in rows) + "\n ]"
        for name, rows in parts.items()
    ]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
