"""`python -P -m privdistill.recipes.guest`: the process of a guest, started by `process` and by nobody else.

First nothing but the standard library runs: the channel is moved away from stdin and stdout, so that what a plug-in
prints cannot break it, the fences go up and are reported. Only then is anything else imported, the plug-in last.
"""

import json
import os
import sys

from privdistill.recipes.guest.channel import Channel
from privdistill.recipes.guest.fence import die_with_parent, fence_files, fence_sockets


def main() -> None:
    """Put up the fences, then answer questions until the channel closes."""
    channel = Channel(os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb"))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    given = json.loads(channel.receive()[0])
    die_with_parent(given["parent"])
    readable, home = [*given["readable"], os.getcwd()], given["home"]
    files = fence_files(readable, given["devices"], [home], given["probe"])
    sockets = fence_sockets()
    sys.path[:] = given["path"]
    channel.send(json.dumps({"kind": "ready", "files": files, "sockets": sockets}).encode())

    from privdistill.recipes.guest.service import serve

    serve(channel, given["module"], given["attribute"])


if __name__ == "__main__":
    main()
