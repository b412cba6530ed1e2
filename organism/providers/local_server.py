"""The child process of :mod:`organism.providers.local`: llama.cpp's own server, and nothing of organism's.

It prints one line of JSON with its address when it is ready, and ends as soon as its standard input does: that is how
it notices that its parent is gone, however the parent died.
"""

import argparse
import json
import mmap
import os
import sys
from pathlib import Path

_METADATA_BYTES = 64 * 1024 * 1024


def main() -> None:
    """Serve a model until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--alias", required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--context-tokens", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = arguments.model
    params.model_alias = {arguments.alias}
    params.n_ctx = arguments.context_tokens * arguments.slots
    params.n_parallel = arguments.slots
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.warmup = False
    params.use_jinja = True
    params.embedding = True
    if not _knows_its_pooling(arguments.model):
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    # Handed over in the environment of this one process, not on its command line, which anybody may read.
    params.api_keys = [os.environ.pop("ORGANISM_LOCAL_KEY")]
    params.cpuparams.n_threads = arguments.threads
    server = xllamacpp.Server(params)
    sys.stdout.write(json.dumps({"address": server.listening_address}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    # llama.cpp's threads are left to the operating system: joining them could take as long as a running answer.
    os._exit(0)


def _knows_its_pooling(path: str) -> bool:
    """Whether a model's file says how vectors of tokens become that of a text; those that are made for chat do not.

    Source: the keys of GGUF files, in plain text before all else but the vocabulary.
    """
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        return whole.find(b".pooling_type", 0, _METADATA_BYTES) >= 0


if __name__ == "__main__":
    main()
