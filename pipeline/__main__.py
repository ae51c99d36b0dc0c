"""`python -m pipeline` is `mnist-gan`."""

from pipeline.cli import main

if __name__ == "__main__":
    main()
