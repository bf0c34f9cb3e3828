"""Paths and URIs as text: nothing here checks whether a file exists."""

import os
import re


def is_uri(path: str) -> bool:
    return re.match(r"[a-z][a-z0-9+.]+://", path) is not None


def local(path: str) -> str:
    """Return `path` without the scheme file://, which is equivalent."""
    return path.removeprefix("file://") if path.startswith("file:///") else path


def split_query(uri: str) -> tuple[str, str]:
    """Split `uri` into the part before its query, and the query: "?region=eu-west-1". Not in globs."""
    query = re.search(r"\?[\w.-]+=[^/?&]*(&[\w.-]+=[^/?&]*)*$", uri) if is_uri(uri) else None
    return (uri, "") if query is None else (uri[: query.start()], query[0])


def redact(path: str) -> str:
    """Return a path, or a URI without secrets: a name and key before the host, and the query."""
    return re.sub(r"(?<=://)[^/@]*@", "", split_query(path)[0]) if is_uri(path) else path


def join(folder: str, name: str) -> str:
    """The path of file `name` in `folder`."""
    if not is_uri(folder):
        return os.path.join(folder, name)
    path, query = split_query(folder)
    return f"{path.rstrip('/')}/{name}{query}"
