# SPDX-License-Identifier: Apache-2.0
"""Failures of the runtime and of packs: one class per status of tpac/status.h, with its message."""


class Error(Exception):
    """What all of them are. `status` is the number that the C function returned."""

    status = 0


class InvalidArgument(Error, ValueError):
    """The message names the argument, what was found and what is accepted."""

    status = 1


class OutOfMemory(Error, MemoryError):
    status = 2


class SystemFailure(Error, OSError):
    """The operating system refused; the message names the call and the cause."""

    status = 3


class OutOfPages(Error):
    """Fewer pages are free than a request needs; nothing has changed."""

    status = 4


class DeviceError(Error):
    """A device's driver is missing or refused a call; the message has the driver's own words."""

    status = 5


_BY_STATUS = {cls.status: cls for cls in (InvalidArgument, OutOfMemory, SystemFailure, OutOfPages, DeviceError)}


def exception_of(status: int, message: str) -> Error:
    """The exception for a status that is not 0."""
    error = _BY_STATUS.get(status, Error)(message)
    error.status = status
    return error
