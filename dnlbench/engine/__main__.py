"""``python -m dnlbench.engine RUN_DIR``: a program, which stands above all layers and reports as the command line does."""

from dnlbench.cli.engine import main

if __name__ == "__main__":
    main()
