"""``python -m dnlbench``: the ``dnlbench`` command."""

from dnlbench.cli.app import main

if __name__ == "__main__":
    main()
