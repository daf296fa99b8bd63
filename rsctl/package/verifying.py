"""Recomputes the numbers of a package from its counts, without a store and without the sweep's data."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rsctl import __version__
from rsctl.config.names import check_name
from rsctl.package.archive import Extracted, extract
from rsctl.package.card import MISSING, card
from rsctl.package.cascade_checks import about_untuned, check_cascades
from rsctl.package.cells import Cells
from rsctl.package.compose import compose_valid
from rsctl.package.consistency import Discrepancy, all_runs, structure
from rsctl.package.format import CARD, TABLES, NotAPackageError
from rsctl.package.noise_keys import check_noise
from rsctl.package.radii import compare_radii
from rsctl.package.redrawing import draw_again
from rsctl.package.stopping import check_stopping
from rsctl.package.tables import tables_of
from rsctl.plain import plain
from rsctl.store.layout import Run, Store
from rsctl.store.plan_fields import entries_and_levels
from rsctl.store.run_kinds import RunKind
from rsctl.text import counted

_SHOWN = 100
"""Most findings that are printed; `--json` has all."""
_NEEDED = ("/spec.json", "/launch.json", "/counts.h5", "/findings.h5")
"""Parts of a run that its rows of the tables are made from."""


@dataclass
class VerifiedPackage:
    """The result of verifying a package."""

    file: str
    sweep: str
    package: str
    """SHA-256 of its manifest."""
    packed_by: str
    runs: int = 0
    images: int = 0
    cells: int = 0
    """Cells of tables that were recomputed."""
    findings: list[Discrepancy] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    redrawn: dict[str, Any] | None = None

    @property
    def verified(self) -> bool:
        return not self.findings

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        what = f"{counted(self.cells, 'cell')} of its tables and the radii of {counted(self.images, 'image')} in {counted(self.runs, 'run')}"
        again = f", and {self.redrawn['sentence']}" if self.redrawn and self.verified else ""
        if self.verified:
            return f"Verified: rsctl {__version__} computes {what} from the counts of {self.file}{again}."
        return f"Differs: {self.file} has {counted(len(self.findings), 'difference')}; {what} were recomputed by rsctl {__version__}."

    @property
    def values(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "file": self.file, "sweep": self.sweep, "package": self.package, "packed_by": self.packed_by, "version": __version__,
            "verified": self.verified, "runs": self.runs, "images": self.images, "cells": self.cells,
            "findings": [vars(one) for one in self.findings], "remarks": self.remarks, "redrawn": self.redrawn, "result": self.sentence,
        }  # fmt: skip


def report_text(found: VerifiedPackage) -> str:
    """The result for a terminal: a line per difference, then the sentence."""
    lines = [plain(str(one), 600) for one in found.findings[:_SHOWN]]
    if len(found.findings) > _SHOWN:
        lines.append(f"and {len(found.findings) - _SHOWN} more differences (--json lists them)")
    lines += [f"note: {plain(one)}" for one in found.remarks]
    return "\n".join([*lines, plain(found.sentence)])


def verify(file: Path, *, redraw: int = 0) -> VerifiedPackage:
    """Verify a package, and draw so many images of each table again; what differs is in the findings.

    Raises
    ------
    NotAPackageError
        The file is none, or leaves out parts.
    InputError
        Images should be drawn again, but the package has no weights.
    UnavailableError
        They can't be drawn here: the reason is that of the task.
    """
    with tempfile.TemporaryDirectory(prefix="rsctl-verify-") as folder:
        parts = Path(folder) / "parts"
        parts.mkdir()
        extracted = extract(file, parts)
        manifest = extracted.manifest
        if missing := [member.name for member in manifest.members if not member.included]:
            raise NotAPackageError(
                f"{file}: leaves out {counted(len(missing), 'part')}: it only completes what its receiver has."
            )
        try:
            sweep = check_name(manifest.sweep)
        except ValueError as error:
            raise NotAPackageError(f"{file}: the name of its sweep isn't one: {error}.") from error
        found = VerifiedPackage(str(file), sweep, manifest.sha256, manifest.rsctl)
        found.findings += [
            Discrepancy(name, "its bytes don't match the SHA-256 in the manifest.")
            for name in extracted.changed
        ]
        store, problems = compose_valid(extracted.files, Path(folder) / "store", sweep)
        found.findings += [Discrepancy(name, reason) for name, reason in problems.items()]
        _check(
            found,
            store,
            extracted,
            [name for name in problems if name.startswith("runs/") and name.endswith(_NEEDED)],
        )
        if redraw:
            findings, found.redrawn = draw_again(store, redraw, Path(folder) / "again")
            found.findings += findings
        found.findings = list(dict.fromkeys(found.findings))
        return found


def _check(found: VerifiedPackage, store: Store, extracted: Extracted, unusable: Sequence[str]) -> None:
    """Add the findings of every check; one that can't be made is a finding, too.

    Without the `unusable` parts of runs every cell of the tables would differ, for one reason: they aren't compared.
    """
    runs = list(all_runs(store))
    found.runs = len(runs)
    found.findings += structure(store, found.sweep)
    if unusable:
        found.findings.append(
            Discrepancy(
                "tables",
                f"weren't compared, for {unusable[0]}{' and others' * (len(unusable) > 1)} can't be used.",
            )
        )
    for check in (_radii, _stopping, _noise, *(() if unusable else (_cascades, _tables))):
        try:
            check(found, store, runs, extracted)
        except Exception as error:
            # Made-up specs may lead to nearly any exception in what was written for real ones.
            reason = plain(str(error).replace(f"{store.root}/", ""), 500)
            found.findings.append(
                Discrepancy(found.sweep, f"{check.__doc__ or ''} failed: {reason.rstrip('.')}.")
            )


def _radii(found: VerifiedPackage, store: Store, runs: list[Run], _extracted: Extracted) -> None:
    """Recomputing the radii"""
    entries = entries_and_levels(store.sweep(found.sweep)) if _planned(store, found.sweep) else []
    for run in runs:
        if run.kind.is_table:
            findings, images = compare_radii(run, entries)
            found.findings += findings
            found.images += images


def _stopping(found: VerifiedPackage, _store: Store, runs: list[Run], _extracted: Extracted) -> None:
    """Checking the stopping rules"""
    for run in runs:
        if run.kind is RunKind.COUNTS:
            found.findings += check_stopping(run)


def _noise(found: VerifiedPackage, _store: Store, runs: list[Run], _extracted: Extracted) -> None:
    """Checking the noise"""
    findings, found.remarks = check_noise(runs)
    found.findings += findings


def _cascades(found: VerifiedPackage, store: Store, _runs: list[Run], _extracted: Extracted) -> None:
    """Comparing the cascades with the sweep file"""
    if _planned(store, found.sweep):
        found.findings += check_cascades(store, found.sweep)


def _tables(found: VerifiedPackage, store: Store, runs: list[Run], extracted: Extracted) -> None:
    """Recomputing the tables"""
    manifest, files = extracted.manifest, extracted.files
    same = manifest.rsctl == __version__
    if not same:
        found.remarks.append(
            f"It was packed by rsctl {manifest.rsctl}: texts and new columns of rsctl {__version__} weren't compared."
        )
    derived, results = tables_of(store, found.sweep)
    found.remarks += about_untuned(results)
    cells = Cells(same_version=same)
    cells.compare({name: files[name].read_bytes() for name in TABLES.values() if name in files}, derived)
    weights = any(run.model_file.exists() for run in runs)
    about = card(found.sweep, store, results, licence=manifest.licence, weights=weights)
    if same and (CARD not in files or not _same_card(files, about)):
        cells.found.append(Discrepancy(CARD, "isn't the card that these runs give."))
    found.cells, found.findings = cells.compared, [*found.findings, *cells.found]


def _same_card(files: Mapping[str, Path], about: str) -> bool:
    text = files[CARD].read_text("utf-8", "replace")
    return text.partition(f"\n{MISSING}\n")[0].rstrip() == about.rstrip()


def _planned(store: Store, sweep: str) -> bool:
    return (store.sweep_folder(sweep) / "plan.json").exists()
