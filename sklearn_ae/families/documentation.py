"""What the docstrings of all families have in common, told once."""

from textwrap import indent

SHARED_PARAMETERS = """\
n_components : int, default=8
    Dimensions of the code.
hidden_layer_sizes : tuple of int, default=(128, 64)
    Widths of the encoder's hidden layers; the decoder mirrors them. ``()`` gives a linear autoencoder.
activation : {"identity", "logistic", "tanh", "relu", "elu", "gelu", "silu"}, default="{activation}"
    Activation of the hidden layers. The code and the outputs are linear. The smooth ``"silu"`` gives better codes
    than ``"relu"``, which plays the adversarial game better; the bounded ``"tanh"`` scores anomalies better.
dropout : float, default=0.0
    Share of hidden units that are dropped while training, in [0, 1).
categorical_features : "from_dtype", array-like or None, default="from_dtype"
    Which columns hold categories: those of strings and of categorical dtypes in a DataFrame, or names, positions or a
    mask. None: all columns are numbers.
min_frequency : int or float, default=2
    Rows, or their share, below which a category is rare. Rare ones share one number, and come back as the most
    frequent of them.
max_categories : int, default=None
    Categories of a column that are told apart, at most, the group of the rare ones included.
handle_unknown : {"ignore", "error"}, default="ignore"
    What happens to a category that was not in the fit: it counts as missing, or as a rare one where there is such a
    group, or a ValueError is raised.
likelihood : {"auto", "gaussian", "learned_gaussian", "bernoulli", "poisson", "negative_binomial"} or dict, \
        default="auto"
    What a column of numbers is: a number with normal noise (as the family has it, or with a scale that is learned for
    each column), a value in [0, 1] read as a probability, or a count.
    ``"auto"`` takes truth values of a DataFrame as probabilities and all other columns as numbers. A dict says it by
    the name (or the position, in an array) of a column.
column_weight : dict or array-like of shape (n_features,), default=None
    How much the cost of each column counts while training, by name or for all columns. None: all alike.
scale : bool, "common" or "quantile", default=True
    Whether to standardise each column inside. ``"common"`` centres each column and divides all by one pooled
    standard deviation: right for pixels and spectra, where a quiet column is quiet for a reason. False only centres.
    ``"quantile"`` makes each column normal by its ranks: for heavy tails. ``inverse_transform`` and ``sample`` return
    the user's units. Only for numbers with normal noise.
task : {"classification", "regression", None}, default="classification"
    What y means: classes, values, or nothing (y is then ignored). y is optional under every task; without it
    the fit is unsupervised and there is no ``predict``.
target_weight : float or "auto", default="auto"
    Weight of the target's cost against the reconstruction. ``"auto"`` is the number of columns, because the
    reconstruction is summed over columns.
unlabeled : scalar, default=None
    The value of y that marks a row without a label, for example -1. Such rows train the reconstruction only.
class_weight : dict, "balanced" or None, default=None
    Weights of the classes in the target's cost.
batch_size : int or "auto", default="auto"
    Rows of a batch, at most; batches are of equal size. ``"auto"`` trains up to 256 rows as one batch and more
    rows in batches of 128.
learning_rate : float, default={learning_rate}
    Learning rate of Adam, at the beginning of the fit.
learning_rate_schedule : {"cosine", "constant"}, default="cosine"
    ``"cosine"`` lets the learning rate go to zero at ``max_iter``.
weight_decay : float, default=0.0
    L2 penalty on the weights: half the sum of squares times this.
max_iter : int, default=100
    Number of epochs.
tol : float, default=1e-4
    What counts as an improvement of the validation loss, in nats per row, with ``early_stopping=True``.
early_stopping : bool, default=False
    Whether to set rows aside (or take ``X_val``), to stop when their loss no longer improves, and to keep the
    best weights.
validation_fraction : float, default=0.1
    Share of the rows set aside: shuffled, and stratified by class where y holds classes.
n_iter_no_change : int, default=10
    Epochs without an improvement before the fit stops.
warm_start : bool, default=False
    Whether ``fit`` goes on from the last fit, with the same columns and classes. Parameters that columns, target or
    weights were made for must then stay.
device : str or torch.device, default="auto"
    Where the module lives. ``"auto"`` takes a CUDA device if there is one, else the CPU.
precision : {"auto", "float32", "float64", "bfloat16"}, default="auto"
    Arithmetic of the fit. ``"auto"``: double precision for float64 rows that are trained as one batch on the CPU
    (exact and cheap), else single precision. ``"bfloat16"`` keeps the weights in single precision.
callbacks : list of skorch callbacks, default=None
    Told of epochs, and of batches where they listen to them.
verbose : int, default=0
    Above 0, a line is printed for each epoch.
random_state : int, RandomState or None, default=None
    Seed of everything random in a fit; a fit that goes on goes on with its numbers. A RandomState is moved on by every
    fit. None gives another fit every time, and leaves numpy's global state alone.
"""

SHARED_ATTRIBUTES = """\
n_features_in_ : int
    Columns seen in ``fit``.
feature_names_in_ : ndarray of shape (n_features,)
    Their names, where all are strings.
classes_ : ndarray of shape (n_classes,)
    Labels, after a fit with y under ``task="classification"``.
n_iter_ : int
    Epochs of the last call of ``fit`` or ``partial_fit``, as for the networks of scikit-learn.
loss_ : float
    Training loss of the last epoch, in nats per row.
loss_curve_ : list of float
    Training loss of each epoch, those of earlier fits included where the fit went on from them.
history_ : DataFrame
    A row for each of these epochs, a column for each term of the loss.
net_ : AutoencoderNet
    The skorch net that trained the module.
module_ : torch.nn.Module
    The trained module.
device_ : torch.device
    Where the module lives.
"""


def documented(docstring: str, activation: str, learning_rate: float) -> str:
    """Return a docstring with the shared parameters and attributes, and a family's own defaults, in their places."""
    parameters = SHARED_PARAMETERS.replace("{activation}", activation).replace("{learning_rate}", f"{learning_rate:g}")
    parameters = indent(parameters, "    ")
    return docstring.replace("    %(shared_parameters)s\n", parameters).replace(
        "    %(shared_attributes)s\n", indent(SHARED_ATTRIBUTES, "    ")
    )
