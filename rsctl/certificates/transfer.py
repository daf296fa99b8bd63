"""Turns counts of the network in bf16 or tf32 into a radius of the network in fp32."""

from __future__ import annotations

import numpy as np

from rsctl.certificates.bounds import gaussian_radius, one_minus_lower, upper
from rsctl.certificates.protocol import (
    Certified,
    CountTable,
    Guarantee,
    abstain_unless,
    counts_of,
    require_fixed_gaussian,
    selected_classes,
)
from rsctl.errors import RefusedError

SHARE = 0.2
"""Share of alpha for the bound on the disagreement: its few draws gain little from more."""


class Transfer:
    """R = σ Φ⁻¹(p̲_A − ζ̄): CERTIFY of the fp32 network f′ from counts of the network f in bf16 or tf32.

    P(f′ = A) ≥ P(f = A) − P(f = A, f′ ≠ A). Both are bounded by Clopper–Pearson per image: p̲_A from the estimation
    draws at 0.8 α; ζ̄ at 0.2 α from fresh draws that went through both networks, on which f chose A and f′ didn't. They
    fail together with probability α at most. A ζ̄ pooled over images would hold for none of them. Bounds at the looks
    of a sequential rule would do as well, but such a rule stops where f's own radius is settled, and the difference
    ζ̄ would undo just that: so a fixed n is asked for.
    """

    name = "transfer"
    title = "CERTIFY, transferred to fp32"
    citation = "Cohen, Rosenfeld, Kolter 2019, CERTIFY; after Ugare et al. 2024, Incremental Randomized Smoothing Certification"
    guarantee = Guarantee("probabilistic", "the smoothed classifier of the network in fp32")
    norm = "l2"
    k = 1
    special = True
    about = (
        "Counts the network in bf16 or tf32, and bounds from some fresh draws how often the network in fp32 "
        "leaves the class that it chose. The difference of the two bounds gives CERTIFY's radius for the "
        "network in fp32."
    )
    use_when = "To certify the fp32 network at the speed of bf16, for a radius that is a little smaller."
    example = {"certification.transfer": 1000, "precision.certification": "bf16"}

    def certify(self, table: CountTable, alpha: float) -> Certified:
        """Radii of (N, C) counts at failure probability `alpha` per image; abstains where p̲_A − ζ̄ ≤ ½.

        Raises RefusedError for a table whose draws were never compared.
        """
        alpha = require_fixed_gaussian(self.name, table, alpha)
        if table.disagreements is None or table.compared < 1:
            raise RefusedError(
                f"{self.name} needs draws that went through the network in fp32 too; this table has none. "
                "Sample in bf16 or tf32 with certification.transfer, or use 'cohen' for the function as it was counted."
            )
        chosen = selected_classes(table)
        successes = counts_of(chosen, table.counts)
        other = counts_of(chosen, table.disagreements)
        q = one_minus_lower(successes, table.n, (1 - SHARE) * alpha)
        zeta = upper(other, np.full(len(other), table.compared), SHARE * alpha)
        q = np.minimum(q + zeta, 1.0)  # the margin of either bound is far above this sum's rounding
        return abstain_unless(
            q < 0.5, chosen, gaussian_radius(q, table.sigma), (successes == table.n) & (other == 0)
        )


CERTIFICATE = Transfer()
