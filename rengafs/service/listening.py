"""The socket that a service listens on: a port, or a Unix socket that only its user may open."""

import ipaddress
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rengafs.protocol.errors import BadSetting, SetupError

SYSTEMD = "systemd"
FIRST_INHERITED = 3
"""``SD_LISTEN_FDS_START``."""
BACKLOG = 512
ANSWER_SECONDS = 2.0


@contextmanager
def listening(listen: str, *, insecure: bool) -> Iterator[tuple[socket.socket, str]]:
    """Give the socket for ``HOST:PORT`` or ``unix:PATH``, and the address clients use.

    ``systemd`` takes the one that systemd listens on: sd_listen_fds(3). The file of a Unix
    socket of our own is removed at the end. Raises `SetupError`.
    """
    if listen == SYSTEMD:
        with inherited(os.environ, insecure=insecure) as sock:
            yield sock, _shown(sock)
        return
    if listen.startswith("unix:"):
        path = Path(listen.removeprefix("unix:")).absolute()
        with _unix(path) as sock:
            yield sock, f"unix:{path}"
        return
    with _port(*parse_host(listen), insecure=insecure) as sock:
        yield sock, _shown(sock)


@contextmanager
def inherited(environment: Mapping[str, str], *, insecure: bool) -> Iterator[socket.socket]:
    """Give the one socket that systemd has handed to this process. Raises `SetupError`."""
    ours = environment.get("LISTEN_PID", "") == str(os.getpid())
    count = environment.get("LISTEN_FDS", "0")
    if not ours or count != "1":
        raise SetupError(
            f"systemd hands over {count if ours else 'no'} sockets, not one; start "
            "rengafs.socket, or name an address to listen on"
        )
    sock = socket.socket(fileno=FIRST_INHERITED)
    try:
        if sock.family != socket.AF_UNIX:
            _refuse_open(str(sock.getsockname()[0]), str(sock.getsockname()[0]), insecure)
        sock.setblocking(False)
        sock.set_inheritable(False)
        yield sock
    finally:
        sock.close()


def _shown(sock: socket.socket) -> str:
    if sock.family == socket.AF_UNIX:
        return f"unix:{sock.getsockname()}"
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def parse_host(listen: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``. Raises `SetupError`."""
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise BadSetting(f"{listen!r} is not an address to listen on; write HOST:PORT or unix:PATH")
    return host.removeprefix("[").removesuffix("]"), int(port)


@contextmanager
def _port(host: str, port: int, *, insecure: bool) -> Iterator[socket.socket]:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise BadSetting(f"there is no host {host!r} here ({error.strerror})") from None
    _refuse_open(host, str(address[0]), insecure)
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(sock, address, f"{host}:{port}")
        yield sock
    finally:
        sock.close()


def _refuse_open(host: str, address: str, insecure: bool) -> None:
    if not ipaddress.ip_address(address.partition("%")[0]).is_loopback and not insecure:
        raise BadSetting(
            f"{host} can be reached from other machines, and tokens would travel in clear text; "
            "put a TLS proxy before 127.0.0.1, or say --insecure"
        )


@contextmanager
def _unix(path: Path) -> Iterator[socket.socket]:
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)  # there is no moment at which others may open it
        try:
            _bind(sock, str(path), f"unix:{path}")
        finally:
            os.umask(before)
        inode = path.stat().st_ino
        try:
            yield sock
        finally:
            _remove(path, inode)
    finally:
        sock.close()


def _bind(sock: socket.socket, address: object, shown: str) -> None:
    try:
        sock.bind(address)  # type: ignore[arg-type]
        sock.listen(BACKLOG)
    except OSError as error:
        text = error.strerror or str(error)
        raise SetupError(f"can't listen on {shown}: {text}; choose another address") from error


def _remove_stale(path: Path) -> None:
    """Remove the file of a service that is gone. Raises `SetupError` if one answers."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise SetupError(f"{path} is there, and is no socket; choose another address")
    except FileNotFoundError:
        return
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.settimeout(ANSWER_SECONDS)
    try:
        probe.connect(str(path))
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise SetupError(f"can't listen on unix:{path}: {error}") from error
    else:
        raise SetupError(f"a service listens on unix:{path} already")
    finally:
        probe.close()


def _remove(path: Path, inode: int) -> None:
    """Remove the socket's file, unless it is another service's by now."""
    try:
        if path.stat().st_ino == inode:
            path.unlink()
    except FileNotFoundError:
        pass
