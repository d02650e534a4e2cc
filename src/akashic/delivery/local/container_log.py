"""Keeps what a container prints, as `log_writer` does for a process.

Called as `python -m … CONTAINER FILE BYTES_MAX SECRETS_FD`.

The engine keeps no log of such a container: it would hold secrets. This process attaches before the container
starts, says so with a line on its standard output, and ends with the container.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

from akashic.containers.engine import Engine
from akashic.containers.streams import Demultiplexer
from akashic.delivery.local.log_writer import RotatingLog, copy
from akashic.errors import AkashicError
from akashic.runner.masking import Masker


def main(arguments: list[str]) -> int:
    container, path, bytes_max, known = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(int(known), "rb") as file:
        masker = Masker(json.load(file))
    reading, writing = os.pipe2(os.O_CLOEXEC)
    log = RotatingLog(Path(path), int(bytes_max))
    writer = threading.Thread(target=copy, args=(reading, log, masker))
    writer.start()
    try:
        output = Engine.connect(os.environ).containers.attach(container)
        print("attached", flush=True)
        split = Demultiplexer(lambda piece: _write_all(writing, piece))
        while piece := output.receive():
            split.feed(piece)
    except AkashicError as error:
        _write_all(writing, f"what it printed is lost from here on: {error.message}\n".encode())
    finally:
        os.close(writing)
        writer.join()
    return 0


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
