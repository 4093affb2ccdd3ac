"""Inside the box: a process that loads the parsers once, and forks a child with hard limits for every file.

`python -m server.infra.boxed FD MODULE...`, where FD is one end of a socket pair. Each byte that comes over it carries
one end of another pair: a job. The job's child reads a line of JSON (function, options, limits, length) and the file,
and answers with a line of JSON and the result. When the child is gone, this process adds one byte: the signal that
ended it, or 0. A job whose other end is closed is killed, and so is everything when FD is closed.

What a child cannot do: open a file or a socket or anything else (no new descriptors), write, see the server's
environment, use more memory or processor time than its limits, start anything, outlive this process. Where the kernel
lets us, there is no network around it either.
"""

import ctypes
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, NoReturn

LONGEST_HEADER: Final = 65_536
LONGEST_MESSAGE: Final = 500
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000
PR_SET_PDEATHSIG: Final = 1
PR_SET_NO_NEW_PRIVS: Final = 38
NOBODY: Final = 65534
JOB_FD: Final = 3
LINUX: Final = sys.platform == "linux"


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    for module in sys.argv[2:]:
        importlib.import_module(module)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the server's to handle
    os.nice(5)
    os.chdir("/")
    give_up_rights()
    gc.freeze()
    serve(control)


def give_up_rights() -> None:
    """No network, and nobody's rights where the server runs as root. What the kernel does not allow is left: the
    limits hold without."""
    root = os.geteuid() == 0
    if LINUX:
        kernel = ctypes.CDLL(None)
        kernel.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        kernel.unshare(CLONE_NEWNET if root else CLONE_NEWUSER | CLONE_NEWNET)
    if root:
        with suppress(PermissionError):
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)


def serve(control: socket.socket) -> None:
    """Until the server closes `control`."""
    woken, wake = socket.socketpair()
    woken.setblocking(False)
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    jobs: dict[int, socket.socket] = {}
    watched = select.poll()
    watched.register(control, select.POLLIN)
    watched.register(woken, select.POLLIN)
    while True:
        for fd, _ in watched.poll():
            if fd == control.fileno():
                byte, fds, _, _ = socket.recv_fds(control, 1, 1)
                if not byte:
                    for pid in jobs:
                        kill(pid)
                    return
                job = socket.socket(fileno=fds[0])
                pid = os.fork()
                if pid == 0:
                    work(job)
                jobs[pid] = job
                watched.register(job, 0)  # hang-ups are always reported
            elif fd == woken.fileno():
                with suppress(BlockingIOError):
                    woken.recv(4096)
                for pid, how in ended():
                    job = jobs.pop(pid)
                    with suppress(KeyError):
                        watched.unregister(job)
                    finish(job, how)
            else:
                watched.unregister(fd)
                kill(next(pid for pid, job in jobs.items() if job.fileno() == fd))


def kill(pid: int) -> None:
    """A child that was not yet waited for."""
    kill_session(pid)  # there is none yet when it has only just begun
    os.kill(pid, signal.SIGKILL)


def ended() -> list[tuple[int, int]]:
    """Children that are gone, and the signals that ended them."""
    gone = []
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            kill_session(found[0])
            gone.append((found[0], max(0, -os.waitstatus_to_exitcode(found[1]))))
    return gone


def kill_session(pid: int) -> None:
    """What a child started and left behind."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def finish(job: socket.socket, how: int) -> None:
    with suppress(OSError):  # nobody waits any more
        job.send(bytes([how]), socket.MSG_DONTWAIT)
    job.close()


def work(job: socket.socket) -> NoReturn:
    """In the child: one file, then the end."""
    status = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if LINUX:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.dup2(job.detach(), JOB_FD)
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):  # whatever a library prints is a stranger's text
            os.dup2(nothing, fd)
        os.closerange(JOB_FD + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        with open(JOB_FD, "rb", closefd=False) as incoming, open(JOB_FD, "wb", closefd=False) as outgoing:
            for part in answer(incoming):
                outgoing.write(part)
        status = 0
    finally:
        os._exit(status)


def answer(incoming: IO[bytes]) -> tuple[bytes, bytes]:
    """The line and the result for one job."""
    job = json.loads(incoming.readline(LONGEST_HEADER))
    module, _, name = job["function"].partition(":")
    parser = getattr(importlib.import_module(module), name)
    limit(cpu_seconds=job["cpu_seconds"], memory=job["memory"])
    try:
        result: bytes = parser(incoming.read(job["length"]), **job["options"])
        return line(kind="result", length=len(result)), result
    except MemoryError:
        return line(kind="memory"), b""
    except ValueError as error:
        if reason := getattr(error, "reason", None):
            return line(kind="unreadable", reason=str(reason), message=str(error)[:LONGEST_MESSAGE]), b""
        return line(kind="failed", message=described(error)), b""
    except Exception as error:  # last resort: the server must learn why there is no result
        return line(kind="failed", message=described(error)), b""


def limit(*, cpu_seconds: int, memory: int) -> None:
    """From here on the process can only compute. `memory` is what it may take beyond what it has."""
    if LINUX:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _set(resource.RLIMIT_AS, pages * resource.getpagesize() + memory)
    _set(resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 1)
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_FSIZE, 0)
    _set(resource.RLIMIT_NPROC, 0)
    _set(resource.RLIMIT_NOFILE, 0)


def _set(what: int, soft: int, hard: int | None = None) -> None:
    resource.setrlimit(what, (soft, soft if hard is None else hard))


def line(**values: Any) -> bytes:
    return json.dumps(values).encode() + b"\n"


def described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:LONGEST_MESSAGE]


if __name__ == "__main__":
    main()
