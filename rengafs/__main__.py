"""``python -m rengafs``: the same as the console script ``rengafs``."""

from rengafs.cli.main import main

if __name__ == "__main__":
    main()
