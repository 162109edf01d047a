"""ImageNet-A, ImageNet-R, ImageNet-Sketch and the like: some of the 1000 classes."""

from mim_zoo.registry import DATASETS

from .image_folder import ImageFolder, class_folders


@DATASETS.register_module()
class ImageNetSubset(ImageFolder):
    """Class folders named by WordNet ids; labels are those of ImageNet's 1000 classes.

    ``metainfo['present']`` holds the labels that have a folder: ``Accuracy`` lets these
    alone compete, the official protocol of ImageNet-A (1907.07174) and -R (2006.16241),
    which have 200 classes; ImageNet-Sketch (1905.13549) has all. A folder of another
    name, labels in a ``list_file`` and classes in ``metainfo`` raise ValueError. Other
    arguments: those of ``ImageFolder``.
    """

    def load_data_list(self) -> list[dict]:
        """As ``ImageFolder``, with labels by folder only."""
        if 'classes' in self._metainfo:
            raise ValueError(
                "ImageNetSubset: got metainfo['classes'], expected none: its classes "
                "are ImageNet's; take it out, or use ImageFolder"
            )
        return super().load_data_list()

    def _parse(self, line: str) -> tuple[str, int | None]:
        name, label = super()._parse(line)
        if label is not None and self.with_label:
            raise ValueError(
                f'ImageNetSubset: {self.list_file} has the label {label} in "{line}", '
                'expected a path in a folder that says the label, alone; take it out, '
                'or use ImageFolder'
            )
        return name, label

    def _class_labels(self) -> dict[str, int]:
        wnids = imagenet_wnids()
        labels = {name: label for label, name in enumerate(wnids)}
        folders = class_folders(self.root)
        unknown = [name for name in folders if name not in labels]
        if unknown or not folders:
            found = f'the folder "{unknown[0]}"' if unknown else 'no folder'
            raise ValueError(
                f'ImageNetSubset: got {found} in {self.root}, expected names of '
                f"ImageNet's classes such as {wnids[0]}; set data_root to the folder "
                'that holds these, or use ImageFolder'
            )
        self._metainfo['classes'] = wnids
        self._metainfo['present'] = tuple(labels[name] for name in folders)
        return {name: labels[name] for name in folders}


def imagenet_wnids() -> tuple[str, ...]:
    """WordNet ids of ImageNet-1K's classes in the order of their labels, by timm."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo('imagenet-1k').label_names())
