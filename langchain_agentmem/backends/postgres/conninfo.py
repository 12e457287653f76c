"""Connection URLs and connection strings, checked by libpq."""

from __future__ import annotations

import contextlib
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo, PGconn

from langchain_agentmem.backends.postgres.options import (
    WHERE,
    Settings,
    check_names,
    check_values,
    split_url,
    wrong_url,
)
from langchain_agentmem.errors import ConfigurationError

_NO_SOCKET = "/nonexistent/agentmem"


def connection_settings(url: str) -> Settings:
    """Return the settings of a `postgresql://` URL, checked as far as that is possible without a connection.

    Raises:
        ConfigurationError: The URL cannot be parsed, or an option or its value is wrong.
    """
    settings, options = split_url(url)
    defaults = Conninfo.get_defaults()
    check_names(options, [one.keyword.decode() for one in defaults])
    connecting: dict[str, str] | None = None
    with contextlib.suppress(psycopg.Error):  # the text of the error may contain the password
        connecting = {name: str(value) for name, value in conninfo_to_dict(settings.conninfo).items()}
    if connecting is None:
        raise wrong_url()
    check_values(connecting)
    # libpq checks the other options when it starts to connect. The start fails at the socket, which does not exist.
    probed = {name: value for name, value in connecting.items() if name not in ("host", "hostaddr", "port", "service")}
    probe = PGconn.connect_start(make_conninfo("", **probed, host=_NO_SOCKET).encode())
    reason = probe.get_error_message()
    probe.finish()
    if _NO_SOCKET not in reason:
        secrets = [connecting.get(one.keyword.decode()) for one in defaults if one.dispchar != b""]
        if any(secret and secret in reason for secret in secrets):
            raise wrong_url()
        msg = f"An option of {WHERE} is wrong: {reason.strip()}."
        raise ConfigurationError(msg)
    return settings._replace(connecting=connecting)


def url_of_conninfo(conninfo: str) -> str:
    """Return the `postgresql://` URL for a connection string of libpq.

    Raises:
        ConfigurationError: libpq cannot parse it.
    """
    try:
        options = conninfo_to_dict(conninfo)
    except psycopg.Error:  # the text of the error may contain the password
        msg = (
            "The connection string of Postgres cannot be parsed. Write it as 'host=localhost dbname=app', or as a URL."
        )
        raise ConfigurationError(msg) from None
    return f"postgresql:///?{urlencode(options, quote_via=quote)}"
