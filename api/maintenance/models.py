"""What the maintenance service takes and gives."""

from typing import Any

from pydantic import Field

from api._kit.jobs import Job


class JobReport(Job):
    """A job, and what came of it."""

    result: dict[str, Any] | None = Field(description="Depends on the type; null until the job has succeeded")
