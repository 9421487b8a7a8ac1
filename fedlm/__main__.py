"""The program `fedlm`; also `python -m fedlm`."""

import sys


def main() -> None:
    """Runs the command line. The imports take a quarter of a second, during which Ctrl-C must also produce a sentence."""
    try:
        from fedlm.system.start import begin

        begin()
        from fedlm.errors import FedLMError
        from fedlm.system import shortage
        from fedlm.system.memory import forbid_core_dumps
        from fedlm.system.streams import run_to_the_end

        try:
            size = shortage.with_linear_algebra(shortage.COMMAND_BYTES)
            shortage.check_machine(size, shortage.linear_algebra_threads(), "A command of fedlm")
            with shortage.telling_shortage():
                from fedlm.cli.main import main as run
        except FedLMError as error:
            sys.stderr.write(f"fedlm: {error}\n")
            raise SystemExit(error.exit_code) from None

        forbid_core_dumps()
    except KeyboardInterrupt:
        sys.stderr.write("fedlm: interrupted.\n")
        raise SystemExit(130) from None
    raise SystemExit(run_to_the_end(run))


if __name__ == "__main__":
    main()
