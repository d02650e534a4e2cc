"""Which addresses a notification may be sent to, checked where the connection is made.

A receiver's name that resolves to an address inside of the machine or the cloud's metadata service would let
whoever writes the configuration reach what only we can reach.
"""

from __future__ import annotations

import ipaddress
import socket

from akashic.errors import AkashicError

METADATA = frozenset({"169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200", "192.0.0.192"})
"""Addresses at which clouds answer with credentials; never a receiver."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_SHARED = ipaddress.ip_network("100.64.0.0/10")


class AddressRefused(AkashicError):
    """The receiver's address is not one that notifications are sent to."""


def is_loopback_name(host: str) -> bool:
    """Whether the host is this machine by its very spelling, without asking a resolver."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def check_address(address: str, *, loopback: bool, private: bool) -> None:
    """Raises AddressRefused unless notifications may go there; `loopback` and `private` say what else may."""
    found = _innermost(ipaddress.ip_address(address.partition("%")[0]))
    if str(found) in METADATA or found.is_link_local:
        raise AddressRefused(f"{found}: a link-local or metadata address is never a receiver")
    if found.is_loopback:
        if not loopback:
            raise AddressRefused(f"{found}: the name leads back to this machine")
        return
    if found.is_unspecified or found.is_multicast or found.is_reserved:
        raise AddressRefused(f"{found}: not the address of a receiver")
    inside = found.is_private or (isinstance(found, ipaddress.IPv4Address) and found in _SHARED)
    if inside and not private:
        raise AddressRefused(f"{found}: a private address", hint="allow_private: true accepts it")


def connect(host: str, port: int, *, private: bool, timeout_s: float) -> socket.socket:
    """A connection to the first reachable address of `host`, every one of them checked before.

    Raises AddressRefused, or OSError when nothing answers.
    """
    loopback = is_loopback_name(host)
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for row in rows:
        check_address(str(row[4][0]), loopback=loopback, private=private)
    last: OSError = ConnectionError(f"{host} has no address")
    for family, kind, protocol, _, target in rows:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(timeout_s)
            connection.connect(target)
        except OSError as error:
            connection.close()
            last = error
        else:
            return connection
    raise last


def _innermost(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address
