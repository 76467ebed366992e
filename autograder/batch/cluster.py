"""A Dask cluster as workers: the same tasks, answered by the same worker process on each of the cluster's machines.

Each of Dask's workers keeps one `autograder.submissions.worker` beside it and passes tasks on to it. Bytes go out and
come back; what comes back is taken for a record only after it was checked.
"""

import threading
from concurrent.futures import Future

from autograder.course import CourseError

CONNECT_SECONDS = 30
RETRIES = 1  # of a task whose worker was lost; Dask's own limit is its `allowed-failures`

_worker = None
_one_at_a_time = threading.Lock()


class ClusterWorkers:
    """The workers of a Dask scheduler; `submit` as of an executor."""

    def __init__(self, scheduler: str):
        """Connect; a tls:// address takes its certificates from Dask's own configuration.

        Raises:
            CourseError: no scheduler answers, or it has no workers.
        """
        try:
            from distributed import Client
        except ImportError:
            raise CourseError("A cluster needs the packages of an extra: pip install -e '.[cluster]'") from None
        try:
            self._client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise CourseError(f"No scheduler answers at {scheduler}: {error}") from error
        self.width = len(self._client.scheduler_info(n_workers=-1)["workers"])
        if not self.width:
            self._client.close()
            raise CourseError(f"The scheduler at {scheduler} has no workers. Start some: dask worker {scheduler}")
        self._executor = self._client.get_executor(retries=RETRIES)

    def submit(self, task: bytes) -> Future[bytes]:
        """Have a task answered by some worker; by another one if that is lost."""
        return self._executor.submit(answer, task)

    def close(self) -> None:
        """Let go of the cluster, which goes on without us."""
        self._client.close()


def answer(task: bytes) -> bytes:
    """What a worker of Dask's runs: ask the grading process beside it.

    That is a process of its own because it forks for each submission, and a worker of Dask's has many threads.
    """
    global _worker
    with _one_at_a_time:
        if _worker is None:
            from autograder.batch.workers import Worker  # here, for the scheduler imports this module, too

            _worker = Worker()
        return _worker.ask(task)
