"""Jupyter kernels that wait for no imports: forked from a process that has them done.

    with zygote(python, variables) as kernel_command: ...

What a chapter imports from elsewhere takes 4 to 12 seconds. A fork has it at once, and
shares nothing else with the next one. The library itself is not imported before: each
kernel does that. On Linux only: Windows has no fork, and on macOS the system's own
libraries do not survive one. There a kernel is a plain process with its own imports.
"""

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

IMPORTS = [
    "fastai.vision.all",
    "matplotlib.pyplot",
    "pandas",
    "scipy.stats",
    "torchvision",
    "ipykernel.ipkernel",
    "ipykernel.kernelapp",
]


@contextmanager
def zygote(python, variables):
    "The command that starts a kernel of `python`, for a Jupyter kernel specification."
    if sys.platform != "linux":
        yield [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("")  # Linux finds a name, which is no file
        server.listen()
        name, number = server.getsockname()[1:].decode(), server.fileno()
        process = subprocess.Popen(
            [python, __file__, "serve", str(number)],
            env=variables,
            stdin=subprocess.PIPE,
            pass_fds=[number],
        )
    with process:  # when this one is killed, it ends with its standard input
        yield [python, __file__, "ask", name, "-f", "{connection_file}"]
        process.kill()


def serve(number):
    "Fork a kernel for each process that asks, until the standard input ends."
    os.environ["JPY_PARENT_PID"] = str(os.getpid())  # kernels end with that process
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    for module in IMPORTS:
        import_module(module)
    torch = sys.modules["torch"]
    assert threading.active_count() == 1, "a fork would lose the other threads"
    assert not torch.cuda.is_initialized(), "a fork could not use the GPU"
    gc.freeze()  # no kernel looks for garbage here
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a kernel that ends needs no waiter
    with socket.socket(fileno=int(number)) as server:
        while sys.stdin not in select.select([server, sys.stdin], [], [])[0]:
            client, _ = server.accept()
            if os.fork() == 0:
                server.close()
                become_kernel(client)
            client.close()


def become_kernel(client):
    "Turn this fork into the kernel that was asked for. `client` stays open as long."
    from ipykernel.kernelapp import IPKernelApp

    order = json.loads(client.makefile().readline())
    client.sendall(f"{os.getpid()}\n".encode())
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["variables"])
    tempfile.tempdir = None  # it is found again, by the variables
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    IPKernelApp.launch_instance(order["arguments"])
    os._exit(0)  # to take all modules apart would take longer than many a notebook


def ask(name, *arguments):
    "Ask for a kernel with this process's folder and variables, and wait for its end."
    order = {
        "arguments": arguments,
        "folder": str(Path.cwd()),
        "variables": dict(os.environ),
    }
    with socket.socket(socket.AF_UNIX) as kernel:
        kernel.connect(f"\0{name}")
        kernel.sendall(json.dumps(order).encode() + b"\n")
        pid = int(kernel.makefile().readline())
        signal.signal(signal.SIGINT, lambda *_: os.kill(pid, signal.SIGINT))
        signal.signal(signal.SIGTERM, lambda *_: os.killpg(pid, signal.SIGKILL))
        while kernel.recv(1):
            pass


if __name__ == "__main__":
    del sys.path[0]  # the folder of this file is no part of a notebook's path
    {"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
