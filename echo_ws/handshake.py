"""The head of a request that wants a WebSocket: who asks, and may it be? Pure."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple, TypeAlias
from urllib.parse import parse_qsl

PATH = "/ws"
_SECRETS = frozenset(
    {"token", "access_token", "auth", "authorization", "bearer", "jwt", "session", "session_token", "api_key"}
)
_USER_AGENT_LENGTH = 256
_FORWARDED_HOPS = 16
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}

Networks: TypeAlias = tuple[IPv4Network | IPv6Network, ...]


class Refusal(NamedTuple):
    """An HTTP answer that says no, and why."""

    status: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()


class Head(NamedTuple):
    method: str
    target: str
    version: str
    headers: Sequence[tuple[str, str]]
    """Names in lower case, in the order received."""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def one(self, name: str) -> str | None:
        """Return the value of a header that came exactly once."""
        values = self.all(name)
        return values[0] if len(values) == 1 else None


def refusal(head: Head, allowed_origins: Sequence[str]) -> Refusal | None:
    """Return why this request gets no WebSocket here; the rest of the handshake is the library's to judge."""
    if head.path != PATH:
        return Refusal(404, f"there is no WebSocket here; connect to {PATH}")
    if _SECRETS.intersection(name.lower() for name, _ in parse_qsl(head.target.partition("?")[2], True)):
        return Refusal(400, "tokens do not travel in a URL; send an Authorization header or session.start")
    return _header_refusal(head) or _origin_refusal(head, allowed_origins)


def _header_refusal(head: Head) -> Refusal | None:
    if len(head.all("host")) > 1:
        return Refusal(400, "more than one Host header")
    if head.all("transfer-encoding") or set(head.all("content-length")) - {"0"}:
        return Refusal(400, "a WebSocket handshake has no body")
    if head.all("sec-websocket-version") not in ([], ["13"]):
        return Refusal(426, "only version 13 of the WebSocket protocol is spoken", (("Sec-WebSocket-Version", "13"),))
    return None


def _origin_refusal(head: Head, allowed_origins: Sequence[str]) -> Refusal | None:
    if all(may_come_from(origin, head.one("host"), allowed_origins) for origin in head.all("origin")):
        return None
    return Refusal(403, "this Origin is not allowed; see the setting allowed_origins")


def may_come_from(origin: str, host: str | None, allowed: Sequence[str]) -> bool:
    """Tell whether a page of ``origin`` may connect: one of ``allowed``, or with none named, of the same host."""
    if allowed:
        return origin.lower() in {one.lower().rstrip("/") for one in allowed}
    scheme, separator, authority = origin.lower().partition("://")
    if not separator or not authority or host is None:
        return False
    port = _DEFAULT_PORTS.get(scheme, "")
    return _without(port, authority) == _without(port, host.lower())


def _without(port: str, authority: str) -> str:
    return authority.removesuffix(port) if port else authority


def networks(texts: Iterable[str]) -> Networks:
    return tuple(ip_network(text) for text in texts)


@lru_cache(maxsize=4096)
def is_within(address: str, trusted: Networks) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in trusted)


def counted_as(address: str, trusted: Networks) -> str | None:
    """Return under what limits per address count somebody: of IPv6 a whole network; None for our own proxies."""
    if is_within(address, trusted):
        return None
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else address


def client_address(peer: str, forwarded: Sequence[str], trusted: Networks) -> str:
    """Return whose request this is: the rightmost address that is no proxy of ours.

    ``forwarded`` are the X-Forwarded-For headers. Only what trusted proxies wrote counts; the rest a client invents.
    """
    hops = ",".join(forwarded).rsplit(",", _FORWARDED_HOPS)[-_FORWARDED_HOPS:]
    address = plain_address(peer) or peer
    while hops and is_within(address, trusted):
        hop = plain_address(hops.pop())
        if hop is None:
            break
        address = hop
    return address


def plain_address(text: str) -> str | None:
    """Return an address without port, brackets and the IPv6 form of IPv4, or None if it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


def user_agent(head: Head) -> str:
    return plain_agent((head.all("user-agent") or [""])[0])


def plain_agent(text: str) -> str:
    """Return a user agent as it may be kept and shown."""
    return "".join(filter(str.isprintable, text))[:_USER_AGENT_LENGTH]


def bearer(head: Head) -> str | None:
    scheme, _, token = (head.one("authorization") or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
