"""Signatures of versions: Ed25519 (RFC 8032) over the bytes of manifest.json, which lists everything else.

The signature lies beside it in manifest.sig.json, with the public key that it fits: whoever has no key to compare with can
still tell that nothing was changed since; who made it, only a key that came another way can tell.
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
OTHER = "it is signed with the key {}, not with {}; find out who wrote it, or write it again with `factd releases write`"


@dataclass(frozen=True)
class PublicKey:
    """What a signature is checked with."""

    raw: bytes  # 32

    @property
    def id(self) -> str:
        """The first 16 hexadecimal digits of its SHA-256."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    def fits(self, signature: bytes, content: bytes) -> bool:
        """The signature was made of just this, with the private key that belongs to this one."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, content)
        except (InvalidSignature, ValueError):
            return False
        return True


def new_key(folder: Path) -> PublicKey:
    """A new pair of keys as PEM files, the private one (PKCS #8) readable by its owner alone.

    Raises: Refused: one of them is there.
    """
    key = Ed25519PrivateKey.generate()
    folder.mkdir(parents=True, exist_ok=True)
    for name in (PRIVATE, PUBLIC):
        if (folder / name).exists():
            raise Refused(f"{folder / name} is there already; name another folder with --out")
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
    """The key that versions are signed with. Raises: BadConfig: it cannot be read or is of another kind."""
    try:
        found = serialization.load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadConfig(
            f"{path} holds no private key without a password; make one with `factd keys new --out DIR`"
        ) from error
    if not isinstance(found, Ed25519PrivateKey):
        raise BadConfig(
            f"{path} holds no {ALGORITHM} key; make one with `factd keys new --out DIR`"
        )
    return found


def public_key(path: Path) -> PublicKey:
    """The key of a PEM file. Raises: BadConfig: it cannot be read or is of another kind."""
    try:
        found = serialization.load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadConfig(f"{path} holds no public key in PEM form") from error
    if not isinstance(found, Ed25519PublicKey):
        raise BadConfig(f"{path} holds no {ALGORITHM} key")
    return _of(found)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadConfig(f"{path} cannot be read ({error.strerror}); it must hold a key") from error


def signer(table: PublishTable) -> Callable[[bytes], bytes] | None:
    """What makes manifest.sig.json of a manifest's bytes; None: versions are not signed. Raises: BadConfig."""
    if table.signing_key_file is None:
        return None
    key = private_key(table.signing_key_file)
    return lambda manifest: _document(_of(key.public_key()), key.sign(manifest))


def expected_key(table: PublishTable) -> PublicKey | None:
    """The key that versions must be signed with; None: any or none. Raises: BadConfig."""
    if table.public_key_file is not None:
        return public_key(table.public_key_file)
    if table.signing_key_file is not None:
        return _of(private_key(table.signing_key_file).public_key())
    return None


def ready(table: PublishTable) -> None:
    """Raises: BadConfig: a key cannot be read, or the two are not of one pair: then no version could be published."""
    own = table.signing_key_file and _of(private_key(table.signing_key_file).public_key())
    expected = expected_key(table)
    if own and own != expected:
        raise BadConfig(
            f"{table.public_key_file} is not the public key of {table.signing_key_file}; name one pair of keys"
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
    """The key that a version's manifest is signed with; None: it is unsigned.

    Raises: DamagedArtefact: the signature does not fit, or `expected` is given and did not make it.
    """
    path = folder / SIGNATURE
    if not path.exists() and not path.is_symlink():
        if expected is None:
            return None
        raise DamagedArtefact(
            path, f"is missing: the version is not signed, and must be with the key {expected.id}"
        )
    content = read_bytes(path)
    key, signature = _decoded(path, content)
    fits = key.fits(signature, read_bytes(folder / MANIFEST))
    if not fits or _document(key, signature) != content:
        raise DamagedArtefact(path, "it is no signature of this manifest; write the version again")
    if expected is not None and key != expected:
        raise DamagedArtefact(path, OTHER.format(key.id, expected.id))
    return key


def _decoded(path: Path, content: bytes) -> tuple[PublicKey, bytes]:
    found = parse_object(path, content)
    try:
        key, signature = (
            base64.b64decode(found[name], validate=True) for name in ("public_key", "signature")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedArtefact(path, "it is no signature of factd") from error
    if (len(key), len(signature)) != (KEY_BYTES, SIGNATURE_BYTES):
        raise DamagedArtefact(path, "it is no signature of factd")
    return PublicKey(key), signature
