"""Identity providers: where to send somebody, and whose word it is that comes back.

Google and Apple sign ID tokens, which are verified by their published keys. Facebook and GitHub give a code, which is
exchanged for a token and that for a profile; the token is used this once and not kept.
"""

import asyncio
import hashlib
import hmac
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

from .codes import FlowSecrets
from .config import ConfigError
from .id_tokens import BadIdToken, Expected, key_id, verify
from .key_sets import KeySet
from .settings import OauthProvider, Settings
from .web import Web, WebError

_REFUSALS = {"invalid_grant", "invalid_client", "incorrect_client_credentials", "bad_verification_code"}
LONGEST = 255
"""Characters of what the database keeps of an identity."""


class BadProof(Exception):
    """What came back proves nothing; the log is told why, the client is not."""


class Proof(NamedTuple):
    """What came back: a token, or a code with its state."""

    id_token: str | None
    authorization_code: str | None
    state: str | None


class Flow(NamedTuple):
    """What it must fit."""

    secrets: FlowSecrets
    redirect_uri: str | None
    begun_at: datetime


class Identity(NamedTuple):
    """Somebody, by the provider's word. Nobody is found by the e-mail address: it may have been somebody else's."""

    subject: str
    email: str | None
    name: str | None


class Usual(NamedTuple):
    """Where a provider is, and what it is asked for."""

    authorize_url: str
    token_url: str
    scope: str
    keys_url: str = ""
    issuers: tuple[str, ...] = ()
    profile_url: str = ""


USUAL = {
    "google": Usual(
        authorize_url="https://accounts.google.com/o/oauth2/v2/auth",
        token_url="https://oauth2.googleapis.com/token",  # noqa: S106  # an address
        scope="openid email profile",
        keys_url="https://www.googleapis.com/oauth2/v3/certs",
        issuers=("https://accounts.google.com", "accounts.google.com"),
    ),
    "apple": Usual(
        authorize_url="https://appleid.apple.com/auth/authorize",
        token_url="https://appleid.apple.com/auth/token",  # noqa: S106  # an address
        scope="",  # asked for name or e-mail, Apple answers by POST only
        keys_url="https://appleid.apple.com/auth/keys",
        issuers=("https://appleid.apple.com",),
    ),
    "facebook": Usual(
        authorize_url="https://www.facebook.com/v24.0/dialog/oauth",
        token_url="https://graph.facebook.com/v24.0/oauth/access_token",  # noqa: S106  # an address
        scope="public_profile",
        profile_url="https://graph.facebook.com/v24.0/me",
    ),
    "github": Usual(
        authorize_url="https://github.com/login/oauth/authorize",
        token_url="https://github.com/login/oauth/access_token",  # noqa: S106  # an address
        scope="",
        profile_url="https://api.github.com/user",
    ),
}


class Provider(ABC):
    """One of them, as configured."""

    needs_browser = True
    """Whether nobody can come without having been sent there by us."""

    def __init__(self, name: str, settings: OauthProvider, web: Web) -> None:
        self.name = name
        self._usual = USUAL[name]
        self._client_ids = settings.client_ids
        self._secret = settings.client_secret
        self._authorize_url = settings.authorize_url or self._usual.authorize_url
        self._token_url = settings.token_url or self._usual.token_url
        self._web = web

    def page(self, flow: Flow) -> str | None:
        """Return the page to send somebody to, if he is to come back anywhere."""
        if flow.redirect_uri is None:
            return None
        fields = {
            "client_id": self._client_ids[0],
            "redirect_uri": flow.redirect_uri,
            "state": flow.secrets.state,
            **({"scope": self._usual.scope} if self._usual.scope else {}),
            **self._page_fields(flow.secrets),
        }
        return f"{self._authorize_url}?{urlencode(fields)}"

    async def identify(self, proof: Proof, flow: Flow) -> Identity:
        """Return who came back.

        Raises:
            BadProof: nobody that the provider vouches for, to us and for this flow.
            WebError: the provider cannot be asked; the proof may be good.
        """
        if proof.state != flow.secrets.state and (proof.state is not None or proof.id_token is None):
            raise BadProof("state")
        try:
            async with asyncio.timeout(self._web.deadline_s):
                return await self._identify(proof, flow)
        except TimeoutError:
            raise WebError("no answer in time") from None

    def _page_fields(self, secrets: FlowSecrets) -> dict[str, str]:
        return {
            "response_type": "code",
            "code_challenge": secrets.challenge,
            "code_challenge_method": "S256",
        }

    @abstractmethod
    async def _identify(self, proof: Proof, flow: Flow) -> Identity: ...

    async def _exchange(self, code: str, flow: Flow) -> dict[str, Any]:
        """Return what the provider gives for a code: to us, who have the secret, and to this flow."""
        if self._secret is None or flow.redirect_uri is None:
            raise BadProof("a code, where none was asked for")
        answer = await self._web.post(
            self._token_url,
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": flow.redirect_uri,
                "client_id": self._client_ids[0],
                "client_secret": self._secret,
                "code_verifier": flow.secrets.verifier,
            },
        )
        if not answer.is_ok or "error" in answer.content:  # GitHub refuses with 200
            raise BadProof(_refusal(answer.content))
        return answer.content


class Signing(Provider):
    """One that signs ID tokens."""

    needs_browser = False

    def __init__(self, name: str, settings: OauthProvider, web: Web, clock: Callable[[], float]) -> None:
        super().__init__(name, settings, web)
        self._issuers = settings.issuers or self._usual.issuers
        self._keys = KeySet(settings.keys_url or self._usual.keys_url, settings.algorithms or ("RS256",), web, clock)

    def _page_fields(self, secrets: FlowSecrets) -> dict[str, str]:
        fields = {"nonce": secrets.nonce}
        if self._secret:
            return super()._page_fields(secrets) | fields
        if self.name == "apple":
            return {"response_type": "code id_token", "response_mode": "fragment"} | fields
        return {"response_type": "id_token"} | fields

    async def _identify(self, proof: Proof, flow: Flow) -> Identity:
        token = proof.id_token
        if proof.authorization_code is not None:
            token = (await self._exchange(proof.authorization_code, flow)).get("id_token")
        if not isinstance(token, str):
            raise BadProof("no ID token")
        expected = Expected(self._issuers, self._client_ids, flow.secrets.nonce, flow.begun_at)
        try:
            key = await self._keys.find(key_id(token))
            if key is None:
                raise BadProof("kid")
            claims = verify(token, key, expected)
        except BadIdToken as error:
            raise BadProof(str(error)) from None
        is_verified = claims.get("email_verified") in (True, "true")
        return _identity(claims["sub"], claims.get("email") if is_verified else None, claims.get("name"))


class Telling(Provider):
    """One that tells a profile to who has a token."""

    def __init__(self, name: str, settings: OauthProvider, web: Web) -> None:
        super().__init__(name, settings, web)
        if self._secret is None:
            raise ConfigError(f"ECHO_OAUTH: {name}: needs a client_secret")
        self._profile_url = settings.profile_url or self._usual.profile_url

    async def _identify(self, proof: Proof, flow: Flow) -> Identity:
        if proof.authorization_code is None:
            raise BadProof("no code")
        token = (await self._exchange(proof.authorization_code, flow)).get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise BadProof("no access token")
        answer = await self._web.get(self._profile_url, self._profile_fields(token), bearer=token)
        if not answer.is_ok:
            raise BadProof("no profile")
        profile = answer.content
        return _identity(profile.get("id"), None, profile.get("name") or profile.get("login"))

    def _profile_fields(self, token: str) -> dict[str, str]:
        """Return what Facebook wants besides: which fields, and a proof that the token is ours to use."""
        if self.name != "facebook" or self._secret is None:
            return {}
        proof = hmac.new(self._secret.encode(), token.encode(), hashlib.sha256).hexdigest()
        return {"fields": "id,name", "appsecret_proof": proof}


def open_providers(settings: Settings, web: Web, clock: Callable[[], float]) -> dict[str, Provider]:
    return {
        name: Signing(name, each, web, clock) if USUAL[name].keys_url else Telling(name, each, web)
        for name, each in settings.oauth.items()
    }


def _identity(subject: object, email: object, name: object) -> Identity:
    if type(subject) is int and 0 < subject < 2**63:
        subject = str(subject)
    if not isinstance(subject, str) or not subject.isprintable() or not 0 < len(subject) <= LONGEST:
        raise BadProof("no subject")
    return Identity(subject, _plain(email), _plain(name))


def _plain(text: object) -> str | None:
    """Return what can be kept and shown; nothing else is worth refusing somebody for."""
    return text if isinstance(text, str) and text.isprintable() and 0 < len(text) <= LONGEST else None


def _refusal(content: dict[str, Any]) -> str:
    """Return the word of the standard for why a code was refused; it quotes nothing."""
    error = content.get("error")
    return error if isinstance(error, str) and error in _REFUSALS else "refused"
