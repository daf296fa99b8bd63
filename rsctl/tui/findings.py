"""Curves of proved radii and of accuracy under attack.

Imported on a background thread only.
"""

from __future__ import annotations

from dataclasses import replace

from rsctl.config.permutation import chosen_by, images_of
from rsctl.config.runs import AttackSpec, VerifySpec
from rsctl.errors import UserError
from rsctl.plain import plain
from rsctl.report.attacked import attack_guarantee
from rsctl.report.begun import about_late_images, finished_prefix
from rsctl.report.proved import as_certified, proved_guarantee
from rsctl.store.degenerate import warning_of
from rsctl.store.layout import Run
from rsctl.store.tables import read_findings
from rsctl.store.tally import verdict
from rsctl.tui.lines import attacked_line, certified_line
from rsctl.tui.views import Curve, RunView


def findings_curve(folder: Run, run: RunView) -> Curve:
    """The curve over the finished prefix of the run's images."""
    chosen, planned = run.entry["images"], int(run.entry["images"]["count"])
    about = Curve(run.key, run.title, "", "", "", 0.0, 0, 0, planned)
    try:
        spec = folder.spec
        assert isinstance(spec, VerifySpec | AttackSpec)
        order = images_of(*chosen_by(chosen, spec.holdout, spec.seed))
        begun = finished_prefix(read_findings(folder), order)
    except UserError as error:
        return replace(about, problems=(plain(str(error)),))
    rows, radii = begun.rows, run.entry["radii"]
    about = replace(about, norm=spec.norm, images=len(rows), problems=tuple(begun.problems))
    if isinstance(spec, AttackSpec):
        about = replace(
            about,
            certificate=spec.attack,
            guarantee=attack_guarantee(spec),
            attacked=True,
            warning=run.warning,
        )
        return attacked_line(about, rows.broken, radii) if len(rows) else about
    wrong = warning_of(verdict(rows)) or run.warning
    about = replace(about, certificate=spec.verifier, guarantee=proved_guarantee(spec), warning=wrong)
    late = about_late_images([(len(rows), planned)])
    about = replace(about, problems=(*about.problems, late) if late else about.problems)
    if not len(rows):
        return about
    proved = certified_line(about, as_certified(rows), rows.label, radii)
    # A verifier abstains nowhere and has no cap; where single radii were decided, no mean is known.
    unknown = float("nan")
    return replace(proved, acr=unknown if spec.radii else proved.acr, abstain_rate=unknown, cap_share=unknown)
