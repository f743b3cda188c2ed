"""``fashion_mnist``: 28x28 images of clothing (Xiao, Rasul and Vollgraf 2017)."""

from algobias.tasks.readers.idx_images import IdxSet

ENTRY = IdxSet(
    name="fashion_mnist",
    summary="28x28 grey images of clothing, 10 classes, 60,000 training and 10,000 test examples",
    files=(
        "FashionMNIST/raw/train-images-idx3-ubyte.gz",
        "FashionMNIST/raw/train-labels-idx1-ubyte.gz",
        "FashionMNIST/raw/t10k-images-idx3-ubyte.gz",
        "FashionMNIST/raw/t10k-labels-idx1-ubyte.gz",
    ),
    source="github.com/zalandoresearch/fashion-mnist",
    presets={
        "reference": {"train": 4000, "test": 5000, "pool": 2, "model": "refconv"},
        "full": {"train": None, "test": None, "model": "resnet"},
    },
).entry()
