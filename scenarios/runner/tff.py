"""Shakespeare in the split of TensorFlow Federated: what studies of papers that use it have in common."""

from fedlm.errors import ConfigError
from scenarios.runner.design import Options


def tff_shakespeare(name: str, options: Options) -> dict[str, object]:
    """Returns the settings of a study on the user's own copies of the two files, 715 clients.

    Args:
      name: of the study.
      options: name the files.

    Raises:
      ConfigError: a file is not named.
    """
    if not (options.corpus and options.test):
        raise ConfigError(
            f"The study {name} needs the files of TensorFlow Federated: --corpus shakespeare_train.h5 --test "
            "shakespeare_test.h5."
        )
    return {
        "scrub": "none",
        "vocabulary": "chars(placeholders=0)",
        "validation_fraction": 0.0,  # published accuracies are on the test file
        "holdout_fraction": 0.0,
        "min_documents": 1,
        "model": "lstm(units=32, layers=1)" if options.quick else "lstm",
        "client_optimizer": "sgd(learning_rate=1.0)",
    }
