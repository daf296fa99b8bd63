"""ℓ1 and ℓ∞ radii from ℓ2 ones: balls that lie inside a certified ℓ2 ball."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rsctl.certificates.protocol import Certificate, Certified, CountTable
from rsctl.errors import RefusedError


class InNorm:
    """An ℓ2 certificate read in another norm: R in ℓ1 (‖δ‖₂ ≤ ‖δ‖₁), R/√d in ℓ∞ (‖δ‖₂ ≤ √d ‖δ‖∞).

    Best possible for isotropic Gaussian noise and a half-space (Yang et al. 2020, Table 1), and the reason
    why ℓ∞ radii are small: at d = 3072, R = 0.5 gives 2.3/255.
    """

    def __init__(self, inner: Certificate, norm: str) -> None:
        self.inner = inner
        self.norm = norm
        self.name = f"{inner.name}-{norm}"
        self.title = f"{inner.title}, {'ℓ1' if norm == 'l1' else 'ℓ∞'}"
        self.citation = f"{inner.citation}; {'R' if norm == 'l1' else 'R/√d'} as in Yang et al. 2020"
        self.guarantee = inner.guarantee
        self.special = getattr(inner, "special", False)
        self.about = (
            f"The ℓ2 radius R of `{inner.name}` read in "
            + (
                "ℓ1: an image that is within R in ℓ1 is also within R in ℓ2. "
                if norm == "l1"
                else "ℓ∞ as R/√d, d the coordinates of an image: the largest ℓ∞ ball inside the ℓ2 one. "
            )
            + "Nothing is sampled anew."
        )
        self.use_when = (
            "For ℓ1 radii of a network trained with Gaussian noise; uniform noise has certificates made for ℓ1."
            if norm == "l1"
            else "For ℓ∞ radii of a network trained with Gaussian noise. They are small: R = 0.5 on CIFAR-10 gives 2.3/255."
        )
        self.example = getattr(inner, "example", {})
        self.k = inner.k

    def certify(self, table: CountTable, alpha: float) -> Certified:
        """As the ℓ2 certificate, its radius in this norm. Raises RefusedError where d isn't known."""
        certified = self.inner.certify(table, alpha)
        if self.norm == "l1":
            return certified
        if table.dimension < 1:
            raise RefusedError(
                f"{self.name} divides by √d; this table doesn't say how many coordinates d an input has."
            )
        # One step down covers the roundings of the root and of the division.
        return replace(certified, radius=certified.radius / np.sqrt(table.dimension) * (1 - 4e-16))
