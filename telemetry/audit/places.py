"""Where what protects the record lies: signing key, believed keys, the chain's name, copies of the checkpoints."""

from pathlib import Path

from telemetry.audit.chain import NAME, Chain, has_signed, read_name
from telemetry.audit.copies import Copies
from telemetry.audit.keys import KEY, Signer, believed_keys, open_signer, readable_keys, signer_in_use
from telemetry.audit.verifier import key_id


class AuditFolder:
    """`folder`: for all that no setting puts elsewhere. `key`, `checkpoints`: files of their own, when set."""

    def __init__(self, folder: Path, *, key: Path | None = None, checkpoints: Path | None = None) -> None:
        self.folder = folder
        self.key = key or folder / KEY
        self.copies = Copies(checkpoints or folder / "checkpoints.jsonl")

    def chain(self) -> Chain:
        """For the journal's writer alone. Raises `KeyFileError`."""
        return Chain(self.folder, self.first_signer(), self.copies)

    def first_signer(self) -> Signer:
        """For a server's start and its writer: makes the key when there is none. Raises `KeyFileError`."""
        return open_signer(self.key, self.folder)

    def signer(self) -> Signer:
        """The key that a server which was started here signs with. Raises `KeyFileError`, also when there is none."""
        return signer_in_use(self.key, self.folder)

    def lacks_its_key(self) -> bool:
        """Whether the signing key is missing though one was used here."""
        return not self.key.exists() and bool(readable_keys(self.folder))

    def chain_name(self) -> str | None:
        """Of the chain that the writer goes on with; None before the first one."""
        return read_name(self.folder / NAME)

    def lacks_its_name(self) -> bool:
        """Whether the chain's name is missing though a key of this folder has signed."""
        return self.chain_name() is None and has_signed(self.folder, map(key_id, self.public_keys()))

    def public_keys(self) -> list[bytes]:
        return believed_keys(self.folder)
