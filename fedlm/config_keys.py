"""The configuration keys: their types, defaults, ranges and descriptions. What must hold between them is in `config.py`."""

from pydantic import BaseModel, ConfigDict, Field


class Keys(BaseModel):
    """The keys of a run by group; `fedlm config` and docs/configuration.md print them from here."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # run
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**63,
        description="seed of the initial weights, client sampling, batches, dropout and partition",
    )
    rounds: int = Field(
        default=100, ge=0, description="rounds in total; a resumed run counts those that it already has"
    )
    cohort_size: int = Field(
        default=10, ge=1, description="clients sampled per round; under differential privacy, their expected number"
    )
    eval_every: int = Field(default=20, ge=1, description="rounds between evaluations on held-out text")
    eval_clients: int = Field(
        default=0,
        ge=0,
        description="clients in an evaluation, under differential privacy their expected number; 0 evaluates all clients",
    )
    workers: int = Field(default=0, ge=0, description="worker processes; 0 starts one per core")
    checkpoint_every: int = Field(
        default=1, ge=1, description="rounds between checkpoints; each one replaces the one before it"
    )
    keep_every: int = Field(
        default=50, ge=1, description="rounds between checkpoints that are kept, from which fedlm forget can restart"
    )
    timeout: float = Field(default=3600.0, gt=0, le=1e8, description="seconds that a round may take")
    patience: int = Field(
        default=0, ge=0, description="evaluations without an improvement before the run stops; 0 never stops early"
    )
    min_gain: float = Field(
        default=0.0, ge=0, description="smallest improvement that counts for patience, in nats per held-out token"
    )
    quorum: float = Field(
        default=0.0, ge=0, le=1, description="share of the cohort that must finish a round; otherwise the run stops"
    )
    # client
    model: str = Field(default="lstm", description="a model of fedlm models, with options (docs/models.md)")
    vocabulary: str = Field(
        default="chars", description="chars, bytes, words, bpe or private, with options (docs/models.md)"
    )
    vocabulary_text: str = Field(
        default="", exclude=True, description="content of a learned vocabulary's file", repr=False
    )
    seq_len: int = Field(default=80, ge=1, description="symbols per row; a document is cut into rows of this length")
    batch_size: int = Field(default=4, ge=1, description="rows of one client in a training step")
    local_epochs: int = Field(default=1, ge=1, description="passes over a client's training text per round")
    local_steps: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="training steps of each client in a round, whatever its amount of text: its rows are passed over again, or "
        "in part, in full batches; 0 makes local_epochs passes instead",
    )
    max_client_tokens: int = Field(
        default=0,
        ge=0,
        description="largest training work of a client in a round, all local epochs together: its rows times seq_len; a public "
        "bound, which differential privacy needs; 0 sets none",
    )
    client_optimizer: str = Field(default="sgd(learning_rate=1.0)", description="sgd, adam or adagrad, with options")
    client_schedule: str = Field(
        default="constant",
        description="factor of the client's learning rate by round: constant, step, exponential, linear or "
        "cosine, with options (docs/models.md)",
    )
    proximal_mu: float = Field(
        default=0.0,
        ge=0,
        description="FedProx: adds mu / 2 times the squared distance to the global weights to the loss",
    )
    l1: float = Field(default=0.0, ge=0, description="factor of the sum of |w| over the kernels, added to the loss")
    l2: float = Field(default=0.0, ge=0, description="factor of the sum of w^2 over the kernels, added to the loss")
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="weight of the uniform distribution in the training targets"
    )
    client_patience: int = Field(
        default=0, ge=0, description="local epochs without an improvement before a client stops; 0 never stops early"
    )
    client_holdout: float = Field(
        default=0.2, gt=0, lt=1, description="share of a client's training rows that client_patience watches"
    )
    # server
    strategy: str = Field(
        default="FedAvg", description="a strategy of Flower by its name, or your own by its import path, with options"
    )
    server_schedule: str = Field(
        default="constant",
        description="share of the strategy's step that is taken, by round; the same schedules as the client's",
    )
    weighting: str = Field(
        default="tokens",
        description="weight of a client in the mean: tokens, uniform or capped(tokens=N); tokens are at most max_client_tokens",
    )
    algorithm: str = Field(
        default="fedavg", description="a file of fedlm/algorithms, or package.module:Class of your own, with options"
    )
    aggregation: str = Field(
        default="open", description="how the sums of nodes become one: a file of fedlm/aggregation, with options"
    )
    drift: bool = Field(
        default=False,
        description="records the norm of the updates and their cosine to the mean; costs a second sum per round",
    )
    # privacy
    mechanism: str = Field(
        default="none", description="a file of fedlm/privacy/mechanisms, with options (docs/differential-privacy.md)"
    )
    clip_norm: float = Field(
        default=0.0,
        ge=0,
        description="L2 bound of a client's update; under adaptive clipping, the bound of the first round",
    )
    noise_multiplier: float = Field(
        default=0.0, ge=0, description="standard deviation of the noise divided by the sensitivity"
    )
    sampling_rate: float = Field(
        default=0.0, ge=0, le=1, description="probability that a client takes part in a round (Poisson sampling)"
    )
    population_weight: float = Field(
        default=0.0, ge=0, description="public estimate of the sum of min(tokens, cap) over all clients"
    )
    noise_cohort_size: int = Field(
        default=0, ge=0, description="cohort size of the deployment that a simulation represents; 0 is cohort_size"
    )
    delta: float = Field(
        default=1e-5, gt=0, lt=1, description="delta at which epsilon is stated; choose it well below 1 / clients"
    )
    epsilon_budget: float = Field(
        default=0.0, ge=0, description="privacy budget: the run stops before epsilon exceeds it; 0 sets no budget"
    )
    reproducible: bool = Field(
        default=False, description="derives the noise from the seed; the run then has no privacy guarantee"
    )
    # preparation
    scrub: str = Field(default="full", description="full, patterns or none, with options (docs/scrubbing.md)")
    partition: str = Field(
        default="",
        description="how documents are distributed over new clients, such as dirichlet(alpha=0.1); empty keeps the users",
    )
    max_clients: int = Field(default=0, ge=0, description="clients that are kept, drawn by the seed; 0 keeps all")
    min_documents: int = Field(default=2, ge=1, description="documents that a client must have to be kept")
    holdout_fraction: float = Field(
        default=0.2, ge=0, lt=1, description="share of a client's documents, the last ones, that is held out"
    )
    validation_fraction: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of a client's documents, those just before the held-out ones, that evaluation during training reads: "
        "figures of rounds and early stopping; held-out text is then read once, at the end. With 0 they read held-out text",
    )
    pseudonym_key: str = Field(
        default="",
        description="a key file, seed or random; empty is seed for a built-in corpus and random for your own",
    )
