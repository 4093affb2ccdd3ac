"""The model store: what it holds, checks and refuses, on small models of our own."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipelines.models.fetch import FetchFailed
from pipelines.models.manifest import ManifestInvalid, listing_digest, load
from pipelines.models.store import MANIFEST, ModelMissing, ModelStore, Progress, UnknownModel


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def store(root: Path, manifest: str) -> ModelStore:
    root.mkdir(exist_ok=True)
    (root / "manifest.toml").write_text(manifest)
    return ModelStore(root)


def local(tmp_path: Path, *, sha256: str = digest(b"weights"), extra: str = "") -> ModelStore:
    source = tmp_path / "source"
    (source / "more").mkdir(parents=True)
    (source / "a.bin").write_bytes(b"weights")
    (source / "more" / "b.txt").write_bytes(b"b")
    (source / "unnamed.txt").write_bytes(b"not asked for")
    many = listing_digest({"more/b.txt": digest(b"b")})
    return store(
        tmp_path / "models",
        f"""[tiny]
source = "file"
packages = ["{source}"]
main = "a.bin"
licence = "MIT"
purpose = "test"
{extra}
[tiny.files]
"a.bin" = "{sha256}"
"more/*" = "{many}"
""",
    )


def test_a_pulled_model_has_its_named_files_and_no_others(tmp_path: Path) -> None:
    models = local(tmp_path)
    models.pull(["tiny"])
    assert models.path("tiny").read_bytes() == b"weights"
    assert sorted(p.name for p in models.path("tiny").parent.rglob("*") if p.is_file()) == ["a.bin", "b.txt"]


def test_an_absent_model_says_the_command_that_brings_it(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="machineavatars models pull tiny"):
        local(tmp_path).path("tiny")


def test_an_unknown_model_says_which_are_known(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match=r"nothing.*tiny"):
        local(tmp_path).path("nothing")


def test_changed_bytes_are_noticed_and_a_pull_mends_them(tmp_path: Path) -> None:
    models = local(tmp_path)
    models.pull(["tiny"])
    models.path("tiny").write_bytes(b"weightX")
    with pytest.raises(ModelMissing, match="damaged"):
        models.path("tiny")
    models.pull(["tiny"])
    assert models.path("tiny").read_bytes() == b"weights"


def test_a_file_lost_from_a_set_is_noticed(tmp_path: Path) -> None:
    models = local(tmp_path)
    models.pull(["tiny"])
    (models.path("tiny").parent / "more" / "b.txt").unlink()
    with pytest.raises(ModelMissing, match="damaged"):
        models.path("tiny")


def test_a_second_pull_finds_everything_present(tmp_path: Path) -> None:
    models = local(tmp_path)
    models.pull(["tiny"])
    seen: list[Progress] = []
    models.pull(["tiny"], seen.append)
    assert [p.stage for p in seen] == ["present"]


def test_a_pull_of_other_bytes_than_the_manifest_says_leaves_nothing(tmp_path: Path) -> None:
    models = local(tmp_path, sha256="0" * 64)
    with pytest.raises(FetchFailed, match="not what the manifest says"):
        models.pull(["tiny"])
    assert not models.present("tiny")


def test_the_default_set_is_what_the_manifest_marks(tmp_path: Path) -> None:
    assert {e.name for e in local(tmp_path).entries() if e.default} >= {
        "whisper-tiny.en",
        "en_US-joe-medium",
        "avatar-base",
    }


def test_verify_reads_again_what_path_takes_on_trust(tmp_path: Path) -> None:
    models = local(tmp_path)
    models.pull(["tiny"])
    file = models.path("tiny")
    before = file.stat()
    file.write_bytes(b"WEIGHTS")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert models.path("tiny") == file
    assert [(c.name, c.state) for c in models.verify(["tiny"])] == [("tiny", "damaged")]


def test_two_processes_pulling_at_once_leave_one_sound_model(tmp_path: Path) -> None:
    models = local(tmp_path)
    code = "import sys; from pathlib import Path; from pipelines.models.store import ModelStore\n"
    code += "ModelStore(Path(sys.argv[1])).pull(['tiny'])"
    racers = [subprocess.Popen([sys.executable, "-c", code, str(models.root)]) for _ in range(2)]
    assert [racer.wait(20) for racer in racers] == [0, 0]
    assert models.path("tiny").read_bytes() == b"weights"


def test_a_pull_goes_on_from_packages_it_already_has_and_joins_their_parts(tmp_path: Path) -> None:
    root = tmp_path / "models"
    for n, part in ((1, b"first "), (2, b"second")):
        folder = root / ".downloads" / f"part{n}_1.0.0"
        folder.mkdir(parents=True)
        with tarfile.open(folder / "p.tgz", "w:gz") as tar:
            info = tarfile.TarInfo("package/model.part")
            info.size = len(part)
            tar.addfile(info, io.BytesIO(part))
        (folder / "done").touch()
    models = store(
        root,
        f"""[joined]
source = "npm"
packages = ["part1@1.0.0", "part2@1.0.0"]
main = "whole.bin"
licence = "MIT"
purpose = "test"
[joined.files]
"model.part" = {{ sha256 = "{digest(b"first second")}", name = "whole.bin" }}
""",
    )
    models.pull(["joined"])
    assert models.path("joined").read_bytes() == b"first second"


def test_a_package_cannot_write_outside_its_models_folder(tmp_path: Path) -> None:
    root = tmp_path / "models"
    folder = root / ".downloads" / "evil__1"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "evil.whl", "w") as wheel:
        wheel.writestr("data/../../../escaped.txt", "x")
        wheel.writestr("data/good.txt", "good")
    (folder / "done").touch()
    models = store(
        root,
        f"""[evil]
source = "pypi"
packages = ["evil==1"]
folder = "data"
licence = "MIT"
purpose = "test"
[evil.files]
"*" = "{listing_digest({"good.txt": digest(b"good")})}"
""",
    )
    models.pull(["evil"])
    assert not list(tmp_path.rglob("escaped.txt"))


@pytest.mark.parametrize(
    "change",
    ['source = "ftp"', 'files = {"../x" = "0"}', "packages = []", 'files = {"a" = ""}', 'engine = "steam"'],
    ids=["source", "path", "packages", "digest", "engine"],
)
def test_an_impossible_entry_is_refused_by_name(tmp_path: Path, change: str) -> None:
    fields = {"source": '"pypi"', "packages": '["p==1"]', "licence": '"MIT"', "purpose": '"p"', "files": '{"a" = "0"}'}
    key, value = change.split(" = ", 1)
    fields[key] = value
    manifest = tmp_path / "manifest.toml"
    manifest.write_text("[odd]\n" + "\n".join(f"{k} = {v}" for k, v in fields.items()))
    with pytest.raises(ManifestInvalid, match="odd"):
        load(manifest)


def test_every_registry_package_of_the_product_is_pinned_with_digests() -> None:
    for entry in load(MANIFEST).values():
        assert entry.size > 0
        assert all(("==" if entry.source == "pypi" else "@") in package for package in entry.packages)
        assert all(len(file.sha256) == 64 for file in entry.files)
