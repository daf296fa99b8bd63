"""The same rows as Markdown, CSV, LaTeX or JSON. Text from outside is escaped in each."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

from rsctl.report.rows import Results, Row

FORMATS = ("md", "csv", "latex", "json")


def percent(share: float) -> str:
    """A share in percent with one decimal, rounded down: never in the method's favour."""
    return "–" if math.isnan(share) else f"{math.floor(share * 1000 + 1e-9) / 10:.1f}"


def percent_up(share: float) -> str:
    """Likewise rounded up, for what speaks against the method."""
    return "–" if math.isnan(share) else f"{math.ceil(share * 1000 - 1e-9) / 10:.1f}"


def three_down(value: float) -> str:
    """Three decimals, rounded down."""
    return "–" if math.isnan(value) else f"{math.floor(value * 1000 + 1e-9) / 1000:.3f}"


def label(row: Row) -> str:
    """The method with the settings that tell it from its neighbours."""
    extra = ", ".join(f"{key.split('.', 1)[-1]}={_plain(value)}" for key, value in row.varying.items())
    return f"{row.train.method} ({extra})" if extra else row.train.method


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def render(results: Results, form: str) -> str:
    """The table as text in one of `FORMATS`."""
    return {"md": markdown, "csv": to_csv, "latex": latex, "json": to_json}[form](results)


def _groups(results: Results) -> list[tuple[Row, list[Row]]]:
    """Rows that may stand in one table: same data, split, certificate, alpha, n and radii."""
    groups: dict[Any, list[Row]] = {}
    for row in results.rows:
        radii = tuple(cell.radius for cell in row.cells)
        key = (
            row.train.dataset,
            row.count.split,
            row.certificate,
            row.alpha,
            row.count.n,
            row.count.n0,
            radii,
        )
        groups.setdefault(key, []).append(row)
    return [(rows[0], rows) for rows in groups.values()]


def caption(row: Row) -> str:
    """What the numbers of a table are."""
    radius = "radius" if row.norm == "l2" else f"{row.norm} radius"
    return (
        f"Certified accuracy (%) at {radius}, {row.train.dataset} {row.count.split}; "
        f"{row.certificate}: {row.guarantee}; n = {row.count.n}, n0 = {row.count.n0}, alpha = {row.alpha:g}."
    )


_COLUMNS = ("Method", "Model", "σ", "Seed")
_LAST = ("ACR", "Abstain", "At cap", "Images")


def _cells(row: Row) -> list[str]:
    images = f"{row.images}" if row.complete else f"{row.images} of {row.planned}"
    return [
        label(row), row.train.model, f"{row.count.sigma:g}", str(row.train.seed), *(percent(cell.accuracy) for cell in row.cells),
        three_down(row.acr), percent_up(row.abstain_rate), percent_up(row.cap_share), images,
    ]  # fmt: skip


def markdown(results: Results) -> str:
    """One pipe table per group of comparable rows, and the notes."""
    lines = [f"# {_escape_markdown(results.sweep)}", ""]
    if results.description:
        lines += [_escape_markdown(results.description), ""]
    for first, rows in _groups(results):
        header = [*_COLUMNS, *(f"{cell.radius:g}" for cell in first.cells), *_LAST]
        body = [[_escape_markdown(cell) for cell in _cells(row)] for row in rows]
        widths = [max(len(line[i]) for line in [header, *body]) for i in range(len(header))]
        lines += [caption(first), ""]
        lines.append(
            "| " + " | ".join(text.ljust(width) for text, width in zip(header, widths, strict=True)) + " |"
        )
        lines.append("|" + "|".join("-" * (width + 2) for width in widths) + "|")
        lines += [
            "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |"
            for line in body
        ]
        lines.append("")
    lines += [f"Note: {_escape_markdown(note)}" for note in results.notes]
    return "\n".join(lines).rstrip() + "\n"


def _escape_markdown(text: str) -> str:
    text = "".join(c if c.isprintable() else "�" for c in text)
    for special in "\\`*_|<>[]":
        text = text.replace(special, "\\" + special)
    return text


def long_rows(results: Results) -> list[dict[str, Any]]:
    """One dict per row and radius: the columns of the CSV and of the JSON rows."""
    found = []
    for row in results.rows:
        for cell in row.cells:
            low, high = cell.interval
            found.append(
                {
                    "run": row.run, "method": row.train.method, "dataset": row.train.dataset, "split": row.count.split,
                    "model": row.train.model, "sigma": row.count.sigma, "noise": row.count.noise, "seed": row.train.seed,
                    "certificate": row.certificate, "guarantee": row.guarantee, "norm": row.norm, "k": row.k, "alpha": row.alpha,
                    "n": row.count.n, "n0": row.count.n0, "images": row.images, "planned": row.planned, "radius": cell.radius,
                    "certified_accuracy": _number(cell.accuracy), "low": low, "high": high, "acr": _number(row.acr),
                    "abstain_rate": _number(row.abstain_rate), "cap_share": _number(row.cap_share), "settings": label(row),
                }
            )  # fmt: skip
    return found


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def to_csv(results: Results) -> str:
    """Long form: one line per row and radius, full precision."""
    rows = long_rows(results)
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _escape_csv(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def _escape_csv(value: Any) -> Any:
    # A spreadsheet runs a cell that begins like a formula.
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value


def to_json(results: Results) -> str:
    values = {
        "sweep": results.sweep,
        "description": results.description,
        "rows": long_rows(results),
        "notes": results.notes,
    }
    return json.dumps(values, indent=1) + "\n"


def latex(results: Results) -> str:
    """One booktabs table per group; the best of each column and σ in bold."""
    parts = ["% needs \\usepackage{booktabs}"]
    for first, rows in _groups(results):
        best = {
            (sigma, i): max(
                (row.cells[i].accuracy for row in rows if row.count.sigma == sigma and row.images),
                default=float("nan"),
            )
            for sigma in {row.count.sigma for row in rows}
            for i in range(len(first.cells))
        }
        header = [
            "Method",
            "Model",
            "$\\sigma$",
            "Seed",
            *(f"{cell.radius:g}" for cell in first.cells),
            "ACR",
            "Abstain",
            "At cap",
            "Images",
        ]
        lines = [" & ".join(header) + " \\\\", "\\midrule"]
        for row in rows:
            cells = [_escape_latex(cell) for cell in _cells(row)]
            for i, cell in enumerate(row.cells):
                if cell.certified and cell.accuracy == best[row.count.sigma, i]:
                    cells[4 + i] = f"\\textbf{{{cells[4 + i]}}}"
            lines.append(" & ".join(cells) + " \\\\")
        parts.append(
            "\\begin{table}\n\\centering\n"
            f"\\caption{{{_escape_latex(caption(first))}}}\n"
            f"\\begin{{tabular}}{{ll{'r' * (len(header) - 2)}}}\n\\toprule\n"
            + "\n".join(lines)
            + "\n\\bottomrule\n\\end{tabular}\n\\end{table}"
        )
    parts += [f"% {' '.join(note.split())}" for note in results.notes]
    return "\n\n".join(parts) + "\n"


_LATEX = {
    "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_", "{": "\\{", "}": "\\}",
    "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "σ": "$\\sigma$", "α": "$\\alpha$", "–": "--", "<": "$<$", ">": "$>$",
}  # fmt: skip


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(c, c if c.isascii() and c.isprintable() else "?") for c in text)
