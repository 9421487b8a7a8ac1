"""The ServerApp of a plain Flower run, or of a deployment."""

import json
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedlm.config import RunConfig
from fedlm.errors import FedLMError
from fedlm.plugins.calls import unexpected
from fedlm.system.files import write_atomic
from fedlm.system.locks import holding
from fedlm.system.shortage import shortage
from fedlm.system.storage import storage_error
from server.deploy.members import Members
from server.engines.flower import FlowerEngine, wait_for_nodes
from server.engines.network import NetworkEngine
from server.run.federation import Federation
from server.run.vocabulary import settle_vocabulary
from server.store.run_folder import DEPLOYED, LOCK, LOCK_SECONDS, WAITING, RunFolder, trust_plugins

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Runs the configuration of a Flower run in the folder of its key `out`; a deployment has created that folder."""
    values = {k.replace("-", "_"): v for k, v in context.run_config.items()}
    out = Path(str(values.pop("out", "") or f"runs/flower-{context.run_id}"))
    if (out / DEPLOYED).is_file():
        run_deployed(grid, out, context.run_id)
        return
    config = RunConfig.checked(values)
    folder = RunFolder.create(out, config)
    engine = FlowerEngine(grid)
    config = settle_vocabulary(engine, config, folder)
    run = Federation(engine, config, folder, lambda line: print(folder.public(line), flush=True))
    run.start()
    run.run()


def run_deployed(grid: Grid, out: Path, run_id: int) -> None:
    """Runs or resumes a deployment's run, under a lock that allows one process per folder.

    The last file that it writes is the result: `model.keras`, or `error.json` with an exit code and a sentence.
    """
    problem = f"Another ServerApp is running in {out}: stop it first."
    with holding(out / LOCK, run_id, problem, LOCK_SECONDS):
        try:
            _train_and_export(grid, out)
        except Exception as error:  # whoever follows the run learns why it ended, and where the rest is
            told = _told(error)
            write_atomic(out / "error.json", json.dumps({"code": told.exit_code, "error": str(told)}))
            raise


def _train_and_export(grid: Grid, out: Path) -> None:
    trust_plugins(out)  # the command that submitted the run has checked it, in another process
    folder = RunFolder.open(out)
    deployed = json.loads((out / DEPLOYED).read_text())
    engine = NetworkEngine(grid, deployed["run"], lambda sentence: folder.write_text(WAITING, sentence))
    wait_for_nodes(engine, int(deployed["nodes"]), folder.config.timeout)
    members = Members(Path(deployed["coordinator"]), lambda: engine.keys)
    engine.name_of = members.name
    config = settle_vocabulary(engine, folder.config, folder, members)
    run = Federation(engine, config, folder, lambda line: print(folder.public(line), flush=True), register=members)
    folder.keep_population(run.population.pseudonyms)
    run.start(resume=True)
    model, sample = run.export(run.run())
    folder.write_text("sample.txt", sample)
    folder.write_bytes("model.keras", model)


def _told(error: Exception) -> FedLMError:
    """Returns the sentence about an error. Of one that nobody foresaw it has type and place: its text may quote a document."""
    if isinstance(error, FedLMError):
        return error
    if (found := shortage(error)) is not None:
        return found
    if isinstance(error, OSError) and error.filename is not None:
        return storage_error(error, action="be read or written")
    return FedLMError(f"The ServerApp failed with an {unexpected(error)}; its log serverapp.log has the traceback.")
