"""Which faults pass by themselves, so that the same work, tried again a little later, may succeed.

A server that is away or overworked, a lost connection, a race lost against another process, a disk that is full for the
time being: transient. A missing right, a wrong password, a file nobody can read, a bug: not, however often it is tried.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterator, Sequence

import psycopg
from minio.error import InvalidResponseError, S3Error, ServerError
from pyiceberg import exceptions as iceberg
from sqlalchemy import exc as sqlalchemy
from urllib3 import exceptions as http

from infra.endpoints import NotRunning
from infra.locks import LockedError

_ERRNOS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT),  # somebody frees some, or retention does
        *(errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EBUSY, errno.EINTR),
        *(errno.EIO, errno.ESTALE),  # a disk or a network share that stumbled
        *(errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN, errno.ENOBUFS),
    }
)
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

_CLOSED = {
    errno.EACCES: f"is closed to user {os.getuid()}, who runs this: open it, and what leads to it, to that user",
    errno.EPERM: f"may not be changed by user {os.getuid()}, who runs this: give it to that user",
    errno.EROFS: "is on a disk that is read-only: make that writable, or keep the lake elsewhere (CALANQUE_HOME)",
}

# SQLSTATE classes: connection, transaction rollback (deadlock, serialisation), resources (disk full, too many
# connections), lock not available, an operator's intervention (shut down, starting up, cancelled), system error.
_SQL_CLASSES = ("08", "40", "53", "55P03", "57", "58")
_SQL_DISK_FULL = "53100"
_SQL_LOCKED = "55P03"

_NO_CONNECTION = re.compile(r"too many clients|too many connections|remaining connection slots")

_S3_CODES = frozenset(
    {
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "XMinioServerNotInitialized",
        "XMinioStorageFull",
    }
)
_S3_DISK_FULL = frozenset({"XMinioStorageFull"})

# Polars, Arrow and DuckDB are not written in Python: what they met is in the words of their message only.
_NATIVE = frozenset({"duckdb", "_duckdb", "polars", "pyarrow", "builtins"})
_NATIVE_DISK_FULL = re.compile(r"No space left on device|max_temp_directory_size")
_NATIVE_TRANSIENT = re.compile(
    r"AWS Error (NETWORK_CONNECTION|SLOW_DOWN|INTERNAL_FAILURE|SERVICE_UNAVAILABLE|REQUEST_TIMEOUT|THROTTLING)"
    r"|HTTP (response code|status:?|Error:? HTTP GET error[^0-9]*|code) 5\d\d|\(HTTP 5\d\d|[Ss]tatus(?: code)?:? 5\d\d"
    r"|error sending request|Could not connect|Could not establish connection|Connection (refused|reset)|timed? ?out"
)


_UNWELL = "does not answer, or not as it should: `calanque status` shows what runs, `calanque doctor` what is full"


class Several(RuntimeError):
    """The failures of several things that were each tried; worth a retry when one of ``causes`` is."""

    def __init__(self, message: str, causes: Sequence[BaseException]) -> None:
        super().__init__(message)
        self.causes = tuple(causes)


def transient(error: BaseException) -> bool:
    """Whether trying again a little later may succeed. Of an error that is nobody's here, its cause decides."""
    if isinstance(error, Several):
        return any(transient(cause) for cause in error.causes)
    if isinstance(error, BaseExceptionGroup):
        return any(transient(cause) for cause in error.exceptions)
    verdict = _judged(error)
    if verdict is None:
        return error.__cause__ is not None and transient(error.__cause__)
    return verdict


def disk_full(error: BaseException) -> bool:
    """Whether a disk that is full is what an error tells of, whoever tells it."""
    if isinstance(error, Several):
        return any(disk_full(cause) for cause in error.causes)
    if isinstance(error, BaseExceptionGroup):
        return any(disk_full(cause) for cause in error.exceptions)
    return (
        (isinstance(error, OSError) and error.errno in _DISK_FULL)
        or getattr(error, "sqlstate", None) == _SQL_DISK_FULL
        or getattr(error, "code", None) in _S3_DISK_FULL
        or (_is_native(error) and _NATIVE_DISK_FULL.search(str(error)) is not None)
        or (error.__cause__ is not None and disk_full(error.__cause__))
    )


def explained(error: BaseException) -> str | None:
    """What a person is told of a fault of store, database or disk, or a closed file, without a library's own words.

    None for any other error. The sentence has no final full stop.
    """
    if disk_full(error):
        return "no space is left on a disk of this lake: free some (`calanque doctor` shows which disk is full)"
    chain = list(_chain(error))
    sentence = next(filter(None, map(_said_of_itself, chain)), None)
    if sentence is not None or not transient(error):
        return sentence
    if any(_database(each) for each in chain):
        return f"the database {_UNWELL}"
    if any(_store(each) or (_is_native(each) and _NATIVE_TRANSIENT.search(str(each))) for each in chain):
        return f"the object store {_UNWELL}"
    return None


def _said_of_itself(error: BaseException) -> str | None:
    """The sentence for an error that needs nothing but itself to be explained."""
    if isinstance(error, LockedError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _CLOSED and error.filename is not None:
        return f"{error.filename} {_CLOSED[error.errno]}"
    if isinstance(error, psycopg.OperationalError) and _NO_CONNECTION.search(str(error)):
        return "the database has no connection left for this: `calanque doctor` shows who holds them"
    if getattr(error, "sqlstate", None) == _SQL_LOCKED:
        return "another session of the database keeps what this needs locked: `calanque doctor` says which"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _judged(error: BaseException) -> bool | None:
    """True or False for a kind of error that is known here, None for any other."""
    if isinstance(error, NotRunning | ConnectionError | TimeoutError | MemoryError):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _ERRNOS or _is_name_lookup(error)
    for judge in (_database, _store, _table):
        verdict = judge(error)
        if verdict is not None:
            return verdict
    if _is_native(error) and (_NATIVE_DISK_FULL.search(str(error)) or _NATIVE_TRANSIENT.search(str(error))):
        return True
    return None


def _is_name_lookup(error: OSError) -> bool:
    return isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN


def _database(error: BaseException) -> bool | None:
    if isinstance(error, sqlalchemy.DBAPIError):
        return bool(error.connection_invalidated) or (error.orig is not None and transient(error.orig))
    if isinstance(error, sqlalchemy.TimeoutError):  # no connection of the pool became free
        return True
    if isinstance(error, psycopg.Error):
        if error.sqlstate is None:  # it never came to a statement: no answer, or the connection went away
            return isinstance(error, psycopg.OperationalError) and "authentication failed" not in str(error)
        return error.sqlstate.startswith(_SQL_CLASSES)
    return None


def _store(error: BaseException) -> bool | None:
    if isinstance(error, S3Error):
        status = getattr(error.response, "status", None) or 0
        return error.code in _S3_CODES or status >= 500
    if isinstance(error, InvalidResponseError):  # no S3 answer at all: a proxy in between, or a server starting
        return True
    if isinstance(error, ServerError):
        return error.status_code >= 500
    if isinstance(error, http.HTTPError):
        reason = error.reason if isinstance(error, http.MaxRetryError) else error
        return not isinstance(reason, http.SSLError | http.LocationValueError)
    return None


def _table(error: BaseException) -> bool | None:
    others_were_quicker = (iceberg.CommitFailedException, iceberg.CommitStateUnknownException)
    away = (iceberg.WaitingForLockException, iceberg.ServiceUnavailableError, iceberg.ServerError)
    return True if isinstance(error, others_were_quicker + away) else None


def _is_native(error: BaseException) -> bool:
    module = type(error).__module__.partition(".")[0]
    # As built-in exceptions, Arrow and Polars raise OSError without a number, and ComputeError is Polars' own.
    return module in _NATIVE and (module != "builtins" or isinstance(error, OSError))
