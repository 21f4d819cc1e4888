"""The lock of the vault: a writer holds it while it reads and replaces the file."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from forwarder import atomicfile
from forwarder.errors import VaultError
from forwarder.settings import ConfigSource, LocalSettings


def vault_folder(config_source: ConfigSource, settings: LocalSettings) -> Path:
    """Return the folder at the end of all links in the path of the vault."""
    return atomicfile.resolve_links(config_source.path(settings.vault.file)).parent


@contextmanager
def locked_vault(config_source: ConfigSource, settings: LocalSettings) -> Iterator[None]:
    """Lock the folder of the vault during the block. Raise VaultError if it cannot be locked."""
    folder = vault_folder(config_source, settings)
    with ExitStack() as stack:
        try:
            stack.enter_context(atomicfile.locked(folder))
        except OSError as error:
            hint = atomicfile.lock_hint(error)
            raise VaultError(
                f"the folder of the vault {folder} cannot be locked: {error.strerror}", hint=hint
            ) from None
        yield
