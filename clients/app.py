"""The ClientApp: train, evaluate and query. An error is sent as a code and one of our sentences, never as an exception's text.

The node's owner decides where the work is done, by environment variables; the server cannot. `FEDLM_SOCKET` names the
socket of a long-lived worker (a deployment), `FEDLM_VAULT` a vault that this process opens itself (Ray).
"""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp

from clients.failures import tell
from fedlm.errors import ConfigError, FedLMError
from fedlm.system.shortage import shortage

if TYPE_CHECKING:
    from clients.node import Node

app = ClientApp()
_NODE: list["Node"] = []
_KEEPS_LOG: list[bool] = []
_HELD = contextlib.ExitStack()  # stays open until this process exits

UNEXPECTED = 1
SOCKET, VAULT, KEY_FILE, PASSPHRASE_ENV = "FEDLM_SOCKET", "FEDLM_VAULT", "FEDLM_KEY_FILE", "FEDLM_PASSPHRASE_ENV"
KEY_PROVIDER = "FEDLM_KEY_PROVIDER"


def use_node(node: "Node", *, keeps_log: bool = False) -> None:
    """Sets the node that this process serves; `keeps_log` says that stderr is a log, as in a deployment."""
    _NODE[:], _KEEPS_LOG[:] = [node], [keeps_log]


def own_node() -> "Node | None":
    """Returns the node that this process serves; None if it was not set."""
    return _NODE[0] if _NODE else None


def _own_node() -> "Node":
    """Returns the node of this process; the first call opens the vault that the environment names."""
    if not _NODE:
        names = (VAULT, KEY_FILE, PASSPHRASE_ENV, KEY_PROVIDER)
        vault, key, passphrase, provider = (os.environ.get(name) for name in names)
        if vault is None:
            raise ConfigError(f"This node has no vault: its owner must set {SOCKET} or {VAULT}.")
        from fedlm.training.tensorflow import load_tensorflow

        load_tensorflow()
        from clients.node import Node
        from fedlm.vault.keys import KeySource
        from fedlm.vault.locks import in_use
        from fedlm.vault.reader import Vault

        source = KeySource(None if key is None else Path(key), passphrase, provider)
        _HELD.enter_context(in_use(Path(vault)))
        use_node(Node(Vault(Path(vault), source)))
    return _NODE[0]


def _answer(message: Message) -> Message:
    try:
        if not _NODE and SOCKET in os.environ:
            from clients.ipc.frames import call_worker

            return call_worker(Path(os.environ[SOCKET]), message)
        return Message(_own_node().answer(message), reply_to=message)
    except Exception as raised:  # noqa: BLE001 - the ClientApp's border: Flower would send the exception's text
        error = shortage(raised) or raised
        code = error.exit_code if isinstance(error, FedLMError) else UNEXPECTED
        sentence = tell(error, keeps_log=any(_KEEPS_LOG) or SOCKET in os.environ)  # ours, free of private text
        return Message(Error(code, sentence), reply_to=message)


@app.query()
def query(message: Message, context: Context) -> Message:
    """Reports which clients this node has."""
    return _answer(message)


@app.query("export")
def export(message: Message, context: Context) -> Message:
    """Returns the global model as a file."""
    return _answer(message)


@app.query("score")
def score(message: Message, context: Context) -> Message:
    """Scores texts under the global model."""
    return _answer(message)


@app.query("vocabulary")
def vocabulary(message: Message, context: Context) -> Message:
    """Counts words under differential privacy."""
    return _answer(message)


@app.evaluate("reference")
def reference(message: Message, context: Context) -> Message:
    """Evaluates clients under local-only models or a centralised model."""
    return _answer(message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Trains one chunk of clients."""
    return _answer(message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Evaluates one chunk of clients."""
    return _answer(message)
