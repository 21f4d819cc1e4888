"""The required SQLite version: an older library is refused before anything is sent."""

from pathlib import Path

import pytest

from forwarder.errors import LedgerError
from forwarder.ledger.sqlite.connection import connect
from forwarder.ledger.sqlite.engine import MIN_VERSION, Engine, linked_engine, require_supported

NEW = Engine((3, 45, 1), 3, has_json=True)


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        (Engine((3, 26, 0), 3, has_json=True), "SQLite 3.26.0 is too old for the ledger, which needs 3.33.0 or later"),
        (Engine((3, 32, 3), 3, has_json=True), "3.33.0"),
        (Engine((3, 34, 1), 3, has_json=False), "JSON"),
        (Engine((3, 34, 1), 0, has_json=True), "single thread"),
    ],
)
def test_engine_that_cannot_work_is_refused(engine: Engine, words: str, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=words) as raised:
        connect(tmp_path / "ledger.db", create=True, library=engine)
    assert "linked with SQLite 3.33.0 or later" in raised.value.hint
    assert not (tmp_path / "ledger.db").exists()


@pytest.mark.parametrize("engine", [NEW, Engine(MIN_VERSION, 1, has_json=True), linked_engine()])
def test_engine_that_works_is_accepted(engine: Engine) -> None:
    require_supported(engine)


def test_no_statement_needs_a_later_engine() -> None:
    """RETURNING and an upsert without its target came with 3.35, which RHEL 9 does not have."""
    sources = Path(require_supported.__code__.co_filename).parent.glob("*.py")
    text = "\n".join(source.read_text() for source in sources if source.name != "engine.py")
    assert " RETURNING " not in text
    assert "ON CONFLICT DO UPDATE" not in text
