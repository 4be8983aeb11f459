"""The routes of Hugging Face, of ModelScope, of a CDN and of a plain file server.

/api/models/..                          Hugging Face's API
/{owner}/{repo}/resolve/{revision}/..   files, of Hugging Face, or ModelScope at master
/api/v1/.., /openapi/v1/..              ModelScope's API
/models/{owner}/{repo}/resolve/..       files of ModelScope
/cdn/{sha256}?expires=&sig=             the other origin: no token, but a signature
/files/{name}                           plain files
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.fakes import hub_huggingface as hf
from tests.fakes import hub_modelscope as ms
from tests.fakes.hub_stock import FoundFile, Stock
from tests.fakes.hub_wire import Refusal, Reply, Request, file_reply, json_reply

Answer = Callable[[Stock, Request, dict[str, str]], Reply]


def route(stock: Stock, request: Request) -> Reply:
    """Return the right answer to a request."""
    table = CDN_ROUTES if request.origin == "cdn" else HUB_ROUTES
    for pattern, answer in table.items():
        if match := re.fullmatch(pattern, request.plain_path):
            try:
                return answer(stock, request, match.groupdict(default=""))
            except Refusal as refusal:
                return refusal.reply
    return json_reply({"error": "Sorry, we can't find the page you are looking for."}, status=404)


def _resolve(stock: Stock, request: Request, at: dict[str, str]) -> Reply:
    is_ms = at["prefix"] or at["revision"] == "master"
    found = ms.find_file(stock, request, at) if is_ms else hf.find_file(stock, request, at)
    return _repo_file(stock, request, found)


def _ms_file(stock: Stock, request: Request, at: dict[str, str]) -> Reply:
    return _repo_file(stock, request, ms.find_file(stock, request, at))


def _repo_file(stock: Stock, request: Request, found: FoundFile) -> Reply:
    """Return the file with the headers of a hub, or the way to it at the CDN."""
    file = found.file
    etag = f'"{file.content.sha256 if file.is_lfs else file.git_sha1}"'
    said = {"X-Repo-Commit": found.snapshot.commit}
    if file.is_lfs:
        said |= {"X-Linked-Etag": etag, "X-Linked-Size": str(file.content.size)}
    name = f"{found.repo.repo_id}/{file.path}"
    if stock.cdn_url and file.is_lfs:
        said |= {"ETag": etag, "Accept-Ranges": "bytes"}
        said |= {"Location": stock.sign(file, name)}
        return Reply(status=302, headers=said, name=name)
    reply = file_reply(request, file, etag=etag, name=name)
    reply.headers.update(said)
    return reply


def _plain_file(stock: Stock, request: Request, at: dict[str, str]) -> Reply:
    """GET and HEAD /files/{name}."""
    file = stock.plain_files.get(at["path"])
    if file is None:
        return Reply(status=404)
    etag = f'"{file.content.sha256[:32]}"' if file.etag is None else file.etag
    return file_reply(request, file, etag=etag)


def _cdn_file(stock: Stock, request: Request, _at: dict[str, str]) -> Reply:
    """GET and HEAD /cdn/{sha256}?expires=&sig=."""
    file = stock.signed(request.path)
    if file is None:
        return Reply(status=403)
    return file_reply(request, file, etag=f'"{file.content.sha256}"')


OWNER_REPO = r"(?P<owner>[^/]+)/(?P<repo>[^/]+)"
HF_MODEL = rf"/api/models/{OWNER_REPO}"
MS_MODEL = rf"/api/v1/models/{OWNER_REPO}"
CDN_ROUTES: dict[str, Answer] = {r"/cdn/[0-9a-f]{64}": _cdn_file}
HUB_ROUTES: dict[str, Answer] = {
    r"/files/(?P<path>.+)": _plain_file,
    r"/api/whoami-v2": hf.whoami,
    r"/api/models": hf.search,
    rf"{HF_MODEL}/tree/(?P<revision>[^/]+)(?P<path>/.*)?": hf.tree,
    rf"{HF_MODEL}(/revision/(?P<revision>.+))?": hf.model,
    r"/api/v1/dolphin/models": ms.search,
    r"/openapi/v1/models": ms.open_search,
    rf"{MS_MODEL}/repo/files": ms.files,
    rf"{MS_MODEL}/revisions": ms.revisions,
    rf"{MS_MODEL}/repo": _ms_file,
    rf"/(?P<prefix>models/)?{OWNER_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)": _resolve,
}
