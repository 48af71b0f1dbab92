"""What supervisor and worker say to each other."""

import msgspec

from .settings import JwtKey

READY = b"ready\n"
"""The one line that a worker writes to stdout, when it serves."""

CANNOT_START = 1
"""Exit code of a worker that has said on stderr why."""

GRACE_S = 5.0
"""Seconds beyond ``drain_s`` until a worker that does not stop is ended the hard way."""


class Assignment(msgspec.Struct):
    """The first line of JSON that a worker reads from stdin. When stdin ends, the supervisor is gone."""

    slot: int
    count: int
    memory: int
    """File descriptor of the memory for metrics, of ``count`` slots."""
    settings: msgspec.Raw


class NewKeys(msgspec.Struct):
    """Each further line: the keys for access tokens from now on."""

    jwt_keys: dict[str, JwtKey]
