"""Deterministic ℓ1 radii of splitting noise (DSSN of Levine, Feizi 2021), from counts of every position."""

from __future__ import annotations

import numpy as np

from rsctl.catalog.pixels import LEVELS, splitting_width
from rsctl.certificates.protocol import (
    Certified,
    CountTable,
    Guarantee,
    abstain_unless,
    counts_of,
    instead,
    other_counts,
    require_alpha,
)
from rsctl.errors import RefusedError


class SplittingL1:
    """⌊(N_A − N_B − 1)/2⌋ pixel values, N the counts over all positions of the cuts, A the largest and B the next.

    A pixel that changes by m pixel values lies in another interval for at most m of the positions. So an image at ℓ1
    distance M/255 looks the same to f in all but M positions, in which A may lose a vote and B gain it. Nothing is
    estimated: alpha plays no part, and f may be any function. It speaks of images of 8 bits.
    """

    name = "splitting-l1"
    title = "Splitting noise, ℓ1"
    citation = "Levine, Feizi 2021: Improved, Deterministic Smoothing for ℓ1 Certified Robustness"
    guarantee = Guarantee("deterministic", "the smoothed classifier g, on images of 8 bits")
    norm = "l1"
    k = 1
    about = (
        "Half the lead of the first class over the second, less one, in pixel values, counted over every position of "
        "the intervals of splitting noise. A pixel that changes by m values lies in another interval at m "
        "positions at most, so nothing is estimated and α plays no part."
    )
    use_when = 'With `noise = "splitting"`: for ℓ1 radii without a failure probability, of any network.'
    example = {"noise": "splitting"}

    def certify(self, table: CountTable, alpha: float) -> Certified:
        """Radii of (N, C) counts, multiples of 1/255; abstains in a tie. Refuses counts of anything but every position."""
        require_alpha(alpha)
        if table.noise != "splitting":
            raise RefusedError(
                f"{self.name} is proved for splitting noise; this table has '{table.noise}'.{instead(table.noise)}"
            )
        every = splitting_width(table.sigma)
        if (table.n != every).any():
            raise RefusedError(
                f"{self.name} needs the counts of all {every} positions of the cuts, each once; this table has others."
            )
        top = table.counts.argmax(axis=1).astype(np.int64)
        lead = counts_of(top, table.counts) - np.maximum(other_counts(top, table.counts).max(axis=1), 0)
        moves = np.maximum(lead - 1, 0) // 2
        # None is at a cap: there is nothing more to draw.
        return abstain_unless(lead > 0, top, moves / LEVELS, np.zeros(len(top), np.bool_))


CERTIFICATE = SplittingL1()
