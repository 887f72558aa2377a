"""The Hugging Face Hub as `huggingface_hub` needs it to commit, over real HTTP.

It has repositories, branches, tags and LFS.
"""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from support.fakes.http import Asked, Fake, Reply

LARGE = 1000  # bytes; larger files go to LFS
Tree = dict[str, tuple[bytes, bool]]  # content, and whether it is in LFS


def git_sum(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repository:
    private: bool
    commits: dict[str, Tree] = field(default_factory=dict)
    titles: list[str] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def at(self, revision: str) -> str:
        return self.branches.get(revision) or self.tags.get(revision) or revision

    def commit(self, branch: str, tree: Tree, title: str) -> str:
        self.titles.append(title)
        id_ = hashlib.sha1(f"{len(self.titles)} {title}".encode()).hexdigest()
        self.commits[id_], self.branches[branch] = tree, id_
        return id_

    def files(self, revision: str) -> dict[str, bytes]:
        return {name: content for name, (content, _) in self.commits[self.at(revision)].items()}


class FakeHub:
    """A fake Hub: `with FakeHub() as hub`.

    `hub.repositories` holds the repositories by name, `hub.uploaded` the SHA-256 of each LFS object
    that came.
    """

    def __init__(self, token: str = "hf_t0ken") -> None:
        self.token, self.repositories = token, dict[str, Repository]()
        self.objects: dict[str, bytes] = {}
        self.uploaded: list[str] = []
        self.cut = False  # uploads arrive cut short
        self.swapped = False  # a commit holds something else than was sent

    def __enter__(self) -> Self:
        self.fake = Fake(self._answer)
        self.url = self.fake.url
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.fake.stop()

    def make(self, name: str, *, private: bool = True) -> Repository:
        found = self.repositories[name] = Repository(private)
        found.commit("main", {".gitattributes": (b"*.safetensors filter=lfs", False)}, "initial")
        return found

    def _answer(self, asked: Asked) -> Reply:
        if asked.path.startswith("/upload/"):
            return self._upload(asked.path.rpartition("/")[2], asked.body)
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            return _json({"error": "Invalid username or password."}, 401)
        if asked.path == "/api/repos/create":
            return self._create(json.loads(asked.body))
        if asked.path.endswith(".git/info/lfs/objects/batch"):
            return self._batch(json.loads(asked.body))
        _, _, _, owner, name, what, *rest = [*unquote(asked.path).split("/"), "", ""]
        repository = self.repositories.get(f"{owner}/{name}")
        if repository is None:
            missing = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            return Reply(status=404, body=b"{}", headers=missing)
        return self._of(repository, what, rest[0], asked)

    def _of(self, repository: Repository, what: str, revision: str, asked: Asked) -> Reply:
        match asked.method, what:
            case ["GET", "refs"]:
                return _json(
                    {
                        "branches": _refs(repository.branches),
                        "tags": _refs(repository.tags),
                        "converts": [],
                    }
                )
            case ["GET", "revision"]:
                return _json(
                    {"id": "a/b", "sha": repository.at(revision), "siblings": [], "tags": []}
                )
            case ["GET", "tree"]:
                return _json(
                    [_entry(n, *f) for n, f in repository.commits[repository.at(revision)].items()]
                )
            case ["POST", "preupload"]:
                return self._preupload(repository, revision, json.loads(asked.body))
            case ["POST", "commit"]:
                return self._commit(repository, revision, asked.body)
            case ["POST", "branch"]:
                repository.branches.setdefault(revision, repository.branches["main"])
                return _json({})
            case ["POST", "tag"]:
                repository.tags[json.loads(asked.body)["tag"]] = repository.at(revision)
                return _json({})
            case ["DELETE", "tag"]:
                del repository.tags[revision]
                return _json({})
        return _json({"error": f"{asked.method} {asked.path}"}, 500)

    def _create(self, body: dict[str, Any]) -> Reply:
        name = (
            f"{body['organization']}/{body['name']}" if body.get("organization") else body["name"]
        )
        if name in self.repositories:
            return _json({"error": "You already created this model repo", "url": self.url}, 409)
        self.make(name, private=bool(body.get("private") or body.get("visibility") == "private"))
        return _json({"url": f"{self.url}/{name}", "name": name, "id": "1"})

    def _preupload(self, repository: Repository, revision: str, body: dict[str, Any]) -> Reply:
        there = repository.commits[repository.at(revision)]
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["size"] > LARGE else "regular",
                "shouldIgnore": False,
                "oid": _oid(*there[file["path"]]) if file["path"] in there else None,
            }
            for file in body["files"]
        ]
        return _json({"files": files})

    def _batch(self, body: dict[str, Any]) -> Reply:
        objects = []
        for item in body["objects"]:
            upload = {"href": f"{self.url}/upload/{item['oid']}"}
            needed = {} if item["oid"] in self.objects else {"actions": {"upload": upload}}
            objects.append({**item, **needed})
        return _json({"transfer": "basic", "objects": objects})

    def _upload(self, oid: str, body: bytes) -> Reply:
        self.uploaded.append(oid)
        content = body[: len(body) // 2] if self.cut else body
        if hashlib.sha256(content).hexdigest() != oid:
            return _json({"error": "The content does not have this SHA-256"}, 422)
        self.objects[oid] = content
        return Reply()

    def _commit(self, repository: Repository, branch: str, body: bytes) -> Reply:
        tree, title = dict(repository.commits[repository.branches[branch]]), ""
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                title, parent = value["summary"], value.get("parentCommit")
                if parent and parent != repository.branches[branch]:
                    return _json({"error": "A commit has happened since."}, 412)
            elif item["key"] == "file":
                tree[value["path"]] = (base64.b64decode(value["content"]), False)
            elif item["key"] == "lfsFile":
                tree[value["path"]] = (self.objects[value["oid"]], True)
            elif item["key"] == "deletedFile":
                del tree[value["path"]]
        if self.swapped:
            tree["config.json"] = (b"{}", False)
        oid = repository.commit(branch, tree, title)
        return _json({"commitUrl": f"{self.url}/a/b/commit/{oid}", "commitOid": oid})


def _oid(content: bytes, large: bool) -> str:
    return hashlib.sha256(content).hexdigest() if large else git_sum(content)


def _entry(name: str, content: bytes, large: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "file",
        "path": name,
        "size": len(content),
        "oid": git_sum(content),
    }
    if large:
        found["lfs"] = {
            "oid": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "pointerSize": 130,
        }
    return found


def _refs(named: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "ref": f"refs/{name}", "targetCommit": at} for name, at in named.items()]


def _json(said: Any, status: int = 200) -> Reply:
    return Reply(
        status=status, body=json.dumps(said).encode(), headers={"Content-Type": "application/json"}
    )
