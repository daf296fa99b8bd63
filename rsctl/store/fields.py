"""The fields of every JSON record in the store, and their allowed values. Undeclared fields may hold anything.

A field that was added later, or that not every record of its kind has, is `NotRequired`: stores of older versions stay readable.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    FailFast,
    Field,
    with_config,
)
from typing_extensions import NotRequired, TypedDict

from rsctl.store.records import Kind

STRICT = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

Name = Annotated[str, Field(pattern=r"^[^/.\x00-\x1f\x7f][^/\x00-\x1f\x7f]{0,199}$")]
"""Name of a folder in the store: never a path that leads out of it."""
Text = Annotated[str, Field(max_length=100_000)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
Number = Annotated[float, Field(ge=-1e300, le=1e300)]
Amount = Annotated[float, Field(ge=0, le=1e300)]
Time = Annotated[float, Field(ge=0, lt=1e11)]
"""Unix time in seconds."""
Alpha = Annotated[float, Field(gt=0, lt=1)]
Counts = Annotated[list[Count], Field(max_length=1_000_000), FailFast()]
Texts = Annotated[list[Text], Field(max_length=10_000), FailFast()]


@with_config(STRICT)
class StoredRecord(TypedDict):
    """Base of all records."""


class ShownImportRecord(StoredRecord):
    """`sweeps/<name>/imports/<import>.json`."""

    n: Annotated[int, Field(ge=1, lt=2**53)] | None
    n0: Annotated[int, Field(ge=0, lt=2**53)] | None
    alpha: Alpha | None
    source: Text
    remarks: Texts
    digest: NotRequired[str]


class SpecRecord(StoredRecord):
    """`spec.json` of a run or an import; the spec itself is checked against its class."""

    schema: Annotated[int, Field(ge=1, lt=2**31)]
    hash: NotRequired[str]
    spec: NotRequired[dict[str, Any]]


class LaunchRecord(StoredRecord):
    """`launch.json` of a run: launch settings of its tasks."""

    code: Text
    data: Annotated[str, Field(max_length=4096, pattern=r"^[^\x00]*$")]
    plugins: Annotated[list[Text], Field(max_length=1000), FailFast()]
    threads: Annotated[int, Field(ge=1, le=65_536)]
    gpus: NotRequired[Count | Literal["auto"]]
    processes: NotRequired[Annotated[int, Field(ge=1, le=65_536)]]
    minutes: NotRequired[Annotated[int, Field(ge=1, lt=2**31)] | None]
    memory_gb: NotRequired[Annotated[float, Field(gt=0, le=1e6)] | None]
    reckoned_gb: NotRequired[Amount]
    network_gb: NotRequired[Amount]
    workers: NotRequired[Count | None]
    stated: NotRequired[bool]
    keep_images: NotRequired[bool]
    alpha: NotRequired[Alpha]
    certificates: NotRequired[Annotated[list[Text], Field(max_length=1000), FailFast()]]
    dataset_parameters: NotRequired[dict[str, Any]]
    parameters: NotRequired[dict[str, Any]]
    provenance: NotRequired[ProvenanceRecord]
    digest: NotRequired[str]


class ProvenanceRecord(StoredRecord):
    """User and environment of a submission."""

    versions: NotRequired[dict[str, Text]]
    git: NotRequired[GitRecord]
    command: NotRequired[Texts]
    cwd: NotRequired[Text]


class GitRecord(StoredRecord, total=False):
    """The state of a checkout; empty where there is none."""

    sha: Text
    dirty: bool


def _by_class(seen: Any) -> Any:
    if not len(seen["labels"]) == len(seen["predicted"]) == len(seen["right"]):
        raise ValueError("labels, predicted and right must have an entry per class")
    return seen


class ClassCountsRecord(StoredRecord):
    """`seen.json` of a model or a table: its images by class."""

    training: bool
    labels: Counts
    predicted: Counts
    right: Counts
    abstained: NotRequired[Count]
    digest: NotRequired[str]


class TileRecord(StoredRecord):
    """`tile.json` of a table; it is checked against the block where it is used."""

    tile: Any


class RateRecord(StoredRecord):
    """One line of a measurement."""

    precision: Text
    compile: NotRequired[Text]
    samples_per_second: Annotated[float, Field(gt=0, le=1e300)]


class BenchRecord(StoredRecord):
    """`bench/<name>.json`: what `rsctl bench` measured."""

    model: Text
    dataset: Text
    model_parameters: NotRequired[dict[str, Any]]
    dataset_parameters: NotRequired[dict[str, Any]]
    device: Text
    time: Time
    rows: Annotated[list[RateRecord], Field(max_length=10_000), FailFast()]


class ForwardRecord(StoredRecord):
    """`<cache>/rsctl/networks/<hash>.json`: FLOPs and bytes of a network on one image, and the bytes of its weights."""

    flops: Amount
    weights: Amount
    training_fp32: Amount
    training_bf16: Amount
    sampling_fp32: Amount
    sampling_bf16: Amount


class ImportedRecord(StoredRecord):
    """`taken.json` of a model: the part of a published checkpoint that was imported, and its normalisation."""

    normalisation: Text
    stored: Texts
    stated: bool


class LogSourceRecord(StoredRecord, total=False):
    """Origin of an exported log."""

    method: Text
    dataset: Text
    split: Text
    model: Text
    certificate: Text
    sigma: Amount
    trained_sigma: Amount | None
    seed: int | None
    n: Count | None
    n0: Count | None
    alpha: Alpha | None
    digest: str


class LogsRecord(StoredRecord):
    """`rsctl-logs.json` beside exported logs."""

    rsctl: Literal["logs"]
    logs: dict[str, LogSourceRecord]


SHOWN = Kind(ShownImportRecord, sealed=("n", "n0", "alpha"))
SPEC = Kind(SpecRecord)
LAUNCH = Kind(LaunchRecord, sealed=("alpha", "certificates"))
SEEN = Kind(
    Annotated[ClassCountsRecord, AfterValidator(_by_class)],
    sealed=("training", "labels", "predicted", "right", "abstained"),
)
TILE = Kind(TileRecord)
BENCH = Kind(BenchRecord)
FORWARD = Kind(ForwardRecord)
TAKEN_RECORD = Kind(ImportedRecord)
LOGS = Kind(LogsRecord)
