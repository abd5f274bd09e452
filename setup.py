"""Maps the top-level rooms into one package; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

ROOMS = {
    "pytest_distill": "pytest_distill",
    "pytest_distill.gates": "gates",
    "pytest_distill.pipelines": "pipelines",
    "pytest_distill.fixtures": "fixtures",
}

PACKAGES = {package: [package, *(f"{package}.{sub}" for sub in find_packages(folder))] for package, folder in ROOMS.items()}

setup(package_dir=ROOMS, packages=[name for names in PACKAGES.values() for name in names])
