"""The data sets; their loaders are in `jobs/data/`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rsctl.catalog.declare import DataSet, Parameters
from rsctl.catalog.folders import inspect_folder
from rsctl.catalog.imagenet import layout


class ImageFolder(Parameters):
    """A folder with `train/<class>/*` and `test/<class>/*` image files: the two splits. A folder `val` isn't read;
    the split "val" is held out of the training images."""

    path: str = Field(json_schema_extra={"identity": False})
    """The folder; a relative path is relative to the data root."""
    size: Annotated[int, Field(ge=4)] = 32
    """Side in pixels: the shorter side is resized to it, then the centre is cropped."""
    classes: list[str] = []
    """Take only these class folders. Their order is that of the labels, as a published checkpoint may need it."""
    class_count: Annotated[int, Field(ge=0)] = 0
    """Take this many classes, drawn with `class_seed`; 0 takes all."""
    class_seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the draw of `class_count` classes."""
    white: Annotated[float, Field(ge=0)] = Field(0.0, json_schema_extra={"neutral": 0.0})
    """The value of white in files of more than 8 bits per channel, which are reduced to 256 levels of equal width. 0 means the
    largest one of 16 bits (or of 12, in TIFF); floating-point numbers and 32-bit integers need it, such as 1.0."""
    orientation: Literal["stored", "exif"] = Field("stored", json_schema_extra={"neutral": "stored"})
    """`stored` takes pixels as stored in the file, as torchvision does; `exif` rotates images by their EXIF entry."""

    @model_validator(mode="after")
    def _one_choice(self) -> ImageFolder:
        if self.classes and self.class_count:
            raise ValueError("give classes or class_count, not both")
        return self


def _torchvision(name: str, title: str, citation: str, channels: int, size: int, classes: int, train: int, test: int,
                 mean: tuple[float, ...], std: tuple[float, ...], paths: tuple[str, ...], augmentation: str = "none", **texts: Any) -> DataSet:  # fmt: skip
    return DataSet(
        name, title, citation, channels, size, classes, {"train": train, "test": test}, mean, std, augmentation,
        where=f"{' and '.join(paths)} below the data root, as torchvision stores it (rsctl data fetch {name} on a machine with internet)",
        paths=paths, **texts,
    )  # fmt: skip


CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# fmt: off
DATASETS: tuple[DataSet, ...] = (
    DataSet(
        "digits", "8x8 handwritten digits, shipped with scikit-learn (works offline)", "Alpaydin, Kaynak 1998, UCI",
        channels=1, size=8, classes=10, counts={"train": 1437, "test": 360}, mean=(0.305,), std=(0.376,),
        about="1,797 handwritten digits in 8x8 grey pixels. They come with scikit-learn, so nothing is downloaded; 360 of them, a fixed "
        "random choice, are the test split.",
        use_when="To learn and to try things out: a network trains on them in seconds.",
    ),
    _torchvision(
        "mnist", "MNIST", "LeCun, Bottou, Bengio, Haffner 1998", 1, 28, 10, 60000, 10000, (0.0,), (1.0,), ("MNIST/raw",),
        about="70,000 handwritten digits in 28x28 grey pixels, 10,000 of them for testing. Images are left in [0, 1] without normalisation.",
        use_when="For published tables of certified training and of the smaller smoothing experiments.", example={"model": "lenet"},
    ),
    _torchvision(
        "fashion-mnist", "Fashion-MNIST", "Xiao, Rasul, Vollgraf 2017", 1, 28, 10, 60000, 10000, (0.2860,), (0.3530,), ("FashionMNIST/raw",),
        about="70,000 pictures of clothes in ten classes, laid out as MNIST is: 28x28 grey pixels, 10,000 for testing. It is harder than MNIST.",
        use_when="Beside MNIST, which nearly every network solves.", example={"model": "lenet"},
    ),
    _torchvision(
        "svhn", "Street View House Numbers", "Netzer et al. 2011", 3, 32, 10, 73257, 26032,
        (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970), ("train_32x32.mat", "test_32x32.mat"),
        about="Digits cut out of photographs of house numbers, in 32x32 colour pixels: 73,257 for training, 26,032 for testing. They aren't "
        "mirrored in training.",
        use_when="For colour images of CIFAR's size with another content.", example={"model": "resnet20"},
    ),
    _torchvision(
        "cifar10", "CIFAR-10", "Krizhevsky 2009", 3, 32, 10, 50000, 10000, CIFAR_MEAN, CIFAR_STD, ("cifar-10-batches-py",), "crop-flip",
        about="60,000 colour photographs of 32x32 pixels in ten classes, 10,000 of them for testing. Training crops and mirrors them.",
        use_when="To compare with papers: most tables of randomized smoothing are on it.", example={"model": "resnet110"},
    ),
    _torchvision(
        "cifar100", "CIFAR-100", "Krizhevsky 2009", 3, 32, 100, 50000, 10000,
        (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), ("cifar-100-python",), "crop-flip",
        about="60,000 colour photographs of 32x32 pixels in a hundred classes, 10,000 of them for testing. Training crops and mirrors them.",
        use_when="Where ten classes are too few, as for top-k certificates.", example={"model": "resnet110"},
    ),
    DataSet(
        "imagenet", "ImageNet (ILSVRC 2012)", "Russakovsky et al. 2015", channels=3, size=224, classes=1000,
        counts={"train": 1281167, "test": 50000}, mean=IMAGENET_MEAN, std=IMAGENET_STD, augmentation="resized-crop-flip",
        in_memory=False, where="imagenet/train/<wnid>/*.JPEG and imagenet/val/<wnid>/*.JPEG below the data root", paths=("imagenet/train", "imagenet/val"), layout=layout,
        about="1.28 million photographs in a thousand classes, brought to 224x224 pixels. The 50,000 validation images, whose labels are "
        "public, are the test split; you download and unpack it yourself.",
        use_when="For large images. Papers certify 500 of the 50,000 images (`skip = 100`), for each costs n passes.",
        example={"model": "resnet50", "certification.skip": 100},
    ),
    DataSet(
        "imagefolder", "Any folder of class folders", "your own", channels=3, size=None, classes=None,
        mean=CIFAR_MEAN, std=CIFAR_STD, augmentation="crop-flip", parameters=ImageFolder,
        where="train/<class>/<image> and test/<class>/<image> below `path` (a folder val isn't read: split = \"val\" holds out training images)", inspect=inspect_folder,
        about="Images of your own, one folder per class in `train` and in `test`. The shorter side is brought to `size` pixels and the "
        "centre cropped; radii are of such images.",
        use_when="For any data that you have as files.", example={"dataset.path": "animals", "dataset.size": 64},
    ),
)
# fmt: on
