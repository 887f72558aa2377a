"""A branch of a repository on the Hugging Face Hub, or on a server with its API.

Needs `factd[hub]`.

A version is one commit, which the Hub makes completely or not at all. Files that the branch has
already are not sent again. Going back is one more commit: nothing is forced. Each version has a
tag. Users download the branch; there is no completion API.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import Field, field_validator

from factd.daemon.errors import BadConfig, HandoverFailed
from factd.daemon.servers import (
    VERSION_NAME,
    Connect,
    Report,
    ServerSettings,
    SingleVersionServer,
    Version,
)
from factd.daemon.servers._deadline import bounded, first_line
from factd.daemon.servers._http import key_in

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")
KEPT = (".gitattributes", "README.md")  # stay in the repository if the version has no such file


class HubSettings(ServerSettings):
    """The keys of a [servers.NAME] table of kind hub."""

    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    """The repository, "organisation/model"."""
    branch: str = Field(default="main", min_length=1)
    """The branch that holds the version."""
    token_file: Path
    """A file that holds a token with the right to write there."""
    form: Literal["checkpoint", "adapter"] = "checkpoint"
    """What the branch holds."""
    create: bool = False
    """Make the repository and the branch if they do not exist."""
    private: bool = True
    """A repository that factd makes is private."""
    endpoint: str = Field(default="https://huggingface.co", pattern=r"^https?://\S+$")
    """Address of the Hub, or of another server with its API."""

    @field_validator("root")
    @classmethod
    def _is_ours(cls, value: object) -> object:
        if value is not None:
            raise ValueError("leave root out: files are uploaded from [publish] path itself")
        return value

    @property
    def takes_adapters(self) -> bool:
        """The form is `adapter`."""
        return self.form == "adapter"

    def ready(self) -> None:
        """Check library and token. Raises: BadConfig: one is missing."""
        key_in(self.token_file)
        try:
            import huggingface_hub  # noqa: F401 - is it installed?
        except ImportError as error:
            raise BadConfig("servers of kind hub need `pip install 'factd[hub]'`") from error


Settings = HubSettings  # the plugin loader looks for this name


class Hub(SingleVersionServer):
    """One branch of a repository."""

    def __init__(self, settings: HubSettings, api: "HfApi") -> None:
        self.settings, self.api = settings, api

    def load(self, version: Version) -> None:
        """Commit a version's files, unless the branch has them already, and tag the commit.

        Raises: HandoverFailed.
        """
        folder = version.folder if self.settings.form == "checkpoint" else version.adapter
        if not folder:
            raise HandoverFailed(
                f"{version.name} has no adapter; "
                'add a table [publish.adapter] or set form = "checkpoint"'
            )
        self._bounded(partial(self._commit, version, Path(folder)), self.settings.load_seconds)

    def report(self) -> Report:
        """The version whose tag is on the branch's newest commit. Raises: HandoverFailed."""
        refs = self._bounded(partial(self.api.list_repo_refs, self.settings.repository))
        heads = [ref.target_commit for ref in refs.branches if ref.name == self.settings.branch]
        names = [
            r.name for r in refs.tags if VERSION_NAME.fullmatch(r.name) and r.target_commit in heads
        ]
        return Report(serving=names[-1] if names else "")

    def _commit(self, version: Version, folder: Path) -> None:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        api, repository, branch = self.api, self.settings.repository, self.settings.branch
        if self.settings.create:
            api.create_repo(repository, private=self.settings.private, exist_ok=True)
            api.create_branch(repository, branch=branch, exist_ok=True)
        files = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
        parent = api.repo_info(repository, revision=branch).sha
        there = _listed(api, repository, str(parent))
        if wrong_files(files, there):
            adds = [CommitOperationAdd(name, path) for name, path in files.items()]
            gone = [CommitOperationDelete(name) for name in there.keys() - files.keys() - {*KEPT}]
            parent = api.create_commit(
                repository,
                [*adds, *gone],
                commit_message=f"{version.name}: release {version.number}",
                commit_description=f"SHA-256 of its manifest: {version.digest}",
                revision=branch,
                parent_commit=parent,  # the Hub refuses if the branch has moved since
            ).oid
        wrong = wrong_files(files, _listed(api, repository, str(parent)))
        if wrong:
            raise HandoverFailed(
                f"{repository} has another {wrong[0]} than {version.name} after the commit; "
                "look who else writes there"
            )
        _tag(api, repository, version.name, str(parent))

    def _bounded(self, call: Callable[[], T], seconds: float | None = None) -> T:
        what = f"{self.settings.endpoint}/{self.settings.repository}"
        try:
            return bounded(call, seconds=seconds or self.settings.answer_seconds, what=what)
        except HandoverFailed:
            raise
        except Exception as error:  # library, HTTP client and network raise errors of several trees
            causes = [e for e in (error, error.__cause__) if e is not None]
            why = dict.fromkeys(first_line(cause) for cause in causes)
            raise HandoverFailed(f"{what}: {': '.join(why)}") from error


def _listed(api: "HfApi", repository: str, revision: str) -> dict[str, Any]:
    """The Hub's entry for every file of a commit, by name."""
    tree = api.list_repo_tree(repository, revision=revision, recursive=True)
    return {entry.path: entry for entry in tree if hasattr(entry, "blob_id")}


def wrong_files(files: dict[str, Path], there: dict[str, Any]) -> list[str]:
    """Names of files that a commit lacks, has with other content, or has in addition."""
    more = [name for name in there if name not in files and name not in KEPT]
    return [name for name, path in files.items() if not _same(path, there.get(name))] + more


def _same(path: Path, entry: Any) -> bool:
    """The Hub's file has our size and checksum: SHA-256 for large files, git's for small ones."""
    if entry is None or entry.size != path.stat().st_size:
        return False
    if entry.lfs is not None:
        with path.open("rb") as file:
            return bool(hashlib.file_digest(file, "sha256").hexdigest() == entry.lfs.sha256)
    content = path.read_bytes()
    return bool(hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == entry.blob_id)


def _tag(api: "HfApi", repository: str, name: str, commit: str) -> None:
    """Put a version's tag on a commit."""
    tags = {ref.name: ref.target_commit for ref in api.list_repo_refs(repository).tags}
    if name in tags and tags[name] != commit:
        api.delete_tag(repository, tag=name)
    if tags.get(name) != commit:
        api.create_tag(repository, tag=name, revision=commit)


def connect(settings: HubSettings) -> Hub:
    """A branch of a repository.

    Raises: BadConfig: the library is not installed, or the token cannot be read.
    """
    settings.ready()
    from huggingface_hub import HfApi

    return Hub(settings, HfApi(settings.endpoint, token=key_in(settings.token_file)))


_: Connect = connect
