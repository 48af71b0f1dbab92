"""Notices as signed HTTP requests, for a gateway of the operator's that sends SMS or mail.

``Echo-Timestamp`` holds the Unix time, ``Echo-Signature`` is ``v1=`` and the HMAC-SHA-256 of timestamp, a dot and body,
in hex. Who receives compares it, and refuses what is older than a few minutes.
"""

import hashlib
import hmac
import http.client
import time
from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec

from echo_ws.config import ConfigError, Settings

from . import Notice, SendError

TIMEOUT_S = 5.0
"""Seconds for one request."""

_BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


def signature(secret: str, timestamp: str, body: bytes) -> str:
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1={digest.hexdigest()}"


class WebhookSender:
    """Sends each notice as one POST; 2xx means that it is the gateway's from then on. Redirects are not followed."""

    def __init__(self, settings: Settings) -> None:
        if settings.webhook_url is None or settings.webhook_secret is None:
            raise ConfigError("ECHO_SENDER: webhook needs ECHO_WEBHOOK_URL and ECHO_WEBHOOK_SECRET")
        url = urlsplit(settings.webhook_url)
        if not url.hostname:
            raise ConfigError("ECHO_WEBHOOK_URL: names no host")
        self._host, self._port = url.hostname, url.port
        self._connect = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self._target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._secret = settings.webhook_secret

    def send(self, notice: Notice) -> None:
        body = msgspec.json.encode(notice)
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "echo_ws",
            "Echo-Timestamp": timestamp,
            "Echo-Signature": signature(self._secret, timestamp, body),
        }
        connection = self._connect(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", self._target, body, headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            raise SendError(f"the webhook cannot be reached: {type(error).__name__}") from None
        finally:
            connection.close()
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            may_retry = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _BUSY
            raise SendError(f"the webhook answered {status}", may_retry=may_retry)
