"""A repository on the Hugging Face Hub, or on a server with its API, whose branch holds the version; needs `factd[hub]`.

A version is one commit, which the Hub makes as a whole or not at all; files that the branch has already are not sent again.
Going back is a commit more: nothing is forced. Each version has a tag. Users of the branch download; nobody is asked.
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
KEPT = (".gitattributes", "README.md")  # of the repository, where the version has none


class HubSettings(ServerSettings):
    """A [servers.NAME] of this kind"""

    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")  # "organisation/model"
    branch: str = Field(default="main", min_length=1)
    token_file: Path  # holds a token that may write there
    form: Literal["checkpoint", "adapter"] = "checkpoint"  # what the branch holds
    create: bool = False  # the repository and the branch, where they are not there
    private: bool = True  # a repository that is created
    endpoint: str = Field(default="https://huggingface.co", pattern=r"^https?://\S+$")

    @field_validator("root")
    @classmethod
    def _is_ours(cls, value: object) -> object:
        if value is not None:
            raise ValueError("files are sent from [publish] path itself; leave root out")
        return value

    @property
    def takes_adapters(self) -> bool:
        """As the form says."""
        return self.form == "adapter"

    def ready(self) -> None:
        """Raises: BadConfig: the library is not installed, or the token cannot be read."""
        key_in(self.token_file)
        try:
            import huggingface_hub  # noqa: F401 - is it there?
        except ImportError as error:
            raise BadConfig("servers of kind hub need `pip install 'factd[hub]'`") from error


Settings = HubSettings  # the plugin loader looks for this name


class Hub(SingleVersionServer):
    """One branch of one repository."""

    def __init__(self, settings: HubSettings, api: "HfApi") -> None:
        self.settings, self.api = settings, api

    def load(self, version: Version) -> None:
        """Commit a version's files and tag the commit, unless the branch holds them already. Raises: HandoverFailed."""
        folder = version.folder if self.settings.form == "checkpoint" else version.adapter
        if not folder:
            raise HandoverFailed(
                f'{version.name} has no adapter; switch on [publish.adapter] or set form = "checkpoint"'
            )
        self._bounded(partial(self._commit, version, Path(folder)), self.settings.load_seconds)

    def report(self) -> Report:
        """The version whose tag stands at the branch's head. Raises: HandoverFailed."""
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
                parent_commit=parent,  # a commit that was overtaken is refused, also one of ours that is late
            ).oid
        wrong = wrong_files(files, _listed(api, repository, str(parent)))
        if wrong:
            raise HandoverFailed(
                f"{repository} has another {wrong[0]} than {version.name} after it was committed"
            )
        _tag(api, repository, version.name, str(parent))

    def _bounded(self, call: Callable[[], T], seconds: float | None = None) -> T:
        what = f"{self.settings.endpoint}/{self.settings.repository}"
        try:
            return bounded(call, seconds=seconds or self.settings.answer_seconds, what=what)
        except HandoverFailed:
            raise
        except (
            Exception
        ) as error:  # of the library, of its HTTP client and of the network: many, of several trees
            causes = [e for e in (error, error.__cause__) if e is not None]
            why = dict.fromkeys(first_line(cause) for cause in causes)
            raise HandoverFailed(f"{what}: {': '.join(why)}") from error


def _listed(api: "HfApi", repository: str, revision: str) -> dict[str, Any]:
    """Every file of a commit by its name, as the Hub describes it."""
    tree = api.list_repo_tree(repository, revision=revision, recursive=True)
    return {entry.path: entry for entry in tree if hasattr(entry, "blob_id")}


def wrong_files(files: dict[str, Path], there: dict[str, Any]) -> list[str]:
    """Names of files that a commit has not, has otherwise, or has beside them."""
    more = [name for name in there if name not in files and name not in KEPT]
    return [name for name, path in files.items() if not _same(path, there.get(name))] + more


def _same(path: Path, entry: Any) -> bool:
    """The Hub's file has our size and our sum: SHA-256 where it is large, git's where it is small."""
    if entry is None or entry.size != path.stat().st_size:
        return False
    if entry.lfs is not None:
        with path.open("rb") as file:
            return bool(hashlib.file_digest(file, "sha256").hexdigest() == entry.lfs.sha256)
    content = path.read_bytes()
    return bool(hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == entry.blob_id)


def _tag(api: "HfApi", repository: str, name: str, commit: str) -> None:
    """A version's tag stands at its newest commit."""
    tags = {ref.name: ref.target_commit for ref in api.list_repo_refs(repository).tags}
    if name in tags and tags[name] != commit:
        api.delete_tag(repository, tag=name)
    if tags.get(name) != commit:
        api.create_tag(repository, tag=name, revision=commit)


def connect(settings: HubSettings) -> Hub:
    """A branch. Raises: BadConfig: the library is not installed, or the token cannot be read."""
    settings.ready()
    from huggingface_hub import HfApi

    return Hub(settings, HfApi(settings.endpoint, token=key_in(settings.token_file)))


_: Connect = connect
