import http.client
import sys

import click

from echo_ws.config import Settings

from .options import Stop, configured

TIMEOUT_S = 3
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


@click.command()
@configured()
def healthcheck(settings: Settings) -> None:
    """Ask the server at ECHO_HOST and ECHO_PORT whether it is ready; exit with 1 if not."""
    host = EVERYWHERE.get(settings.host, settings.host)
    connection = http.client.HTTPConnection(host, settings.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise Stop(f"no answer from {host}:{settings.port}: {error}") from error
    finally:
        connection.close()
    click.echo("ready" if status == http.client.OK else "not ready: it starts or drains")
    sys.exit(status != http.client.OK)
