"""The connection to a Ray cluster (https://docs.ray.io), with this package sent along to its machines."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from ..errors import InputError

LOCAL = "local"
_PACKAGE = Path(__file__).resolve().parents[1]
_OBJECT_STORE = 512 * 2**20  # bytes: a clip and a result per worker is all that is ever in it
_TRIAL = "import sys, ray; ray.init(sys.argv[1], log_to_driver=False, logging_level='error')"


def connect(address: str, patience: float = 45.0) -> ModuleType:
    """Connect this process to a cluster; returns the ``ray`` module.

    Args:
        address: ``host:port`` or ``ray://host:port`` of the head; ``auto`` for the cluster that this machine belongs
            to; ``local`` for a Ray of this machine alone, started here and stopped by ``ray.shutdown()``.
        patience: seconds that a cluster has to answer.

    Raises:
        InputError: Ray is not installed, or nothing usable answers at ``address``.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing here reports to anyone
    try:
        import ray
    except ImportError as error:
        mend = 'Install it with `pip install "ray>=2.9"`, or this pack with its extra "ray".'
        raise InputError("--ray", "Ray is not installed in this Python.", mend) from error
    own = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE} if address == LOCAL else {}
    if not own:
        _try(address, patience)
    with tempfile.TemporaryDirectory() as staged, _own_sigterm():
        # As working directory and not as `py_modules`: without one, Ray puts the driver's own folder first on every
        # worker's import path, where a machine may hold an older copy of this package.
        shutil.copytree(_PACKAGE, Path(staged) / _PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
        try:
            ray.init(
                address,
                runtime_env={"working_dir": staged},
                log_to_driver=False,
                logging_level=logging.WARNING,
                **own,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _unusable(address, str(error)) from error
    return ray


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep what this process does when it is asked to end: Ray would have it end without another word."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _try(address: str, patience: float) -> None:
    """Connect in a process of its own first: where nothing answers, Ray goes on for minutes, whatever it is told."""
    try:
        trial = subprocess.run(
            [sys.executable, "-c", _TRIAL, address],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=patience,
        )
    except subprocess.TimeoutExpired as error:
        raise _unusable(address, f"no answer in {patience:g} s.") from error
    if trial.returncode:
        raise _unusable(address, (trial.stderr.strip().splitlines() or ["no reason given."])[-1])


def _unusable(address: str, cause: str) -> InputError:
    mend = (
        "Give the address that `ray start --head` printed (port 6379 unless chosen; ray://HOST:10001 from outside the "
        "cluster, with ray[client]), open the port, set RAY_AUTH_MODE=token where the cluster asks for its token, and "
        f"use one version of Ray and of Python; or use --ray {LOCAL}."
    )
    return InputError("--ray", f"No Ray cluster can be used at {address!r}: {cause}", mend)
