"""The workers of a Ray cluster: one on this machine that is started for the purpose, or one that runs already.

A cluster that is started here listens on the loopback interface only, asks for a token that nobody else has, has no dashboard,
tells nobody that it was used, and ends with this process, however that ends. One that runs already is left as it was found.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from pytest_distill import storage
from pytest_distill.engine import ENVIRONMENT
from pytest_distill.engine.engine import Engine, Job, K, R, T, in_order
from pytest_distill.engine.installation import Installation, here
from pytest_distill.engine.local import cores
from pytest_distill.engine.work import work
from pytest_distill.errors import Code, DistillError

if TYPE_CHECKING:
    import types

RETRIES: Final = 3  # of a task whose worker died
ATTEMPTS: Final = 3  # at starting a cluster: Ray gives up after half a minute, which a busy machine may need
PATIENCE: Final = 10.0  # seconds that an address has to answer in
_ENDED: Final = DistillError(
    Code.WORKER,
    "this process was ended while it used Ray: its cluster died, or somebody killed it",
    "What is stored stays; --resume goes on, and --engine local needs no cluster.",
)
_WATCH: Final = f"import sys; sys.stdin.buffer.read() or sys.stderr.write({_ENDED.line()!r} + chr(10))"
_QUIET: Final = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_LOG_TO_DRIVER": "0"}
# What the clusters of this process ask for, where the user has not said how: Ray reads it once in a process, and would else make
# one that stays in the user's home.
_TOKEN: Final = {} if "RAY_AUTH_MODE" in ENVIRONMENT else {"RAY_AUTH_TOKEN": secrets.token_hex(32)}


class Ray(Engine):
    """Tasks as Ray tasks: one whose worker died is run again, RETRIES times. A cluster is started with the first task."""

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        """`workers` tasks are at work at a time (default: a core each); `address` (host:port) is that of a cluster that runs.

        Raises E-EXTRA-MISSING, and E-ENGINE for an address where nothing answers.
        """
        if importlib.util.find_spec("ray") is None:
            raise DistillError(Code.EXTRA, "this engine needs Ray, which is not installed", "pip install 'pytest-distill[ray]'")
        self.workers = workers or cores()
        self._given, self._address = workers, address
        self._ray: types.ModuleType | None = None
        self._folder: storage.ScratchFolder | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        if address is not None:
            reach(*parsed(address))

    @property
    def address(self) -> str:
        """Host and port of the cluster, which is started where it is not yet."""
        return str(self._started().get_runtime_context().gcs_address)

    def map(self, job: Job[T, R], tasks: Iterable[tuple[K, T]]) -> Generator[tuple[K, R]]:
        ray = self._started()
        number = uuid.uuid4().hex
        # A reference within a list is not fetched for every task, but when a worker asks for it.
        order = [ray.put((here(), job))]
        remote = ray.remote(_task).options(max_retries=RETRIES, num_cpus=1, runtime_env=_apart(job.group))

        def submit(task: T) -> Callable[[], R]:
            # Nothing is ever cancelled: Ray ends the whole process when it is asked to cancel a task whose worker has died.
            reference = remote.remote(number, order, task)
            return lambda: self._result(ray, reference)

        yield from in_order(tasks, submit, self.workers)

    @staticmethod
    def _result(ray: types.ModuleType, reference: Any) -> Any:
        try:
            return ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, DistillError):
                raise DistillError(cause.code, cause.message, cause.hint) from None
            raise
        except ray.exceptions.RayError as error:
            what = str(error).strip().splitlines() or [type(error).__name__]
            raise DistillError(
                Code.WORKER, f"a Ray worker was lost: {what[0]}", "Was memory short? Fewer workers need less; or --engine local."
            ) from error

    def _started(self) -> types.ModuleType:
        if self._ray is None:
            import ray

            if ray.is_initialized():
                raise DistillError(Code.ENGINE, "this process uses Ray for something else already", "Run it in one of its own.")
            self.watch()
            # As a job of a client, by Ray's words: else the current folder would be a place for modules in every worker.
            job = ray.job_config.JobConfig(_client_job=True)
            options = {"log_to_driver": False, "logging_level": "CRITICAL", "job_config": job, **self._place()}
            loopback = self._address is None or only_here(*parsed(self._address))
            with _as_at_start({} if self._address else _TOKEN), _signals_kept(), _on_loopback(loopback):
                self._connect(ray, options)
            self._ray = ray
            self._count(ray)
        return self._ray

    def _place(self) -> dict[str, Any]:
        if self._address is not None:
            return {"address": self._address}
        self._folder = storage.ScratchFolder()
        return {
            "address": "local",
            "num_cpus": self.workers,
            "include_dashboard": False,
            "_temp_dir": str(self._folder.path),
        }

    def _count(self, ray: types.ModuleType) -> None:
        """Raises E-ENGINE for a cluster that offers no processor: its tasks would wait for ever."""
        offered = int(ray.cluster_resources().get("CPU", 0))
        if not offered:
            self.close()
            raise self._unusable("it offers no CPU")
        if self._address is not None:
            self.workers = self._given or offered

    def _connect(self, ray: types.ModuleType, options: dict[str, Any]) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                ray.init(**options)
            except (Exception, SystemExit) as error:  # what it raises depends on how far it came
                ray.shutdown()
                if self._address is not None or attempt == ATTEMPTS:
                    raise self._unusable(str(error), refused=_refused(error)) from error
            else:
                return

    def _unusable(self, why: str, *, refused: bool = False) -> DistillError:
        first = (why.strip().splitlines() or ["it ended without a word"])[0]
        if refused:
            what = f"the Ray cluster at {self._address} asks for a token, and this process has not the right one"
            return DistillError(Code.ENGINE, what, "Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to the cluster's own.")
        if self._address is None:
            return DistillError(Code.ENGINE, f"Ray could not be started: {first}", "`ray start --head` may tell more.")
        return DistillError(Code.ENGINE, f"the Ray cluster at {self._address} cannot be used: {first}", "Start it again.")

    def watch(self) -> None:
        """Has another process wait for the end of this one, and say so on this stderr where it is not asked to leave before.

        When a cluster dies, Ray ends the process that uses it, on the spot: nobody here could say why any more.
        """
        if self._watcher is None:
            command = [sys.executable, "-I", "-S", "-c", _WATCH]
            self._watcher = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
            atexit.register(self.close)

    def close(self) -> None:
        if self._ray is not None:
            with _signals_kept():
                self._ray.shutdown()
        self._ray = self._folder = None
        if self._watcher is not None:
            self._watcher.communicate(b"done")
            self._watcher = None
            atexit.unregister(self.close)


def _refused(error: BaseException | None) -> bool:
    """True where the reason of the reasons is that the cluster does not know this user."""
    while error is not None:
        if "AuthToken" in str(error) or type(error).__name__ == "AuthenticationError":
            return True
        error = error.__cause__ or error.__context__
    return False


def _task(number: str, order: list[Any], task: Any) -> Any:
    """Runs in a worker."""

    def fetch() -> tuple[Installation, Job[Any, Any]]:
        import ray

        found: tuple[Installation, Job[Any, Any]] = ray.get(order[0])
        return found

    return work(number, fetch, task)


def _apart(group: str) -> dict[str, Any]:
    """Ray keeps tasks of different environments in different processes."""
    return {"env_vars": {"DISTILL_GROUP": group}} if group else {}


def parsed(address: str) -> tuple[str, int]:
    """Host and port. Raises E-USAGE."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise DistillError(Code.USAGE, f"{address!r} is no address of a Ray cluster", "Give HOST:PORT, as `ray start` prints it.")
    return host, int(port)


def reach(host: str, port: int) -> None:
    """Raises E-ENGINE unless something answers there."""
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except OSError as error:
        raise DistillError(
            Code.ENGINE, f"no Ray cluster answers at {host}:{port}: {error.strerror or error}", "`ray start --head` starts one."
        ) from error


def only_here(host: str, port: int) -> bool:
    """True for a cluster that listens on the loopback interface alone, such as one that this engine has started."""
    own = str(importlib.import_module("ray.util").get_node_ip_address())
    try:
        reach(own, port)
    except DistillError:
        return host in ("localhost", "127.0.0.1", "::1")
    return False


@contextlib.contextmanager
def _as_at_start(more: Mapping[str, str]) -> Iterator[None]:
    """The environment that this process was started with, and `more`, for the processes that are started now."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update({**ENVIRONMENT, **_QUIET, **more})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself; a run that was told to stop ends its unit first."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if main else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _on_loopback(wanted: bool) -> Iterator[None]:
    """Ray listens on all interfaces on Linux, and on the loopback only where this constant of it says so."""
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = before and not wanted
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
