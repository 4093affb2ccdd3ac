"""Parsers that a box must survive."""

import json
import os
import select
import signal
import socket
import sys
import zlib
from pathlib import Path


class Refused(ValueError):
    reason = "ugly"


def shout(data: bytes, *, times: int = 1) -> bytes:
    print("noise")
    return data.upper() * times


def refuse(data: bytes) -> bytes:
    raise Refused("this file is ugly")


def stumble(data: bytes) -> bytes:
    raise KeyError("/secret/path")


def spin(data: bytes) -> bytes:
    while True:
        pass


def spin_on(data: bytes) -> bytes:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while True:
        pass


def wait(data: bytes) -> bytes:
    select.select([], [], [], 60)
    return b""


def hoard(data: bytes) -> bytes:
    kept = []
    while True:
        kept.append(bytes(1 << 20))


def inflate(data: bytes) -> bytes:
    return zlib.decompress(data, -15)


def crash(data: bytes) -> bytes:
    os.kill(os.getpid(), signal.SIGSEGV)
    return b""


def pour(data: bytes) -> bytes:
    return bytes(1 << 24)


def read_file(data: bytes) -> bytes:
    return Path(data.decode()).read_bytes()


def write_file(data: bytes) -> bytes:
    Path(data.decode()).write_bytes(b"x")
    return b"written"


def dial(data: bytes) -> bytes:
    with socket.socket() as sock:
        sock.connect(("127.0.0.1", int(data)))
    return b"reached"


def look_around(data: bytes) -> bytes:
    return json.dumps({"environment": dict(os.environ), "arguments": sys.argv}).encode()


def leave_someone(data: bytes) -> bytes:
    if os.fork() == 0:
        select.select([], [], [], 60)
        os._exit(0)
    return b"left"


def lie(data: bytes) -> bytes:
    os.write(3, data)
    os._exit(0)
