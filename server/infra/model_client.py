"""The `openai` library's HTTP client for models that customers bring, behind the same guard as every way out."""

from collections.abc import Iterable

import httpcore2
import httpx2

from server.infra.egress import Destinations, Names


def model_client(destinations: Destinations, names: Names) -> httpx2.AsyncClient:
    """Follows no redirect and reads no proxy from the environment. Whoever asks says how long, and closes it.

    A refused dial is an `httpx2.ConnectError`, like a host that is not there.
    """
    return httpx2.AsyncClient(
        transport=GuardedTransport(destinations, names),
        follow_redirects=False,
        trust_env=False,
    )


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """httpx2's own transport on a pool that dials through the guard."""

    def __init__(self, destinations: Destinations, names: Names) -> None:
        super().__init__(trust_env=False)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=httpx2.create_ssl_context(trust_env=False),
            max_connections=100,
            keepalive_expiry=30.0,
            network_backend=GuardedDial(destinations, names),
        )


class GuardedDial(httpcore2.AsyncNetworkBackend):
    """Looks the name up, judges the addresses, and connects to the one that it judged."""

    def __init__(self, destinations: Destinations, names: Names) -> None:
        self._destinations = destinations
        self._names = names
        self._dial = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Raises httpcore2.ConnectError and httpcore2.ConnectTimeout."""
        try:
            addresses = await self._names.addresses(host, port)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"{host} is looked up for too long") from error
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from error
        if not self._destinations.excepted(host, port):
            addresses = [address for address in addresses if self._destinations.dialable(address, port)]
        failure: Exception = httpcore2.ConnectError("the address is not public")
        for address in addresses:
            try:
                return await self._dial.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """Raises httpcore2.ConnectError, always."""
        raise httpcore2.ConnectError("sockets of this machine are not public")

    async def sleep(self, seconds: float) -> None:
        await self._dial.sleep(seconds)
