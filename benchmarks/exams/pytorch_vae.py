"""The variational autoencoder of the PyTorch examples on MNIST: ``python benchmarks/exams/pytorch_vae.py``.

Grey pixels in [0, 1] as probabilities, 784-400-20-400-784, relu, Adam at a constant 1e-3, batches of 128, 10 epochs.
The figure is the negative bound of a test row, in nats, from one draw of the code: the loss on validation rows in
``history_``. Two public logs of the script, https://github.com/pytorch/examples/tree/main/vae, end at 105.589 and
105.559. The cross-entropy of grey pixels is not a likelihood, so this compares optimisation only.

Not as there: the decoder's last bias begins at the log-odds of the mean pixel.
"""

import time

from exam import arguments, bar, mnist, over_seeds, report

from sklearn_ae import VariationalAutoencoder

SETTINGS = {
    "n_components": 20,
    "hidden_layer_sizes": (400,),
    "activation": "relu",
    "likelihood": "bernoulli",
    "batch_size": 128,
    "learning_rate": 1e-3,
    "learning_rate_schedule": "constant",
    "early_stopping": False,
    "linear_path": False,
    "task": None,
}
PUBLISHED = (105.589, 105.559)


def main() -> None:
    asked = arguments(__doc__, seeds=5, epochs=10)
    start = time.perf_counter()
    X, X_test, *_ = mnist(asked.data)
    settings = SETTINGS | {"max_iter": asked.epochs}

    def losses(seed: int) -> dict[str, float]:
        last = VariationalAutoencoder(**settings, random_state=seed).fit(X, X_val=X_test).history_.iloc[-1]
        return {"test loss": last["valid_loss"], "training loss": last["train_loss"]}

    ours = over_seeds("VariationalAutoencoder", asked.seeds, losses)
    table = {"VariationalAutoencoder": ours}
    table |= {f"published log {i}": {"test loss": loss} for i, loss in enumerate(PUBLISHED, start=1)}
    bars = [bar("test loss, nats a row", ours["test loss"], most=105.6, beside="published logs 105.589 and 105.559")]
    report("pytorch_vae", asked, start, settings, {"loss": table}, bars)


if __name__ == "__main__":
    main()
