"""``emnist_letters``: 28x28 handwritten letters, upper and lower case together (Cohen et al. 2017).

The files number the classes from 1 and store every image transposed; both are undone in reading.
"""

from algobias.tasks.readers.idx_images import IdxSet

ENTRY = IdxSet(
    name="emnist_letters",
    summary="28x28 handwritten letters, 26 classes, 124,800 training and 20,800 test examples",
    files=(
        "EMNIST/raw/emnist-letters-train-images-idx3-ubyte.gz",
        "EMNIST/raw/emnist-letters-train-labels-idx1-ubyte.gz",
        "EMNIST/raw/emnist-letters-test-images-idx3-ubyte.gz",
        "EMNIST/raw/emnist-letters-test-labels-idx1-ubyte.gz",
    ),
    source="www.nist.gov/itl/products-and-services/emnist-dataset",
    classes=26,
    first_label=1,
    transposed=True,
).entry()
