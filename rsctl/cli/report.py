"""What a paper needs of a sweep: tables, figures, comparisons, and logs of others beside it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rsctl.cli.common import AsJson, leave, loudly, show, tell
from rsctl.errors import InputError, UserError, unknown
from rsctl.text import counted

if TYPE_CHECKING:
    from rsctl.store.layout import Store

Methods = Annotated[
    list[str] | None, typer.Option("--method", metavar="NAME", help="Only rows of this method; may be given again.")
]  # fmt: skip
Sigmas = Annotated[
    list[float] | None, typer.Option("--sigma", help="Only rows at this noise level; may be given again.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file, whatever it is.")]


def _store() -> Store:
    """The store of the settings in force; plugins that can't be used are told."""
    from rsctl.catalog import plugin_problems
    from rsctl.config.settings import load_settings
    from rsctl.store.layout import Store

    store = Store(load_settings().store)
    tell(plugin_problems())
    return store


def export(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Its name.")],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="md, csv, latex, json; or tsv: one log per run, in the folder -o. By default what the ending of -o says, else md.",
        ),
    ] = None,
    certificate: Annotated[
        str, typer.Option("--certificate", help="Another certificate, from the same counts.")
    ] = "",
    alpha: Annotated[
        float | None, typer.Option("--alpha", help="Another failure probability, from the same counts.")
    ] = None,
    radii: Annotated[str, typer.Option("--radii", help="Columns, such as 0,0.25,2/255.")] = "",
    method: Methods = None,
    sigma: Sigmas = None,
    intervals: Annotated[
        bool,
        typer.Option("--intervals", help="95 % intervals in every printed cell (csv and json have them)."),
    ] = False,
    every_seed: Annotated[
        bool, typer.Option("--every-seed", help="A line per training seed instead of mean ± deviation.")
    ] = False,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Published numbers on the same data beside one's own.")
    ] = False,
    baseline: Annotated[
        list[str] | None,
        typer.Option("--baseline", metavar="TABLE", help="Only this published table; may be given again."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="A file instead of stdout; replaces what rsctl wrote there, nothing else."
        ),
    ] = None,
    force: Force = False,
) -> None:
    """The certified-accuracy table, from stored counts; works while shards are still being written."""
    from rsctl.report.baselines import find_published, matching
    from rsctl.report.only import Only
    from rsctl.report.output import check, write
    from rsctl.report.rows import sweep_results
    from rsctl.report.tables.formats import FORMATS, by_ending, render

    form = form or by_ending(output)
    if form not in (*FORMATS, "tsv"):
        raise InputError(f"--format: {unknown('format', form, (*FORMATS, 'tsv'))}")
    chosen = [find_published(name, "--baseline") for name in baseline or ()]
    store = _store()
    choice: dict[str, Any] = {
        "certificate": certificate or None, "alpha": alpha, "radii": parse_radii(radii) if radii else None,
        "only": Only(method or (), sigma or ()),
    }  # fmt: skip
    if form == "tsv":
        _export_logs(store, sweep, output, force, choice)
        return
    if output:
        check(output, force=force)
    results = sweep_results(store, sweep, **choice)
    beside = chosen or (matching(results.every) if baselines else [])
    text = render(results, form, intervals=intervals, merge_seeds=not every_seed, baselines=beside)
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
    from rsctl.report.radius_logs.export_logs import MANIFEST, export_logs

    if folder is None:
        raise InputError("--format tsv writes one log per run: name a folder for them with -o.")
    written, results = export_logs(store, sweep, folder, force=force, **choice)
    for row in results.every:
        tell([f"{row.run}: n = {row.n}, n0 = {row.n0}, alpha = {row.alpha}, which a log doesn't hold"])
    tell(results.notes)
    print(
        f"{folder}: {counted(len(written), 'log')}, and {MANIFEST}, from which 'rsctl import' reads what they are of"
    )


def import_(
    logs: Annotated[list[Path], typer.Argument(metavar="LOG…", help="Log files, or folders full of them.")],
    name: Annotated[
        str, typer.Option("--name", help="The sweep to show them beside; made if there is none.")
    ],
    sigma: Annotated[
        float | None,
        typer.Option(
            "--sigma", help="Noise level of the certificate; by default from the path, as in sigma_0.25."
        ),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="What to call it; by default what is left of the path.")
    ] = "",
    dataset: Annotated[str, typer.Option("--dataset", help="By default from the path.")] = "",
    model: Annotated[str, typer.Option("--model", help="By default from the path.")] = "",
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Training seed; by default from the path, as in noise_0.25_77."),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            "--split", help="Which images the positions speak of; by default from the path, else test."
        ),
    ] = "",
    certificate: Annotated[
        str,
        typer.Option(
            "--certificate", help="What computed the radii; by default cohen, of lists of classes top-K."
        ),
    ] = "",
    n: Annotated[int | None, typer.Option("--n", help="Estimation draws, as stated by the authors.")] = None,
    n0: Annotated[int | None, typer.Option("--n0", help="Selection draws, likewise.")] = None,
    alpha: Annotated[float | None, typer.Option("--alpha", help="Failure probability, likewise.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take per-image logs of Cohen's format into the store, of radii or of counts. Safe to repeat."""
    from rsctl.report.radius_logs.import_logs import GivenFacts, import_logs, require_one
    from rsctl.report.radius_logs.import_report import describe

    said = GivenFacts(
        sigma, None, method or None, dataset or None, model or None, seed, split or None, certificate or None, n, n0, alpha
    )  # fmt: skip
    try:
        found = import_logs(_store(), name, logs, said)
    except (UserError, OSError):
        if as_json:
            print("[]")  # nothing was imported, and why is on stderr
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
        tell(
            [
                f"{counted(unclear, 'log')} skipped for want of a word; give it as said above, and import these again."
            ]
        )
    shown = [one for one in found if one.run]
    unstated = [
        f"--{name}" for name in ("n", "n0", "alpha") if any(getattr(one, name) is None for one in shown)
    ]
    if unstated:
        tell([
            f"{' and '.join(unstated)} not given: a log stands in one table and one panel with runs of the same images, n, n0 "
            "and alpha. Import again with them to correct it."
        ])  # fmt: skip


def compare(
    first: Annotated[
        str, typer.Argument(metavar="RUN", help="A run or an import: its id, or the beginning of it.")
    ],
    second: Annotated[str, typer.Argument(metavar="RUN", help="Another on the same images.")],
    certificate: Annotated[str, typer.Option("--certificate", help="By default the runs' own.")] = "",
    alpha: Annotated[float | None, typer.Option("--alpha", help="By default the runs' own.")] = None,
    radii: Annotated[str, typer.Option("--radii", help="Where to test, such as 0,0.25,2/255.")] = "",
    as_json: AsJson = False,
) -> None:
    """Is the difference between two runs real? McNemar at each radius, and the ACR by bootstrap."""
    from rsctl.report.compare.pairs import compare, comparison_json, comparison_text
    from rsctl.report.subjects import open_subject

    store = _store()
    a, b = (open_subject(store, name, certificate or None, alpha) for name in (first, second))
    found = compare(store, a, b, parse_radii(radii) if radii else None)
    print(comparison_json(found) if as_json else comparison_text(found))


def reproduce(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="A published table; a wrong name lists them.")
    ],
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Your sweep.")],
    certificate: Annotated[str, typer.Option("--certificate", help="By default the published one.")] = "",
    as_json: AsJson = False,
) -> None:
    """Your sweep beside a published table, cell by cell, with intervals and every setting that differs."""
    from rsctl.report.baselines import find_published
    from rsctl.report.compare.reproduce import reproduce, reproduction_json, reproduction_text

    found = reproduce(_store(), find_published(table), sweep, certificate or None)
    if as_json:
        print(reproduction_json(found))
    else:
        show(reproduction_text(found) + "\n")


def plot(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Its name.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="FIGURE.pdf, .svg or .png.")],
    kind: Annotated[
        str,
        typer.Option(
            "--kind", help="curve, envelope, ecdf, hours, classes or families; a wrong one explains them."
        ),
    ] = "curve",
    certificate: Annotated[str, typer.Option("--certificate", help="From the same counts.")] = "",
    alpha: Annotated[float | None, typer.Option("--alpha", help="From the same counts.")] = None,
    radius: Annotated[
        float, typer.Option("--radius", min=0, help="For hours and classes: at which radius.")
    ] = 0.0,
    method: Methods = None,
    sigma: Sigmas = None,
    width: Annotated[
        float, typer.Option("--width", min=1, help="Inches; 3.25 is one column of a paper.")
    ] = 5.5,
    force: Force = False,
) -> None:
    """A figure of a sweep, from stored counts; works while shards are still being written."""
    from rsctl.report.figures.draw import plot as draw
    from rsctl.report.only import Only

    notes = draw(
        _store(), sweep, output, kind=kind, certificate=certificate or None, alpha=alpha,
        radius=radius, width=width, force=force, only=Only(method or (), sigma or ()),
    )  # fmt: skip
    tell(notes)
    print(f"{output}: {kind} of {sweep}")


def parse_radii(text: str) -> list[float]:
    """`0,0.25,2/255` as numbers, ascending and each once."""
    radii = []
    for part in text.split(","):
        above, _, below = part.strip().partition("/")
        try:
            value = float(above) / (float(below) if below else 1.0)
        except (ValueError, ZeroDivisionError) as error:
            raise InputError(f"--radii: '{part}' is not a number such as 0.25 or 2/255.") from error
        if not 0 <= value < float("inf"):
            raise InputError(f"--radii: '{part}' is not a radius: it must be 0 or more, and finite.")
        radii.append(value)
    return sorted(set(radii))
