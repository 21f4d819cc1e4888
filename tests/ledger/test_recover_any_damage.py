"""The recovery of a ledger completes after any damage, and its result balances."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from forwarder.errors import LedgerError
from forwarder.ledger.repair.recover import recover
from tests.ledger.damaged_ledger import PAGE, checkpoints, claim_all, fill, load_dead_letters
from tests.ledger.ledger_files import counters


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("whole") / "ledger.db"
    fill(file)
    return file


@pytest.fixture
def file(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy2(whole, tmp_path))


def cut(draw: Random, content: bytearray) -> None:
    del content[draw.randrange(3 * PAGE, len(content)) :]


def overwritten(draw: Random, content: bytearray) -> None:
    at = draw.randrange(100, len(content))
    content[at : at + draw.choice([1, 8, 200, PAGE, 5 * PAGE])] = draw.randbytes(draw.choice([1, 8, 200, PAGE]))


def zeroed(draw: Random, content: bytearray) -> None:
    at = draw.randrange(1, len(content) // PAGE) * PAGE
    content[at : at + PAGE] = bytes(PAGE)


def swapped(draw: Random, content: bytearray) -> None:
    """Swap two pages. A tree may then contain itself."""
    one, other = (draw.randrange(1, len(content) // PAGE) * PAGE for _ in range(2))
    content[one : one + PAGE], content[other : other + PAGE] = (
        content[other : other + PAGE],
        content[one : one + PAGE],
    )


def repeated(draw: Random, content: bytearray) -> None:
    one, other = (draw.randrange(1, len(content) // PAGE) * PAGE for _ in range(2))
    content[one : one + PAGE] = content[other : other + PAGE]


DAMAGE: tuple[Callable[[Random, bytearray], None], ...] = (cut, overwritten, zeroed, swapped, repeated)


def check_recovery(file: Path, seed: int) -> None:
    """Check that the recovered ledger balances, or that the recovery is refused with a hint."""
    draw = Random(seed)  # noqa: S311 - must be repeatable
    content = bytearray(file.read_bytes())
    for _ in range(draw.choice([1, 1, 2, 5])):
        if len(content) > 4 * PAGE:
            draw.choice(DAMAGE)(draw, content)
    file.write_bytes(content)
    try:
        recover(file)
    except LedgerError as error:
        assert error.hint  # noqa: PT017 - both results are valid
        return
    assert counters(file).is_balanced
    claim_all(file)
    checkpoints(file)
    load_dead_letters(file)


@pytest.mark.parametrize("seed", range(40))
def test_recovery_completes_after_any_damage(file: Path, seed: int) -> None:
    check_recovery(file, seed)


@pytest.mark.long
@pytest.mark.parametrize("first", range(1000, 2000, 100))
def test_recovery_completes_after_any_damage_long(whole: Path, tmp_path: Path, first: int) -> None:
    for seed in range(first, first + 100):
        folder = tmp_path / str(seed)
        folder.mkdir()
        check_recovery(Path(shutil.copy2(whole, folder)), seed)
        shutil.rmtree(folder)
