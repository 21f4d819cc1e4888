"""A replaced file holds the old text or the new text, never a part of one, even after a crash."""

import asyncio
import os
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from forwarder import atomicfile
from tests.disk_faults import unprivileged


def count_open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


def modes(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_replaced_file_is_complete_and_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "a"
    atomicfile.replace(file, b"one", mode=0o640)
    assert (file.read_bytes(), modes(file)) == (b"one", 0o640)
    file.chmod(0o604)
    atomicfile.replace(file, b"two", mode=0o600)
    assert (file.read_bytes(), modes(file), list(tmp_path.iterdir())) == (b"two", 0o604, [file])


def test_replaced_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    file, link = tmp_path / "there" / "a", tmp_path / "link"
    file.write_bytes(b"one")
    link.symlink_to(file)
    atomicfile.replace(link, b"two")
    assert (link.is_symlink(), file.read_bytes()) == (True, b"two")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_replaced_file_keeps_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    os.chown(file, 1234, 1234)
    atomicfile.replace(file, b"two")
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 1234)


def test_written_files_are_closed(tmp_path: Path) -> None:
    """A daemon replaces files for years: each descriptor that stays open is a step to the limit."""
    before = count_open_files()
    for number in range(20):
        atomicfile.replace(tmp_path / "a", b"one")
        atomicfile.create(tmp_path / str(number), b"two")
        with atomicfile.locked(tmp_path):
            atomicfile.rename(tmp_path / str(number), tmp_path / "b")
    assert count_open_files() < before + 20


def test_read_only_file_is_not_replaced() -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "a"
        file.write_bytes(b"one")
        file.chmod(0o444)
        file.parent.chmod(0o777)
        with unprivileged(), pytest.raises(PermissionError):
            atomicfile.replace(file, b"two")
        assert file.read_bytes() == b"one"


def test_reader_never_sees_a_partial_file(tmp_path: Path) -> None:
    file = tmp_path / "a"
    texts = {bytes([number]) * 100_000 for number in range(30)}
    atomicfile.replace(file, bytes([0]) * 100_000)
    seen = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(file.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for text in texts:
        atomicfile.replace(file, text)
    done.set()
    reader.join()
    assert set(seen) <= texts


def test_create_of_existing_file_fails(tmp_path: Path) -> None:
    file = tmp_path / "a"
    atomicfile.create(file, b"one")
    with pytest.raises(FileExistsError):
        atomicfile.create(file, b"two")
    assert (file.read_bytes(), modes(file), list(tmp_path.iterdir())) == (b"one", 0o600, [file])


def test_lock_that_is_kept_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomicfile, "MAX_LOCK_WAIT_SECONDS", 0.1)
    with (
        atomicfile.locked(tmp_path),
        pytest.raises(OSError, match=f"another process has locked it .*{tmp_path}"),
        atomicfile.locked(tmp_path),
    ):
        pass


def test_locked_folder_blocks_other_processes(tmp_path: Path) -> None:
    order = []

    def hold() -> None:
        with atomicfile.locked(tmp_path):
            order.append("second")

    async def both() -> None:
        with atomicfile.locked(tmp_path):
            waiting = asyncio.create_task(asyncio.to_thread(hold))
            await asyncio.sleep(0.05)
            order.append("first")
        await waiting

    asyncio.run(both())
    assert order == ["first", "second"]
