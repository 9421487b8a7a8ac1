"""The Python API: prepare a vault, simulate a run, tune settings, load a run, evaluate it, generate text. `from fedlm import ...`.

Each function does what the command of its name does, by the same code. Heavy packages load when a call needs them.
"""

from fedlm.api.inference import evaluate as evaluate
from fedlm.api.inference import generate as generate
from fedlm.api.preparing import Prepared as Prepared
from fedlm.api.preparing import prepare as prepare
from fedlm.api.run import Run as Run
from fedlm.api.run import load_run as load_run
from fedlm.api.training import simulate as simulate
from fedlm.api.tuning import Tuned as Tuned
from fedlm.api.tuning import tune as tune
