"""The program `fedlm`; also `python -m fedlm`."""

import os
import sys


def main() -> None:
    """Runs the command line. The imports take a quarter of a second, during which Ctrl-C must also produce a sentence."""
    try:
        from fedlm.system.start import begin

        begin()
        from fedlm.errors import FedLMError
        from fedlm.system.memory import forbid_core_dumps
        from fedlm.system.shortage import COMMAND_BYTES, check_machine, telling_shortage
        from fedlm.system.streams import run_to_the_end

        try:
            threads = os.environ.get("OPENBLAS_NUM_THREADS", "")
            check_machine(COMMAND_BYTES, int(threads) if threads.isdigit() else 1, "A command of fedlm")
            with telling_shortage():
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
