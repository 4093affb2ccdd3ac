"""The bytes between the server and a worker: u32 header length, u32 payload length, a JSON header, a binary payload.

Server to worker: the first message configures (`{"configure": {...}}`); then calls `{"id", "op", "args"}` and
`{"id", "cancel": true}`. Worker to server: `{"ready": {...}}` or `{"failed": text}` once; then for each call any number
of `{"id", "item": {...}}`, the last of them or a message of its own with `"done": true`, or
`{"id", "error": text, "retryable": bool}`.
"""

import json
import struct
from typing import IO, Any

PREFIX = struct.Struct("<II")
HEADER_LIMIT = 1 << 20
PAYLOAD_LIMIT = 16 << 20

Header = dict[str, Any]


class FrameInvalid(Exception):
    """The other side does not speak this protocol; the connection is of no more use."""


def encode(header: Header, payload: bytes = b"") -> bytes:
    head = json.dumps(header, separators=(",", ":")).encode()
    if len(head) > HEADER_LIMIT or len(payload) > PAYLOAD_LIMIT:
        raise FrameInvalid(f"message of {len(head)} + {len(payload)} bytes is over the limit")
    return PREFIX.pack(len(head), len(payload)) + head + payload


def lengths(prefix: bytes) -> tuple[int, int]:
    head, payload = PREFIX.unpack(prefix)
    if head > HEADER_LIMIT or payload > PAYLOAD_LIMIT:
        raise FrameInvalid(f"message of {head} + {payload} bytes is over the limit")
    return head, payload


def decode_header(data: bytes) -> Header:
    try:
        header = json.loads(data)
    except ValueError as error:
        raise FrameInvalid("header is not JSON") from error
    if not isinstance(header, dict):
        raise FrameInvalid("header is not an object")
    return header


def read(stream: IO[bytes]) -> tuple[Header, bytes] | None:
    """The next message, blocking; None when the stream ends."""
    prefix = stream.read(PREFIX.size)
    if len(prefix) < PREFIX.size:
        return None
    head, size = lengths(prefix)
    data = stream.read(head)
    payload = stream.read(size)
    if len(data) < head or len(payload) < size:
        return None
    return decode_header(data), payload
