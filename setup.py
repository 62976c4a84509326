"""Packaging. The configs are shipped inside the wheel as ``mmdet_lite/configs``."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "mmdet_lite/__init__.py").read_text()).group(1)
DOCS = ["mkdocs>=1.6,<2", "mkdocs-material>=9.5", "mkdocstrings[python]>=0.30"]
EXPORT = ["onnx>=1.17", "onnxscript>=0.5", "onnxruntime>=1.20"]

setup(
    name="mmdet_lite",
    version=VERSION,
    description="Two-stage object detection and instance segmentation, built from configs",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=[*find_packages(include=["mmdet_lite", "mmdet_lite.*"]), "mmdet_lite.configs"],
    package_dir={"mmdet_lite.configs": "configs"},
    package_data={
        "mmdet_lite.configs": ["**/*.py"],
        "mmdet_lite.compat": ["*.json"],
        "mmdet_lite.doctor": ["page.css", "page.js"],
        "mmdet_lite.visualization": ["*.css"],
        "mmdet_lite.visualization.report": ["*.html", "*.css", "*.js"],
        "mmdet_lite.assignment": ["*.html", "*.css", "*.js"],
    },
    install_requires=[
        "torch>=2.6",
        "torchvision>=0.21",
        "onedl-mmengine>=0.10",  # the maintained distribution of mmengine
        "onedl-mmcv>=2.3",  # the maintained distribution of mmcv; compiles nothing
        "numpy>=1.26",
        "opencv-python>=4.9",
        "pycocotools>=2.0.8",
        "faster-coco-eval>=1.6.5",
        "matplotlib>=3.8",
        "pillow>=10",
    ],
    extras_require={
        "tensorboard": ["tensorboard"],
        "wandb": ["wandb>=0.19"],
        "mlflow": ["mlflow>=2.14"],
        "safetensors": ["safetensors>=0.4.3"],
        "export": EXPORT,
        "docs": DOCS,
        "dev": [
            *(
                "pytest>=8",
                "pytest-xdist>=3.5",
                "hypothesis>=6.100",
                "ruff>=0.6",
                "pre-commit",
                "safetensors>=0.4.3",
            ),
            *EXPORT,
        ],
    },
    entry_points={"console_scripts": ["mmdet-lite = mmdet_lite.cli:main"]},
)
