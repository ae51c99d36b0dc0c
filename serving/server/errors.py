"""The canonical status codes, as an exception and as HTTP statuses.

gRPC, TensorFlow and TF Serving share one numbering (`google.rpc.Code`), so an error keeps its
number on the way from a kernel to a client. Needs no TensorFlow.
"""

import enum


class Code(enum.IntEnum):
    """`google.rpc.Code`."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


# TF Serving's table (`http_server.cc`); what is not named there is a 500.
HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}


class ServingError(Exception):
    """A request or a load that failed, with the code and the message that the client sees."""

    def __init__(self, code: Code, message: str):
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def http_status(self) -> int:
        """The HTTP status that TF Serving answers with for this code."""
        return HTTP_STATUS.get(self.code, 500)

    def __str__(self) -> str:
        """Code and message, as absl's Status prints itself."""
        return f"{self.code.name}: {self.message}"


def invalid_argument(message: str) -> ServingError:
    """The commonest of them: the request itself is wrong."""
    return ServingError(Code.INVALID_ARGUMENT, message)


def not_found(message: str) -> ServingError:
    """A model, a version or a file is not there."""
    return ServingError(Code.NOT_FOUND, message)


def failed_precondition(message: str) -> ServingError:
    """The request is well formed and can't be granted in this state."""
    return ServingError(Code.FAILED_PRECONDITION, message)
