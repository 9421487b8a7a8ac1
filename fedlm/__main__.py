"""`python -m fedlm`."""

from fedlm.cli import main

if __name__ == "__main__":
    main()
