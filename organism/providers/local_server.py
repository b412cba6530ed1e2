"""The child process of :mod:`organism.providers.local`: llama.cpp's own server, and nothing of organism's.

It prints one line of JSON with its address when it is ready, and ends as soon as its standard input does: that is how
it notices that its parent is gone, however the parent died.
"""

import argparse
import json
import os
import sys


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
    # Handed over in the environment of this one process, not on its command line, which anybody may read.
    params.api_keys = [os.environ.pop("ORGANISM_LOCAL_KEY")]
    params.cpuparams.n_threads = arguments.threads
    server = xllamacpp.Server(params)
    sys.stdout.write(json.dumps({"address": server.listening_address}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    # llama.cpp's threads are left to the operating system: joining them could take as long as a running answer.
    os._exit(0)


if __name__ == "__main__":
    main()
