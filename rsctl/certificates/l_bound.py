"""The L-bound of HeatSmoothing (Campbell, Finlay, Oberman, Theorem 3) with counts in the place of averages."""

from __future__ import annotations

import numpy as np

from rsctl.certificates.protocol import (
    Certified,
    CountTable,
    Guarantee,
    abstain_unless,
    counts_of,
    other_counts,
    require_fixed_gaussian,
)


class LBound:
    """r = σ √(π/2) (f₍₁₎ − f₍₂₎), f the frequencies of the estimation draws.

    For an exact Gaussian average of a [0, 1]-valued f it is right (the average is √(2/π)/σ-Lipschitz), and
    never larger than σ/2 (Φ⁻¹f₍₁₎ − Φ⁻¹f₍₂₎). The paper puts a stochastic average into it, or a network trained
    to resemble one, without a term for the error: then nothing is guaranteed. For radii that hold, use
    `runner-up` on the same table.
    """

    name = "l-bound"
    title = "L-bound"
    citation = "Campbell, Finlay, Oberman: Adversarial Boot Camp, Theorem 3"
    guarantee = Guarantee(
        "heuristic", "the smoothed classifier g", remark="frequencies are taken for exact averages"
    )
    norm = "l2"
    k = 1
    about = (
        "σ√(π/2) times the difference of the two largest frequencies, as if these were exact averages over "
        "the noise. Of exact averages it would be right and never above the radius from Φ⁻¹; of frequencies "
        "it leaves the error of the estimate out."
    )
    use_when = (
        "To reproduce HeatSmoothing's figures. For radii that hold, take `runner-up` on the same counts."
    )

    def certify(self, table: CountTable, alpha: float) -> Certified:
        """Radii of (N, C) counts; alpha plays no part. The class is the most frequent one, -1 in a tie."""
        require_fixed_gaussian(self.name, table, alpha)
        top = table.counts.argmax(axis=1).astype(np.int64)
        first = counts_of(top, table.counts)
        second = np.maximum(other_counts(top, table.counts).max(axis=1), 0)
        radius = table.sigma * np.sqrt(np.pi / 2) * (first - second) / np.maximum(table.n, 1)
        return abstain_unless(radius > 0, top, radius, first == table.n)


CERTIFICATE = LBound()
