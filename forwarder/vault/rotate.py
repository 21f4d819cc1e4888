"""Changing the master key so that a crash at any point locks nobody out.

The new key is written beside the old one, then the vault is sealed under it, then it takes the old one's place.
Opening tries both, so each point in between opens with one of them; the next rotation finishes a cut one first.
"""

import stat

from forwarder import files
from forwarder.errors import VaultError
from forwarder.settings import LocalSettings, Place
from forwarder.vault import master_key
from forwarder.vault.master_key import MasterKey
from forwarder.vault.vault import Vault


def rotate(place: Place, settings: LocalSettings) -> MasterKey:
    """The new key. Raises VaultError where the key in force does not come from a file of ours."""
    vault = Vault.open(place, settings)
    if vault.key.file is None or not vault.key.mutable:
        raise VaultError(
            f"the master key comes from {vault.key.origin}, which the forwarder cannot write",
            hint="change it where it is kept: move it to [vault] master_key_file, rotate there, and move it back",
        )
    file = files.end_of(place.path(settings.vault.master_key_file))
    new = master_key.beside(file)
    try:
        if vault.key.file == new:
            files.rename(new, file)
        new.unlink(missing_ok=True)
        text = master_key.generate()
        was = file.stat()
        files.create(new, text.encode(), mode=stat.S_IMODE(was.st_mode), owner=was)
        vault.reseal(MasterKey(master_key.decode(text, str(new)), str(new), new, mutable=True))
        files.rename(new, file)
    except OSError as error:
        raise VaultError(f"{error.filename or new} cannot be written: {error.strerror}") from None
    return vault.key
