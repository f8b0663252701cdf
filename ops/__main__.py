"""`python -m ops`: what an operator does with a deployed stack."""

from ops.cli import app

if __name__ == "__main__":
    app()
