"""`python -m serving.server`: the server with TF Serving's flags and no default model."""

import sys

from serving.server.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], None))
