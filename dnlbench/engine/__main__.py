"""``python -m dnlbench.engine RUN_DIR``: a program above all layers, with the messages of the command line."""

from dnlbench.cli.engine import main

if __name__ == "__main__":
    main()
