"""What a provider takes."""

from dataclasses import dataclass

from circuits.checks import check_int, is_real


@dataclass(frozen=True)
class Limits:
    """What a provider takes at a time.

    Args:
        executions: rows times shots of a job.
        rows: of parameters in one part of a job.
        pending: jobs of an evaluation that are open at a time, submitted before the first of them is waited for; where
            no service is known, as for simulators, it is one at a time, so that results do not depend on timing.
            Accounts differ in how many they may have.
        retries: of a submission or a result that failed for a reason that may pass.
        wait: seconds before the first of them, doubled each time.

    Reference: https://quantum.cloud.ibm.com/docs/guides/job-limits
    """

    executions: int = 10_000_000
    rows: int = 1_000
    pending: int = 3
    retries: int = 4
    wait: float = 2.0

    def __post_init__(self) -> None:
        for name, least in (("executions", 1), ("rows", 1), ("pending", 1), ("retries", 0)):
            check_int(f"Limits.{name}", getattr(self, name), least)
        if not is_real(self.wait) or self.wait < 0:
            raise ValueError(f"Argument `Limits.wait` must be a number of at least 0, but is {self.wait!r}.")
