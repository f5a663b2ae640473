"""A reverse proxy such as people put before a server: it shows it below a path, by TLS or not."""

import ssl
import threading
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

# What is of one connection and not of the message.
BETWEEN_TWO = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


@contextmanager
def proxied(netloc, prefix, *, strip, headers=(), certificate=None):
    """Run a proxy; gives its `base` address, prefix included, and what was asked `outside` of it.

    Parameters
    ----------
    netloc : str
        Of the server.
    prefix : str
    strip : bool
        Whether the server is told addresses without it.
    headers : dict of str to str
        What the proxy tells; {port} in it is its own.
    certificate : Path, optional
        With its key, for TLS.
    """
    outside = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not self.path.startswith(f"{prefix}/"):
                outside.append(self.path)
                self.send_error(404)
                return
            path = self.path.removeprefix(prefix) if strip else self.path
            told = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            told |= {name: value.format(port=proxy.server_port) for name, value in dict(headers).items()}
            connection = HTTPConnection(netloc)
            connection.request(self.command, path, body or None, told)
            with connection.getresponse() as response:
                content = response.read()
                self.send_response(response.status)
                for name, value in response.getheaders():
                    if name.lower() not in BETWEEN_TWO:
                        self.send_header(name, value)
                length = response.getheader("Content-Length") if self.command == "HEAD" else len(content)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(content)
            connection.close()

        do_GET = do_POST = do_HEAD = answer  # noqa: N815 -- the library's names

        def log_message(self, *_):
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        proxy.socket = context.wrap_socket(proxy.socket, server_side=True)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    scheme = "http" if certificate is None else "https"
    try:
        yield SimpleNamespace(base=f"{scheme}://localhost:{proxy.server_port}{prefix}", outside=outside)
    finally:
        proxy.shutdown()
        proxy.server_close()


def write_certificate(path):
    """Write a certificate for localhost that it signs itself, and its key, into one file."""
    import datetime as dt

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
