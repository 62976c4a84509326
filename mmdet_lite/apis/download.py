"""Downloads that can be broken off and taken up again."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

_CHUNK = 1 << 20
_TIMEOUT = 30  # seconds without a byte
_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416


def download(url: str, file: Path, sha256_prefix: str | None) -> None:
    """Download a file, go on where an earlier attempt stopped, and check it.

    What has come stands in ``FILE.part`` until it is complete.

    Args:
        url: from where.
        file: to where; its folder is made if need be.
        sha256_prefix: the first digits of its SHA-256; None: it is not checked.

    Raises:
        ConnectionError: it cannot be had, or the connection broke.
        ValueError: what came has another checksum; it is removed.
        OSError: it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    try:
        _fetch(url, part)
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        ConnectionError,
        TimeoutError,
    ) as error:
        raise ConnectionError(_failure(url, file, part, error)) from error
    try:
        check_sha256(part, sha256_prefix, url)
    except ValueError as error:
        part.unlink()
        raise ValueError(f"{error}. It was removed; try again") from error
    part.replace(file)


def check_sha256(file: Path, prefix: str | None, url: str) -> None:
    """Refuse a file whose checksum is another one.

    Args:
        file: the file.
        prefix: the first digits of its SHA-256; None: it is not checked.
        url: where it is from, for the message.

    Raises:
        ValueError: the checksum differs.
    """
    if prefix is None:
        return
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    actual = digest.hexdigest()
    if not actual.startswith(prefix):
        raise ValueError(
            f"{file} is not what {url} should be: its SHA-256 begins with {actual[:8]}, expected "
            f"{prefix} ({file.stat().st_size} bytes)"
        )


def _fetch(url: str, part: Path) -> None:
    """Append what is missing to ``part``; a server that cannot go on there sends all anew."""
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            goes_on = answer.status == _PARTIAL_CONTENT
            start = have if goes_on else 0
            length = answer.headers.get("Content-Length")
            total = start + int(length) if length else None
            _write(answer, part, "ab" if goes_on else "wb", start, total)
    except urllib.error.HTTPError as error:
        if error.code != _RANGE_NOT_SATISFIABLE or not have:
            raise
        return  # nothing is missing; if it is too long, the checksum tells
    if total is not None and part.stat().st_size < total:
        raise ConnectionError(f"it broke off after {part.stat().st_size} of {total} bytes")


def _write(
    answer: http.client.HTTPResponse, part: Path, mode: str, start: int, total: int | None
) -> None:
    done = start
    with part.open(mode) as file:
        # read1 gives what is there: after a break what came before it is in the file
        while chunk := answer.read1(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            _show(part.stem, done, total)
    if sys.stderr.isatty():
        print(file=sys.stderr)


def _show(name: str, done: int, total: int | None) -> None:
    if sys.stderr.isatty():
        of_all = f" of {total / 1e6:.1f} MB, {100 * done / total:.0f} %" if total else " MB"
        print(f"\r{name}: {done / 1e6:.1f}{of_all}", end="", file=sys.stderr, flush=True)


def _failure(url: str, file: Path, part: Path, error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    code = f"HTTP {error.code}, " if isinstance(error, urllib.error.HTTPError) else ""
    have = part.stat().st_size if part.is_file() else 0
    kept = f" {have} bytes have come and are kept, the next attempt goes on there." if have else ""
    return (
        f"could not download {url} ({code}{reason}).{kept} Without a connection, download it "
        f"elsewhere and put it at {file}"
    )


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Keep processes that want the same file apart, where the system can.

    Args:
        lock: a file for this purpose; its folder is made if need be.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows: two at once would both download
        yield
        return
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
