"""Sockets to listen on. Needs no TensorFlow, so that a port that is taken is told at once."""

import contextlib
import errno
import socket


def listen(host: str, port: int, flag: str) -> socket.socket:
    """A socket that is bound and does not listen yet; port 0 lets the system choose.

    Raises:
      OSError: with one clear sentence that names `flag`, the port is taken or the address is
        not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; left on it holds every
    # answer back for 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            reason = f"port {port} of {host} is in use; choose another with {flag}"
        else:
            reason = f"can't listen on {host} port {port} ({error.strerror}); see {flag} and --host"
        raise OSError(reason) from None
    return listener


def free_ports(count: int) -> list[int]:
    """Ports of loopback that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]
