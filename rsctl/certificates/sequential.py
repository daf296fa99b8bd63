"""Radii from a table that was looked at while it was drawn."""

from __future__ import annotations

import numpy as np

from rsctl.certificates.protocol import (
    AS_NEEDED,
    Certified,
    CountTable,
    Floats,
    Guarantee,
    Ints,
    abstain_unless,
    instead,
    require_fixed,
    selected_classes,
    spendable,
)
from rsctl.certificates.stopping import RULES, best_radius, estimated_loss
from rsctl.errors import RefusedError


class Sequential:
    """σ Φ⁻¹ of the largest Clopper–Pearson lower bound over the looks, each at its own share of α.

    All the bounds hold together with probability 1 − α by the union bound, so the largest does, whatever
    the rule stopped for; and so does the whole curve, at every radius. At another alpha than the one it was
    sampled for the bound is as valid, but the sampling may have stopped too soon to make the most of it.
    """

    name = "sequential"
    title = "Sequential CERTIFY"
    citation = "Cohen, Rosenfeld, Kolter 2019, Theorem 1, with a union bound over looks"
    guarantee = Guarantee("probabilistic", "the smoothed classifier g")
    norm = "l2"
    k = 1
    about = (
        "CERTIFY for draws that stop once a question is settled: the counts are looked at while they are "
        "drawn, each look spends a share of α fixed beforehand, and the best of their bounds counts. All "
        "bounds hold together, so the radius holds whenever sampling stops."
    )
    use_when = (
        'To save draws: with the probabilities of public CIFAR-10 logs `stopping = "certify-at-radii"` needs 13 to 63 times fewer, '
        '`"radius-within"` 2 to 8 times. Other certificates refuse such counts.'
    )
    example = {"certification.stopping": "certify-at-radii", "certification.stop_radii": [0.5]}

    def certify(self, table: CountTable, alpha: float) -> Certified:
        """Radii at failure probability `alpha` per image; abstains where no look's bound exceeds ½."""
        alpha = spendable(table, alpha)
        successes, draws = _successes(table)
        radius = best_radius(successes, draws, table.stopping, alpha, table.sigma)
        return abstain_unless(
            radius > 0, selected_classes(table), radius, successes.max(axis=1, initial=0) == table.n
        )


def loss(table: CountTable, alpha: float) -> Floats:
    """(N,): how much larger CERTIFY's radius on the full n would probably be, estimated from the last look.

    To be printed with the table, as its mean and largest; no guarantee.
    """
    alpha = spendable(table, alpha)
    successes, draws = _successes(table)
    return estimated_loss(successes, draws, table.stopping, alpha, table.sigma)


def _successes(table: CountTable) -> tuple[Ints, Ints]:
    """The selected class's counts (N, K) at each look, -1 where there was none, and the draws (K,)."""
    if table.noise != "gaussian":
        raise RefusedError(
            f"sequential is proved for gaussian noise; this table has '{table.noise}'. Draw a fixed n for it.{instead(table.noise)}"
        )
    if table.stopping == AS_NEEDED:
        require_fixed("sequential", table)
    if table.stopping not in RULES or table.looks is None:
        raise RefusedError(
            f"sequential needs the counts at every look of a sequential table ({' or '.join(RULES)}); "
            f"this one is '{table.stopping}'. Use 'cohen' or 'runner-up' for a fixed n."
        )
    chosen = selected_classes(table)
    counts = np.take_along_axis(table.looks.counts, chosen[:, None, None], axis=2)[:, :, 0].astype(np.int64)
    draws = table.looks.draws
    return np.where(draws[None, :] <= table.n[:, None], counts, -1), draws


CERTIFICATE = Sequential()
