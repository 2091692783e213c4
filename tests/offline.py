"""No network.

Put into an interpreter by a .pth file, it lets nothing but loopback through and logs
every attempt.
"""

import os
import sys
from pathlib import Path

LOOPBACK = {"", "localhost", "127.0.0.1", "::1", "0.0.0.0"}
LOOPBACK |= {None, b"localhost", b"127.0.0.1"}


def refuse(event, args):
    if event == "socket.connect":
        host = args[1][0] if isinstance(args[1], tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0]
    else:
        return
    if host in LOOPBACK:
        return
    if log := os.environ.get("OFFLINE_LOG"):
        with Path(log).open("a") as f:
            f.write(f"{event} {host}\n")
    raise OSError(f"the network is blocked here, and something asked for {host}")


sys.addaudithook(refuse)
