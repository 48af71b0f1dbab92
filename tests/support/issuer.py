"""Identity providers on this machine: four of them at one address, with real keys, and a person who says yes.

Google and Apple sign ID tokens, Facebook and GitHub tell a profile. Codes are good once, for who has the secret and the
verifier of PKCE. What is asked is counted.
"""

import hashlib
import json
import threading
import time
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from msgspec.structs import replace

from echo_ws.settings import OauthProvider

REDIRECT = "https://chat.example.org/back"
CLIENT, OTHER_CLIENT, SECRET = "client-of-the-web", "client-of-the-app", "the secret of the client"


class Person(NamedTuple):
    """Somebody who has an identity there."""

    subject: str
    name: str = "Ann Example"
    email: str = "ann@example.org"


class Back(NamedTuple):
    """What the browser comes back with."""

    fields: dict[str, str]
    id_token: str | None


class Key(NamedTuple):
    kid: str
    alg: str
    private: Any

    @property
    def jwk(self) -> dict[str, Any]:
        algorithm = RSAAlgorithm if self.alg == "RS256" else ECAlgorithm
        return {**algorithm.to_jwk(self.private.public_key(), as_dict=True), "kid": self.kid, "alg": self.alg}


@cache
def rsa_key(number: int) -> Any:
    return rsa.generate_private_key(65537, 2048)


@cache
def ec_key(number: int) -> Any:
    return ec.generate_private_key(ec.SECP256R1())


def somebody() -> Person:
    return Person(uuid4().hex)


class Issuer:
    """Answers on a port of its own until it is closed."""

    def __init__(self) -> None:
        self.keys = [Key("rsa-1", "RS256", rsa_key(1)), Key("ec-1", "ES256", ec_key(1))]
        self.asked: Counter[str] = Counter()
        self.told: list[dict[str, str]] = []
        """What came to the token endpoint."""
        self.answers = threading.Event()
        """While it is not set, nobody gets an answer."""
        self.answers.set()
        self.broken: tuple[int, bytes] | None = None
        """What everybody gets instead."""
        self._codes: dict[str, tuple[dict[str, str], Person]] = {}
        self._tokens: dict[str, Person] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.answers.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def settings(self) -> dict[str, Any]:
        """Return what a server needs to know to take the word of all four."""
        usual = OauthProvider((CLIENT,), SECRET, authorize_url=f"{self.url}/authorize", token_url=f"{self.url}/token")
        signing = replace(usual, client_ids=(CLIENT, OTHER_CLIENT), keys_url=f"{self.url}/keys")
        return {
            "oauth": {
                "google": signing,
                "apple": replace(signing, client_secret=None, algorithms=("RS256", "ES256")),
                "facebook": replace(usual, profile_url=f"{self.url}/me"),
                "github": replace(usual, profile_url=f"{self.url}/user"),
            },
            "oauth_redirects": (REDIRECT,),
        }

    def rotate(self) -> None:
        """Sign with another key from now on, and publish no other."""
        number = int(self.keys[0].kid.split("-")[1]) + 1
        self.keys = [Key(f"rsa-{number}", "RS256", rsa_key(number)), Key(f"ec-{number}", "ES256", ec_key(number))]

    def visit(self, page: str, person: Person) -> Back:
        """Play the browser: look at the page, say yes, and come back."""
        url = urlsplit(page)
        assert f"{url.scheme}://{url.netloc}" == self.url
        fields = dict(parse_qsl(url.query))
        back = {"state": fields["state"]}
        if "code" in fields["response_type"].split():
            back["authorization_code"] = uuid4().hex
            self._codes[back["authorization_code"]] = fields, person
        wants_token = "id_token" in fields["response_type"].split()
        return Back(back, self.token(fields["nonce"], person) if wants_token else None)

    def claims(self, nonce: Any, person: Person, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": "https://accounts.google.com",
            "aud": CLIENT,
            "sub": person.subject,
            "nonce": nonce,
            "iat": now,
            "exp": now + 3600,
            "email": person.email,
            "email_verified": True,
            "name": person.name,
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def token(
        self, nonce: Any, person: Person, *, alg: str = "RS256", header: dict[str, Any] | None = None, **changes: Any
    ) -> str:
        key = next(key for key in self.keys if key.alg == alg)
        claims = self.claims(nonce, person, **changes)
        return jwt.encode(claims, key.private, alg, headers={"kid": key.kid, **(header or {})})

    def answer(self, method: str, path: str, fields: dict[str, str], bearer: str | None) -> tuple[int, Any]:
        self.asked[path] += 1
        self.answers.wait()
        match method, path:
            case "GET", "/keys":
                return 200, {"keys": [key.jwk for key in self.keys]}
            case "POST", "/token":
                self.told.append(fields)
                return self._exchange(fields)
            case "GET", "/me" | "/user" if bearer in self._tokens:
                person = self._tokens[bearer]
                id_ = int(person.subject, 16) % 10**15 if path == "/user" else person.subject
                return 200, {"id": id_, "name": person.name, "email": person.email}
        return 401, {"error": "unauthorized"}

    def _exchange(self, fields: dict[str, str]) -> tuple[int, Any]:
        asked, person = self._codes.pop(fields["code"], ({}, None))
        challenge = urlsafe_b64encode(hashlib.sha256(fields["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        shown = {name: asked.get(name) for name in ("client_id", "redirect_uri", "code_challenge")}
        if (
            person is None
            or fields["client_secret"] != SECRET
            or shown
            != {
                "client_id": fields["client_id"],
                "redirect_uri": fields["redirect_uri"],
                "code_challenge": challenge,
            }
        ):
            return 400, {"error": "invalid_grant"}
        token = uuid4().hex
        self._tokens[token] = person
        id_token = {"id_token": self.token(asked["nonce"], person)} if "nonce" in asked else {}
        return 200, {"access_token": token, "token_type": "bearer", **id_token}


def _handler(issuer: Issuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._serve(dict(parse_qsl(body.decode())))

        def _serve(self, fields: dict[str, str]) -> None:
            bearer = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
            status, content = issuer.answer(self.command, urlsplit(self.path).path, fields, bearer)
            body = json.dumps(content).encode()
            if issuer.broken:
                status, body = issuer.broken
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", "/keys")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    """Yield the one that the shared worker believes."""
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture
def own_issuer() -> Iterator[Issuer]:
    """Yield one to break, to rotate and to count at."""
    issuer = Issuer()
    yield issuer
    issuer.close()
