"""One TCP port for all workers: the supervisor holds it, each worker listens on a socket of its own.

A socket that is bound but does not listen gets no connections; it keeps the number while workers come and go.
"""

import errno
import os
import socket

from .config import ConfigError


def reserve(host: str, port: int) -> socket.socket:
    """Hold a port, a free one for 0, or raise ``ConfigError``: also when another server's workers share it."""
    if port:
        bind(host, port, shared=False).close()
    return bind(host, port)


def bind(host: str, port: int, *, shared: bool = True) -> socket.socket:
    """Return a bound socket that does not listen yet."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise ConfigError(f"ECHO_HOST: {host} is no address of this machine: {error.strerror}") from None
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        if not shared:
            sock.listen(1)
    except OSError as error:
        sock.close()
        raise ConfigError(_complaint(host, port, error)) from None
    return sock


def _complaint(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"ECHO_PORT: port {port} of {host} is in use; stop what listens there or choose another port"
        case errno.EACCES:
            return f"ECHO_PORT: port {port} needs privileges; choose one above 1023"
        case errno.EADDRNOTAVAIL:
            return f"ECHO_HOST: {host} is no address of this machine"
        case _:
            return f"ECHO_PORT: cannot listen on port {port} of {host}: {os.strerror(error.errno or 0)}"
