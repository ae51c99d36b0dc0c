"""Programs that stand for tensorflow_model_server."""

import pathlib
import sys
import textwrap


def program(folder: pathlib.Path, body: str) -> str:
    """Writes a program of that name in Python; returns its path."""
    path = folder / "tensorflow_model_server"
    path.write_text(f"#!{sys.executable}\n" + textwrap.dedent(body))
    path.chmod(0o755)
    return str(path)


# Says that a model is available, and does `do_more` when it is asked for its signatures.
LIAR = """
import http.server, os, signal, sys
port = [a.partition("=")[2] for a in sys.argv if a.startswith("--rest_api_port")][0]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.endswith("/metadata"):
            print("a bug in the server", flush=True)
            {do_more}
        body = (b'{{"model_version_status": [{{"version": "1", "state": "AVAILABLE",'
                b' "status": {{"error_code": "OK", "error_message": ""}}}}]}}')
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
http.server.HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
"""
