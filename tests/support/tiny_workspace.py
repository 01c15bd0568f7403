"""Answers the Hub in place of JupyterLab: a process of a few megabytes that imports next to nothing."""

import os
import socket
from urllib.parse import urlsplit

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def main() -> None:
    """Serve where the Hub expects it, one request after the other, until the Hub says stop."""
    address = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
    with socket.create_server((address.hostname or "127.0.0.1", address.port or 0)) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(ANSWER)


if __name__ == "__main__":
    main()
