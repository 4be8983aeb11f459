"""ModelScope's side of a fake hub: its API and where its files are; the branch is master.

To one without the right token a private repository and a missing one are alike: 404.
"""

from __future__ import annotations

import json
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

from tests.fakes.hub_stock import EPOCH_S, Found, FoundFile, entries_below
from tests.fakes.hub_wire import Refusal, json_reply

if TYPE_CHECKING:
    from tests.fakes.hub_stock import Snapshot, Stock, StoredFile
    from tests.fakes.hub_wire import Reply, Request


def files(stock: Stock, request: Request, at: dict[str, str]) -> Reply:
    """GET /api/v1/models/{owner}/{repo}/repo/files?Revision=&Recursive=&Root=."""
    snapshot = _find(stock, request, at, request.query.get("Revision", "master")).snapshot
    is_deep = request.query.get("Recursive", "").lower() == "true"
    root = request.query.get("Root", "").strip("/")
    entries = entries_below(snapshot.files.values(), root, is_deep=is_deep)
    return _reply({"Files": [_entry(snapshot, path, file) for path, file in entries]})


def revisions(stock: Stock, request: Request, at: dict[str, str]) -> Reply:
    """GET /api/v1/models/{owner}/{repo}/revisions."""
    _find(stock, request, at, "master")
    branch = {"Revision": "master", "CreatedAt": EPOCH_S}
    return _reply({"RevisionMap": {"Branches": [branch], "Tags": []}})


def search(stock: Stock, request: Request, _at: dict[str, str]) -> Reply:
    """PUT or GET /api/v1/dolphin/models with Name, PageSize and PageNumber."""
    asked: dict[str, Any] = dict(request.query)
    if request.body:
        asked |= json.loads(request.body)
    models = [
        {"Path": repo.repo_id.split("/")[0], "Name": repo.repo_id.split("/")[1]}
        | {"Downloads": repo.num_downloads, "Stars": repo.num_likes}
        for repo in stock.matching(asked.get("Name", ""), _token(request))
    ]
    size = int(asked.get("PageSize", 10))
    start = size * (int(asked.get("PageNumber", 1)) - 1)
    return _reply({"Model": {"Models": models[start : start + size], "TotalCount": len(models)}})


def open_search(stock: Stock, request: Request, _at: dict[str, str]) -> Reply:
    """GET /openapi/v1/models?search=&page_number=&page_size=, as HubApi.list_repos asks."""
    query = request.query
    models = [
        {"id": repo.repo_id, "downloads": repo.num_downloads, "likes": repo.num_likes, "tags": []}
        for repo in stock.matching(query.get("search", ""), _token(request))
    ]
    size, page = int(query.get("page_size", 10)), int(query.get("page_number", 1))
    shown = models[size * (page - 1) : size * page]
    counts = {"total_count": len(models), "page_number": page, "page_size": size}
    return json_reply({"success": True, "data": {"models": shown} | counts})


def find_file(stock: Stock, request: Request, at: dict[str, str]) -> FoundFile:
    """Find the file of /repo?Revision=&FilePath=, or of /resolve/{revision}/{path}."""
    path = at.get("path") or request.query.get("FilePath", "")
    revision = at.get("revision") or request.query.get("Revision", "master")
    found = _find(stock, request, at, revision)
    repo_id = found.repo.repo_id
    is_let_in = _token(request) == stock.token and repo_id in stock.granted
    if found.repo.is_gated and not is_let_in:
        raise _refusal(403, 10010205002, f"No permission to model {repo_id}")
    file = found.snapshot.files.get(path)
    if file is None:
        raise _refusal(404, 10010205001, f"The file {path} does not exist")
    return FoundFile(found.repo, found.snapshot, file)


def _token(request: Request) -> str:
    morsel = SimpleCookie(request.headers.get("Cookie", "")).get("m_session_id")
    return request.token or (morsel.value if morsel else "")


def _find(stock: Stock, request: Request, at: dict[str, str], revision: str) -> Found:
    repo = stock.repos.get(f"{at['owner']}/{at['repo']}")
    if repo is None or (repo.is_private and _token(request) != stock.token):
        raise _refusal(404, 10010205001, f"Get model {at['owner']}/{at['repo']} failed")
    snapshot = repo.at(revision, "master")
    if snapshot is None:
        raise _refusal(404, 10010205001, f"The revision {revision} does not exist")
    return Found(repo, snapshot)


def _reply(data: Any) -> Reply:
    return json_reply({"Code": 200, "Success": True, "Message": "success", "Data": data})


def _refusal(status: int, code: int, message: str) -> Refusal:
    data = {"Code": code, "Success": False, "Message": message, "Data": None}
    return Refusal(json_reply(data, status=status))


def _entry(snapshot: Snapshot, path: str, file: StoredFile | None) -> dict[str, Any]:
    common = {"Name": path.rsplit("/", 1)[-1], "Path": path, "Revision": snapshot.commit}
    if file is None:
        return common | {"Type": "tree", "Size": 0, "Sha256": "", "IsLFS": False}
    return common | {
        "Type": "blob",
        "Size": file.content.size,
        "Sha256": file.content.sha256,
        "IsLFS": file.is_lfs,
        "Id": file.git_sha1,
        "CommittedDate": file.modified_s,
    }
