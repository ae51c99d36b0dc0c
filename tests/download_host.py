"""A server that stands for the host of MNIST's files, as good or as bad as a test asks."""

import collections
import http.server
import pathlib
import threading
import time
import urllib.request
from collections.abc import Callable

import requests

HOST = "https://storage.googleapis.com"  # where TFDS fetches MNIST


class Host(http.server.ThreadingHTTPServer):
    """Serves the files of a folder on a free port of this machine, to TFDS or as its proxy.

    Attributes:
      asked: the addresses that were asked for, as the requests named them.
      times: {file name: how often it was asked for}.
      spoil: called with a handler, a file's name, its bytes and how often it was asked for before;
        true if it has answered in the file's place.
    """

    daemon_threads = True

    def __init__(self, folder: pathlib.Path, spoil: Callable[..., bool] = lambda *_: False):
        self.folder = folder
        self.spoil = spoil
        self.asked: list[str] = []
        self.times: collections.Counter[str] = collections.Counter()
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.server.asked.append(self.path)
        self.send_error(404)

    def do_GET(self):
        self.server.asked.append(self.path)
        name = self.path.rpartition("/")[-1]
        before = self.server.times[name]
        self.server.times[name] += 1
        content = (self.server.folder / name).read_bytes()
        if not self.server.spoil(self, name, content, before):
            self.answer(content)

    def answer(self, content: bytes, length: int | None = None) -> None:
        """Sends `content` and says that it is `length` bytes."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


def closes_halfway(handler, name, content, before) -> bool:
    """The first time that the training images are asked for, half of them arrives."""
    if name.startswith("train-images") and before == 0:
        handler.answer(content[: len(content) // 2], len(content))
        return True
    return False


def falls_silent(handler, name, content, before) -> bool:
    """The same, but the line stays open."""
    if closes_halfway(handler, name, content, before):
        handler.wfile.flush()
        time.sleep(5)
        return True
    return False


def is_overloaded(handler, name, content, before) -> bool:
    """Every file is refused once."""
    if before == 0:
        handler.send_error(503)
        return True
    return False


def replace_host(address: str) -> None:
    """Has this process ask `address` for what it would ask `HOST` for."""
    request, urlopen = requests.Session.request, urllib.request.urlopen

    def request_there(session, method, url, *args, **kwargs):
        return request(session, method, url.replace(HOST, address), *args, **kwargs)

    def urlopen_there(asked, *args, **kwargs):
        if isinstance(asked, urllib.request.Request):
            asked.full_url = asked.full_url.replace(HOST, address)
        return urlopen(asked, *args, **kwargs)

    requests.Session.request = request_there
    urllib.request.urlopen = urlopen_there
