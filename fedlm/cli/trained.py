"""The model of a finished run, for the commands that ask it something."""

import os
from pathlib import Path
from typing import Any


def load_model(run: Path) -> Any:
    """Returns a trainer that holds the model of a run; loads TensorFlow."""
    from fedlm.system.terminal import quiet_stderr
    from server.store.run_folder import RunFolder

    folder = RunFolder.open(run)
    config, weights = folder.config, folder.final_weights()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_stderr():
        from fedlm.training.trainer import LocalTrainer

        trainer = LocalTrainer(config)
    trainer.assign(weights)
    return trainer
