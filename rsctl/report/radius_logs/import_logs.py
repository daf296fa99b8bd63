"""`rsctl import`: find logs in files and folders, infer their metadata from their paths, store them with a sweep."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rsctl.certificates import certificates
from rsctl.errors import InputError, UserError
from rsctl.plain import printable
from rsctl.regular import open_regular
from rsctl.report.radius_logs.alpha import alpha_shown, impossible, low_cap
from rsctl.report.radius_logs.bare_lines import is_bare
from rsctl.report.radius_logs.cells import NotALog
from rsctl.report.radius_logs.counts import with_draws
from rsctl.report.radius_logs.export_logs import exported
from rsctl.report.radius_logs.logs import ReadLog, parse_log
from rsctl.report.radius_logs.manifest import MANIFEST
from rsctl.report.radius_logs.paths import read_path
from rsctl.report.radius_logs.sigma import Unclear, settle
from rsctl.results.image_order import describe_subset
from rsctl.results.log_radii import PLAIN
from rsctl.store.imports import ImportSpec, Radii, ShownImport, hide, keep, show, shown_by
from rsctl.store.layout import Store
from rsctl.text import counted

MOST_BYTES, MOST_FILES = 128 << 20, 50_000
REASONS = 6
"""Most reasons that are reported where nothing could be imported."""


@dataclass(frozen=True)
class GivenFacts:
    """Values stated by the importer for all logs; None leaves them to the paths, or unknown."""

    sigma: float | None = None
    trained_sigma: float | None = None
    method: str | None = None
    dataset: str | None = None
    model: str | None = None
    seed: int | None = None
    split: str | None = None
    certificate: str | None = None
    n: int | None = None
    n0: int | None = None
    alpha: float | None = None


@dataclass
class Imported:
    """Outcome of one file."""

    file: str
    run: str = ""
    state: str = ""
    """`new`, `changed`, `unchanged`, or `skipped`."""
    method: str = ""
    method_from: str = ""
    """`path`, `--method`, or `export` for logs that rsctl exported."""
    rows: int = 0
    subset: str = ""
    sigma: float | None = None
    trained_sigma: float | None = None
    split: str = ""
    seed: int | None = None
    certificate: str = ""
    n: int | None = None
    n0: int | None = None
    alpha: float | None = None
    """The alpha shown, which differs from the stated one where the radii contradict that."""
    counts: bool = False
    """True if the log holds counts, from which any alpha and certificate can be derived."""
    remarks: list[str] = field(default_factory=list)


def import_logs(store: Store, sweep: str, paths: Sequence[Path], said: GivenFacts) -> list[Imported]:
    """Store every log below these paths and show it with the sweep. Safe to repeat.

    A file that can't be used is named in what is returned, and the others are kept. Raises InputError for a path that
    isn't there, before anything is kept.
    """
    store.sweep_folder(sweep)  # refuses a name that can't be a folder's before anything is written
    _check(paths, said)
    found: list[Imported] = []
    book = _Book(store, sweep)
    for file, below, given in _files(paths):
        found += _import(book, file, below, given, said)
    return found


class _Book:
    """The logs that a sweep shows already, by file, and those that this import has stored."""

    def __init__(self, store: Store, sweep: str) -> None:
        self.store, self.sweep = store, sweep
        self.kept: dict[str, str] = {}
        """Files by the id of their import."""
        self.earlier: dict[str, list[ShownImport]] = {}
        for shown in shown_by(store, sweep):
            self.earlier.setdefault(shown.source, []).append(shown)

    def replace(self, file: Path, found: Sequence[Imported]) -> None:
        """Remove the previous import of the same file from the sweep, so that a repeated import corrects it."""
        now = {one.run for one in found}
        before = [shown for shown in self.earlier.get(os.path.abspath(file), ()) if shown.log.id not in now]
        for shown in before:
            hide(self.store, self.sweep, shown)
        if before and found[0].state == "new":
            found[0].state = "changed"


def require_one(found: Sequence[Imported]) -> None:
    """Raises InputError with the reasons where no file could be imported."""
    if all(one.state == "skipped" for one in found):
        # Near misses are the most informative.
        told = sorted(skipped(found).items(), key=lambda item: item[0] == _NO_LOG)[:REASONS]
        files = [f"{some_files(names, 1)}: {printable(reason)}" for reason, names in told]
        raise InputError(
            f"nothing was imported: no log of certified radii among {counted(len(found), 'file')}. {'; '.join(files)}"
        )


def skipped(found: Sequence[Imported]) -> dict[str, list[str]]:
    """Files that weren't imported, by reason."""
    reasons: dict[str, list[str]] = {}
    for one in found:
        if one.state == "skipped":
            reasons.setdefault(", ".join(one.remarks), []).append(one.file)
    return reasons


def some_files(files: Sequence[str], most: int) -> str:
    """The first of these files, and the number of the others."""
    more = f" and {counted(len(files) - most, 'more file')}" if len(files) > most else ""
    return f"{printable(', '.join(files[:most]))}{more}"


def _check(paths: Sequence[Path], said: GivenFacts) -> None:
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder.")
    if said.sigma is not None and not 0 < said.sigma < float("inf"):
        raise InputError(f"--sigma: must be above 0, but it is {said.sigma}.")
    if said.alpha is not None and not 0 < said.alpha < 1:
        raise InputError(f"--alpha: must be inside (0, 1), but it is {said.alpha}.")
    for name, value in (("--n", said.n), ("--n0", said.n0)):
        if value is not None and value < 1:
            raise InputError(f"{name}: must be 1 or more, but it is {value}.")


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, Path, Path]]:
    """Every file once, with the distinguishing part of its path, and the folder that was given."""
    seen: set[Path] = set()
    length = _telling(paths)
    for path in paths:
        whole = path.resolve()
        given = whole if path.is_dir() else whole.parent
        parts = Path(*whole.parts[-length:]) if length else Path()
        for file in sorted(_walk(path)) if path.is_dir() else [path]:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                below = file.relative_to(path) if path.is_dir() else Path() if length else Path(path.name)
                yield file, parts / below, given


def _walk(path: Path) -> Iterator[Path]:
    unread: list[Path] = []
    seen = 0
    for folder, folders, names in os.walk(path, onerror=lambda error: unread.append(Path(error.filename))):
        folders.sort()
        seen += len(folders) + len(names)
        if seen > MOST_FILES:
            raise InputError(
                f"{path}: holds more than {MOST_FILES:,} files and folders. Give the folder of the logs."
            )
        yield from (Path(folder, name) for name in names if not name.startswith(".") and name != MANIFEST)
    yield from unread


def _telling(paths: Sequence[Path]) -> int:
    """The number of last parts that distinguish the paths; 0 for one path."""
    whole = {path.resolve() for path in paths}
    longest = max((len(path.parts) for path in whole), default=0)
    if len(whole) < 2:
        return 0
    return next(
        (k for k in range(1, longest) if len({path.parts[-k:] for path in whole}) == len(whole)), longest
    )


def _import(book: _Book, file: Path, below: Path, given: Path, said: GivenFacts) -> list[Imported]:
    """The outcome for a file: one log, or one for each norm of its radii."""
    one = Imported(str(file), state="skipped")
    try:
        log = _read(file)
        stated = {key: value for key, value in exported(file).items() if getattr(said, key) is None}
        told = replace(said, **stated)
        spec, remarks = _spec(file, below, given, log, told)
        log = with_draws(log, spec, told.n, told.n0, told.alpha)
        spec = spec.model_copy(update={"rows": log.radii.sha256, "counts": log.counts})
        reason = impossible(spec, log.radii, told.n, told.alpha)
        low, doubtful = low_cap(spec, log.radii, told.n, told.alpha)
        if reason or (doubtful and told.sigma is None):
            raise NotALog(f"{reason or low} Give it with --sigma")
        alpha, about_alpha = alpha_shown(spec, log.radii, told.n, told.alpha)
        about_alpha += [low] if low else []
        n, n0 = told.n, told.n0 if log.chosen else None
        if log.radii.draws is not None:
            n = int(log.radii.draws.max())
            remarks += [f"--n is {said.n}, but its counts sum to {n}"] if said.n not in (None, n) else []
        one.method_from = "--method" if said.method else "export" if told.method else "path"
        public = about_alpha + log.losses
        found = [_keep(book, one, spec, log.radii, (n, n0, alpha), public)]
        found[0].remarks = remarks + found[0].remarks + log.quirks
        for norm, radii in log.further.items():
            changes = {"certificate": f"{spec.certificate}-{norm}", "rows": radii.sha256, "counts": ""}
            found.append(_keep(book, one, spec.model_copy(update=changes), radii, (n, n0, alpha), public))
    except (NotALog, Unclear, UserError) as reason:
        one.remarks = [str(reason)]
        return [one]
    book.replace(file, found)
    return found


def _keep(
    book: _Book, blank: Imported, spec: ImportSpec, radii: Radii, told: tuple[int | None, int | None, float | None], public: list[str]
) -> Imported:  # fmt: skip
    """Store radii and show them with `told`, n, n0 and alpha; `public` are remarks for readers of the numbers."""
    kept, _ = keep(book.store, spec, radii)
    one = replace(
        blank, method=spec.method, run=kept.id, rows=len(radii), subset=describe_subset(radii.index), sigma=spec.sigma,
        trained_sigma=spec.trained_sigma, split=spec.split, seed=spec.seed, certificate=spec.certificate, counts=bool(spec.counts),
        n=told[0], n0=told[1], alpha=told[2], remarks=list(public),
    )  # fmt: skip
    if kept.id in book.kept:
        return replace(one, state="unchanged", remarks=[f"the same log as {book.kept[kept.id]}"])
    book.kept[kept.id] = one.file
    # Whole: the same name in another folder is another file.
    shown = ShownImport(kept, *told, os.path.abspath(one.file), public)
    return replace(one, state=show(book.store, book.sweep, shown))


_NO_LOG = "its first line names no columns"


def _read(file: Path) -> ReadLog:
    try:
        with open_regular(file) as opened:
            size = os.fstat(opened.fileno()).st_size  # the kernel's own files block, and claim to be empty
            # Checking the first line avoids reading checkpoints and images in the same tree.
            first = opened.read(min(4096, size))
            line = first.split(b"\n")[0].decode("utf-8", "replace")
            heads = {"idx", "index", "label"} & set(re.split(r"\W+", line.lower()))
            if not (is_bare(line) or "\t" in line or heads):
                raise NotALog(_NO_LOG)
            if size > MOST_BYTES:
                raise NotALog(f"it has {size:,} bytes, and a log at most {MOST_BYTES:,}")
            rest = opened.read()
        return parse_log((first + rest).decode("utf-8"))
    except InputError as error:
        raise NotALog(f"it {str(error).removeprefix(f'{file}: ').rstrip('.')}") from error
    except UnicodeDecodeError:
        raise NotALog("it isn't text") from None
    except OSError as error:
        raise NotALog(f"it can't be read ({error.strerror})") from error


def _spec(
    file: Path, below: Path, given: Path, log: ReadLog, said: GivenFacts
) -> tuple[ImportSpec, list[str]]:
    """The spec of a log, and remarks where the importer contradicts the path."""
    told = read_path(file, below, given)
    largest = float(log.radii.radius.max()) if log.norm == "l2" and not log.counts else 0.0
    noise = settle(told.levels, largest, said.sigma)
    if told.other_noise and (said.certificate or told.certificate) not in certificates():
        raise NotALog(
            f"'{told.other_noise}' in its path suggests noise other than Gaussian noise of the pixels, and radii of another meaning. "
            f"If its noise is Gaussian, confirm it with --certificate {PLAIN}"
        )
    remarks = list(noise.remarks)
    if said.split and told.split and said.split != told.split:
        remarks.append(f"its path states split {told.split}, the import {said.split}")
    own = f"top-{log.k}" if log.k > 1 else PLAIN if log.norm == "l2" else f"{PLAIN}-{log.norm}"
    spec = ImportSpec(
        method=said.method or told.method,
        dataset=said.dataset or told.dataset or "unknown",
        split=said.split or told.split or "test",
        model=said.model or told.model or "unknown",
        sigma=noise.sigma,
        trained_sigma=noise.trained if said.trained_sigma is None else said.trained_sigma,
        seed=said.seed if said.seed is not None else told.seed,
        certificate=said.certificate or (told.certificate if told.certificate in certificates() else own),
        rows="",
    )
    return spec, remarks
