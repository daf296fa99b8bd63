"""Commands for a paper: tables, figures, comparisons and imported logs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rsctl.cli.choices import Force, Methods, OtherAlpha, OtherCertificate, Sigmas, open_store
from rsctl.cli.common import AsJson, leave, loudly, show, tell
from rsctl.cli.numbers import CascadeLevels, Tau, parse_cascade, parse_radii
from rsctl.errors import InputError, UserError, unknown
from rsctl.text import counted


def export(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Name of the sweep.")],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="md, csv, latex, json; or tsv: one log per run in the folder -o. By default from the suffix of -o, else md.",
        ),
    ] = None,
    certificate: OtherCertificate = "",
    alpha: OtherAlpha = None,
    radii: Annotated[str, typer.Option(help="Radii of the columns, such as 0,0.25,2/255.")] = "",
    method: Methods = None,
    sigma: Sigmas = None,
    cascade: CascadeLevels = "",
    tau: Tau = "",
    intervals: Annotated[
        bool,
        typer.Option("--intervals", help="95 % intervals in every printed cell (csv and json have them)."),
    ] = False,
    every_seed: Annotated[
        bool, typer.Option("--every-seed", help="One row per training seed instead of mean ± deviation.")
    ] = False,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Add published numbers on the same data.")
    ] = False,
    baseline: Annotated[
        list[str] | None, typer.Option(metavar="TABLE", help="Only this published table; may be repeated.")
    ] = None,
    brief: Annotated[
        bool, typer.Option("--brief", help="Leave out what the columns mean; notes and warnings stay.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File to write; only one that rsctl wrote is overwritten."),
    ] = None,
    force: Force = False,
) -> None:
    """Print or write the certified-accuracy table from stored counts; works while a sweep is running."""
    from rsctl.report.baselines import find_published, matching
    from rsctl.report.output import check, write
    from rsctl.report.tables.formats import FORMATS, by_ending, render
    from rsctl.results.row_filter import RowFilter
    from rsctl.results.sweep import sweep_results

    form = form or by_ending(output)
    if form not in (*FORMATS, "tsv"):
        raise InputError(f"--format: {unknown('format', form, (*FORMATS, 'tsv'))}")
    chosen = [find_published(name, "--baseline") for name in baseline or ()]
    store = open_store()
    choice: dict[str, Any] = {
        "certificate": certificate or None, "alpha": alpha, "radii": parse_radii(radii) if radii else None,
        "only": RowFilter(method or (), sigma or ()), "cascade": parse_cascade(cascade, tau),
    }  # fmt: skip
    if form == "tsv":
        _export_logs(store, sweep, output, force, choice)
        return
    if output:
        check(output, force=force)
    results = sweep_results(store, sweep, **choice)
    beside = chosen or (matching(results.every) if baselines else [])
    if baselines and not beside:
        print("note: no published table is on this data set and split.", file=sys.stderr)
    text = render(
        results, form, intervals=intervals, merge_seeds=not every_seed, baselines=beside, brief=brief
    )
    if output is None and form == "md":
        show(text)
    elif output is None:
        print(text, end="")
    else:
        write(output, form, text.encode(), force=force)
        print(f"{output}: {form} of {sweep}", file=sys.stderr)
    if form == "csv":
        tell(results.notes)
    leave(loudly(results.broken))


def _export_logs(store: Any, sweep: str, folder: Path | None, force: bool, choice: dict[str, Any]) -> None:
    from rsctl.report.radius_logs.export_logs import export_logs
    from rsctl.report.radius_logs.manifest import MANIFEST

    if folder is None:
        raise InputError("--format tsv writes one log per run: name a folder for them with -o.")
    written, results = export_logs(store, sweep, folder, force=force, **choice)
    for row in results.every:
        tell([f"{row.run}: n = {row.n}, n0 = {row.n0}, alpha = {row.alpha}, which a log doesn't hold"])
    tell(results.notes)
    print(f"{folder}: {counted(len(written), 'log')}, and {MANIFEST}, which describes them to 'rsctl import'")


def import_(
    logs: Annotated[list[Path], typer.Argument(metavar="LOG…", help="Log files, or folders of them.")],
    name: Annotated[str, typer.Option(help="Sweep to show them with; created if it doesn't exist.")],
    sigma: Annotated[
        float | None,
        typer.Option(help="Noise level of the certificate; by default from the path, as in sigma_0.25."),
    ] = None,
    method: Annotated[
        str, typer.Option(help="Name of the method; by default from the rest of the path.")
    ] = "",
    dataset: Annotated[str, typer.Option(help="Data set; by default from the path.")] = "",
    model: Annotated[str, typer.Option(help="Architecture; by default from the path.")] = "",
    seed: Annotated[
        int | None, typer.Option(help="Training seed; by default from the path, as in noise_0.25_77.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="Split that the positions refer to; by default from the path, else test.")
    ] = "",
    certificate: Annotated[
        str, typer.Option(help="Certificate of the radii; by default cohen, or top-K for lists of classes.")
    ] = "",
    n: Annotated[int | None, typer.Option(help="Estimation draws, as stated by the authors.")] = None,
    n0: Annotated[int | None, typer.Option(help="Selection draws, as stated by the authors.")] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Failure probability, as stated by the authors.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import per-image logs in Cohen's format, of radii or of counts, into the store. Safe to repeat."""
    from rsctl.report.radius_logs.import_logs import GivenFacts, import_logs, require_one
    from rsctl.report.radius_logs.import_report import describe

    said = GivenFacts(
        sigma, None, method or None, dataset or None, model or None, seed, split or None, certificate or None, n, n0, alpha
    )  # fmt: skip
    try:
        found = import_logs(open_store(), name, logs, said)
    except (UserError, OSError):
        if as_json:
            print("[]")  # nothing was imported; the reason is on stderr
        raise
    if as_json:
        print(json.dumps([one.__dict__ for one in found], indent=1))
    require_one(found)
    if not as_json:
        print(describe(found))
    unclear = sum(
        "Give it with --" in remark for one in found if one.state == "skipped" for remark in one.remarks
    )
    if unclear:
        tell([
            f"{counted(unclear, 'log')} skipped for missing information; pass the options named above and import them again."
        ])  # fmt: skip
    shown = [one for one in found if one.run]
    unstated = [
        f"--{name}" for name in ("n", "n0", "alpha") if any(getattr(one, name) is None for one in shown)
    ]
    if unstated:
        tell([
            f"{' and '.join(unstated)} not given: a log is shown in one table and panel with runs of the same images, n, n0 "
            "and alpha. Import again with them to correct it."
        ])  # fmt: skip


def compare(
    first: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run or an import: its id, or a prefix of it; a cascade, RUN@τ+RUN; or a sweep, for its cascades.",
        ),
    ],
    second: Annotated[
        str,
        typer.Argument(
            metavar="[RUN]",
            help="Another run or import on the same images. Without it a cascade, or each cascade of a sweep, is compared with its levels.",
        ),
    ] = "",
    certificate: Annotated[str, typer.Option(help="Certificate; by default the runs' own.")] = "",
    alpha: Annotated[
        float | None, typer.Option(help="Failure probability; by default the runs' own.")
    ] = None,
    radii: Annotated[str, typer.Option(help="Radii to test at, such as 0,0.25,2/255.")] = "",
    as_json: AsJson = False,
) -> None:
    """Test whether two runs differ: McNemar at each radius, bootstrap for the ACR."""
    from rsctl.report.compare.levels import compared

    columns = parse_radii(radii) if radii else None
    print(compared(open_store(), first, second, certificate or None, alpha, columns, as_json=as_json))


def reproduce(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="A published table; an unknown name lists them all.")
    ],
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Sweep to compare with it.")],
    certificate: Annotated[str, typer.Option(help="Certificate; by default the published one.")] = "",
    as_json: AsJson = False,
) -> None:
    """Compare a sweep with a published table cell by cell, with intervals and every setting that differs."""
    from rsctl.report.baselines import find_published
    from rsctl.report.compare.reproduce import reproduce, reproduction_json, reproduction_text

    found = reproduce(open_store(), find_published(table), sweep, certificate or None)
    if as_json:
        print(reproduction_json(found))
    else:
        show(reproduction_text(found) + "\n")


def plot(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Name of the sweep.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="FIGURE.pdf, .svg or .png.")],
    kind: Annotated[
        str,
        typer.Option(
            help="curve, envelope, ecdf, hours, classes, families or cascades; an unknown one lists and explains them."
        ),
    ] = "curve",
    certificate: OtherCertificate = "",
    alpha: OtherAlpha = None,
    radius: Annotated[float, typer.Option(min=0, help="Radius for the hours and classes plots.")] = 0.0,
    method: Methods = None,
    sigma: Sigmas = None,
    cascade: CascadeLevels = "",
    tau: Tau = "",
    width: Annotated[
        float, typer.Option(min=1, help="Width in inches; 3.25 is one column of a paper.")
    ] = 5.5,
    force: Force = False,
) -> None:
    """Plot a sweep from stored counts; works while the sweep is running."""
    from rsctl.report.figures.draw import plot as draw
    from rsctl.results.row_filter import RowFilter

    notes = draw(
        open_store(), sweep, output, kind=kind, certificate=certificate or None, alpha=alpha,
        radius=radius, width=width, force=force, only=RowFilter(method or (), sigma or ()),
        cascade=parse_cascade(cascade, tau),
    )  # fmt: skip
    tell(notes)
    print(f"{output}: {kind} of {sweep}")
