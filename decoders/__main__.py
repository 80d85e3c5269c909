"""`python -m decoders` is the command `decoders`."""

from decoders.cli import main

if __name__ == "__main__":
    main()
