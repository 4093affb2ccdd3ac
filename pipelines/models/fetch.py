"""Bring an entry's package files to disk through the ordinary clients, so that the user's index and proxy hold."""

import os
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO

from pipelines.models.manifest import Entry, ModelFile

Report = Callable[[str, int, int], None]
"""Called with a stage, and how many bytes of how many are done (0 of 0 when the client does not say)."""

STALL_SECONDS = 900.0
HUB_CLIENT = """
import sys, huggingface_hub as hub
name, _, revision = sys.argv[1].partition("@")
hub.snapshot_download(name, revision=revision or None, local_dir=sys.argv[2], allow_patterns=sys.argv[3:])
"""


class FetchFailed(Exception):
    """A package could not be had; the message is for the person at the terminal."""


def fetch(entry: Entry, downloads: Path, into: Path, report: Report) -> None:
    """Put the entry's files into `into`, downloading to `downloads` (kept until then, so a second try goes on from
    the packages already there). Raises FetchFailed."""
    if entry.source == "file":
        _copy(entry, [Path(p).expanduser() for p in entry.packages], into)
        return
    if entry.source == "hub":
        _hub(entry, into, report)
        return
    archives = []
    for package in entry.packages:
        folder = downloads / "".join(c if c.isalnum() or c in "-._" else "_" for c in package)
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (_pip if entry.source == "pypi" else _npm)(package, folder, report)
            (folder / "done").touch()
        archives.append(next(p for p in folder.iterdir() if p.name != "done"))
    report("unpacking", 0, 0)
    _unpack(entry, archives, into)


def forget(entry: Entry, downloads: Path) -> None:
    """Drop the downloaded packages of an entry."""
    for package in entry.packages:
        name = "".join(c if c.isalnum() or c in "-._" else "_" for c in package)
        shutil.rmtree(downloads / name, ignore_errors=True)


def _pip(package: str, folder: Path, report: Report) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    bar = "raw" if _pip_version() >= (24, 1) else "off"  # older ones cannot say their progress to a program
    command += ["--disable-pip-version-check", "--progress-bar", bar, "--dest", str(folder), package]

    def line(text: str) -> None:
        words = text.split()
        if len(words) == 4 and words[0] == "Progress" and words[1].isdigit() and words[3].isdigit():
            report("downloading", int(words[1]), int(words[3]))

    report("downloading", 0, 0)
    _run(command, package, line)


def _pip_version() -> tuple[int, ...]:
    return tuple(int(part) for part in version("pip").split(".")[:2] if part.isdigit())


def _npm(package: str, folder: Path, report: Report) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise FetchFailed(f"{package} comes from npm, and no npm command was found; install Node.js 20 or newer")
    report("downloading", 0, 0)
    _run([npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), package], package, str)


def _hub(entry: Entry, into: Path, report: Report) -> None:
    report("downloading", 0, 0)
    for package in entry.packages:
        prefix = f"{entry.folder}/" if entry.folder else ""
        patterns = [prefix + file.pattern for file in entry.files]
        _run([sys.executable, "-c", HUB_CLIENT, package, str(into / ".hub"), *patterns], package, str)
    _copy(entry, [into / ".hub"], into)
    shutil.rmtree(into / ".hub")


def _run(command: list[str], package: str, line: Callable[[str], object]) -> None:
    """Run a client, feeding its output to `line`; stop it when it takes longer than STALL_SECONDS."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    late = threading.Event()

    def stop() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(STALL_SECONDS, stop)
    timer.start()
    tail: list[str] = []
    try:
        assert process.stdout is not None
        for text in process.stdout:
            line(text)
            tail = [*tail[-7:], text.rstrip()]
        code = process.wait()
    finally:
        timer.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()
    if late.is_set():
        raise FetchFailed(f"{package}: gave up after {STALL_SECONDS:.0f} s")
    if code != 0:
        raise FetchFailed(f"{package} could not be downloaded:\n" + "\n".join(t for t in tail if "Progress" not in t))


def _copy(entry: Entry, roots: list[Path], into: Path) -> None:
    for root in roots:
        base = root / entry.folder
        if not base.is_dir():
            raise FetchFailed(f"{entry.name}: {base} is not a folder")
        for path in sorted(p for p in base.rglob("*") if p.is_file()):
            relative = path.relative_to(base).as_posix()
            for file in entry.files:
                if file.matches(relative):
                    with path.open("rb") as piece:
                        _write(into / _target(file, relative), piece)


def _unpack(entry: Entry, archives: list[Path], into: Path) -> None:
    """Write the named files; the same file in several archives is joined."""
    top = "package/" if entry.source == "npm" else ""
    prefix = top + (f"{entry.folder}/" if entry.folder else "")
    for archive in archives:
        with _members(archive) as members:
            for name, member in members:
                if not name.startswith(prefix):
                    continue
                relative = name.removeprefix(prefix)
                for file in entry.files:
                    if file.matches(relative) and ".." not in relative.split("/"):
                        with member() as piece:
                            _write(into / _target(file, relative), piece)


def _target(file: ModelFile, relative: str) -> str:
    return relative if file.is_set else file.name


def _write(path: Path, piece: IO[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as out:
        shutil.copyfileobj(piece, out, 1 << 20)
        out.flush()
        os.fsync(out.fileno())


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[tuple[str, Callable[[], IO[bytes]]]]]:
    """The regular files of a wheel or an npm tarball, each with a way to open it."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            yield ((info.filename, partial(wheel.open, info)) for info in wheel.infolist() if not info.is_dir())
        return
    with tarfile.open(archive) as tar:
        yield ((info.name, partial(_regular, tar, info)) for info in tar if info.isfile())


def _regular(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = tar.extractfile(member)
    if stream is None:
        raise FetchFailed(f"{member.name} in the package is not a file")
    return stream
