"""Every setting, with its unit, limits and default."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct, field

Count: TypeAlias = Annotated[int, Meta(ge=1)]
Limit: TypeAlias = Annotated[int, Meta(ge=0)]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=86_400)]
Milliseconds: TypeAlias = Annotated[int, Meta(ge=1)]
Network: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-fA-F.:]+(/\d+)?\Z")]
Origin: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9+.-]*://[^/?#\s]+\Z")]
RedirectUri: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9+.-]*:[^#\s]+\Z", max_length=500)]
KeyId: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}\Z")]


class JwtKey(Struct, frozen=True, forbid_unknown_fields=True):
    """One key for access tokens: an HMAC secret, or an Ed25519 key as PEM (private: signs too; public: verifies)."""

    alg: Literal["HS256", "EdDSA"]
    key: Annotated[str, Meta(min_length=32)]

    def __repr__(self) -> str:
        return f"JwtKey(alg={self.alg!r}, key=***)"


Url: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^(https://[^/?#\s@]+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?)(/[^?#\s]*)?\Z"),
]
"""Where a provider answers: https, but on the same machine."""


class OauthProvider(Struct, frozen=True, forbid_unknown_fields=True):
    """One identity provider: who we are there, and where it is if not at its usual addresses."""

    client_ids: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=255)], ...], Meta(min_length=1)]
    """Ours, of all apps; the first is the one of web pages."""
    client_secret: Annotated[str, Meta(min_length=1)] | None = None
    issuers: tuple[str, ...] | None = None
    algorithms: tuple[Literal["RS256", "ES256"], ...] | None = None
    authorize_url: Url | None = None
    token_url: Url | None = None
    keys_url: Url | None = None
    profile_url: Url | None = None

    def __repr__(self) -> str:
        return f"OauthProvider(client_ids={self.client_ids!r}, client_secret=***)"


def default_data_dir(environ: Mapping[str, str], uid: int) -> Path:
    if uid == 0:
        return Path("/var/lib/echo_ws")
    state = Path(environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path(environ.get("HOME") or "/") / ".local/state") / "echo_ws"


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in force. The description of a field names its unit."""

    host: Annotated[str, Meta(min_length=1, description="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="TCP port for WebSocket and HTTP; 0 for any free one.")] = (
        8765
    )
    workers: Annotated[int, Meta(ge=1, le=64, description="Worker processes that share the port.")] = 1
    data_dir: Annotated[
        Path,
        Meta(
            description="Folder of the embedded PostgreSQL and Redis and of the demo users' tokens. Default: "
            "/var/lib/echo_ws for root, else echo_ws in $XDG_STATE_HOME or ~/.local/state.",
            extra={"expected": "an absolute path"},
        ),
    ] = field(default_factory=lambda: default_data_dir(os.environ, os.geteuid()))
    database_url: (
        Annotated[
            str,
            Meta(
                pattern=r"^postgres(ql)?://",
                description="PostgreSQL 15 or later. Without one, the server runs its own.",
                extra={"expected": "a URL such as postgresql://user:password@host:5432/name", "secret": True},
            ),
        ]
        | None
    ) = None
    redis_url: (
        Annotated[
            str,
            Meta(
                pattern=r"^(rediss?://|unix://|memory:\Z)",
                description="Redis 7 or later, or `memory:` for none (one worker only). Without one, the server runs "
                "its own.",
                extra={"expected": "a URL such as redis://:password@host:6379/0, or memory:", "secret": True},
            ),
        ]
        | None
    ) = None
    pool_size: Annotated[Count, Meta(description="Connections to PostgreSQL for commands, per worker.")] = 6
    writers: Annotated[Count, Meta(description="Connections to PostgreSQL that write messages, per worker.")] = 2
    batch_size: Annotated[Count, Meta(le=1000, description="Messages that one statement writes at most.")] = 128
    tracked_members: Annotated[
        Limit, Meta(description="Up to this many members, delivery rows are written with the message; above, later.")
    ] = 32
    heartbeat_s: Annotated[
        Seconds, Meta(description="Seconds between pings; after as long again without a frame a connection is cut.")
    ] = 20
    auth_timeout_s: Annotated[Seconds, Meta(description="Seconds that a connection may stay without a session.")] = 10
    handshake_timeout_s: Annotated[Seconds, Meta(description="Seconds for the head of an HTTP request.")] = 5
    max_frame_bytes: Annotated[
        int, Meta(ge=1024, le=2**20, description="Bytes of the largest message from a client, over both doors.")
    ] = 65536
    max_connections: Annotated[Count, Meta(description="WebSocket connections per worker.")] = 10_000
    max_unauthenticated: Annotated[Count, Meta(description="Of them without a session, per worker.")] = 512
    send_buffer_bytes: Annotated[
        int,
        Meta(
            ge=65536,
            description="Bytes that may wait for a client. From half of them on it is told less; then it is cut off.",
        ),
    ] = 1_048_576
    max_in_flight: Annotated[
        Count, Meta(description="Commands of one connection at work at once; then it is not read from.")
    ] = 16
    max_user_connections: Annotated[
        Limit, Meta(description="WebSocket connections of a user per worker; one more closes the oldest. 0: no limit.")
    ] = 10
    max_memory_mib: Annotated[
        Limit, Meta(description="MiB of memory of a worker above which nobody new is let in. 0: no limit.")
    ] = 0
    handshakes_per_s: Annotated[
        Limit, Meta(description="Handshakes a second that a worker answers; the rest is told when. 0: no limit.")
    ] = 800
    handshakes_burst: Annotated[Count, Meta(description="Handshakes at once, after a quiet time.")] = 1600
    commands_per_s: Annotated[
        Limit, Meta(description="Commands a second of one connection, and of one user by POST. 0: no limit.")
    ] = 30
    commands_burst: Annotated[Count, Meta(description="Commands at once, after a quiet time.")] = 60
    sends_per_s: Annotated[
        Limit, Meta(description="Messages a second that one user sends, per worker. 0: no limit.")
    ] = 10
    sends_burst: Annotated[Count, Meta(description="Messages at once, after a quiet time.")] = 20
    creations_per_min: Annotated[
        Limit,
        Meta(
            description="Conversations a minute that one user creates, per worker; as often a user joins, and adds "
            "people. 0: no limit."
        ),
    ] = 60
    group_max: Annotated[Count, Meta(description="Participants of a group. Channels have no limit.")] = 1000
    searches_per_s: Annotated[Limit, Meta(description="Searches a second of one user, per worker. 0: no limit.")] = 2
    searches_burst: Annotated[Count, Meta(description="Searches at once, after a quiet time.")] = 10
    lookups_per_day: Annotated[
        Limit, Meta(description="Phone numbers a day that one user looks up, over all workers. 0: no limit.")
    ] = 5000
    bad_frames_per_min: Annotated[
        Limit, Meta(description="Messages a minute on one connection that are no commands; more close it. 0: no limit.")
    ] = 10
    edit_window_s: Annotated[
        float, Meta(ge=0, le=315_360_000, description="Seconds in which a message can be edited. 0: for ever.")
    ] = 172_800
    trusted_networks: Annotated[
        tuple[Network, ...],
        Meta(
            description="Networks of proxies whose X-Forwarded-For counts; exempt from limits per address.",
            extra={"expected": "networks such as 10.0.0.0/8,::1/128"},
        ),
    ] = ("127.0.0.0/8", "::1/128")
    allowed_origins: Annotated[
        tuple[Origin, ...],
        Meta(
            description="Origins of web pages that may connect, exactly. Empty: only pages of the same host.",
            extra={"expected": "origins such as https://chat.example.org,http://localhost:3000"},
        ),
    ] = ()
    sweep_ms: Annotated[
        Milliseconds, Meta(description="Milliseconds between looks into PostgreSQL for what Redis lost.")
    ] = 2000
    presence_ms: Annotated[
        Milliseconds, Meta(description="Milliseconds within which changes of presence are gathered into one write.")
    ] = 1000
    presence_grace_s: Annotated[
        Seconds, Meta(description="Seconds for which one whose last connection ended is still shown as here.")
    ] = 15
    presence_lease_s: Annotated[
        Seconds, Meta(description="Seconds after which the users of a worker that was killed are shown as gone.")
    ] = 15
    revalidate_s: Annotated[
        Seconds, Meta(description="Seconds between checks that the sessions of open connections still stand.")
    ] = 15
    touch_s: Annotated[
        Seconds, Meta(description="Seconds between two writes of a session's last activity, at least.")
    ] = 60
    cleanup_s: Annotated[
        Seconds,
        Meta(description="Seconds between deletions of expired sessions, codes, refresh tokens and old logins."),
    ] = 3600
    housekeeping_s: Annotated[
        Seconds, Meta(description="Seconds between looks of a worker for such work, and for deleted accounts.")
    ] = 10
    login_history_days: Annotated[int, Meta(ge=1, le=3650, description="Days that `auth.login_history` goes back.")] = (
        90
    )
    cut_off_s: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="Seconds without PostgreSQL, while other workers reach it, until a worker sends its clients to "
            "them. 0: never.",
        ),
    ] = 10
    drain_s: Annotated[Seconds, Meta(description="Seconds over which a stopping worker sends its clients away.")] = 10
    statement_timeout_ms: Annotated[Milliseconds, Meta(description="Milliseconds for one SQL statement.")] = 3000
    acquire_timeout_ms: Annotated[
        Milliseconds, Meta(description="Milliseconds to wait for a connection to PostgreSQL.")
    ] = 1000
    jwt_keys: Annotated[
        dict[KeyId, JwtKey],
        Meta(
            description="Keys for access tokens by key id, each with `alg` (HS256 or EdDSA) and `key`; the first "
            "that can sign does, all verify.",
            extra={
                "expected": 'a table such as {"2026-a": {"alg": "HS256", "key": "32 random bytes or more"}}',
                "secret": True,
            },
        ),
    ] = field(default_factory=dict)
    jwt_issuer: Annotated[str, Meta(min_length=1, description="`iss` of access tokens.")] = "echo_ws"
    refresh_days: Annotated[int, Meta(ge=1, le=3650, description="Days that a refresh token waits to be used.")] = 60
    secret_key: (
        Annotated[
            str,
            Meta(
                min_length=32,
                description="Key for codes and refresh tokens, the same on all servers. Without one nobody can "
                "register or log in; the embedded database has one in its folder.",
                extra={"expected": "32 random characters or more", "secret": "whole"},
            ),
        ]
        | None
    ) = None
    sender: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="What sends codes: `console` (stderr, for development), `webhook`, or a plug-in's name. "
                "Without one, none are sent; with the embedded database, `console`.",
            ),
        ]
        | None
    ) = None
    webhook_url: (
        Annotated[
            str,
            Meta(
                pattern=r"^https?://[^\s]+\Z",
                description="Where the sender `webhook` posts codes to.",
                extra={"expected": "a URL such as https://sms.example.org/send", "secret": "whole"},
            ),
        ]
        | None
    ) = None
    webhook_secret: (
        Annotated[
            str,
            Meta(
                min_length=32,
                description="Key by which the sender `webhook` signs.",
                extra={"expected": "32 random characters or more", "secret": "whole"},
            ),
        ]
        | None
    ) = None
    send_deadline_s: Annotated[Seconds, Meta(description="Seconds for which sending a code is tried.")] = 30
    oauth: Annotated[
        dict[Literal["google", "apple", "facebook", "github"], OauthProvider],
        Meta(
            description="Providers of identities to log in by: `google`, `apple`, `facebook`, `github`, each with "
            "`client_ids` and, where there is one, `client_secret`.",
            extra={
                "expected": 'a table such as {"google": {"client_ids": ["…"], "client_secret": "…"}}',
                "secret": True,
            },
        ),
    ] = field(default_factory=dict)
    oauth_redirects: Annotated[
        tuple[RedirectUri, ...],
        Meta(
            description="Where providers may send people back to, exactly: addresses of web pages and of apps.",
            extra={"expected": "URIs such as https://chat.example.org/back,org.example.chat:/back"},
        ),
    ] = ()
    oauth_deadline_s: Annotated[
        Seconds,
        Meta(description="Seconds that a provider may take to vouch for somebody; then the client tries again."),
    ] = 5
    strangers_per_min: Annotated[
        Limit,
        Meta(description="Commands a minute without a session from one address, per worker: logins … 0: no limit."),
    ] = 60
    codes_per_h: Annotated[
        Limit, Meta(description="Codes an hour that one address asks for, per worker. 0: no limit.")
    ] = 20
    all_codes_per_h: Annotated[Limit, Meta(description="Codes an hour in total, per worker. 0: no limit.")] = 1000
    session_days: Annotated[int, Meta(ge=1, le=3650, description="Days that a new session lasts.")] = 30
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least that is logged.")
    ] = "info"
    log_format: Annotated[
        Literal["json", "console"], Meta(description="One JSON object a line, or lines for people.")
    ] = "json"

    def __repr__(self) -> str:
        return f"<Settings of {self.host}:{self.port}>"  # the values hold secrets: config.shown hides them
