"""Fields of the records about tasks: images, attempts, requests and submissions. See `rsctl.store.fields`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, FailFast, Field, Tag
from typing_extensions import NotRequired

from rsctl.store.fields import Amount, Count, Counts, Name, Number, StoredRecord, Text, Texts, Time
from rsctl.store.records import Kind
from rsctl.store.run_kinds import RunKind

Key = Annotated[str, Field(pattern=rf"^({'|'.join(RunKind)})/[A-Za-z0-9][A-Za-z0-9._-]*/[0-9]{{1,9}}$")]  # fmt: skip
"""Key of a task: `<kind>/<run>/<number>`."""


class TaskRecord(StoredRecord):
    """`tasks/<number>.json` of a table."""

    images: Annotated[list[Annotated[int, Field(ge=0, lt=2**53)]], FailFast()]


class ClaimRecord(StoredRecord):
    """The first record of an attempt: who made it."""

    record: Literal["claim"]
    time: NotRequired[Time]
    host: NotRequired[Text]
    boot: NotRequired[Text]
    pid: NotRequired[Annotated[int, Field(ge=0, lt=2**31)]]
    start: NotRequired[Text]
    submission: NotRequired[Text]
    rendezvous: NotRequired[RendezvousRecord]


class RendezvousRecord(StoredRecord):
    """Address at which the first process of a training waits for the others."""

    hosts: Texts
    port: Annotated[int, Field(ge=0, le=65_535)]


class ProgressRecord(StoredRecord):
    """The progress of an attempt."""

    record: Literal["progress"]
    time: NotRequired[Time]
    done: NotRequired[Amount]
    total: NotRequired[Amount]
    unit: NotRequired[Annotated[str, Field(max_length=200)]]
    rate: NotRequired[Number]
    memory_gb: NotRequired[Amount]
    device: NotRequired[Text | None]
    so_far: NotRequired[Amount]
    at_once: NotRequired[Count]


class EndRecord(StoredRecord):
    """The end of an attempt."""

    record: Literal["end"]
    time: NotRequired[Time]
    host: NotRequired[Text]
    state: Literal["done", "failed", "stopped"]
    reason: NotRequired[Text]


def _record(values: Any) -> str:
    return str(values.get("record")) if isinstance(values, dict) else ""


class EpochRecord(StoredRecord):
    """A line of `metrics.<attempt>.jsonl`."""

    epoch: Amount
    loss: Number
    accuracy: Number
    lr: Number
    step: NotRequired[Count]
    images_per_second: NotRequired[Amount]
    time: NotRequired[Time]


class RequestRecord(StoredRecord):
    """`queue/<host>/requests/<task>.json`."""

    task: Key
    needs: Annotated[list[Key], Field(max_length=10_000), FailFast()]
    threads: Count
    gpus: Count | Literal["auto"]
    code: Text
    after: Count
    submitted: Time


class EndingRecord(StoredRecord):
    """`queue/<host>/ended/<task>.json`."""

    task: Key
    state: Literal["cancelled", "failed", "lost"]
    reason: Text


class SubmissionRecord(StoredRecord):
    """`<run>/submissions/<id>.json`: the tasks of a run that a SLURM job holds."""

    submission: Name
    profile: Text
    cluster: Text
    user: Count
    claimed: Time
    folder: Annotated[str, Field(max_length=4096, pattern=r"^[^\x00]*$")]
    tasks: dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], Count]
    array: bool
    job: Annotated[str, Field(pattern=r"^[0-9]{0,18}$")]


class CancelledRecord(StoredRecord):
    """`<run>/submissions/<id>.cancelled-<n>.json`."""

    tasks: Counts


class ListedRecord(StoredRecord):
    """`submissions/<id>/tasks.json`: the keys of the tasks that a submission hands over."""

    tasks: list[Any]


TASK = Kind(TaskRecord)
ATTEMPT = Kind(
    Annotated[
        Annotated[ClaimRecord, Tag("claim")]
        | Annotated[ProgressRecord, Tag("progress")]
        | Annotated[EndRecord, Tag("end")],
        Discriminator(_record),
    ]
)
EPOCH = Kind(EpochRecord)
REQUEST = Kind(RequestRecord)
ENDING = Kind(EndingRecord)
SUBMISSION = Kind(SubmissionRecord)
CANCELLED = Kind(CancelledRecord)
LISTED = Kind(ListedRecord)
