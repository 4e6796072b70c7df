"""The key that signs the record, and the keys that are believed.

The private key lies in a file of its own that only the journal's writer opens, and a start, to see that it can.
Beside it, `believed/KEYID.pub` keeps the public key of every key that was ever used here, as base64 of its 32 bytes:
what auditors are given.
"""

import base64
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from telemetry.audit.verifier import Signatures, encoded, key_id, signed_bytes
from telemetry.replaced_file import replace_file

BELIEVED = "believed"
KEY = "signing.key"


class KeyFileError(Exception):
    """The signing key cannot be read or made."""


class Signer:
    """`believed`: public keys besides its own, those that signed before it."""

    def __init__(self, private: Ed25519PrivateKey, believed: Iterable[bytes] = ()) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw()
        self.key_id = key_id(self.public)
        self.signatures = signatures([self.public, *believed])

    def sign(self, kind: str, entry: dict[str, object]) -> str:
        """The entry with its key and signature, as the one line of JSON that is kept."""
        entry = {**entry, "key": self.key_id}
        signature = self._private.sign(signed_bytes(kind, entry))
        return encoded({**entry, "signature": base64.b64encode(signature).decode()}).decode()

    def __repr__(self) -> str:
        return f"<Signer {self.key_id}>"


def open_signer(path: Path, folder: Path) -> Signer:
    """Makes the key when there is none, and has it believed: for a server's start and its writer alone. `folder`: where
    the public key is left. Raises `KeyFileError`."""
    try:
        raw = _made(path) if _is_missing(path, folder) else _read(path)
        signer = _signer(raw, folder)
        believed = _believed(folder, signer)
        if not believed.exists():
            believed.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(believed, base64.b64encode(signer.public) + b"\n", durable=True)
    except (OSError, ValueError) as error:
        raise _unusable(path, error) from None
    return signer


def signer_in_use(path: Path, folder: Path) -> Signer:
    """The key with which a server that was started here signs; none is made. Raises `KeyFileError`."""
    try:
        signer = _signer(_read(path), folder)
        is_believed = _believed(folder, signer).exists()
    except FileNotFoundError:
        words = "bring it back; only the start of a server makes another one"
        raise KeyFileError(f"The key that signs the record is missing ({path}): {words}") from None
    except (OSError, ValueError) as error:
        raise _unusable(path, error) from None
    if not is_believed:
        words = f"no server of this state folder has been started with it ({_believed(folder, signer)} is missing)"
        raise KeyFileError(f"The key that signs the record is another one ({path}): {words}")
    return signer


def _signer(raw: bytes, folder: Path) -> Signer:
    return Signer(Ed25519PrivateKey.from_private_bytes(raw), readable_keys(folder))


def _unusable(path: Path, error: Exception) -> KeyFileError:
    return KeyFileError(f"The key that signs the record cannot be used ({path}): {error}")


def _believed(folder: Path, signer: Signer) -> Path:
    return folder / BELIEVED / f"{signer.key_id}.pub"


def _read(path: Path) -> bytes:
    return base64.b64decode(path.read_text().strip(), validate=True)


def _is_missing(path: Path, folder: Path) -> bool:
    """An empty file, before anything was signed here, is what a start on a full disk left."""
    try:
        return path.stat().st_size == 0 and not readable_keys(folder)
    except FileNotFoundError:
        return True


def _made(path: Path) -> bytes:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    raw = Ed25519PrivateKey.generate().private_bytes_raw()
    whole = path.with_name(f".{path.name}.{os.getpid()}.new")
    replace_file(whole, base64.b64encode(raw) + b"\n", durable=True)
    try:
        if path.exists():  # empty
            whole.replace(path)
        else:
            os.link(whole, path)
    except FileExistsError:
        pass  # another start was first: its key is the one
    finally:
        whole.unlink(missing_ok=True)
    return _read(path)


def believed_keys(folder: Path) -> list[bytes]:
    """Raises `KeyFileError` for a file that holds no key."""
    return [read_public(path) for path in sorted((folder / BELIEVED).glob("*.pub"))]


def readable_keys(folder: Path) -> list[bytes]:
    """Of the keys that are believed those that can be read: for the writer, which no file there must keep from storing."""
    keys = []
    for path in sorted((folder / BELIEVED).glob("*.pub")):
        with suppress(KeyFileError):
            keys.append(read_public(path))
    return keys


def read_public(path: Path) -> bytes:
    try:
        key = base64.b64decode(path.read_text("utf-8-sig").strip(), validate=True)
        Ed25519PublicKey.from_public_bytes(key)
    except (OSError, ValueError) as error:
        raise KeyFileError(f"No public key can be read from {path}: {error}") from None
    return key


def signatures(keys: list[bytes]) -> Signatures:
    opened = {key: Ed25519PublicKey.from_public_bytes(key) for key in keys}

    def checks(public: bytes, signature: bytes, message: bytes) -> bool:
        try:
            opened[public].verify(signature, message)
        except InvalidSignature:
            return False
        return True

    return Signatures(keys, checks)
