"""The ServerApp of a plain Flower run, or of a deployment."""

import json
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedlm.config import RunConfig
from fedlm.errors import FedLMError
from fedlm.system.locks import holding
from server.engines.flower import FlowerEngine, wait_for_nodes
from server.engines.network import NetworkEngine
from server.run.federation import Federation
from server.run.vocabulary import settle_vocabulary
from server.store.run_folder import DEPLOYED, LOCK, LOCK_SECONDS, RunFolder

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Runs the configuration of a Flower run in the folder of its key `out`; a deployment has created that folder."""
    values = {k.replace("-", "_"): v for k, v in context.run_config.items()}
    out = Path(str(values.pop("out", "") or f"runs/flower-{context.run_id}"))
    if (out / DEPLOYED).is_file():
        run_deployed(NetworkEngine(grid), out, context.run_id)
        return
    config = RunConfig.checked(values)
    folder = RunFolder.create(out, config)
    engine = FlowerEngine(grid)
    config = settle_vocabulary(engine, config, folder)
    run = Federation(engine, config, folder, lambda line: print(folder.public(line), flush=True))
    run.start()
    run.run()


def run_deployed(engine: NetworkEngine, out: Path, run_id: int) -> None:
    """Runs or resumes a deployment's run, under a lock that allows one process per folder.

    The last file that it writes tells the result: `model.keras`, or `error.json` with an exit code and a sentence.
    """
    folder = RunFolder.open(out)
    problem = f"Another ServerApp is running in {out}: stop it first."
    with holding(out / LOCK, run_id, problem, LOCK_SECONDS):
        try:
            wait_for_nodes(engine, int(json.loads((out / DEPLOYED).read_text())["nodes"]), folder.config.timeout)
            config = settle_vocabulary(engine, folder.config, folder)
            run = Federation(engine, config, folder, lambda line: print(folder.public(line), flush=True))
            folder.keep_population(run.population.pseudonyms)
            run.start(resume=True)
            model, sample = run.export(run.run())
            folder.write_text("sample.txt", sample)
            folder.write_bytes("model.keras", model)
        except FedLMError as error:
            folder.write_text("error.json", json.dumps({"code": error.exit_code, "error": str(error)}))
            raise
