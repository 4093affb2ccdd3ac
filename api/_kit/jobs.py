"""Long work: how a job looks to whoever asks for it, and what its handler is given."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, Protocol

from pydantic import Field

from api._kit.store import Row, Tenant
from api._kit.values import Output, Timestamp

JobStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class Job(Output):
    """Work that goes on after the answer. Ask again at `GET /maintenance/jobs/{job_id}`."""

    id: str = Field(examples=["job_01JZ8Q6F3N"])
    type: str = Field(examples=["crawl.website"])
    status: JobStatus
    progress: int = Field(ge=0, le=100, description="Percent")
    counts: dict[str, int] = Field(examples=[{"found": 12, "fetched": 7}])
    error: str | None = Field(description="Why the last attempt failed")
    created_at: Timestamp
    finished_at: Timestamp | None

    @classmethod
    def of(cls, row: Row) -> "Job":
        return cls(**{name: row[name] for name in Job.model_fields})


class JobCancelled(Exception):
    """The job is not this run's any more: it was called off, or another runner has it. A handler lets this pass."""


class JobFailed(Exception):
    """The work cannot be done, for a reason that whoever asked for it may read. `again`: later it may."""

    def __init__(self, message: str, *, again: bool = False) -> None:
        super().__init__(message)
        self.message, self.again = message, again


class RunningJob(Protocol):
    """One run of a job. It may not be the first, and may be cut off anywhere: what it does bears being repeated."""

    @property
    def id(self) -> str: ...

    @property
    def tenant(self) -> Tenant:
        """The organisation that it works for."""
        ...

    @property
    def payload(self) -> Mapping[str, Any]: ...

    @property
    def chatbot_id(self) -> str | None: ...

    @property
    def request_id(self) -> str | None:
        """The request that asked for it."""
        ...

    @property
    def attempt(self) -> int:
        """1 for the first run."""
        ...

    def cancelled(self) -> bool:
        """Whether to stop: called off, or another runner has it."""
        ...

    async def progress(self, percent: int, counts: Mapping[str, int] | None = None) -> None:
        """A checkpoint: says how far the work is; kept once a second at most. Raises JobCancelled."""
        ...


JobHandler = Callable[[RunningJob], Awaitable[Mapping[str, Any] | None]]
"""Returns the job's result. Raises JobFailed; whatever else it raises is tried again, a bounded number of times."""
