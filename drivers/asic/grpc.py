"""gRPC without TLS on one kept connection to one machine. Every call ends by its deadline.

A connection on which a call did not end well is dropped and never used again, so that nobody waits for a
machine which has forgotten him.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, SupportsBytes

from grpclib.client import Channel, Handler
from grpclib.const import Cardinality, Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from grpclib.protocol import H2Protocol
from h2.exceptions import H2Error

from drivers.asic.adapter import RefusedError
from drivers.asic.wire import MAX_REPLY_BYTES
from drivers.base import DriverError

REFUSALS = {
    Status.INVALID_ARGUMENT,
    Status.OUT_OF_RANGE,
    Status.FAILED_PRECONDITION,
    Status.PERMISSION_DENIED,
    Status.UNAUTHENTICATED,
    Status.RESOURCE_EXHAUSTED,
    Status.NOT_FOUND,
    Status.ALREADY_EXISTS,
    Status.UNIMPLEMENTED,
}
"""By these the machine says no. Every other one leaves open what it did."""

MAX_CALLS = 500
"""On one connection: h2 remembers up to 65,536 streams that are over, and that is 5 MB a machine in a day."""

UNAUTHENTICATED = int(Status.UNAUTHENTICATED.value)

BROKEN = (
    StreamTerminatedError,
    ProtocolError,
    H2Error,
    NotImplementedError,  # a compressed reply, which nobody asked for
    AssertionError,  # how grpclib finds that a reply is shorter than it said
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A reply as it came, and the metadata that came before it."""

    message: bytes
    metadata: Mapping[str, str | bytes]


class GrpcClient:
    """`deadline_s` is for each call; after `max_calls` of them the connection is made anew."""

    def __init__(self, host: str, port: int, *, deadline_s: float, max_calls: int = MAX_CALLS) -> None:
        self._max_calls = max_calls
        self._host = host
        self._port = port
        self._deadline_s = deadline_s
        self._channel: _Channel | None = None

    async def call(self, path: str, request: SupportsBytes, *, token: str | None = None) -> Answer:
        if self._channel is not None and self._channel.calls >= self._max_calls:
            self.close()
        if self._channel is None:
            self._channel = _Channel(self._host, self._port, codec=_Bytes())
        self._channel.expect_reply()
        try:
            async with asyncio.timeout(self._deadline_s):
                return await _apart(_unary(self._channel, path, request, token))
        except GRPCError as error:
            raise _verdict(path, error) from error
        except BROKEN as error:
            self.close()
            raise DriverError(f"{path}: {type(error).__name__}: {error}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """The next call connects anew."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.drop()


async def _unary(channel: Channel, path: str, request: SupportsBytes, token: str | None) -> Answer:
    metadata = {} if token is None else {"authorization": token}
    unary = Cardinality.UNARY_UNARY
    async with channel.request(path, unary, type(request), bytes, metadata=metadata) as stream:
        await stream.send_message(request, end=True)
        reply = await stream.recv_message()
    if reply is None:
        raise DriverError(f"{path}: success without a reply")
    return Answer(message=reply, metadata=stream.initial_metadata or {})


async def _apart(call: Coroutine[Any, Any, Answer]) -> Answer:
    """grpclib cancels the task that waits when a connection is lost, so let it wait in a task of its own:
    in ours that could not be told from being cancelled ourselves, and one of the two would get lost."""
    task = asyncio.ensure_future(call)
    try:
        await asyncio.wait([task])
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return task.result()


def _verdict(path: str, error: GRPCError) -> DriverError:
    why = f"{path}: {error.status.name}: {error.message}"
    if error.status in REFUSALS:
        return RefusedError(why, int(error.status.value))
    return DriverError(why)


class _Bytes(CodecBase):
    """Leaves a reply as it is: to build one in Python costs more than all the rest of a poll."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


class _Channel(Channel):
    """A grpclib channel that takes a bounded reply, and whose socket can be dropped at once."""

    calls = 0
    _bounded: _Bounded | None = None

    def _protocol_factory(self) -> H2Protocol:
        self._bounded = _Bounded(Handler(), self._config, self._h2_config)
        return self._bounded

    def expect_reply(self) -> None:
        self.calls += 1
        if self._bounded is not None:
            self._bounded.received_bytes = 0

    def drop(self) -> None:
        if self._bounded is not None:
            self._bounded.drop()
        self.close()


class _Bounded(H2Protocol):
    received_bytes = 0
    _transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        if self.received_bytes > MAX_REPLY_BYTES:
            self.drop()
            return
        try:
            super().data_received(data)
        except NotImplementedError:  # a frame of a kind that grpclib does not know
            self.drop()

    def drop(self) -> None:
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.abort()
