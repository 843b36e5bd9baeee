"""``python -m robustbench_wb``."""

import sys


def main() -> None:
    """Run the command line and leave with its documented exit code."""
    from robustbench_wb.cli.app import run_cli

    sys.exit(run_cli(sys.argv[1:]))


if __name__ == "__main__":
    main()
