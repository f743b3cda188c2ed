"""``mnist``: 28x28 handwritten digits (LeCun, Bottou, Bengio and Haffner 1998)."""

from algobias.tasks.readers.idx_images import IdxSet

ENTRY = IdxSet(
    name="mnist",
    summary="28x28 handwritten digits, 10 classes, 60,000 training and 10,000 test examples",
    files=(
        "MNIST/raw/train-images-idx3-ubyte.gz",
        "MNIST/raw/train-labels-idx1-ubyte.gz",
        "MNIST/raw/t10k-images-idx3-ubyte.gz",
        "MNIST/raw/t10k-labels-idx1-ubyte.gz",
    ),
    source="yann.lecun.com/exdb/mnist (mirror: ossci-datasets.s3.amazonaws.com/mnist)",
).entry()
