import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # with several test processes, more threads only wait for each other
os.environ.setdefault("SCIPY_ARRAY_API", "1")  # or scikit-learn skips its checks of array API input

import pytest  # noqa: E402
import torch  # noqa: E402


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Networks this small are slower on two threads than on one."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(autouse=True, scope="session")
def _every_warning():
    """Torch warns at every occasion, or only the first test of a process would meet its warnings."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


@pytest.fixture
def sigint():
    """An interrupt raises KeyboardInterrupt, also in a job in the background, which may ignore interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
