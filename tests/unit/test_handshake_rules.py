import pytest

from echo_ws.handshake import (
    Head,
    bearer,
    client_address,
    counted_as,
    may_come_from,
    networks,
    plain_address,
    user_agent,
)

TRUSTED = networks(["10.0.0.0/8", "::1/128"])


def head(*headers: tuple[str, str]) -> Head:
    return Head("GET", "/ws", "HTTP/1.1", headers)


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "may"),
    [
        ("https://chat.example.org", "chat.example.org", (), True),
        ("https://Chat.Example.org", "chat.example.ORG", (), True),
        ("https://chat.example.org", "chat.example.org:443", (), True),
        ("http://chat.example.org:80", "chat.example.org", (), True),
        ("http://localhost:3000", "localhost:8765", (), False),
        ("http://localhost:8765", "localhost:8765", (), True),
        ("https://chat.example.org:8443", "chat.example.org", (), False),
        ("https://chat.example.org.evil.com", "chat.example.org", (), False),
        ("https://evil.com/chat.example.org", "chat.example.org", (), False),
        ("https://user@chat.example.org", "chat.example.org", (), False),
        ("null", "chat.example.org", (), False),
        ("null", "null", (), False),
        ("", "chat.example.org", (), False),
        ("https://", "", (), False),
        ("https://chat.example.org", None, (), False),
        ("https://app.example.org", "chat.example.org", ("https://app.example.org",), True),
        ("https://app.example.org", "chat.example.org", ("https://app.example.org/",), True),
        ("http://app.example.org", "chat.example.org", ("https://app.example.org",), False),
        ("https://app.example.org:8443", "chat.example.org", ("https://app.example.org",), False),
        ("https://x.app.example.org", "chat.example.org", ("https://app.example.org",), False),
        ("https://chat.example.org", "chat.example.org", ("https://app.example.org",), False),
    ],
)
def test_an_origin_is_compared_exactly(origin: str, host: str | None, allowed: tuple[str, ...], may: bool) -> None:
    assert may is may_come_from(origin, host, allowed)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("198.51.100.1", ["6.6.6.6"], "198.51.100.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.7, 10.0.0.9"], "198.51.100.7"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.7,10.0.0.9"], "198.51.100.7"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", [", ".join(["10.0.0.2"] * 5000)], "10.0.0.2"),
        ("", ["198.51.100.7"], ""),
    ],
)
def test_the_rightmost_address_that_is_no_proxy_counts(peer: str, forwarded: list[str], address: str) -> None:
    assert address == client_address(peer, forwarded, TRUSTED)


@pytest.mark.parametrize("text", ["", "unknown", "1.2.3", "a:b", "1.2.3.4, 5.6.7.8"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert plain_address(text) is None


def test_a_user_agent_keeps_256_printable_characters() -> None:
    agent = user_agent(head(("user-agent", "bot\r\n\x1b[31m" + "x" * 500)))

    assert "bot[31m" + "x" * 249 == agent


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([], None),
        ([("authorization", "Bearer abc")], "abc"),
        ([("authorization", "bearer  abc ")], "abc"),
        ([("authorization", "Basic abc")], None),
        ([("authorization", "Bearer")], None),
        ([("authorization", "Bearer a"), ("authorization", "Bearer b")], None),
    ],
)
def test_a_bearer_token_comes_once(headers: list[tuple[str, str]], token: str | None) -> None:
    assert token == bearer(head(*headers))


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("10.1.2.3", None),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("a socket", "a socket"),
    ],
)
def test_somebody_counts_by_address_or_network_and_a_proxy_not_at_all(address: str, counted: str | None) -> None:
    assert counted == counted_as(address, TRUSTED)
