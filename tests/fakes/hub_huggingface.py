"""Hugging Face's side of a fake hub: its API and where its files are; the branch is main.

To one without the right token a private repository and a missing one are alike: 401.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.fakes.hub_stock import Found, FoundFile, entries_below
from tests.fakes.hub_wire import Refusal, json_reply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.fakes.hub_stock import Repo, Snapshot, Stock, StoredFile
    from tests.fakes.hub_wire import Reply, Request

TREE_PAGE = 1000
WRONG_KEY = "Invalid credentials in Authorization header"
WRITTEN = "2026-01-01T00:00:00.000Z"


def model(stock: Stock, request: Request, at: dict[str, str]) -> Reply:
    """GET /api/models/{owner}/{repo}[/revision/{revision}]."""
    found = _find(stock, request, at)
    with_blobs = request.query.get("blobs", "").lower() in {"1", "true"}
    return json_reply(_card(found.repo, found.snapshot, with_blobs=with_blobs))


def tree(stock: Stock, request: Request, at: dict[str, str]) -> Reply:
    """GET /api/models/{owner}/{repo}/tree/{revision}[/{folder}], in pages by Link."""
    snapshot = _find(stock, request, at).snapshot
    folder = at["path"].strip("/")
    start = int(request.query.get("cursor", "0"))
    stop = start + int(request.query.get("limit", TREE_PAGE))
    is_deep = request.query.get("recursive", "").lower() in {"1", "true"}
    entries = list(_entries(snapshot.files.values(), folder, is_deep=is_deep))
    headers = {}
    if stop < len(entries):
        kept = "".join(f"&{k}={quote(v)}" for k, v in request.query.items() if k != "cursor")
        host = request.headers.get("Host", "")
        url = f"http://{host}{quote(request.plain_path)}?cursor={stop}{kept}"
        headers = {"Link": f'<{url}>; rel="next"'}
    return json_reply(entries[start:stop], headers=headers)


def search(stock: Stock, request: Request, _at: dict[str, str]) -> Reply:
    """GET /api/models?search=&filter=&limit=."""
    query = request.query
    cards = [
        _card(repo, repo.head, with_blobs=False)
        for repo in stock.matching(query.get("search", ""), request.token)
    ]
    wanted = set(query.get("filter", "").split(",")) - {""}
    fitting = [card for card in cards if wanted <= set(card["tags"])]
    return json_reply(fitting[: int(query.get("limit", TREE_PAGE))])


def whoami(stock: Stock, request: Request, _at: dict[str, str]) -> Reply:
    """GET /api/whoami-v2."""
    if request.token != stock.token:
        raise _refusal(401, "", WRONG_KEY)
    token = {"accessToken": {"displayName": "test", "role": "read"}, "type": "access_token"}
    return json_reply({"type": "user", "id": "1", "name": "tester", "orgs": [], "auth": token})


def find_file(stock: Stock, request: Request, at: dict[str, str]) -> FoundFile:
    """Find the file of /{owner}/{repo}/resolve/{revision}/{path}."""
    found = _find(stock, request, at)
    repo_id = found.repo.repo_id
    if found.repo.is_gated and not (request.token == stock.token and repo_id in stock.granted):
        said = f"Access to model {repo_id} is restricted."
        raise _refusal(403 if request.token == stock.token else 401, "GatedRepo", said)
    file = found.snapshot.files.get(at["path"])
    if file is None:
        raise _refusal(404, "EntryNotFound", "Entry not found", found.snapshot.commit)
    return FoundFile(found.repo, found.snapshot, file)


def _find(stock: Stock, request: Request, at: dict[str, str]) -> Found:
    repo = stock.repos.get(f"{at['owner']}/{at['repo']}")
    is_known = request.token == stock.token
    if not is_known and (repo is None or repo.is_private):
        if request.token:
            raise _refusal(401, "", WRONG_KEY)
        raise _refusal(401, "RepoNotFound", "Repository not found")
    if repo is None:
        raise _refusal(404, "RepoNotFound", "Repository not found")
    snapshot = repo.at(at["revision"] or "main", "main")
    if snapshot is None:
        said = f"Invalid rev id: {at['revision']}"
        raise _refusal(404, "RevisionNotFound", said)
    return Found(repo, snapshot)


def _refusal(status: int, code: str, message: str, commit: str = "") -> Refusal:
    headers = {"X-Error-Message": message}
    headers |= {"X-Error-Code": code} if code else {}
    headers |= {"X-Repo-Commit": commit} if commit else {}
    return Refusal(json_reply({"error": message}, status=status, headers=headers))


def _card(repo: Repo, snapshot: Snapshot, *, with_blobs: bool) -> dict[str, Any]:
    has_gguf = any(path.endswith(".gguf") for path in snapshot.files)
    siblings = [
        {"rfilename": file.path} | (_blob(file) if with_blobs else {})
        for file in snapshot.files.values()
    ]
    return {
        "_id": snapshot.commit[:24],
        "id": repo.repo_id,
        "modelId": repo.repo_id,
        "author": repo.repo_id.split("/")[0],
        "sha": snapshot.commit,
        "createdAt": WRITTEN,
        "lastModified": WRITTEN,
        "private": repo.is_private,
        "gated": "auto" if repo.is_gated else False,
        "disabled": False,
        "downloads": repo.num_downloads,
        "likes": repo.num_likes,
        "tags": ["gguf"] if has_gguf else [],
        "siblings": siblings,
    }


def _blob(file: StoredFile) -> dict[str, Any]:
    blob: dict[str, Any] = {"blobId": file.git_sha1, "size": file.content.size}
    if file.is_lfs:
        size = {"size": file.content.size, "pointerSize": len(file.content.pointer)}
        blob["lfs"] = {"sha256": file.content.sha256, **size}
    return blob


def _entries(
    files: Iterable[StoredFile], folder: str, *, is_deep: bool
) -> Iterable[dict[str, Any]]:
    for path, file in entries_below(files, folder, is_deep=is_deep):
        if file is None:
            yield {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}
            continue
        entry = {"type": "file", "oid": file.git_sha1, "size": file.content.size, "path": path}
        if file.is_lfs:
            size = {"size": file.content.size, "pointerSize": len(file.content.pointer)}
            entry["lfs"] = {"oid": file.content.sha256, **size}
        yield entry
