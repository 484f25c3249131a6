"""The documentation of estimators: parts of docstrings that all families share, and links in HTML representations."""

from textwrap import indent

DOCUMENTATION = "https://sklearn-ae.readthedocs.io/en/stable"


class Linked:
    """An estimator whose representation in HTML links to its page in the documentation."""

    _doc_link_module = "sklearn_ae"
    _doc_link_template = f"{DOCUMENTATION}/generated/sklearn_ae.{{estimator_name}}.html"

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return {"estimator_name": type(self).__name__}


SHARED_PARAMETERS = """\
n_components : int, float or "auto", default=8
    Dimensions of the code.

    - an int: this number;
    - a float in (0, 1): the smallest number of principal components that explain more than this share of the variance
      of the encoded table, as in :class:`~sklearn.decomposition.PCA`, but less than the number of columns. Categories
      count as indicator columns;
    - ``"auto"``: the smallest of 1, 2, 4, ..., 64 with which short fits predict hidden cells of validation rows about
      as well as with the best. The largest candidate is below the number of columns and at most a fifth of the
      number of rows.

    The target is not used for the choice. A continued fit keeps the number.
hidden_layer_sizes : tuple of int, default=(128, 64)
    Widths of the encoder's hidden layers; the decoder mirrors them. ``()`` gives a linear autoencoder.
n_members : int, default=1
    Number of autoencoders that are trained on the same rows from different random weights, as one stack.
    ``predict``, ``predict_proba``, ``score_samples``, ``impute`` and ``sample`` use all of them: mean probabilities,
    values and numbers, the most frequent category, the likelihood of the mixture, and rows of random members. Codes,
    ``inverse_transform``, ``history_`` and ``net_`` are those of the member with the lowest validation loss, or
    training loss if there are no validation rows.
n_bins : int or "auto", default="auto"
    Number of bins per standardised column of the piecewise-linear encoding that the encoder begins with: quantiles
    of the training rows are the edges, and a number becomes one coordinate per bin (Gorishniy et al. 2022, equation
    1). 1 means no encoding.
    ``"auto"`` is 24, fewer for more than 42 columns or less than 960 labelled rows, and 1 for more than 128 columns or
    less than 320 labelled rows (validation rows do not count), so without y as well. It is also 1 with
    ``scale="common"`` and in ``partial_fit``. A fit that continues another one keeps its bins.
linear_path : bool or "auto", default="auto"
    Whether the last layers of encoder and decoder read the inputs and the code as well as the hidden units. Training
    then starts at the principal components of the inputs (standardised columns, one-hot categories), in the variational
    family at probabilistic PCA (Tipping & Bishop 1999, section 3.2), and the hidden layers learn what is not linear.
    The decoder starts there for standardised columns; a table without such columns has no such start. ``"auto"`` is
    False in fits with y, where it does not help to predict, and for codes that are not smaller than the table.
activation : {"identity", "logistic", "tanh", "relu", "elu", "gelu", "silu"}, default="{activation}"
    Activation of the hidden layers. The code and the outputs are linear. ``"silu"`` gives better codes than
    ``"relu"``, which is better for adversarial training; ``"tanh"`` gives better anomaly scores.
dropout : float, default=0.0
    Dropout probability of the hidden units, in [0, 1).
categorical_features : "from_dtype", array-like or None, default="from_dtype"
    Categorical columns. ``"from_dtype"`` selects the columns of a DataFrame that hold strings or have a categorical
    dtype. Otherwise names, positions or a boolean mask of the columns. None means that all columns are numeric.
min_frequency : int or float, default=2
    Minimum frequency of a category, as a number of rows or a fraction of them. Less frequent categories are grouped
    into one, which is decoded as the most frequent of them.
max_categories : int, default=None
    Maximum number of categories per column, counting rare ones as one. None means no limit.
handle_unknown : {"ignore", "error"}, default="ignore"
    Treatment of a category that was not in the fit. ``"ignore"`` treats it as rare if the column has a group of rare
    categories, else as missing. ``"error"`` raises a ValueError.
likelihood : {"auto", "gaussian", "learned_gaussian", "bernoulli", "poisson", "negative_binomial"}, class or dict, \
        default="auto"
    Likelihood of the numeric columns.

    - ``"auto"``: ``"bernoulli"`` for boolean columns of a DataFrame, ``"gaussian"`` for all others;
    - ``"gaussian"``: real numbers; the family determines the variance of the noise;
    - ``"learned_gaussian"``: real numbers with a learned variance per column;
    - ``"bernoulli"``: numbers in [0, 1], read as probabilities;
    - ``"poisson"``, ``"negative_binomial"``: counts;
    - a subclass of :class:`sklearn_ae.likelihoods.numeric.Numeric`;
    - a dict from the name of a column (the position, in an array) to one of these.
column_weight : dict or array-like of shape (n_features,), default=None
    Weight of each column's loss while training, by name or for all columns. None means equal weights.
constraints : list of Constraint, default=None
    Conditions on columns that all generated, filled and restored rows meet, in the order in which they are met:
    :class:`~sklearn_ae.tables.constraints.Formula`, :class:`~sklearn_ae.tables.constraints.Inequality` and
    :class:`~sklearn_ae.tables.constraints.FixedCombinations`. Complete rows of the fit must meet them. Known cells are
    never changed.
scale : bool, "common" or "quantile", default=True
    Scaling of columns with a Gaussian likelihood before training. ``inverse_transform`` and ``sample`` return the
    units of X.

    - True: zero mean and unit variance per column;
    - False: zero mean;
    - ``"common"``: zero mean, and one pooled standard deviation for all columns. For pixels and spectra, whose
      variances are comparable;
    - ``"quantile"``: normal scores of the ranks. For heavy tails.
task : {"classification", "regression", None}, default="classification"
    Meaning of y: class labels, real values, or None to ignore y. y is optional; without it the fit is unsupervised
    and ``predict`` is not available.
target_weight : float or "auto", default="auto"
    Weight of the target's loss relative to the reconstruction loss. ``"auto"`` is the number of columns, since the
    reconstruction loss is a sum over columns.
unlabeled : scalar, default=None
    Value of y that marks unlabelled rows, for example -1. They contribute to the reconstruction loss only.
class_weight : dict, "balanced" or None, default=None
    Weights of the classes in the target's loss.
batch_size : int or "auto", default="auto"
    Maximum number of rows per batch; batches have equal size. ``"auto"`` is one batch for up to 256 rows, and 128
    for more.
learning_rate : float, default={learning_rate}
    Initial learning rate of Adam.
learning_rate_schedule : {"cosine", "constant"}, default="cosine"
    Learning rate schedule. ``"cosine"`` decays to zero at ``max_iter``.
weight_decay : float, default=0.0
    Strength of the L2 penalty, half the sum of squared weights.
max_iter : int, default=100
    Maximum number of epochs.
tol : float, default=1e-4
    Minimum improvement of the validation loss for early stopping, in nats per row.
early_stopping : bool or "auto", default="auto"
    Whether to stop when the loss on validation rows does not improve, and to restore the weights of the best epoch.
    Validation rows are ``X_val``, or set aside from X. The loss is that of the target if validation rows have labels,
    else that of the whole model. ``"auto"`` stops early if there are at least 200 rows, labelled ones in a
    fit with y; without y only if training starts at principal components (``linear_path``).
validation_fraction : float, default=0.1
    Fraction of the rows set aside for validation, shuffled, and stratified if y holds classes.
n_iter_no_change : int, default=10
    Number of epochs without improvement after which the fit stops early.
warm_start : bool, default=False
    Whether ``fit`` continues the last fit, with the same columns and classes. Parameters on which columns, target or
    network depend can't change then.
device : str or torch.device, default="auto"
    Device of the module. ``"auto"`` is a CUDA device if available, else the CPU.
precision : {"auto", "float32", "float64", "bfloat16"}, default="auto"
    Floating-point precision of the fit. ``"auto"`` is double precision for float64 rows that are trained as one batch
    on the CPU, else single precision. ``"bfloat16"`` keeps the weights in single precision.
callbacks : list of skorch callbacks, default=None
    Callbacks, called at epochs, and at batches if they implement such methods. Members after the first have copies.
verbose : int, default=0
    1 shows a progress bar with the losses of the last epoch and the remaining time, in a terminal or a notebook. Above
    1, a line per epoch is printed instead, or a progress bar if there are several members.
random_state : int, RandomState or None, default=None
    Seed of initial weights, batches, noise and the validation split. With an int, a continued fit continues the random
    numbers. With None every fit differs; NumPy's global generator is not used.
"""

SHARED_ATTRIBUTES = """\
n_components_ : int
    Dimensions of the code, as given or as chosen.
n_features_in_ : int
    Number of columns seen in ``fit``.
feature_names_in_ : ndarray of shape (n_features,)
    Names of the columns, if all are strings.
classes_ : ndarray of shape (n_classes,) or list of such
    Class labels, after a fit with y and ``task="classification"``.
n_iter_ : int
    Number of epochs of the last call of ``fit`` or ``partial_fit``.
loss_ : float
    Training loss of the last epoch, in nats per row.
loss_curve_ : list of float
    Training loss of each epoch, including those of fits that this one continued.
history_ : DataFrame
    One row per epoch and one column per term of the loss.
model_ : Model
    Everything that the fit has produced: encoding of the table, target, net and inference.
net_ : AutoencoderNet
    The skorch net.
module_ : torch.nn.Module
    The trained module.
device_ : torch.device
    Device of the module.
"""


def documented(docstring: str, activation: str, learning_rate: float) -> str:
    """Return a docstring with the shared parameters and attributes filled in, with a family's own defaults."""
    parameters = SHARED_PARAMETERS.replace("{activation}", activation).replace("{learning_rate}", f"{learning_rate:g}")
    parameters = indent(parameters, "    ")
    return docstring.replace("    %(shared_parameters)s\n", parameters).replace(
        "    %(shared_attributes)s\n", indent(SHARED_ATTRIBUTES, "    ")
    )
