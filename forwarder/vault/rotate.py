"""The rotation of the master key. After a crash at any point the vault can still be opened.

The new key is written beside the old one, then the vault is sealed under it, then it takes the old one's place.
Opening tries both keys, so one of them opens the vault at each point. The next rotation completes an interrupted one.
"""

import stat

from forwarder import atomicfile
from forwarder.errors import VaultError
from forwarder.settings import ConfigSource, LocalSettings
from forwarder.vault import master_key
from forwarder.vault.master_key import MasterKey
from forwarder.vault.store import Vault


def rotate(config_source: ConfigSource, settings: LocalSettings) -> MasterKey:
    """Replace the master key, seal every secret under the new key, and return it.

    Raise VaultError if the forwarder cannot write the file of the current key, or if the vault cannot be opened.
    """
    vault = Vault.open(config_source, settings)
    if vault.key.file is None or not vault.key.mutable:
        raise VaultError(
            f"the master key comes from {vault.key.origin}, which the forwarder cannot write",
            hint="change it where it is kept: move it to [vault] master_key_file, rotate there, and move it back",
        )
    file = atomicfile.resolve_links(config_source.path(settings.vault.master_key_file))
    new = master_key.new_key_file(file)
    try:
        if vault.key.file == new:
            atomicfile.rename(new, file)
        new.unlink(missing_ok=True)
        text = master_key.generate()
        was = file.stat()
        atomicfile.create(new, text.encode(), mode=stat.S_IMODE(was.st_mode), owner=was)
        vault.reseal(MasterKey(master_key.decode(text, str(new)), str(new), new, mutable=True))
        atomicfile.rename(new, file)
    except OSError as error:
        raise VaultError(f"{error.filename or new} cannot be written: {error.strerror}") from None
    return vault.key
