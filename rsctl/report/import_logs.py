"""`rsctl import`: find logs in files and folders, tell what they are from their paths, keep them beside a sweep."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rsctl.catalog import known_datasets, known_models
from rsctl.errors import InputError
from rsctl.report.logged import cap, describe_subset, implied_alpha, shortest_between
from rsctl.report.logs import NotALog, ReadLog, parse_log
from rsctl.report.text import plain, printable
from rsctl.store.imports import ImportSpec, Shown, keep, show
from rsctl.store.layout import Store
from rsctl.words import counted

_NOISE = re.compile(r"(sigma|noise)[_=-]?(\d+(?:\.\d+)?)", re.IGNORECASE)
_SEED = re.compile(r"seed[_=-]?(\d+)", re.IGNORECASE)
_ENDINGS = (".tsv", ".txt", ".csv", ".log")
_HABITS = ("data", "certify", "test")
"""Folders of the authors' code that say nothing about the method."""
MOST_BYTES = 1 << 30
MOST_SIGMAS = 7.0
"""A thousand billion full draws at alpha = 0.001 show 6.6 sigma."""


@dataclass(frozen=True)
class Said:
    """What the importer says of all logs; None leaves it to their paths, or unknown."""

    sigma: float | None = None
    method: str | None = None
    dataset: str | None = None
    model: str | None = None
    seed: int | None = None
    split: str = "test"
    certificate: str = "cohen"
    n: int | None = None
    n0: int | None = None
    alpha: float | None = None


@dataclass
class Imported:
    """What became of one file."""

    file: str
    run: str = ""
    state: str = ""
    """`new`, `changed`, `unchanged`, or `skipped`."""
    method: str = ""
    method_from: str = ""
    """`path`, or `--method`."""
    rows: int = 0
    subset: str = ""
    remarks: list[str] = field(default_factory=list)


def import_logs(store: Store, sweep: str, paths: Sequence[Path], said: Said) -> list[Imported]:
    """Keep every log below these paths and show it beside the sweep. Safe to repeat.

    Raises InputError for a path that isn't there, a σ that nothing tells, or if no file is a log.
    """
    store.sweep_folder(sweep)  # refuses a name that can't be a folder's before anything is written
    _check(said)
    found = [_import(store, sweep, file, below, said) for file, below in _files(paths)]
    if all(one.state == "skipped" for one in found):
        reasons = "; ".join(f"{printable(one.file)}: {', '.join(one.remarks)}" for one in found[:5])
        raise InputError(f"no log of certified radii among {counted(len(found), 'file')}. {reasons}")
    return found


def _check(said: Said) -> None:
    if said.sigma is not None and not 0 < said.sigma < float("inf"):
        raise InputError(f"--sigma: must be above 0, but it is {said.sigma}.")
    if said.alpha is not None and not 0 < said.alpha < 1:
        raise InputError(f"--alpha: must be inside (0, 1), but it is {said.alpha}.")
    for name, value in (("--n", said.n), ("--n0", said.n0)):
        if value is not None and value < 1:
            raise InputError(f"{name}: must be 1 or more, but it is {value}.")


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Every file, with its path below the folder it was found in."""
    for path in paths:
        if path.is_dir():
            for folder, folders, names in os.walk(path):
                folders.sort()
                for name in sorted(names):
                    if not name.startswith("."):
                        yield Path(folder, name), Path(folder, name).relative_to(path)
        elif path.is_file():
            yield path, Path(path.name)
        else:
            raise InputError(f"{path}: no such file or folder.")


def _import(store: Store, sweep: str, file: Path, below: Path, said: Said) -> Imported:
    one = Imported(str(file))
    try:
        log = _read(file)
    except NotALog as reason:
        one.state, one.remarks = "skipped", [str(reason)]
        return one
    spec, about_sigma = _spec(file, below, log, said)
    largest = float(log.radii.radius.max())
    if largest > MOST_SIGMAS * spec.sigma:
        one.state = "skipped"
        one.remarks = [
            f"its largest radius, {largest:g}, is {largest / spec.sigma:.3g} sigma, which no number of draws shows: is sigma = {spec.sigma:g} right?"
        ]
        return one
    alpha, about_alpha = _alpha(largest, spec.sigma, said)
    kept, _ = keep(store, spec, log.radii)
    shown = Shown(kept, said.n, said.n0, alpha, str(file), about_alpha + log.losses)
    one.state = show(store, sweep, shown)
    one.method, one.method_from = spec.method, "--method" if said.method else "path"
    one.run, one.rows, one.subset = kept.id, len(log.radii), describe_subset(log.radii.index)
    one.remarks = about_sigma + about_alpha + log.losses + log.quirks
    return one


def _read(file: Path) -> ReadLog:
    try:
        with open(file, "rb") as opened:
            # A look at the first line spares reading checkpoints and images that lie in the same tree.
            first = opened.read(4096)
            if b"\t" not in first.split(b"\n")[0]:
                raise NotALog("its first line isn't tab-separated")
            rest = opened.read(MOST_BYTES)
        return parse_log((first + rest).decode("utf-8"))
    except UnicodeDecodeError:
        raise NotALog("it isn't text") from None
    except OSError as error:
        raise NotALog(f"it can't be read ({error.strerror})") from error


def _spec(file: Path, below: Path, log: ReadLog, said: Said) -> tuple[ImportSpec, list[str]]:
    """What was certified, and where the importer contradicts the path."""
    text = file.as_posix()
    levels = {kind.lower(): float(value) for kind, value in _NOISE.findall(_stem(text))}
    sigma = said.sigma or levels.get("sigma") or levels.get("noise")
    if not sigma:
        raise InputError(f"{file}: nothing in its path tells σ (as in sigma_0.25). Give it with --sigma.")
    seed = _SEED.search(text)
    dataset = _named(text, known_datasets())
    model = _named(text, known_models())
    told = levels.get("sigma", sigma)
    remarks = [f"its path says sigma = {told:g}, the import {sigma:g}"] if told != sigma else []
    spec = ImportSpec(
        # A folder or a file that says nothing below itself is called as the folder it lies in.
        method=said.method
        or _method(below, (dataset, model))
        or _method(Path(file.resolve().parent.name), (dataset, model))
        or "log",
        dataset=said.dataset or dataset or "unknown",
        split=said.split,
        model=said.model or model or "unknown",
        sigma=sigma,
        seed=said.seed if said.seed is not None else int(seed[1]) if seed else None,
        certificate=said.certificate,
        rows=log.radii.sha256,
    )
    return spec, remarks


def _stem(text: str) -> str:
    # `sigma_0.25` has no ending to take off.
    return next((text[: -len(ending)] for ending in _ENDINGS if text.endswith(ending)), text)


def _named(text: str, names: Iterable[str]) -> str:
    """The last of these names that stands in the path as a word of its own; the longer one first."""
    places = {
        name: [match.start() for match in re.finditer(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", text)]
        for name in sorted(names, key=len, reverse=True)
    }  # fmt: skip
    found = {name: starts[-1] for name, starts in places.items() if starts}
    return max(found, key=lambda name: found[name]) if found else ""


def _method(below: Path, known: tuple[str, ...]) -> str:
    """What is left of the path without noise levels, data set, model and the authors' folders; may be empty."""
    parts = []
    for part in _stem(below.as_posix()).split("/"):
        left = _SEED.sub("", _NOISE.sub("", part))
        for name in known:
            left = left.replace(name, "") if name else left
        left = re.sub(r"[-_]{2,}", "-", left).strip("-_. ")
        if left and left not in _HABITS:
            parts.append(left)
    return printable("/".join(parts))


def _alpha(largest: float, sigma: float, said: Said) -> tuple[float | None, list[str]]:
    """The alpha to show, and what the largest radius has to say about the stated one."""
    if said.n is None or largest == 0:
        return said.alpha, []
    low, high = implied_alpha(largest, sigma, said.n)
    # Others' bounds may be off in the last digits.
    if said.alpha is not None and low <= said.alpha * (1 + 1e-6):
        return said.alpha, []
    likely = shortest_between(low, high)
    which = f"the largest radius, {largest:g} = {largest / sigma:.3g} sigma, needs alpha = {likely:g} or more at n = {said.n}"
    if said.alpha is None:
        return None, [f"alpha isn't stated; {which}"]
    limit = cap(sigma, said.n, said.alpha)
    return likely, [
        f"alpha = {said.alpha:g} is contradicted: {which}, and at the stated alpha no radius exceeds {limit:.4g}; shown with alpha = {likely:g}"
    ]


def describe(found: Sequence[Imported]) -> str:
    """One line per file, remarks below it, and the sum."""
    lines = []
    for one in found:
        head = f"{one.state:9} {printable(one.file)}"
        if one.run:
            head += (
                f": {one.run}, {counted(one.rows, 'image')} ({one.subset}), method '{printable(one.method)}'"
            )
        lines.append(head)
        lines += [f"          {printable(remark)}" for remark in one.remarks]
    counts = {
        state: sum(one.state == state for one in found)
        for state in ("new", "changed", "unchanged", "skipped")
    }
    lines.append(", ".join(f"{plain(number)} {state}" for state, number in counts.items() if number))
    if any(one.method_from == "path" for one in found):
        lines.append("The methods are called by their paths; --method says another name.")
    return "\n".join(lines)
