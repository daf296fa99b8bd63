"""Counts under noise, certified: the measurement of a certification run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsctl.certificates import Certified, find_certificate
from rsctl.certificates.cascade import NAME
from rsctl.certificates.protocol import ABSTAIN
from rsctl.results.accuracy import failure_of, scored
from rsctl.results.clean import clean_accuracy
from rsctl.results.image_order import ImageOrder
from rsctl.results.measurement import Measurement
from rsctl.results.own_runs import about_run, network_verdict
from rsctl.store.rows import Rows
from rsctl.store.tables import StoredTable


def measure_level(
    table: StoredTable[Rows], order: ImageOrder, certificate: str, alpha: float, radii: Sequence[float] = ()
) -> Measurement:
    """The images of a table as a level of a cascade: under a certificate, or without one where they are sampled as needed."""
    if not table.run.count_spec.needed:
        return measure_counts(table, order, certificate, alpha, radii)
    rows, many = table.rows, len(table.rows)
    nothing = Certified(np.full(many, ABSTAIN, np.int64), np.zeros(many), np.zeros(many, bool))
    return Measurement(
        certificate=NAME,
        guarantee="none by itself: sampled where earlier levels of its cascade don't settle an image",
        norm="l2",
        k=1,
        alpha=alpha,
        failure=None,
        mean_draws=float(rows.n.mean()) if many else float("nan"),
        degenerate=network_verdict(table),
        table=table,
        **scored(nothing, rows.label, radii),
        **about_run(table, order),
    )


def measure_counts(
    table: StoredTable[Rows], order: ImageOrder, certificate: str, alpha: float, radii: Sequence[float] = ()
) -> Measurement:
    """The images of a table under a certificate; raises RefusedError where it isn't sound for these counts."""
    rule, spec, rows = find_certificate(certificate), table.run.count_spec, table.rows
    nothing = Certified(np.empty(0, np.int64), np.empty(0), np.empty(0, bool))
    counts = table.counts() if len(rows) else None
    certified = rule.certify(counts, alpha) if counts else nothing
    hits = rows.counts[np.arange(len(rows)), rows.label] if counts else np.empty(0)
    return Measurement(
        certificate=certificate,
        guarantee=rule.guarantee.label(alpha, spec.arithmetic),
        norm=rule.norm,
        k=rule.k,
        alpha=alpha,
        failure=failure_of(rule, alpha) if rule.guarantee.kind == "probabilistic" else None,
        agreement=hits / np.maximum(rows.n, 1),
        clean_accuracy=clean_accuracy(counts, rows.label, alpha) if counts else float("nan"),
        mean_draws=float(rows.n.mean()) if counts else float("nan"),
        degenerate=network_verdict(table),
        table=table,
        **scored(certified, rows.label, radii),
        **about_run(table, order),
    )
