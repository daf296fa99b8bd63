"""The certification of HeatSmoothing (Campbell, Finlay, Oberman): class from one clean pass, radius from noise."""

from __future__ import annotations

from rsctl.certificates.cohen import Cohen
from rsctl.certificates.protocol import Certified, CountTable, Guarantee, require_fixed_gaussian
from rsctl.errors import RefusedError


class SinglePass(Cohen):
    """CERTIFY on a model v with the class v(x) itself, instead of the class that n0 noisy draws chose.

    The class is fixed before the estimation draws, so the radius is as sound as CERTIFY's: of g_v, the
    argmax of v under noise, at 1 − α. It is no statement about the single pass v(x), which is what the paper
    deploys; for that no bound on v's Lipschitz constant or on its distance from a Gaussian average is known.
    """

    name = "single-pass"
    title = "Single-pass CERTIFY"
    citation = "Campbell, Finlay, Oberman: Adversarial Boot Camp, Appendix E; CERTIFY of Cohen 2019"
    guarantee = Guarantee(
        "probabilistic", "g_v, the model v smoothed once more", remark="not of v's single pass"
    )
    about = (
        "CERTIFY with the class of one pass over the clean image in place of the class that noisy draws "
        "choose. That class is fixed before the estimation draws, so the radius is as sound as CERTIFY's."
    )
    use_when = (
        "For HeatSmoothing, and wherever the class of the clean image is the one of interest. The radius "
        "holds for the smoothed classifier, not for the single pass."
    )
    example = {"certification.selection": "clean"}

    def certify(self, table: CountTable, alpha: float) -> Certified:
        """As CERTIFY, on a table whose selection counts are one clean pass; refuses others."""
        require_fixed_gaussian(self.name, table, alpha)
        if table.selection != "clean":
            raise RefusedError(
                f"{self.name} takes the class from one pass over the unperturbed image; "
                "in this table noisy draws chose it. Use 'cohen', or sample with selection = \"clean\"."
            )
        return super().certify(table, alpha)


CERTIFICATE = SinglePass()
