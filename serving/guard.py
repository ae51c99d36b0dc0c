"""Runs a command, and kills it with all that it started once whoever started this is gone.

    python guard.py COMMAND ARGUMENT ...      (as the leader of a process group)

Whoever starts it holds the other end of its standard input. When that closes, however that came
about (`kill -9` too), the whole process group goes. The first line on its standard output is the
command's process id; what the command itself writes goes to standard error. Exits with the
command's exit code, 128 + N where signal N ended it, 127 where it can't be run.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    try:
        process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=2)
    except OSError as error:
        print(f"{sys.argv[1]} can't be run: {error.strerror}", file=sys.stderr)
        return 127
    threading.Thread(target=_follow, daemon=True).start()
    print(process.pid, flush=True)
    code = process.wait()
    return code if code >= 0 else 128 - code


def _follow() -> None:
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    if os.getpgid(0) != os.getpid():
        os.setsid()
    sys.exit(main())
