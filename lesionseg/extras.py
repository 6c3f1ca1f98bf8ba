"""The optional packages of each extra in pyproject.toml, and how to install them."""

import shlex

PACKAGES = {
    "dicom": ("pydicom", "highdicom"),
    "export": ("onnx", "onnxscript"),
    "figures": ("matplotlib",),
    "heif": ("pi-heif",),
    "ray": ("ray[data]",),
    "tensorboard": ("tensorboardX",),
}


def install_hint(extra: str) -> str:
    """Name the commands that install an extra's packages, for a message.

    lesionseg is on no package index, so pip cannot find its extras by its name. Naming the packages
    works everywhere; `.[...]` keeps to the versions that pyproject.toml asks for.

    Raises:
        KeyError: no such extra.
    """
    return (
        f"pip install {shlex.join(PACKAGES[extra])} "
        f"(in a checkout of lesionseg: pip install '.[{extra}]')"
    )
