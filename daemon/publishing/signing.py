"""Signatures of versions: Ed25519 (RFC 8032) over manifest.json, which lists all files.

The signature is in manifest.sig.json beside it, together with the public key. With that key anyone
can check that nothing was changed since. To check who signed, compare it with a key that you got
another way.
"""

import base64
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from factd.daemon.config.tables import PublishTable
from factd.daemon.errors import BadConfig, Refused
from factd.editor.errors import DamagedArtefact
from factd.editor.files.manifests import (
    MANIFEST,
    SIGNATURE,
    canonical_json,
    parse_object,
    read_bytes,
)

ALGORITHM = "Ed25519"
PRIVATE, PUBLIC = "signing-key.pem", "public-key.pem"
KEY_BYTES, SIGNATURE_BYTES = 32, 64
OTHER_KEY = (
    "it is signed with the key {}, not with {}; find out who wrote it, or write it again with "
    "`factd releases write`"
)


@dataclass(frozen=True)
class PublicKey:
    """A public key that signatures are checked with."""

    raw: bytes  # 32 bytes

    @property
    def id(self) -> str:
        """The first 16 hexadecimal digits of its SHA-256."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    def fits(self, signature: bytes, content: bytes) -> bool:
        """The signature is of this content, by the private key that belongs to this one."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, content)
        except (InvalidSignature, ValueError):
            return False
        return True


def new_key(folder: Path) -> PublicKey:
    """Write a new pair of keys as PEM files. Only the owner may read the private one (PKCS #8).

    Raises: Refused: one of the files exists.
    """
    key = Ed25519PrivateKey.generate()
    folder.mkdir(parents=True, exist_ok=True)
    for name in (PRIVATE, PUBLIC):
        if (folder / name).exists():
            raise Refused(f"{folder / name} exists; name another folder with --out")
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    _write_new(folder / PRIVATE, private, 0o600)
    _write_new(folder / PUBLIC, key.public_key().public_bytes(pem, spki), 0o644)
    return _of(key.public_key())


def _write_new(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _of(key: Ed25519PublicKey) -> PublicKey:
    return PublicKey(key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))


def private_key(path: Path) -> Ed25519PrivateKey:
    """The key that versions are signed with. Raises: BadConfig: unreadable, or of another kind."""
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadConfig(
            f"{path} holds no private key without a password; "
            "make one with `factd keys new --out DIR`"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadConfig(
            f"{path} holds no {ALGORITHM} key; make one with `factd keys new --out DIR`"
        )
    return key


def public_key(path: Path) -> PublicKey:
    """The key of a PEM file. Raises: BadConfig: it cannot be read, or is of another kind."""
    try:
        key = serialization.load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadConfig(
            f"{path} holds no public key in PEM form; name the file public-key.pem"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise BadConfig(f"{path} holds no {ALGORITHM} key; name the file public-key.pem")
    return _of(key)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadConfig(
            f"{path} cannot be read ({error.strerror}); name a file that holds a key"
        ) from error


def signer(table: PublishTable) -> Callable[[bytes], bytes] | None:
    """A function from a manifest's bytes to manifest.sig.json. None: versions are not signed.

    Raises: BadConfig.
    """
    if table.signing_key_file is None:
        return None
    key = private_key(table.signing_key_file)
    return lambda manifest: _document(_of(key.public_key()), key.sign(manifest))


def expected_key(table: PublishTable) -> PublicKey | None:
    """The key that versions must be signed with.

    None: any key, or no signature. Raises: BadConfig.
    """
    if table.public_key_file is not None:
        return public_key(table.public_key_file)
    if table.signing_key_file is not None:
        return _of(private_key(table.signing_key_file).public_key())
    return None


def ready(table: PublishTable) -> None:
    """Check the keys. Raises: BadConfig: one cannot be read, or they are not a pair.

    With keys that are not a pair no version could be published.
    """
    own = table.signing_key_file and _of(private_key(table.signing_key_file).public_key())
    expected = expected_key(table)
    if own and own != expected:
        raise BadConfig(
            f"{table.public_key_file} is not the public key of {table.signing_key_file}; "
            "name the two files of one pair"
        )


def _document(key: PublicKey, signature: bytes) -> bytes:
    text = {"public_key": key.raw, "signature": signature}
    return canonical_json(
        {
            "algorithm": ALGORITHM,
            "key_id": key.id,
            "of": MANIFEST,
            **{name: base64.b64encode(value).decode() for name, value in text.items()},
        }
    )


def signed_by(folder: Path, expected: PublicKey | None) -> PublicKey | None:
    """The key that a version's manifest is signed with. None: it is unsigned.

    Raises: DamagedArtefact: the signature does not fit, or is not by the expected key.
    """
    path = folder / SIGNATURE
    if not path.exists() and not path.is_symlink():
        if expected is None:
            return None
        raise DamagedArtefact(
            path, f"is missing: the version is not signed, but must be with the key {expected.id}"
        )
    content = read_bytes(path)
    key, signature = _decoded(path, content)
    fits = key.fits(signature, read_bytes(folder / MANIFEST))
    if not fits or _document(key, signature) != content:
        raise DamagedArtefact(
            path,
            "it does not fit this manifest; write the version again with `factd releases write`",
        )
    if expected is not None and key != expected:
        raise DamagedArtefact(path, OTHER_KEY.format(key.id, expected.id))
    return key


def _decoded(path: Path, content: bytes) -> tuple[PublicKey, bytes]:
    document = parse_object(path, content)
    try:
        key, signature = (
            base64.b64decode(document[name], validate=True) for name in ("public_key", "signature")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedArtefact(path, "it is not a signature by factd") from error
    if (len(key), len(signature)) != (KEY_BYTES, SIGNATURE_BYTES):
        raise DamagedArtefact(path, "it is not a signature by factd")
    return PublicKey(key), signature
