# SPDX-License-Identifier: Apache-2.0
"""Asks a server once whether it serves, and which version of Ray it is, over a socket of its own.

This is HTTP/2 and gRPC at their smallest: one connection, one request, one small reply. It does not
use the client of this package, which is what the server is there to test.

Invariant: it is given up at the deadline, whatever the peer does.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from pathlib import Path

_PATH = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_RAY_VERSION_FIELD = 2
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS = 1, 4


class ProbeError(Exception):
    """The server did not answer; the text says what it did instead."""


@dataclass(frozen=True)
class TlsFiles:
    """The PEM files of a server that wants TLS from its clients, and a certificate of theirs.

    A gcs_server shows the same certificate when it is a client, so one set serves both sides. A
    certificate of its own for the client is needed where the server's is one that no server takes:
    `GcsServer` is a client too when it finds out whether the server answers.
    """

    cert: str | Path
    """The certificate."""
    key: str | Path
    """The certificate's private key."""
    ca: str | Path
    """The authority that signed the certificates of both sides."""
    client_cert: str | Path | None = None
    """The client's certificate; None: `cert`."""
    client_key: str | Path | None = None
    """Its private key."""


def ray_version(
    host: str, port: int, *, token: str | None, tls: TlsFiles | None, timeout: float
) -> str:
    """Asks for the server's version of Ray (RPC: NodeInfoGcsService.CheckAlive).

    Args:
        host: the server's address.
        port: its port.
        token: what goes into the authorization header, if anything.
        tls: the files to speak TLS with; None for plaintext.
        timeout: seconds for all of it.

    Raises:
        ProbeError: no reply, or none that says a version.
    """
    deadline = time.monotonic() + timeout
    try:
        with contextlib.closing(_connected(host, port, tls, timeout)) as connection:
            connection.sendall(
                _PREFACE
                + _frame(_SETTINGS, 0, 0, b"")
                + _frame(_HEADERS, _END_HEADERS, 1, _headers(f"{host}:{port}", token, tls))
                + _frame(_DATA, _END_STREAM, 1, b"\x00" * 5)
            )
            message = _reply(connection, deadline)
    except OSError as error:
        raise ProbeError(str(error) or type(error).__name__) from error
    version = _string_field(message, _RAY_VERSION_FIELD)
    if not version:
        raise ProbeError("it answered, but named no version of Ray")
    return version


def _connected(host: str, port: int, tls: TlsFiles | None, timeout: float) -> socket.socket:
    plain = socket.create_connection((host, port), timeout)
    if tls is None:
        return plain
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Whether the certificate is right is for the client under test to find out.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(tls.client_cert or tls.cert, tls.client_key or tls.key)
        context.set_alpn_protocols(["h2"])
        return context.wrap_socket(plain)
    except BaseException:
        plain.close()
        raise


def _headers(authority: str, token: str | None, tls: TlsFiles | None) -> bytes:
    headers = [
        (":method", "POST"),
        (":scheme", "https" if tls else "http"),
        (":path", _PATH),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    if token is not None:
        headers.append(("authorization", f"Bearer {token}"))
    # Each one as a literal with a literal name, neither indexed nor Huffman-coded.
    return b"".join(
        b"\x00" + _hpack_string(name.encode()) + _hpack_string(value.encode())
        for name, value in headers
    )


def _hpack_string(text: bytes) -> bytes:
    length = len(text)
    if length < 127:
        return bytes([length]) + text
    # A length that fills the seven bits goes on in groups of seven, lowest first.
    encoded = bytearray([127])
    length -= 127
    while length >= 128:
        encoded.append(length % 128 + 128)
        length //= 128
    encoded.append(length)
    return bytes(encoded) + text


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _reply(connection: socket.socket, deadline: float) -> bytes:
    """The one message of the reply on stream 1."""
    body = b""
    while True:
        head = _receive(connection, 9, deadline)
        length = int.from_bytes(head[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        payload = _receive(connection, length, deadline)
        if kind == _GOAWAY or (kind == _RST_STREAM and stream == 1):
            raise ProbeError("it ended the call without an answer")
        if kind == _DATA and stream == 1:
            body += payload
        if stream == 1 and kind in {_DATA, _HEADERS} and flags & _END_STREAM:
            if len(body) < 5:
                raise ProbeError("it refused the call (is the token the right one?)")
            return body[5:]


def _receive(connection: socket.socket, count: int, deadline: float) -> bytes:
    received = b""
    while len(received) < count:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        part = connection.recv(count - len(received))
        if not part:
            raise ProbeError("it closed the connection")
        received += part
    return received


def _string_field(message: bytes, wanted: int) -> str:
    """A length-delimited field of a protobuf message; empty if the message has none."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        wire_type = tag & 7
        if wire_type == 0:
            _, position = _varint(message, position)
        elif wire_type == 2:
            length, position = _varint(message, position)
            if tag >> 3 == wanted:
                return message[position : position + length].decode(errors="replace")
            position += length
        else:
            position += 8 if wire_type == 1 else 4
    return ""


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message):
        byte = message[position]
        value |= (byte & 127) << shift
        position += 1
        if byte < 128:
            return value, position
        shift += 7
    raise ProbeError("its answer is no protobuf message")
