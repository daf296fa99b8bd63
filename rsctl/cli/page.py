"""Command that writes a sweep as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rsctl.cli.choices import Force, Methods, OtherAlpha, OtherCertificate, Sigmas, open_store
from rsctl.cli.common import leave, loudly
from rsctl.cli.numbers import CascadeLevels, Tau, parse_cascade, parse_radii
from rsctl.errors import InputError


def report(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="Name of the sweep.")],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="REPORT.html; only one that rsctl wrote is overwritten."),
    ],
    certificate: OtherCertificate = "",
    alpha: OtherAlpha = None,
    radii: Annotated[str, typer.Option("--radii", help="Radii of the columns, such as 0,0.25,2/255.")] = "",
    method: Methods = None,
    sigma: Sigmas = None,
    cascade: CascadeLevels = "",
    tau: Tau = "",
    no_pictures: Annotated[
        bool, typer.Option("--no-pictures", help="Leave the pictures of the images out.")
    ] = False,
    force: Force = False,
) -> None:
    """Write one HTML file that opens anywhere offline: tables, curves, images, provenance; works while the sweep is running."""
    from rsctl.config.settings import load_settings
    from rsctl.report.html.document import html_report
    from rsctl.report.output import check, write
    from rsctl.results.row_filter import RowFilter

    if output.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"-o {output}: ends in '{output.suffix}'; a report ends in .html.")
    store = open_store()
    check(output, force=force)
    choice: dict[str, Any] = {
        "certificate": certificate or None, "alpha": alpha, "radii": parse_radii(radii) if radii else None,
        "only": RowFilter(method or (), sigma or ()), "cascade": parse_cascade(cascade, tau),
    }  # fmt: skip
    given = {
        "--certificate": certificate,
        "--alpha": alpha or "",
        "--radii": radii,
        "--cascade": cascade,
        "--tau": tau,
    }
    told = [text for key, value in given.items() if value for text in (key, str(value))]
    told += [text for name in method or () for text in ("--method", name)]
    told += [text for level in sigma or () for text in ("--sigma", f"{level:g}")]
    page, results = html_report(
        store, sweep, load_settings().data, pictures=not no_pictures, options=told, **choice
    )
    write(output, "html", page, force=force)
    print(f"{output}: report of {sweep}, {len(page) / 1e6:.1f} MB")
    leave(loudly(results.broken))
