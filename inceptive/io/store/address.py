"""Paths and URIs as text: nothing here asks whether there is such a file."""

import os
import re


def is_uri(path: str) -> bool:
    return re.match(r"[a-z][a-z0-9+.]+://", path) is not None


def local(path: str) -> str:
    """`path` without the scheme file://, which is only another way to say it."""
    return path.removeprefix("file://") if path.startswith("file:///") else path


def split_query(uri: str) -> tuple[str, str]:
    """`uri` up to its query, and the query with its mark: "?region=eu-west-1". One of a glob is none."""
    query = re.search(r"\?\w+=[^/?&]*(&\w+=[^/?&]*)*$", uri) if is_uri(uri) else None
    return (uri, "") if query is None else (uri[: query.start()], query[0])


def redact(path: str) -> str:
    """A path, or a URI without what may be secret: a name and key before the host, and the query."""
    return re.sub(r"(?<=://)[^/@]*@", "", split_query(path)[0]) if is_uri(path) else path


def join(folder: str, name: str) -> str:
    """The file `name` in `folder`."""
    if not is_uri(folder):
        return os.path.join(folder, name)
    path, query = split_query(folder)
    return f"{path.rstrip('/')}/{name}{query}"
