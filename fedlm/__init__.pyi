from fedlm.api import Prepared as Prepared
from fedlm.api import Run as Run
from fedlm.api import Tuned as Tuned
from fedlm.api import evaluate as evaluate
from fedlm.api import generate as generate
from fedlm.api import load_run as load_run
from fedlm.api import prepare as prepare
from fedlm.api import simulate as simulate
from fedlm.api import tune as tune
from fedlm.config import RunConfig as RunConfig
from scenarios.runner.study import Study as Study

__version__: str
